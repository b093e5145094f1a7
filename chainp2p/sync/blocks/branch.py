"""The branch that a peer serves bodies of, when nobody has those of the best header."""

from collections.abc import Awaitable, Sequence
from typing import Any

from chainp2p.chain.interfaces import HeaderInfo, HeadersRejected
from chainp2p.peer.link import Link
from chainp2p.sync.asking import UNANSWERED, Asking
from chainp2p.sync.headers.ancestor import AncestorSearch
from chainp2p.sync.headers.chase import follows, sift
from chainp2p.sync.headers.sieve import OtherHeaders, Sieve, Stage
from chainp2p.sync.serving import HEADERS_MAX

__all__ = ["other_branch"]

#: Blocks that are returned at most: the next ones are found when these have come.
STRETCH = 2_048
#: A branch that does not reach what it showed before is given up so far beyond its height then.
SLACK = 2 * HEADERS_MAX


async def other_branch(chain: Any, asking: Asking, link: Link, tip: HeaderInfo) -> list[HeaderInfo]:
    """Return blocks that we lack of the branch that *link* serves, oldest first, from where it leaves our connected
    chain; a stretch of them is enough. None: it failed, or there are none.

    :param tip: how far that branch was seen to go; what does not rank as high is not stored.
    """

    def ask(after: bytes) -> Awaitable[Sequence[bytes] | None]:
        return asking.headers(link, after, HEADERS_MAX, f"headers of another branch {after.hex()[:8]}")

    search = AncestorSearch(chain.head.height, chain.finalized.height)
    after, raws = b"", None
    sieve: Sieve | None = None
    plan: list[HeaderInfo] = []
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
            hashes = asking.hashes(raws)
            if sieve is None and await chain.locate(hashes[-1]) is not None:
                infos = await chain.add_headers(raws)
                follows(after, infos[0].parent == after)
                plan = await _lacking(chain, infos)
                if plan:
                    return plan
                after = hashes[-1]
            else:
                if sieve is None:
                    sieve = asking.sieve(await chain.locate(after), tip.rank)
                infos = await sift(chain, sieve, raws, chain.head)
                plan += (await _lacking(chain, infos))[: STRETCH - len(plan)]
                if sieve.stage in (Stage.HELD, Stage.COUNTED) and sieve.last.height > tip.height + SLACK:
                    return []
                after = sieve.asked
            raws = await ask(after)
    except (HeadersRejected, OtherHeaders, *UNANSWERED) as error:
        asking.failed(link, error)
    return plan


async def _lacking(chain: Any, infos: Sequence[HeaderInfo]) -> list[HeaderInfo]:
    return [info for info in infos if await chain.block(info.hash) is None]
