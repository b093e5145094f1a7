"""The branch that a peer serves bodies of, when nobody has those of the best header."""

from typing import Any

from chainp2p.chain.interfaces import HeaderInfo, HeadersRejected
from chainp2p.peer.link import Link
from chainp2p.sync.ancestor import AncestorSearch
from chainp2p.sync.asking import UNANSWERED, Asking
from chainp2p.sync.chase import follows
from chainp2p.sync.serving import HEADERS_MAX
from chainp2p.wire.messages import GetHeaders, NotFound

__all__ = ["other_branch"]


async def other_branch(chain: Any, asking: Asking, link: Link) -> list[HeaderInfo]:
    """Return blocks that we lack of the branch that *link* serves, oldest first, from where it leaves our connected
    chain; a stretch of them is enough. None: it failed, or there are none.
    """

    async def ask(after: bytes) -> tuple[bytes, ...] | None:
        reply = await asking.request(
            link, GetHeaders(after, HEADERS_MAX), f"headers of another branch {after.hex()[:8]}"
        )
        headers: tuple[bytes, ...] | None = None if isinstance(reply, NotFound) else reply.headers
        return headers

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
            asking.hashes(raws)
            infos = await chain.add_headers(raws)
            follows(after, infos[0].parent == after)
            plan = [info for info in infos if await chain.block(info.hash) is None]
            if plan:
                return plan
            after = infos[-1].hash
            raws = await ask(after)
    except (HeadersRejected, *UNANSWERED) as error:
        asking.failed(link, error)
    return []
