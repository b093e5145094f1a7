"""Headers from one peer: find where its chain leaves ours, then take what follows, to its end."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from attrs import frozen

from chainp2p.chain.interfaces import HeaderInfo, HeadersRejected
from chainp2p.errors import PeerFault, Reason
from chainp2p.sync.ancestor import AncestorSearch
from chainp2p.sync.serving import HEADERS_MAX

__all__ = ["Ask", "Chased", "Outcome", "Parted", "Turned", "chase", "follows", "probe"]

#: Headers looked at of a branch that parts below the finalized block, only to prove a conflict (chain design, "Sync").
PROBE_HEADERS = 4_096

#: Asks the peer for at most so many raw headers after a hash; None: it does not have that on its best chain.
Ask: TypeAlias = Callable[[bytes, int], Awaitable[Sequence[bytes] | None]]


@frozen
class Chased:
    """Its chain is known up to its end, *tip*."""

    tip: HeaderInfo


@frozen
class Parted:
    """It has nothing of our chain down to the finalized block: it is behind that, or on another branch."""


@frozen
class Turned:
    """It changed branches meanwhile: worth another try."""


Outcome: TypeAlias = Chased | Parted | Turned


async def chase(chain: Any, ask: Ask, claimed: bytes) -> Outcome:
    """Bring our header tree up to the end of a peer's chain.

    :param claimed: the hash that the peer said it has: one question less when its chain ends there.
    :raises HeadersRejected: for a header that is bad, early, condemned, or without its parent.
    :raises PeerFault: for headers that do not follow what was asked.
    """
    search = AncestorSearch(chain.best_header.height, min(chain.finalized.height, chain.best_header.height))
    reached: HeaderInfo | None = None
    while (height := search.ask()) is not None:
        ours = await chain.header_at(height)
        raws = None if ours is None else await ask(ours.hash, HEADERS_MAX)
        if raws is None:
            search.lacks(height)
            continue
        if not raws:
            return Chased(ours)
        known = await chain.locate(chain.block_hash(raws[-1]))
        if known is None:
            return await _forward(chain, ask, claimed, ours, raws)
        follows(ours.hash, known.height == ours.height + len(raws))
        reached = known
        search.has(height)
        if len(raws) < HEADERS_MAX:
            break
    if reached is None:
        return Parted()
    if reached.hash == claimed:
        return Chased(reached)
    following = await ask(reached.hash, HEADERS_MAX)
    if following is None:
        return Turned()
    return await _forward(chain, ask, claimed, reached, following) if following else Chased(reached)


def follows(after: bytes, good: bool) -> None:
    """Refuse headers that do not continue from what was asked: a peer could make us walk in circles with them."""
    if not good:
        raise PeerFault(Reason.MISBEHAVED, f"headers that do not follow {after.hex()[:8]}")


async def _forward(chain: Any, ask: Ask, claimed: bytes, after: HeaderInfo, raws: Sequence[bytes]) -> Outcome:
    while True:
        infos = await chain.add_headers(raws)
        follows(after.hash, infos[0].parent == after.hash)
        tip: HeaderInfo = infos[-1]
        if tip.hash == claimed:
            return Chased(tip)
        following = await ask(tip.hash, HEADERS_MAX)
        if following is None:
            return Turned()
        if not following:
            return Chased(tip)
        after, raws = tip, following


async def probe(chain: Any, ask: Ask) -> list[bytes]:
    """Check headers of a branch that parts from ours below the finalized block, storing none.

    The chain publishes a ``FinalityConflict`` if they prove one. Returns the headers, none if they are not good.
    """
    search = AncestorSearch(chain.finalized.height, 0)
    raws: list[bytes] = []
    while (height := search.ask()) is not None:
        ours = await chain.header_at(height)
        found = None if ours is None else await ask(ours.hash, HEADERS_MAX)
        if found is None:
            search.lacks(height)
        else:
            search.has(height)
            raws = list(found)
    while raws and len(raws) < PROBE_HEADERS:
        found = await ask(chain.block_hash(raws[-1]), HEADERS_MAX)
        if not found:
            break
        raws.extend(found)
    del raws[PROBE_HEADERS:]
    try:
        if raws:
            await chain.check_headers(raws)
    except HeadersRejected:
        return []  # not a proof, and no offence: such a branch is never followed
    return raws
