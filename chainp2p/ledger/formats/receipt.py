"""Receipts in Ethereum's encoding (EIP-658, EIP-2718): status, cumulative gas, a zero bloom, no logs."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from chainp2p.ledger.state.ordered import leaf_reference, ordered_paths, root_of_references
from chainp2p.ledger.state.trie import EMPTY_ROOT
from chainp2p.primitives import rlp

__all__ = ["Receipt", "receipts_root"]

#: Leaves of receipts that are kept with their hashes (300 bytes each). Where transfers without data follow each other,
#: the gas of a receipt depends on its place alone, and the next block has the same ones.
_LEAVES = 4096

_NO_LOGS_TAIL = rlp.encode(bytes(256)) + b"\xc0"


class Receipt(NamedTuple):
    """What became of one transaction; gas units, and wei per gas for the price it paid. A tuple: blocks make many."""

    status: int  #: 1: done
    cumulative_gas: int  #: of the block up to and with this transaction
    gas_used: int
    effective_gas_price: int
    sender: bytes
    transaction_hash: bytes
    type: int

    def encode(self) -> bytes:
        """Return the consensus encoding, that the receipts root is made of."""
        return _encode(self.type, self.status, self.cumulative_gas)


def _encode(kind: int, status: int, cumulative_gas: int) -> bytes:
    body = rlp.wrap_list(rlp.uint_item(status) + rlp.uint_item(cumulative_gas) + _NO_LOGS_TAIL)
    return bytes((kind,)) + body if kind else body


@lru_cache(maxsize=_LEAVES)
def _leaf(path: bytes, kind: int, status: int, cumulative_gas: int) -> bytes:
    return leaf_reference(path, _encode(kind, status, cumulative_gas))


def receipts_root(receipts: Sequence[Receipt]) -> bytes:
    """Return the Merkle-Patricia root of a block's receipts."""
    if not receipts:
        return EMPTY_ROOT
    paths = ordered_paths(len(receipts))
    return root_of_references(
        [_leaf(path, one.type, one.status, one.cumulative_gas) for path, one in zip(paths, receipts, strict=True)]
    )
