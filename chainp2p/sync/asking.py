"""Asking peers: with patience that fits each, saying so in words, and putting blame where it belongs."""

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any

from chainp2p.chain.interfaces import HeaderInfo, IHeaderRuns
from chainp2p.errors import PeerFault, PeerGone, Reason, RequestRefused, RequestTimedOut
from chainp2p.peer.link import Link
from chainp2p.sync.claims import Claims
from chainp2p.sync.headers.chase import hashes_of
from chainp2p.sync.headers.sieve import Sieve
from chainp2p.sync.state import Activity, Waiting, short
from chainp2p.wire.messages import GetHeaders, NotFound

if TYPE_CHECKING:
    from random import Random

    from twisted.internet.interfaces import IReactorTime

__all__ = ["Asking", "UNANSWERED"]

#: How a question may end without a useful answer; :meth:`Asking.failed` knows what each means.
UNANSWERED = (PeerGone, RequestTimedOut, RequestRefused, PeerFault)
#: A refusal that names no time counts as this. Seconds.
REFUSED_REST = 0.5


class Asking:
    """The questions of sync for headers, and what the end of any question means for the peer.

    1. Every question has a deadline, the peer's own patience, so that whoever asks always goes on.
    2. What is asked now is kept, and what is done otherwise in words: it is what ``explain`` says.
    3. A fault ends the link, once; a refusal makes the peer rest; silence makes it the last choice for a while.
    """

    def __init__(self, chain: Any, reactor: "IReactorTime", claims: Claims[Link], random: "Random") -> None:
        self._random = random
        self._chain = chain
        self._reactor = reactor
        self._claims = claims
        self._doing = Activity("no peers", reactor.seconds())
        self._open: list[Activity] = []

    def doing(self, what: str) -> None:
        """Say what is done from now on; saying the same again changes nothing."""
        if self._doing.what != what:
            self._doing = Activity(what, self._reactor.seconds())

    def text(self, now: float) -> str:
        """Say what is done: a question that is open, if there is one."""
        first = next(iter(self._open), self._doing)
        return (self._doing if self._doing in self._open else first).text(now)

    def waits(self, now: float) -> list[Waiting]:
        """The questions that are open."""
        return [wait for one in self._open if (wait := one.waiting(now)) is not None]

    def headers(
        self, link: Link, after: bytes, count: int, what: str, aside: bool = False
    ) -> "Awaitable[Sequence[bytes] | None]":
        """Ask now for at most *count* raw headers after a hash; the answer can be awaited, None: the peer does not have
        that on its best chain. *aside*: other things are done meanwhile. Raises PeerGone if the peer left.
        """
        if self._claims.get(link) is None:
            raise PeerGone(Reason.CONNECTION_LOST, "left while others were asked")
        patience, now = self._claims.patience(link), self._reactor.seconds()
        words = f"{short(link.peer_id)} is asked for {what}"
        otherwise = "the next peer is asked, or this one again"
        mine = Activity(words, now, now + patience, otherwise, link.peer_id, after)
        self._open.append(mine)
        if not aside:
            self._doing = mine

        def ended(outcome: Any) -> Any:
            self._open.remove(mine)
            if self._doing is mine:
                self.doing(f"the chain checks {what} of {short(link.peer_id)}")
            return outcome

        def answered(reply: Any) -> Sequence[bytes] | None:
            self._claims.answered(link, self._reactor.seconds() - now)
            return None if isinstance(reply, NotFound) else reply.headers

        return link.request(GetHeaders(after, count), patience).addBoth(ended).addCallback(answered)

    def sieve(self, start: HeaderInfo, bar: bytes) -> Sieve:
        """What headers after *start* are put through, which have to reach the rank *bar*."""
        key = self._random.getrandbits(128).to_bytes(16, "big")
        return Sieve(start, bar, key, not IHeaderRuns.providedBy(self._chain))

    def hashes(self, raws: Sequence[bytes]) -> list[bytes]:
        """Return the hashes of raw headers or blocks that a peer sent; PeerFault if they are malformed."""
        return hashes_of(self._chain, raws)

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
