"""``admin_reorgs``, and what an operator decides about branches (``IReorgs``)."""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from chainp2p.chain.interfaces import HeadChanged, HeaderInfo, IReorgs, RefusedBranch
from chainp2p.namespaces import METHOD_NOT_FOUND, SERVER_ERROR, Method, Param, RpcError
from chainp2p.rpc.methods.chain import point
from chainp2p.rpc.values import BOOLEAN, HASH, hash32, hex_bytes, members

__all__ = ["reorg_methods"]

#: Reorganisations that are remembered: enough to see a pattern.
REORGS = 64


def _ranked(info: HeaderInfo) -> dict[str, Any]:
    return {**point(info), "rank": hex_bytes(info.rank)}


def _refused(branch: RefusedBranch) -> dict[str, Any]:
    return {
        "refused": True,
        "depth": branch.depth,
        "head": _ranked(branch.head),
        "tip": _ranked(branch.tip),
        "ancestor": None if branch.ancestor is None else _ranked(branch.ancestor),
    }


#: What chains answer that are not ``IReorgs``, such as those of rules: these drop what is needed to undo what is final.
_NOTHING = "this chain leaves nothing of that to an operator"
_FINAL = (
    ": what is final cannot be undone. Where another block is final elsewhere, the way to it is an empty "
    "data directory, and peers that have it"
)


def _happened(event: HeadChanged) -> dict[str, Any]:
    return {
        "refused": False,
        "depth": len(event.left),
        "head": point(event.head),
        "left": [point(info) for info in event.left],
        "entered": [point(info) for info in event.entered],
    }


def reorg_methods(chain: Any) -> tuple[Method, ...]:
    """Return the methods of namespace ``admin``. *chain*: an ``IChain``."""
    happened: deque[HeadChanged] = deque(maxlen=REORGS)

    def head_changed(event: HeadChanged) -> None:
        if event.left:
            happened.append(event)

    chain.events.subscribe(HeadChanged, head_changed)

    def reorgs() -> list[dict[str, Any]]:
        refused = chain.refused if IReorgs.providedBy(chain) else ()
        return [*map(_refused, refused), *map(_happened, reversed(happened))]

    def decision(name: str) -> Callable[[bytes], Awaitable[bool]]:
        async def decide(hash: bytes) -> bool:
            if not IReorgs.providedBy(chain):
                raise RpcError(METHOD_NOT_FOUND, _NOTHING + (_FINAL if name == "set_finalized" else ""))
            refusal = await getattr(chain, name)(hash)
            if refusal:
                raise RpcError(SERVER_ERROR, str(refusal))
            return True

        return decide

    hash = (Param("hash", hash32, schema=HASH),)
    return (
        Method(
            "reorgs",
            reorgs,
            (),
            {"type": "array", "items": members("refused", "depth", "head")},
            "Branches that win but are refused as too deep, then recent reorganisations, newest first.",
        ),
        Method(
            "acceptReorg", decision("accept_reorg"), hash, BOOLEAN, "Follow the refused branch of this block, once."
        ),
        Method(
            "setFinalized",
            decision("set_finalized"),
            hash,
            BOOLEAN,
            "Put finality at this block: the way out of a finality conflict.",
        ),
        Method(
            "invalidateBlock",
            decision("invalidate_block"),
            hash,
            BOOLEAN,
            "Treat this block, and what descends from it, as if it had failed.",
        ),
        Method(
            "reconsiderBlock",
            decision("reconsider_block"),
            hash,
            BOOLEAN,
            "Give a block that failed, its ancestors and its descendants another try.",
        ),
    )
