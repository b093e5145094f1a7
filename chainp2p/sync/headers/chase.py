"""Headers from one peer: find where its chain leaves ours, then take what follows, to its end."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import frozen

from chainp2p.chain.interfaces import HeaderInfo, HeadersRejected
from chainp2p.errors import PeerFault, Reason
from chainp2p.peer.tasks import dismiss
from chainp2p.sync.headers.ancestor import AncestorSearch
from chainp2p.sync.headers.sieve import OtherHeaders, Sieve, Stage
from chainp2p.sync.serving import HEADERS_MAX
from chainp2p.sync.state import wins

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

__all__ = [
    "Ask",
    "Chased",
    "Outcome",
    "Parted",
    "Paused",
    "Terms",
    "Turned",
    "chase",
    "follows",
    "hashes_of",
    "probe",
    "sift",
]

#: Headers looked at of a branch that parts below the finalized block, only to prove a conflict (chain design, "Sync").
PROBE_HEADERS = 4_096

#: Asks the peer, now, for at most so many raw headers after a hash; None: it does not have that on its best chain.
Ask: TypeAlias = "Callable[[bytes, int], Deferred[Sequence[bytes] | None]]"


@frozen
class Chased:
    """Its chain is known up to its end, *tip*.

    :param stored: its headers are in our tree; otherwise they rank too low for that.
    """

    tip: HeaderInfo
    stored: bool = True


@frozen
class Parted:
    """It has nothing of our chain down to the finalized block: it is behind that, or on another branch."""


@frozen
class Turned:
    """It changed branches meanwhile: worth another try."""

    why: str = "it changed branches"


@frozen
class Paused:
    """There is more to come, and others wait; the sieve knows where to go on."""


Outcome: TypeAlias = Chased | Parted | Turned | Paused


@frozen
class Terms:
    """What one peer's headers are taken on.

    :param claimed: the hash that the peer said it has: one question less when its chain ends there.
    :param begin: makes the sieve for what follows a header of ours.
    :param ceiling: a chain higher than this that has not shown its worth is given up.
    :param judged: the end of its chain when that was found to rank too low, if it was.
    :param go_on: asked at each message, whether to ask for the next one, too.
    :param grown: told when headers were stored: their blocks need not wait for the end of the chain.
    :param count: headers that are asked for at once.
    :param moved: our best header is another one than when the sieve was begun or last gone on with.
    """

    claimed: bytes
    begin: Callable[[HeaderInfo], Sieve]
    ceiling: int
    judged: HeaderInfo | None
    go_on: Callable[[], bool]
    grown: Callable[[], None]
    count: int = HEADERS_MAX
    moved: bool = False


async def chase(chain: Any, ask: Ask, terms: Terms, sieve: Sieve | None = None) -> Outcome:
    """Bring our header tree up to the end of a peer's chain, where that wins over our best header.

    :param sieve: where an earlier chase of the same peer paused.
    :raises HeadersRejected: for a header that is bad, early, condemned, or without its parent.
    :raises PeerFault: for headers that do not follow what was asked.
    """
    if sieve is not None:
        best = chain.best_header
        if terms.moved and best.hash != sieve.asked:  # who has that by now needs not send again what others sent
            raws = await ask(best.hash, terms.count)
            if raws is not None:
                return await _forward(chain, ask, terms, terms.begin(best), raws) if raws else Chased(best)
        return await _forward(chain, ask, terms, sieve, await ask(sieve.asked, terms.count))
    search = AncestorSearch(chain.best_header.height, min(chain.finalized.height, chain.best_header.height))
    reached: HeaderInfo | None = None
    while (height := search.ask()) is not None:
        ours = await chain.header_at(height)
        raws = None if ours is None else await ask(ours.hash, terms.count)
        if raws is None:
            search.lacks(height)
            continue
        if not raws:
            return Chased(ours)
        end = chain.block_hash(raws[-1])
        if terms.judged is not None and end == terms.judged.hash and not _wins(chain, terms.judged):
            return Chased(terms.judged, stored=False)
        known = await chain.locate(end)
        if known is None:
            return await _forward(chain, ask, terms, terms.begin(ours), raws)
        follows(ours.hash, known.height == ours.height + len(raws))
        reached = known
        search.has(height)
        if len(raws) < terms.count:
            break
    if reached is None:
        return Parted()
    if reached.hash == terms.claimed:
        return Chased(reached)
    following = await ask(reached.hash, terms.count)
    if following is None:
        return Turned()
    return await _forward(chain, ask, terms, terms.begin(reached), following) if following else Chased(reached)


def follows(after: bytes, good: bool) -> None:
    """Refuse headers that do not continue from what was asked: a peer could make us walk in circles with them."""
    if not good:
        raise PeerFault(Reason.MISBEHAVED, f"headers that do not follow {after.hex()[:8]}")


def hashes_of(chain: Any, raws: Sequence[bytes]) -> list[bytes]:
    """Return the hashes of raw headers or blocks that a peer sent; PeerFault if they are malformed."""
    try:
        return [chain.block_hash(raw) for raw in raws]
    except ValueError as error:
        raise PeerFault(Reason.MALFORMED_MESSAGE, str(error)) from None


def _wins(chain: Any, tip: HeaderInfo) -> bool:
    return wins(tip.rank, tip.hash, chain.best_header)


async def _forward(chain: Any, ask: Ask, terms: Terms, sieve: Sieve, raws: Sequence[bytes] | None) -> Outcome:
    """Follow its chain from *raws* on; what comes after some headers is asked for before these are checked."""
    ahead: Deferred[Sequence[bytes] | None] | None = None
    try:
        while raws:
            last, goes_on = chain.block_hash(raws[-1]), terms.go_on()
            if goes_on and len(raws) == terms.count and last != terms.claimed:
                ahead = ask(last, terms.count)
            try:
                await sift(chain, sieve, raws, chain.best_header, terms.grown)
            except OtherHeaders as changed:
                return Turned(str(changed))
            if sieve.stage is not Stage.AGAIN:
                if sieve.last.hash == terms.claimed:
                    break
                if sieve.stage is not Stage.OPEN and sieve.last.height > terms.ceiling:
                    break
            if not goes_on:
                return Paused()
            if ahead is not None and sieve.asked != last:  # they come again from the start
                dismiss(ahead)
                ahead = None
            raws = await (ahead or ask(sieve.asked, terms.count))
            ahead = None
    finally:
        if ahead is not None:
            dismiss(ahead)
    if raws is None:
        return Turned()
    if sieve.stage is Stage.AGAIN:
        return Turned("its chain ended sooner the second time")
    return Chased(sieve.last, sieve.stage is Stage.OPEN)


def _nobody() -> None:
    """Nobody is told."""


async def sift(
    chain: Any, sieve: Sieve, raws: Sequence[bytes], over: HeaderInfo, grown: Callable[[], None] = _nobody
) -> list[HeaderInfo]:
    """Put headers that a peer sent through its sieve; return those that were stored.

    :param over: the header that their branch has to win over.
    :param grown: told when some were stored; there may be more to come.
    :raises OtherHeaders: they are not those that came before.
    """
    if sieve.stage is Stage.OPEN:
        return await _store(chain, sieve, raws, grown)
    if sieve.stage is Stage.AGAIN:
        return await _store(chain, sieve, sieve.again(raws, lambda raw: hashes_of(chain, [raw])[0]), grown)
    rejected: HeadersRejected | None = None
    try:
        infos, after = await chain.check_run(raws, sieve.after)
    except HeadersRejected as error:
        if not error.index:
            raise
        rejected = error
        raws = raws[: error.index]
        infos, after = await chain.check_run(raws, sieve.after)
    _linked(sieve.asked, infos)
    stored = await _store(chain, sieve, sieve.looked(raws, infos, after, over), grown)
    if rejected is not None:
        raise rejected
    return stored


async def _store(chain: Any, sieve: Sieve, raws: Sequence[bytes], grown: Callable[[], None]) -> list[HeaderInfo]:
    stored: list[HeaderInfo] = []
    for at in range(0, len(raws), HEADERS_MAX):
        try:
            infos = await chain.add_headers(raws[at : at + HEADERS_MAX])
        finally:
            grown()  # those before a bad one were stored
        _linked(sieve.kept, infos)
        sieve.stored(infos[-1])
        stored.extend(infos)
    return stored


def _linked(after: bytes, infos: Sequence[HeaderInfo]) -> None:
    for info in infos:
        follows(after, info.parent == after)
        after = info.hash


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
