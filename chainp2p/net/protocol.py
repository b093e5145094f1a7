"""One link to a peer, from the first byte to the recorded end: a shell over the cores of ``wire`` and ``peer``."""

from collections.abc import Callable
from typing import Any, cast

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from chainp2p.errors import PeerFault, PeerGone, Penalty, Reason, RefusalReason
from chainp2p.net.alarm import Alarm
from chainp2p.net.asking import Asking
from chainp2p.net.host import LinkHost
from chainp2p.net.life import LinkLife, Living, Phase, begin_accepted, begin_dialing
from chainp2p.net.notices import Notices
from chainp2p.net.outbox import Outbox
from chainp2p.net.serving import Serving
from chainp2p.peer.ends import DETAIL_LIMIT, LinkEnd
from chainp2p.peer.enr import Enr
from chainp2p.peer.handshake import Greeting, Proven, Stage
from chainp2p.peer.inbox import Inbox
from chainp2p.peer.link import Credit
from chainp2p.peer.liveness import DEAD_AFTER, STALLED_AFTER, Due, Liveness
from chainp2p.peer.outbound import Purpose
from chainp2p.peer.quota import LinkQuota
from chainp2p.peer.votes import packed_endpoint
from chainp2p.wire.codec import WireError
from chainp2p.wire.frames import Incoming, Received
from chainp2p.wire.messages import (
    NO_TRANSACTIONS,
    Ack,
    AnnounceBlocks,
    Disconnect,
    Hello,
    Message,
    Ping,
    Pong,
    Refused,
    Status,
)
from chainp2p.wire.schema import Channel, Kind
from chainp2p.wire.sending import Pushed

__all__ = ["PeerProtocol"]

#: Transport security, greeting and both ``Status`` must be done in so many seconds.
HANDSHAKE_TIMEOUT = 10.0
#: How long the last words may take to leave (seconds); then the connection is cut.
FLUSH_TIMEOUT = 1.0
#: Bytes received and not yet handled above which a link is not read (a larger message raises it).
UNHANDLED_LIMIT = 5_000_000

_NOTHING: tuple[str, int] = ("", 0)
#: Of the path that each message takes: in Python 3.11 an attribute of an enum class costs twice one of a module.
_READY, _REQUEST, _REPLY = Phase.READY, Kind.REQUEST, Kind.REPLY
_NOT_READING, _DROPPED = Pushed.NOT_READING, Pushed.DROPPED


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:DETAIL_LIMIT])


