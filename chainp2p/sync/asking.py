"""Asking peers: with patience that fits each, saying so in words, and putting blame where it belongs."""

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any

from chainp2p.errors import PeerFault, PeerGone, Reason, RequestRefused, RequestTimedOut
from chainp2p.peer.link import Link
from chainp2p.sync.claims import Claims
from chainp2p.sync.state import Activity, Phase, SyncState
from chainp2p.wire.messages import Message

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

__all__ = ["Asking", "UNANSWERED"]

#: How a question may end without a useful answer; :meth:`Asking.failed` knows what each means.
UNANSWERED = (PeerGone, RequestTimedOut, RequestRefused, PeerFault)
#: A refusal that names no time counts as this. Seconds.
REFUSED_REST = 0.5


class Asking:
    """The questions of sync, one phase at a time.

    1. Every question has a deadline, the peer's own patience, so that whoever asks always goes on.
    2. What is asked now is kept in words: it is what :meth:`explain` says.
    3. A fault ends the link, once; a refusal makes the peer rest; silence makes it the last choice for a while.
    """

    def __init__(self, chain: Any, reactor: "IReactorTime", claims: Claims[Link]) -> None:
        self._chain = chain
        self._reactor = reactor
        self._claims = claims
        self._starting: int | None = None
        self._activity = Activity(Phase.IDLE, "no peers", reactor.seconds())

    def doing(self, phase: Phase, what: str, link: Link | None = None, patience: float | None = None) -> None:
        """Say what is done from now on; saying the same again changes nothing."""
        activity = self._activity
        if link is None and (activity.phase, activity.what) == (phase, what):
            return
        now = self._reactor.seconds()
        if phase in (Phase.IDLE, Phase.FOLLOWING):
            self._starting = None
        elif self._starting is None:
            self._starting = self._chain.head.height
        until = None if patience is None else now + patience
        peer = None if link is None else link.peer_id
        self._activity = Activity(phase, what, now, until, "the next peer is asked, or this one again", peer)

    def explain(self) -> SyncState:
        """Say what it does, for whom it waits, and what happens if that does not come."""
        activity, current = self._activity, self._chain.head.height
        highest = max(current, self._chain.best_header.height, self._claims.highest)
        starting = current if self._starting is None else self._starting
        text = activity.text(self._reactor.seconds())
        return SyncState(activity.phase, starting, current, highest, activity.peer, text)

    def request(self, link: Link, message: Message, phase: Phase, what: str) -> Awaitable[Any]:
        """Send a question now; the answer can be awaited. Raises PeerGone if the peer left."""
        if self._claims.get(link) is None:
            raise PeerGone(Reason.CONNECTION_LOST, "left while others were asked")
        patience = self._claims.patience(link)
        self.doing(phase, what, link, patience)
        asked = self._reactor.seconds()

        def answered(reply: Any) -> Any:
            self._claims.answered(link, self._reactor.seconds() - asked)
            return reply

        return link.request(message, patience).addCallback(answered)

    def hashes(self, raws: Sequence[bytes]) -> list[bytes]:
        """Return the hashes of raw headers or blocks that a peer sent; PeerFault if they are malformed."""
        try:
            return [self._chain.block_hash(raw) for raw in raws]
        except ValueError as error:
            raise PeerFault(Reason.MALFORMED_MESSAGE, str(error)) from None

    def failed(self, link: Link, error: Exception) -> None:
        """A question ended with *error*: decide what that means for the peer."""
        now = self._reactor.seconds()
        match error:
            case PeerFault() if self._claims.get(link) is not None:  # blamed once for a batch
                self._claims.left(link)
                link.fault(error.reason, error.detail, error.penalty)
            case RequestRefused(retry_ms=retry):
                self._claims.postpone(link, now + max(retry / 1000, REFUSED_REST))
            case PeerGone():
                self._claims.left(link)
            case _:
                self._claims.failed(link, now)
