"""Finds the blocks, states and receipts that callers name, and remembers the recent ones decoded.

Wallets poll the same few blocks; a decoded block is kept by its hash, which never changes.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from chainp2p.ethapi.params import BlockHash, BlockRef
from chainp2p.ledger.formats.block import Block
from chainp2p.ledger.formats.header import Header
from chainp2p.ledger.formats.receipt import Receipt
from chainp2p.ledger.state.accounts import State
from chainp2p.namespaces import PRUNED, SERVER_ERROR, RpcError

__all__ = ["Blocks", "ReadBlock"]

#: Blocks kept decoded: as far as wallets look back; a full one takes some MB.
RECENT = 16


@frozen
class ReadBlock:
    """A block with what its execution left; *receipts* is None off the best chain, where none are kept."""

    block: Block
    receipts: tuple[Receipt, ...] | None

    def senders(self) -> Sequence[bytes]:
        if self.receipts is not None:
            return [receipt.sender for receipt in self.receipts]
        return [transaction.sender() for transaction in self.block.transactions]


class Blocks:
    """Reads through a ``Ledger``; "pending" is read as "latest" wherever only a block that exists will do."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger
        self._recent: OrderedDict[bytes, ReadBlock] = OrderedDict()

    async def hash_of(self, ref: BlockRef) -> bytes | None:
        """Return the hash that *ref* stands for; :exc:`RpcError` where EIP-1898 asks for one."""
        ledger = self._ledger
        hash: bytes | None
        match ref:
            case "latest" | "pending":
                hash = ledger.head.hash
            case "earliest":
                hash = ledger.genesis_hash
            case "safe":
                hash = ledger.safe.hash
            case "finalized":
                hash = ledger.finalized.hash
            case int():
                if ref > ledger.head.height:
                    return None
                hash = ledger.head.hash if ref == ledger.head.height else await ledger.reader.hash_at(ref)
            case _:
                assert isinstance(ref, BlockHash)
                hash = await self._by_hash(ref)
        return hash

    async def _by_hash(self, ref: BlockHash) -> bytes:
        header = await self._ledger.reader.header(ref.hash)
        if header is None:
            raise RpcError(SERVER_ERROR, "header for hash not found")
        if ref.canonical and await self._ledger.reader.hash_at(header.number) != ref.hash:
            raise RpcError(SERVER_ERROR, "hash is not currently canonical")
        return ref.hash

    async def header(self, ref: BlockRef) -> Header | None:
        """Return the header of *ref*."""
        hash = await self.hash_of(ref)
        if hash is None:
            return None
        known = self._recent.get(hash)
        if known is not None:
            return known.block.header
        header: Header | None = await self._ledger.reader.header(hash)
        return header

    async def read(self, hash: bytes | None) -> ReadBlock | None:
        """Return the block of *hash*, None if there is none; :exc:`RpcError` if it is of our chain, but not kept."""
        if hash is None:
            return None
        known = self._recent.get(hash)
        if known is not None and known.receipts is not None:
            self._recent.move_to_end(hash)  # now: while we look, others may put it out
            if await self._still_best(known.block):
                return known
        block: Block | None = await self._ledger.reader.block(hash)
        if block is None:
            await self._not_pruned(hash)
            return None
        found = ReadBlock(block, await self._ledger.reader.receipts(hash))
        self._recent[hash] = found
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        return found

    async def _not_pruned(self, hash: bytes) -> None:
        """Raise :exc:`RpcError` if *hash* is a block of our chain: only what it led to is known."""
        header: Header | None = await self._ledger.reader.header(hash)
        if header is not None and await self._ledger.reader.hash_at(header.number) == hash:
            raise RpcError(PRUNED, "pruned history unavailable")

    async def _still_best(self, block: Block) -> bool:
        """Receipts are those of the best chain: a block that left it has none any more."""
        best: bool = block.hash == await self.hash_of(block.header.number)
        return best

    async def accounts(self, ref: BlockRef) -> State:
        """Return the accounts after *ref*; :exc:`RpcError` if there is no such block or state.

        Nearly everybody asks about the head: its accounts are in memory, and no header need be read for them.
        """
        head = self._ledger.head
        if ref in ("latest", "pending") or ref == head.height or (isinstance(ref, BlockHash) and ref.hash == head.hash):
            state: State = self._ledger.pool.state
            return state
        return (await self.state(ref))[1]

    async def state(self, ref: BlockRef) -> tuple[Header, State]:
        """The same with the header of *ref*."""
        head, accounts = self._ledger.head, self._ledger.pool.state  # of one moment: in a download both are soon far on
        header = await self.header(ref)
        if header is None:
            raise RpcError(SERVER_ERROR, "header not found")
        if header.hash == head.hash:
            return header, accounts
        state: State | None = await self._ledger.reader.state(header.hash)
        if state is None:
            raise RpcError(
                SERVER_ERROR,
                f"missing trie node {header.state_root.hex()} (path ) state 0x{header.state_root.hex()} "
                "is not available, not found",
            )
        return header, state
