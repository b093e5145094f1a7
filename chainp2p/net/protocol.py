"""One link to a peer, from the dial to the recorded end: its transport, back-pressure, and how it ends."""

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from chainp2p.errors import PeerFault, PeerGone, Penalty, Reason
from chainp2p.net.conversation import Conversation, printable
from chainp2p.net.host import LinkHost
from chainp2p.net.life import Phase, begin_accepted, begin_dialing
from chainp2p.net.outbox import Outbox
from chainp2p.net.serving import Serving
from chainp2p.peer.ends import DETAIL_LIMIT, LinkEnd
from chainp2p.peer.handshake import Greeting, Proven
from chainp2p.peer.inbox import Inbox
from chainp2p.peer.liveness import STALLED_AFTER, Liveness
from chainp2p.peer.outbound import Purpose
from chainp2p.wire.messages import (
    Disconnect,
)
from chainp2p.wire.schema import Channel

__all__ = ["PeerProtocol"]

#: Transport security, greeting and both ``Status`` must be done in so many seconds.
HANDSHAKE_TIMEOUT = 10.0
#: How long the last words may take to leave (seconds); then the connection is cut.
FLUSH_TIMEOUT = 1.0
#: Bytes received and not yet handled above which a link is not read (a larger message raises it).
UNHANDLED_LIMIT = 5_000_000

_NOTHING: tuple[str, int] = ("", 0)


@implementer(IHandshakeListener)
class PeerProtocol(Conversation, TwistedProtocol):
    """A connection to a peer; a :class:`chainp2p.peer.link.Link` once it is ready.

    1. Nothing is sent before ``handshakeCompleted``; what is said from then on is :class:`Conversation`.
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
        super().__init__(host, purpose)
        self.expected = expected
        self.outbound = outbound
        self.dialled: tuple[str, int] | None = None  #: as the dial named it, before a name was looked up
        self.local_address: tuple[str, int] = _NOTHING
        self.opened_at = 0.0  #: by ``reactor.seconds()``
        self._inbox = Inbox(host.codec)
        self._next_turn: IDelayedCall | None = None
        self.partial_since: float | None = None
        self._held = 0
        self._unhandled_limit = max(UNHANDLED_LIMIT, max(spec.maximum for spec in host.codec.registry.by_tag.values()))

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
            self._finish(error.reason, error.detail, penalty=error.penalty, rule=error.rule)
        elif isinstance(error, PeerGone):
            self._finish(error.reason, error.detail, by_us=False)
        elif self.phase is Phase.GREETING and not self._authenticated:
            self._finish(Reason.REFUSED_AFTER_TLS, "closed before the first frame", by_us=False)
        else:
            detail = "" if isinstance(error, ConnectionDone) else reason.getErrorMessage()
            self._finish(Reason.CONNECTION_LOST, detail, by_us=False)
        self._life.lost()
        self._host.link_gone(self)

    # -- back-pressure

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
        if self.phase is Phase.READY:
            self._alarm.by(now + STALLED_AFTER)

    def _transport_drained(self) -> None:
        self._liveness.moved()
        if self.end is None and not self._outbox.queue.full:
            self._account(self._host.reactor.seconds())
            self._serving.turn()

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

    # -- the end

    def fault(self, reason: Reason, detail: str, penalty: Penalty = Penalty.MALICIOUS) -> None:
        """The peer is to blame; for other settings, where its blocks are only bad by ours."""
        if reason is Reason.MISBEHAVED and self.warning is not None:
            self._host.blocks_blamed(self)
        if penalty is Penalty.USELESS:
            self._host.useless(self, reason, printable(detail))
        else:
            self._finish(reason, detail, penalty=penalty)

    def close(self, reason: Reason, detail: str = "", rule: str = "") -> None:
        """End the link for a reason that blames nobody."""
        self._finish(reason, detail, rule=rule)

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
        detail = printable(detail)
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
