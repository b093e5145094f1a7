"""The blocks of known headers: from one peer at a time, in order, some fetched while others are submitted."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from chainp2p.chain.interfaces import (
    Connected,
    Fault,
    HeaderInfo,
    HeadersRejected,
    Invalid,
    NotYet,
    ParentMissing,
    Stored,
    Verdict,
)
from chainp2p.errors import PeerFault, Reason
from chainp2p.peer.link import Credit, Link
from chainp2p.sync.ancestor import AncestorSearch
from chainp2p.sync.asking import UNANSWERED, Asking
from chainp2p.sync.chase import follows
from chainp2p.sync.claims import Claims
from chainp2p.sync.serving import HEADERS_MAX
from chainp2p.sync.state import Phase, short
from chainp2p.wire.messages import GetBlocks, GetHeaders, NotFound

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime
    from twisted.logger import Logger

__all__ = ["BlockFetch", "EARLY_REST_MAX"]

#: A header or block from the future is asked for again at its time, but after this at the latest. Seconds.
EARLY_REST_MAX = 60.0
#: Requests for blocks open to the one peer: enough that the line is never idle, at most 6 MiB on the way.
IN_FLIGHT = 3


def _drop(flights: "deque[tuple[Sequence[HeaderInfo], Any]]") -> None:
    """Close requests that nobody awaits."""
    while flights:
        _, asked = flights.pop()
        asked.addErrback(lambda _: None)
        asked.cancel()


class BlockFetch:
    """Brings bodies to headers.

    1. One peer is asked for a run of blocks, best standing first; whoever has not the first of them, or fails, makes
       room for the next. Not having a block is no offence.
    2. A body that does not match its header costs its sender the link; a block that fails when it is connected costs
       nobody on the wire: its producer made it, and the chain leaves that branch.
    3. If nobody has the blocks of the best header (who had them is gone), the blocks of the best branch that somebody
       serves are taken, if it wins over our head: a branch without bodies must not keep us from one with bodies.

    :param now: Unix time in seconds.
    """

    def __init__(
        self,
        chain: Any,
        reactor: "IReactorTime",
        now: Callable[[], float],
        claims: Claims[Link],
        asking: Asking,
        log: "Logger",
    ) -> None:
        self._chain = chain
        self._reactor = reactor
        self._now = now
        self._claims = claims
        self._asking = asking
        self._log = log
        #: The next block is from the future: not before this, in the reactor's seconds.
        self.not_before = 0.0

    async def step(self, missing: Sequence[HeaderInfo]) -> bool:
        """Fetch and submit *missing*, oldest first; answer whether any came."""
        now = self._reactor.seconds()
        if now < self.not_before:
            return False
        for link in self._claims.for_blocks(missing[0], now):
            if await self._fetch(link, missing):
                return True
        for link in self._claims.for_fallback(self._chain.head, self._reactor.seconds()):
            if await self._other_branch(link):
                return True
        what = f"block {missing[0].height} {short(missing[0].hash)} is awaited, no peer has it now"
        self._asking.doing(Phase.BLOCKS, what)
        return False

    async def _fetch(self, link: Link, plan: Sequence[HeaderInfo]) -> bool:
        """Take the blocks of *plan* from one peer; answer whether any were stored."""
        progress, asked_up_to = False, 0
        flights: deque[tuple[Sequence[HeaderInfo], Any]] = deque()
        try:
            while True:
                while asked_up_to < len(plan) and len(flights) < IN_FLIGHT:
                    part = self._part(link, plan[asked_up_to:])
                    flights.append((part, self._ask(link, part)))
                    asked_up_to += len(part)
                if not flights:
                    return progress
                part, asked = flights.popleft()
                raws = self._take(link, part, await asked)
                if len(raws) < len(part):  # cut short: what follows is asked for again, from there
                    _drop(flights)
                    plan = plan[plan.index(part[0]) + len(raws) :] if raws else ()
                    asked_up_to = 0
                verdicts = await self._chain.submit_blocks(raws, self._chain.best_header.hash) if raws else []
                progress = progress or any(isinstance(verdict, Connected | Stored) for verdict in verdicts)
                accepted = [self._accepted(link, verdict) for verdict in verdicts]  # each of them is judged
                if not all(accepted):
                    return progress
        except UNANSWERED as error:
            self._asking.failed(link, error)
            return progress
        finally:
            _drop(flights)

    def _part(self, link: Link, plan: Sequence[HeaderInfo]) -> Sequence[HeaderInfo]:
        peer = self._claims.get(link)
        return plan[: peer.batch if peer is not None else 1]

    def _ask(self, link: Link, part: Sequence[HeaderInfo]) -> Any:
        what = f"{short(link.peer_id)} is asked for {len(part)} blocks from {part[0].height} {short(part[0].hash)}"
        return self._asking.request(link, GetBlocks(part[0].hash, len(part)), Phase.BLOCKS, what)

    def _take(self, link: Link, part: Sequence[HeaderInfo], reply: Any) -> list[bytes]:
        """Return the blocks of *reply* that *part* names; none: the peer has not even the first."""
        if isinstance(reply, NotFound) or not reply.blocks:
            self._claims.lacks(link, part[0].hash, self._reactor.seconds())
            return []
        hashes = self._asking.hashes(reply.blocks)
        if hashes[0] != part[0].hash:
            raise PeerFault(Reason.MISBEHAVED, "another block than the one asked for")
        good = 1  # what follows on the peer's best chain may leave the plan
        while good < min(len(hashes), len(part)) and hashes[good] == part[good].hash:
            good += 1
        self._claims.delivered(link, len(part), good)
        return list(reply.blocks[:good])

    def _accepted(self, link: Link, verdict: Verdict) -> bool:
        match verdict:
            case Invalid(fault=Fault.SENDER, reason=reason):
                self._asking.failed(link, PeerFault(Reason.MISBEHAVED, f"block: {reason}"))
            case Invalid(hash=hash, reason=reason):
                self._log.warn("block {hash} is invalid: {reason}; its branch is left", hash=hash.hex(), reason=reason)
            case NotYet(when=when):
                self.not_before = self._reactor.seconds() + min(max(when - self._now(), 0.01), EARLY_REST_MAX)
            case ParentMissing():
                pass
            case Connected() | Stored():
                link.credit(Credit.BLOCK)
                return True
            case _:
                return True
        return False

    async def _other_branch(self, link: Link) -> bool:
        """Take blocks of the branch that *link* serves, from where it leaves our connected chain."""

        async def ask(after: bytes) -> tuple[bytes, ...] | None:
            what = f"{short(link.peer_id)} is asked for another branch after {short(after)}"
            reply = await self._asking.request(link, GetHeaders(after, HEADERS_MAX), Phase.BLOCKS, what)
            headers: tuple[bytes, ...] | None = None if isinstance(reply, NotFound) else reply.headers
            return headers

        chain = self._chain
        search = AncestorSearch(chain.head.height, chain.finalized.height)
        after, raws = b"", None
        try:
            while (height := search.ask()) is not None:
                hash = await chain.hash_at(height)
                found = None if hash is None else await ask(hash)
                if found is None:
                    search.lacks(height)
                else:
                    search.has(height)
                    after, raws = hash, found
            while raws:
                self._asking.hashes(raws)
                infos = await chain.add_headers(raws)
                follows(after, infos[0].parent == after)
                plan = [info for info in infos if await chain.block(info.hash) is None]
                if plan:
                    return await self._fetch(link, plan)
                after = infos[-1].hash
                raws = await ask(after)
        except HeadersRejected:
            self._claims.failed(link, self._reactor.seconds())
        except UNANSWERED as error:
            self._asking.failed(link, error)
        return False
