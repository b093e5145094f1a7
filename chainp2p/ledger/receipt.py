"""Receipts in Ethereum's encoding (EIP-658, EIP-2718): status, cumulative gas, a zero bloom, no logs."""

from collections.abc import Sequence
from typing import NamedTuple

from chainp2p.ledger.trie import ordered_root
from chainp2p.primitives import rlp

__all__ = ["Receipt", "receipts_root"]

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
        body = rlp.wrap_list(rlp.uint_item(self.status) + rlp.uint_item(self.cumulative_gas) + _NO_LOGS_TAIL)
        return bytes((self.type,)) + body if self.type else body


def receipts_root(receipts: Sequence[Receipt]) -> bytes:
    """Return the Merkle-Patricia root of a block's receipts."""
    return ordered_root([receipt.encode() for receipt in receipts])
