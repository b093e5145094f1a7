"""A conflict of finality as it is kept in the database: only an operator ends it, and no restart may."""

from chainp2p.chain.interfaces import FinalityConflict, HeaderInfo
from chainp2p.chain.store import ChainStore
from chainp2p.primitives import rlp

__all__ = ["load_conflict", "store_conflict"]

_KEY = "conflict"


def store_conflict(store: ChainStore, conflict: FinalityConflict | None) -> None:
    """Keep a conflict; None: it is settled."""
    store.set_meta(_KEY, None if conflict is None else _pack(conflict))


def load_conflict(store: ChainStore) -> FinalityConflict | None:
    """The conflict that was kept, if there is one."""
    data = store.meta(_KEY)
    if data is None:
        return None
    ours, theirs, signers = rlp.decode_list(data)
    return FinalityConflict(_info(ours), _info(theirs), tuple(bytes(signer) for signer in signers))  # type: ignore


def _pack(conflict: FinalityConflict) -> bytes:
    uint = rlp.encode_uint
    sides = [[one.hash, one.parent, uint(one.height), one.rank] for one in (conflict.ours, conflict.theirs)]
    return rlp.encode([*sides, list(conflict.signers)])


def _info(item: rlp.Item) -> HeaderInfo:
    hash, parent, height, rank = item
    return HeaderInfo(bytes(hash), bytes(parent), rlp.decode_uint(height, 8), bytes(rank))  # type: ignore[arg-type]
