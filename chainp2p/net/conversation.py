"""What the two ends of a link say to each other once it is secured: greeting, messages both ways, signs of life."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from attrs import evolve
from twisted.internet.defer import Deferred, fail

from chainp2p.errors import PeerFault, PeerGone, Penalty, Reason, RefusalReason
from chainp2p.net.alarm import Alarm
from chainp2p.net.asking import Asking
from chainp2p.net.host import LinkHost
from chainp2p.net.life import LinkLife, Living, Phase
from chainp2p.net.notices import Notices
from chainp2p.net.outbox import Outbox
from chainp2p.net.serving import Serving
from chainp2p.peer.ends import DETAIL_LIMIT, LinkEnd
from chainp2p.peer.enr import Enr
from chainp2p.peer.handshake import Greeting, Stage
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

if TYPE_CHECKING:
    from chainp2p.net.protocol import PeerProtocol

__all__ = ["Conversation", "printable"]

_NOTHING: tuple[str, int] = ("", 0)
#: Of the path that each message takes: in Python 3.11 an attribute of an enum class costs twice one of a module.
_READY, _REQUEST, _REPLY = Phase.READY, Kind.REQUEST, Kind.REPLY
_NOT_READING, _DROPPED = Pushed.NOT_READING, Pushed.DROPPED


def printable(text: str) -> str:
    """Return *text*, shortened to what is kept of a detail and without control characters."""
    return "".join(c if c.isprintable() else "?" for c in text[:DETAIL_LIMIT])


class Conversation(Living):
    """The messages of a link: what :class:`chainp2p.peer.link.Link` offers, and where each message that comes goes.

    1. Before the link is ready the greeting, a table (:class:`Greeting`), takes each message; a ``Disconnect`` ends it
       at any time.
    2. Each message that is no reply is charged to its quota first. Requests go to :class:`Serving`, notifications to
       :class:`Notices`, replies to :class:`Asking`.
    3. One timer serves all deadlines of a ready link: requests, keep-alive, stalls.

    :param purpose: what we opened the link for; None for one that the other side opened.
    """

    _life: LinkLife  #: from the dial or the connection on
    _liveness: Liveness  #: from the connection on
    _outbox: Outbox  #: once it is secured
    _serving: Serving  #: likewise

    def __init__(self, host: LinkHost, purpose: Purpose | None) -> None:
        self._host = host
        self.purpose = purpose
        self.peer_id = b""
        self.address: tuple[str, int] = _NOTHING
        self.connected_at = 0.0  #: Unix time of becoming ready
        self.end: LinkEnd | None = None
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
        self._greeting: Greeting | None = None

    # -- what the connection does for it

    @property
    def _link(self) -> "PeerProtocol":
        return cast("PeerProtocol", self)  # the one class that converses

    def _finish(
        self, reason: Reason, detail: str, by_us: bool = True, penalty: Penalty = Penalty.NONE, rule: str = ""
    ) -> None:
        raise NotImplementedError

    def _account(self, now: float) -> None:
        raise NotImplementedError

    def _unhandled_changed(self) -> None:
        raise NotImplementedError

    def _blame(self, fault: PeerFault) -> None:
        self._finish(fault.reason, fault.detail, penalty=fault.penalty, rule=fault.rule)

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
        return self._host.is_useless(self._link)

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

    def credit(self, what: Credit) -> None:
        """The peer was the first to bring something new and valid."""
        self.credited[what] = self._host.reactor.seconds()

    # -- messages

    def _own_status(self) -> Status:
        status = self._host.status(packed_endpoint(*self.address))
        return evolve(status, flags=status.flags | NO_TRANSACTIONS) if self.block_only else status

    def _tell(self, message: Message) -> None:
        self._push(self._host.codec.encode(message), message.spec.kind, message.spec.channel)

    def _reply(self, request_id: int, message: Message) -> None:
        self._push(self._host.codec.encode(message), _REPLY, message.spec.channel, reply_to=request_id)

    def _received(self, received: Received, now: float) -> None:
        if isinstance(received, WireError):
            raise received
        if not isinstance(received, Incoming):
            self._authenticated = True
            self._host.skipped(self._link, received.tag)
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
            self._host.above_quota(self._link, kind.__name__)

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
            self._host.link_ready(self._link)

    def _notified(self, message: Message, size: int) -> None:
        if isinstance(message, (Hello, Ack, Status)):
            raise PeerFault(Reason.OUT_OF_ORDER, f"{type(message).__name__} after the greeting")
        if self.warning is not None and isinstance(message, AnnounceBlocks):
            self.height = max([self.height, *(height for _, height in message.blocks)])
            self._host.heights_heard(self._link)
        if self.end is None:
            self._notices.take(message, size)

    # -- time

    def set_alarm(self) -> Alarm:
        """One timer serves all deadlines of a ready link: requests, keep-alive, stalls."""
        self._alarm = Alarm(self._host.reactor, self._wake)
        return self._alarm

    def _wake(self) -> None:
        now = self._host.reactor.seconds()
        if self._asking.expire(now):
            # one fault, however many questions: it is one slow moment
            self._host.useless(self._link, Reason.MISBEHAVED, "no answer in time")
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
