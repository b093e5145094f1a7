"""Reading the ledger for RPC: decoded values, on a lane of their own, so that no reader waits for blocks.

A database without a file (tests, simulator) has one connection; then both share it and its lane.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen

from chainp2p.chain.executor import Executor
from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.chain.store import ChainStore
from chainp2p.ledger.formats.block import Block, decode_block
from chainp2p.ledger.formats.header import Header
from chainp2p.ledger.formats.receipt import Receipt
from chainp2p.ledger.formats.transaction import Transaction
from chainp2p.ledger.rows import LedgerRows
from chainp2p.ledger.state.accounts import Account, State

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

__all__ = ["Included", "Reader", "Reads"]

T = TypeVar("T")


@frozen
class Included:
    """A transaction of the best chain; timestamp in Unix seconds, base fee in wei."""

    transaction: Transaction
    sender: bytes
    block_hash: bytes
    height: int
    index: int
    timestamp: int
    base_fee: int


class Reads:
    """Synchronous reads over one connection."""

    def __init__(self, store: ChainStore) -> None:
        self.store = store
        self.rows = LedgerRows(store.connection)

    def close(self) -> None:
        """Close the connection."""
        self.store.connection.close()

    def header(self, hash: bytes) -> Header | None:
        """A header by hash."""
        raw = self.store.raw_header(hash)
        return None if raw is None else Header.decode(raw)

    def block(self, hash: bytes) -> Block | None:
        """A block by hash, if its body is stored, as it was checked."""
        raw = self.store.body(hash)
        return None if raw is None else decode_block(raw, checked=True)

    def receipts(self, hash: bytes) -> tuple[Receipt, ...] | None:
        """The receipts of a block of the best chain; None: it is not there, or was not run since a later state came."""
        with self.store.snapshot():
            height = self.store.height_on_best(hash)
            if height is None:
                return None
            base = self.store.height_on_best(self.store.meta("base") or b"")
            return None if base is not None and 0 < height <= base else self.rows.receipts(hash)

    def state_at(self, hash: bytes, head: HeaderInfo, state: State | None) -> State | None:
        """The state after a recent block of the best chain, from that after the *head*; None: it is not kept.

        Raises LookupError when the best chain is not that of *head* any more, or *state* is None.
        """
        with self.store.snapshot():
            height = self.store.height_on_best(hash)
            if height is None:
                return None
            if state is None or self.store.hash_at(head.height) != head.hash or height > head.height:
                raise LookupError("the head has moved")
            for above in range(head.height, height, -1):
                undo = self.rows.undo(above)
                if undo is None:
                    return None
                state = state.reverted(undo[1])
            return state

    def transaction(self, hash: bytes) -> Included | None:
        """A transaction of the best chain."""
        with self.store.snapshot():
            position = self.rows.position(hash)
            if position is None:
                return None
            block_hash, index = position
            raw = self.store.body(block_hash)
            receipts = self.rows.receipts(block_hash)
        assert raw is not None
        block = decode_block(raw, checked=True)
        header = block.header
        return Included(
            block.transactions[index],
            receipts[index].sender,
            block_hash,
            header.number,
            index,
            header.timestamp,
            header.base_fee,
        )


class Reader:
    """The same behind Deferreds.

    :param at: answers the State after a recent block of the best chain, or None.
    :param owned: the connection is the reader's own.
    """

    def __init__(
        self, lane: Executor, reads: Reads, at: "Callable[[bytes], Deferred[State | None]]", owned: bool
    ) -> None:
        self._lane = lane
        self._reads = reads
        self._at = at
        self._owned = owned

    def run(self, f: Callable[..., T], *args: Any) -> "Deferred[T]":
        """Run an unbound method of ChainStore on the reader's lane."""
        return self._lane.run(f, self._reads.store, *args)

    def header(self, hash: bytes) -> "Deferred[Header | None]":
        """A header by hash."""
        return self._lane.run(self._reads.header, hash)

    def block(self, hash: bytes) -> "Deferred[Block | None]":
        """A block by hash, if its body is stored."""
        return self._lane.run(self._reads.block, hash)

    def hash_at(self, height: int) -> "Deferred[bytes | None]":
        """The best chain's hash at *height*."""
        return self._lane.run(self._reads.store.hash_at, height)

    def receipts(self, block_hash: bytes) -> "Deferred[tuple[Receipt, ...] | None]":
        """The receipts of a block of the best chain."""
        return self._lane.run(self._reads.receipts, block_hash)

    def transaction(self, hash: bytes) -> "Deferred[Included | None]":
        """A transaction of the best chain."""
        return self._lane.run(self._reads.transaction, hash)

    def state(self, block_hash: bytes) -> "Deferred[State | None]":
        """All accounts after a recent block of the best chain; None: not kept (any more)."""
        return self._at(block_hash)

    def state_from(self, block_hash: bytes, head: HeaderInfo, state: State | None) -> "Deferred[State | None]":
        """See :meth:`Reads.state_at`."""
        return self._lane.run(self._reads.state_at, block_hash, head, state)

    def account(self, address: bytes, block_hash: bytes) -> "Deferred[Account | None]":
        """An account after a recent block of the best chain; None: the state of that block is not kept."""

        def look(state: State | None) -> Account | None:
            return None if state is None else state.account(address)

        return self._at(block_hash).addCallback(look)

    def close(self) -> "Deferred[None]":
        """Close the connection, once what is queued is done."""
        return self._lane.run(self._reads.close if self._owned else _nothing)


def _nothing() -> None:
    """The connection is somebody else's."""