@implementer(IHandshakeListener)
class PeerProtocol(TwistedProtocol, Living):
    """A connection to a peer; a :class:`chainp2p.peer.link.Link` once it is ready.

    1. Nothing is sent before ``handshakeCompleted``; the greeting is a table (:class:`Greeting`).
    2. It ends once, with one reason: whoever comes first says it to the host and, where it may still hear, to the peer.
       From then on nothing that arrives is looked at.
    3. Reading never waits for sending. Only bytes that wait for their turn, or whose handlers have not finished, pause
       it.
    4. What may follow what, and which timers run when, is :class:`chainp2p.net.life.LinkLife`.

    :param expected: whom we meant to dial; None for a link that the other side opened.
    :param purpose: what we opened it for; None likewise.
    """

    def __init__(
        self,
        host: LinkHost,
        expected: bytes | None = None,
        outbound: bool = False,
        purpose: Purpose | None = None,
    ) -> None:
        self._host = host
        self.expected = expected
        self.outbound = outbound
        self.purpose = purpose
        self._life: LinkLife  #: from the dial or the connection on
        self.peer_id = b""
        self.address: tuple[str, int] = _NOTHING
        self.dialled: tuple[str, int] | None = None  #: as the dial named it, before a name was looked up
        self.local_address: tuple[str, int] = _NOTHING
        self.opened_at = 0.0  #: by ``reactor.seconds()``
        self.connected_at = 0.0  #: Unix time of becoming ready
        self.end: LinkEnd | None = None
        self.partial_since: float | None = None
        self.warning: str | None = None  #: how the peer's settings will differ from ours
        self.height = 0  #: of the peer's head, at the handshake; kept up to date where the warning matters
        self.enr: Enr | None = None  #: the peer's newest record
        self.clock: float | None = None  #: what the peer's Unix clock showed at second 0 of ``reactor.seconds()``
        self.credited: dict[Credit, float] = {}  #: when it was last of use, by ``reactor.seconds()``
        self._status: Status | None = None
        self._authenticated = False
        self.quota = LinkQuota(host.quotas)
        self._notices = Notices(self, host.handlers, self._blame, self._unhandled_changed)
        self._asking = Asking(host.reactor.seconds, self._send_request)
        self._inbox = Inbox(host.codec)
        self._next_turn: IDelayedCall | None = None
        self._held = 0
        self._unhandled_limit = max(UNHANDLED_LIMIT, max(spec.maximum for spec in host.codec.registry.by_tag.values()))
        self._greeting: Greeting | None = None

    # -- Link

    @property
    def status(self) -> Status:
        """The peer's ``Status``, as it was at the handshake."""
        assert self._status is not None, "the link is not ready"
        return self._status

    @property
    def block_only(self) -> bool:
        """Whether one side has said in its ``Status`` that it wants no transactions."""
        theirs = self._status is not None and bool(self._status.flags & NO_TRANSACTIONS)
        return theirs or (self.purpose is not None and self.purpose.block_only)

    @property
    def useless(self) -> bool:
        """Whether others should be asked first."""
        return self._host.is_useless(self)

    def send(self, message: Message, instead: Message | None = None) -> None:
        """Queue a notification.

        :param instead: sent in place of a block push that does not fit into the queue.
        """
        if self.phase is not _READY:
            return
        spec = message.spec
        self._push(self._host.codec.encode(message), spec.kind, spec.channel, instead)

    def send_raw(self, data: bytes, instead: Message | None = None) -> None:
        """Queue a notification that is encoded already."""
        if self.phase is _READY:
            spec = self._host.codec.registry.by_tag[int.from_bytes(data[:4], "little")]
            self._push(data, spec.kind, spec.channel, instead)

    def _push(
        self, payload: bytes, kind: Kind, channel: Channel, instead: Message | None = None, reply_to: int = 0
    ) -> None:
        outcome, _ = self._outbox.push(payload, kind, channel, reply_to)
        if outcome is _NOT_READING:
            self._finish(Reason.NOT_READING, "control messages pile up", penalty=Penalty.USELESS)
        elif outcome is _DROPPED and instead is not None:
            self.send(instead)
        elif self._outbox.queue.full:
            self._account(self._host.reactor.seconds())

    def queued(self) -> dict[str, int]:
        """Return the bytes in each queue of this link, by its name."""
        if self.end is not None or not self.peer_id:
            return {}
        sent = {f"send_{channel.name.lower()}": self._outbox.queue.queued_in(channel) for channel in Channel}
        return {
            "partial": self._inbox.partial,
            "turn": self._inbox.waiting,
            "handlers": self._notices.unhandled,
            "asked": self._serving.waiting,
            "asking": self._asking.waiting,
            **sent,
        }

    @property
    def dropped(self) -> int:
        """Announcements and block pushes that were given up because the peer does not read."""
        return self._outbox.queue.dropped if self.peer_id else 0

    def request(self, message: Message, timeout: float = 10.0) -> "Deferred[Any]":
        """Send a request; see :class:`chainp2p.peer.link.Link`."""
        if self.phase is not _READY:
            end = self.end
            return fail(PeerGone(end.reason, end.detail) if end else PeerGone(Reason.CONNECTION_LOST, "not ready"))
        deadline = self._host.reactor.seconds() + timeout
        answer = self._asking.ask(message, self._host.codec.encode(message), deadline)
        self._alarm.by(deadline)
        return answer

    def _send_request(self, request: Message, payload: bytes, on_id: Callable[[int], None]) -> Callable[[], bool]:
        outcome, take_back = self._outbox.push(payload, _REQUEST, request.spec.channel, 0, on_id)
        if outcome is _NOT_READING:
            self._finish(Reason.NOT_READING, "control messages pile up", penalty=Penalty.USELESS)
        return take_back

    def fault(self, reason: Reason, detail: str, penalty: Penalty = Penalty.MALICIOUS) -> None:
        """The peer is to blame."""
        if penalty is Penalty.USELESS:
            self._host.useless(self, reason, _printable(detail))
        else:
            self._finish(reason, detail, penalty=penalty)

    def close(self, reason: Reason, detail: str = "", rule: str = "") -> None:
        """End the link for a reason that blames nobody."""
        self._finish(reason, detail, rule=rule)

    def credit(self, what: Credit) -> None:
        """The peer was the first to bring something new and valid."""
        self.credited[what] = self._host.reactor.seconds()

    # -- transport

    def dial(self, address: tuple[str, int], attempt: "Deferred[Any]") -> None:
        """The connection is being made; *attempt* fires with it, or fails."""
        self.address = self.dialled = address
        self._life = begin_dialing(self, attempt)
        attempt.addErrback(self._not_connected)

    def _not_connected(self, failure: Failure) -> Failure:
        self._life.lost()
        return failure

    def connectionMade(self) -> None:
        """The connection stands; security is next."""
        transport = cast(Any, self.transport)
        peer, here = transport.getPeer(), transport.getHost()
        self.address = (getattr(peer, "host", ""), getattr(peer, "port", 0))
        self.local_address = (getattr(here, "host", ""), getattr(here, "port", 0))
        self.opened_at = self._host.reactor.seconds()
        self._liveness = Liveness(self.opened_at)
        if self.phase is Phase.DIALING:
            self._life.connected()
        else:
            self._life = begin_accepted(self)

    def plan_deadline(self) -> IDelayedCall:
        """End a link whose handshake takes too long, whichever part of it."""
        left = self.opened_at + HANDSHAKE_TIMEOUT - self._host.reactor.seconds()
        deadline: IDelayedCall = self._host.reactor.callLater(max(0.0, left), self._too_slow)
        return deadline

    def _too_slow(self) -> None:
        detail = f"not ready within {HANDSHAKE_TIMEOUT:g} s, in phase {self.phase.value}"
        self._finish(Reason.HANDSHAKE_TIMEOUT, detail, penalty=Penalty.USELESS)

    def handshakeCompleted(self) -> None:
        """The transport has proven who is there: greet, or say why not."""
        if self.phase is not Phase.SECURING:
            return
        try:
            self.peer_id = self._host.security.proven(self.transport)
        except PeerFault as fault:
            self._finish(fault.reason, fault.detail, penalty=fault.penalty)
            return
        self._life.secured()
        self._outbox = Outbox(self.transport, self._transport_full, self._transport_drained)
        self._serving = Serving(
            self, self._host.handlers, self._host.bulk, self._reply, lambda: self._outbox.queue.full, self._blame
        )
        try:
            Proven(self.peer_id, self.expected).check(self._host.own_id)
            self._host.admit(self)
        except PeerFault as fault:
            self._blame(fault)
            return
        hello = self._host.hello()
        self._tell(hello)
        settings, own_id = self._own_status().settings, self._host.own_id
        self._greeting = Greeting(self.peer_id, hello.genesis, settings, hello.height, own_id)

    def _own_status(self) -> Status:
        status = self._host.status(packed_endpoint(*self.address))
        return evolve(status, flags=status.flags | NO_TRANSACTIONS) if self.block_only else status

    def _tell(self, message: Message) -> None:
        self._push(self._host.codec.encode(message), message.spec.kind, message.spec.channel)

    def _reply(self, request_id: int, message: Message) -> None:
        self._push(self._host.codec.encode(message), _REPLY, message.spec.channel, reply_to=request_id)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes of the peer."""
        if self.phase is Phase.CLOSING or self.phase is Phase.GONE:
            return
        self._liveness.heard(self._host.reactor.seconds())
        self._inbox.add(data)
        if self._next_turn is None:
            self._take_turn()

    def _take_turn(self) -> None:
        """Handle some of what has come; the rest when other links have had their turn."""
        self._next_turn = None
        now = self._host.reactor.seconds()
        outbox = self._outbox
        outbox.cork()
        try:
            for received in self._inbox.turn():
                self._received(received, now)
                if self.end is not None:
                    return
        except PeerFault as fault:
            self._blame(fault)
            return
        finally:
            outbox.uncork()
        if self._inbox:
            self._next_turn = self._host.reactor.callLater(0, self._take_turn)
        self._throttle(now)

    def _take_all_turns(self) -> None:
        """Nothing more will come, and what came last may say why."""
        while self._next_turn is not None and self.end is None:
            self._next_turn.cancel()
            self._take_turn()

    def _account(self, now: float) -> None:
        partial = self._inbox.partial
        if not partial:
            self.partial_since = None
        elif self.partial_since is None:
            self.partial_since = now
        held = 0
        if self.end is None:
            held = partial + self._inbox.waiting + self._notices.unhandled + self._serving.waiting
            if self._outbox.queue.full:
                held += self._outbox.queue.queued
        if held != self._held:
            self._held = held
            self._host.budget.holds(self, held, self.partial_since)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, whoever closed it."""
        self._take_all_turns()
        error = reason.value
        if isinstance(error, PeerFault):
            self._finish(error.reason, error.detail, penalty=error.penalty)
        elif isinstance(error, PeerGone):
            self._finish(error.reason, error.detail, by_us=False)
        elif self.phase is Phase.GREETING and not self._authenticated:
            self._finish(Reason.REFUSED_AFTER_TLS, "closed before the first frame", by_us=False)
        else:
            detail = "" if isinstance(error, ConnectionDone) else reason.getErrorMessage()
            self._finish(Reason.CONNECTION_LOST, detail, by_us=False)
        self._life.lost()
        self._host.link_gone(self)

    # -- messages

    def _received(self, received: Received, now: float) -> None:
        if isinstance(received, WireError):
            raise received
        if not isinstance(received, Incoming):
            self._authenticated = True
            self._host.skipped(self, received.tag)
            self.quota.charge(Message, None, received.size, now)
            if self.phase is _READY and received.kind is _REQUEST:
                self._serving.unsupported(received.id)
            elif self.phase is _READY and received.kind is _REPLY:
                self._asking.replied(received.id, None)
            return
        message = received.message
        if self.phase is not _READY or type(message) is Disconnect:
            self._greeted(message)
        elif received.kind is _REPLY:
            self._asking.replied(received.id, message)
        elif wait := self.quota.charge(type(message), message, received.size, now):
            self._above_quota(received, wait, now)
        elif received.kind is _REQUEST:
            if type(message) is Ping:
                self._reply(received.id, Pong(self._host.enr_seq()))
            else:
                self._serving.asked(received.id, message, received.size)
        else:
            self._notified(message, received.size)

    def _above_quota(self, received: Incoming, wait: float, now: float) -> None:
        """Serve not; a notification is dropped, and so is a Ping, to which nothing but Pong is an answer."""
        kind = type(received.message)
        if received.kind is _REQUEST and kind is not Ping:
            self._reply(received.id, Refused(RefusalReason.TOO_OFTEN, int(wait * 1000) + 1))
        if self.end is None and self.quota.first(kind, now):
            self.fault(Reason.MISBEHAVED, f"{kind.__name__}: more than is of use", Penalty.USELESS)

    def _greeted(self, message: Message) -> None:
        """Take a message of the greeting, or the peer's ``Disconnect``."""
        if isinstance(message, Disconnect):
            try:
                reason, detail = Reason(message.reason), message.detail
            except ValueError:
                reason, detail = Reason.CONNECTION_LOST, f"reason {message.reason}: {message.detail}"
            self._finish(reason, detail, by_us=False)
            return
        self._authenticated = True
        assert self._greeting is not None
        stage = self._greeting.received(message)
        if isinstance(message, Hello):
            self._tell(Ack(self._host.own_id))
            self._tell(self._own_status())
        elif stage is Stage.READY:
            self._status = cast(Status, message)
            self.warning, self.height = self._greeting.warning, self._status.height
            self._greeting = None
            self._life.greeted()
            self.connected_at = self._host.now()
            self._alarm.by(self._host.reactor.seconds())
            self._host.link_ready(self)

    def _notified(self, message: Message, size: int) -> None:
        if isinstance(message, (Hello, Ack, Status)):
            raise PeerFault(Reason.OUT_OF_ORDER, f"{type(message).__name__} after the greeting")
        if self.warning is not None and isinstance(message, AnnounceBlocks):
            self.height = max([self.height, *(height for _, height in message.blocks)])
            self._host.heights_heard(self)
        if self.end is None:
            self._notices.take(message, size)

    # -- back-pressure and time

    def _unhandled_changed(self) -> None:
        if self.end is None:
            self._throttle(self._host.reactor.seconds())

    def _throttle(self, now: float) -> None:
        """Read, or read not, by how much is unhandled."""
        live = self._liveness
        too_much = bool(self._inbox) or self._notices.unhandled > self._unhandled_limit
        if too_much and live.reading:
            live.stopped_reading()
            cast(Any, self.transport).pauseProducing()
        elif not too_much and not live.reading:
            live.resumed_reading(now)
            self._alarm.by(now)
            cast(Any, self.transport).resumeProducing()
        self._account(now)

    def _transport_full(self) -> None:
        now = self._host.reactor.seconds()
        self._liveness.stalled(now)
        if self.phase is _READY:
            self._alarm.by(now + STALLED_AFTER)

    def _transport_drained(self) -> None:
        self._liveness.moved()
        if self.end is None and not self._outbox.queue.full:
            self._account(self._host.reactor.seconds())
            self._serving.turn()

    def set_alarm(self) -> Alarm:
        """One timer serves all deadlines of a ready link: requests, keep-alive, stalls."""
        self._alarm = Alarm(self._host.reactor, self._wake)
        return self._alarm

    def _wake(self) -> None:
        now = self._host.reactor.seconds()
        if self._asking.expire(now):
            # one fault, however many questions: it is one slow moment
            self._host.useless(self, Reason.MISBEHAVED, "no answer in time")
        if self.end is None:
            self._keep_alive(now)
        times = [time for time in (self._asking.next_deadline, self._liveness.next()) if time is not None]
        if times:
            self._alarm.by(min(times))

    def _keep_alive(self, now: float) -> None:
        match self._liveness.due(now):
            case Due.PING:
                self.request(Ping(self._host.enr_seq()), timeout=DEAD_AFTER).addBoth(lambda _: None)
            case Due.DEAD:
                self._finish(Reason.PING_TIMEOUT, f"silent for {DEAD_AFTER:g} s")
            case Due.STALLED:
                self._finish(Reason.NOT_READING, f"no byte has left for {STALLED_AFTER:g} s", penalty=Penalty.USELESS)
            case Due.NOTHING:
                pass

    # -- the end

    def _blame(self, fault: PeerFault) -> None:
        self._finish(fault.reason, fault.detail, penalty=fault.penalty, rule=fault.rule)

    def _finish(
        self, reason: Reason, detail: str, by_us: bool = True, penalty: Penalty = Penalty.NONE, rule: str = ""
    ) -> None:
        """End the link; only the first call counts."""
        before = self.phase
        if self.end is not None or before is Phase.GONE:
            return
        self._inbox.clear()
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
        detail = _printable(detail)
        peer_id = self.peer_id or None
        ready = before is Phase.READY
        self.end = LinkEnd(
            self._host.now(), peer_id, self.address, reason, detail, by_us, self.outbound, ready, penalty, rule
        )
        self._life.ended()
        if before is Phase.DIALING:
            self._host.link_ended(self, self.end)
            return
        transport = cast(Any, self.transport)
        if before is not Phase.SECURING:
            self._serving.close()
            if by_us and reason < 256:
                text = detail.encode()[:DETAIL_LIMIT].decode("utf-8", "ignore")
                self._outbox.last_word(self._host.codec.encode(Disconnect(reason, text)))
            else:
                self._outbox.close()
        self._account(self.opened_at)
        self._asking.fail_all(reason, detail)
        self._host.link_ended(self, self.end)
        if not self._liveness.reading:
            transport.resumeProducing()
        transport.loseConnection()

    def plan_cut(self) -> IDelayedCall:
        """Cut the connection when the last words have had time to leave."""
        cut: IDelayedCall = self._host.reactor.callLater(FLUSH_TIMEOUT, cast(Any, self.transport).abortConnection)
        return cut
