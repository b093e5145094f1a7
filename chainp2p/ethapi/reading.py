"""Handlers of ``eth`` that read blocks, transactions and receipts."""

from typing import Any

from chainp2p.ethapi.blocks import Blocks, ReadBlock
from chainp2p.ethapi.params import BlockHash, BlockRef
from chainp2p.ethapi.render import (
    block_object,
    header_object,
    pending_header_object,
    pending_object,
    receipt_object,
    transaction_object,
)
from chainp2p.ledger.formats.header import Header, make_header
from chainp2p.ledger.formats.transaction import Transaction
from chainp2p.ledger.formats.validation import intrinsic_gas
from chainp2p.ledger.state.ordered import ordered_root
from chainp2p.ledger.views import Included
from chainp2p.namespaces import PRUNED, SERVER_ERROR, RpcError
from chainp2p.rpc.values import hex_bytes

__all__ = ["Reading"]


class Reading:
    """See the module; unknown blocks and transactions answer null."""

    def __init__(self, ledger: Any, blocks: Blocks) -> None:
        self._ledger = ledger
        self._blocks = blocks

    def block_number(self) -> str:
        return hex(self._ledger.head.height)

    # -- blocks

    async def _read(self, ref: BlockRef) -> ReadBlock | None:
        """The block of a tag, height or hash; an unknown hash is nothing here, not an error."""
        return await self._blocks.read(ref.hash if isinstance(ref, BlockHash) else await self._blocks.hash_of(ref))

    async def block_by_number(self, number: str | int, full: bool) -> dict[str, Any] | None:
        if number == "pending":
            return pending_object(*await self._pending(), full)
        return await self._block(number, full)

    async def block_by_hash(self, hash: bytes, full: bool) -> dict[str, Any] | None:
        return await self._block(BlockHash(hash), full)

    async def _block(self, ref: BlockRef, full: bool) -> dict[str, Any] | None:
        found = await self._read(ref)
        return None if found is None else block_object(found.block, found.senders() if full else None)

    def _candidates(self) -> list[tuple[Transaction, bytes]]:
        """The transactions that the next block could hold."""
        pool, chosen, gas = self._ledger.pool, [], 0
        for transaction, sender in pool.best():
            gas += transaction.gas
            if gas > pool.gas_limit:
                break
            chosen.append((transaction, sender))
        return chosen

    async def _pending(self) -> tuple[Header, list[tuple[Transaction, bytes]]]:
        """The block that could come next."""
        head = await self._blocks.header("latest")
        assert head is not None
        chosen, pool = self._candidates(), self._ledger.pool
        raws = [transaction.raw for transaction, _ in chosen]
        header = make_header(
            parent=head.hash,
            state_root=head.state_root,
            transactions_root=ordered_root(raws),
            number=head.number + 1,
            gas_limit=pool.gas_limit,
            gas_used=sum(intrinsic_gas(transaction.data, transaction.access_list) for transaction, _ in chosen),
            timestamp=head.timestamp + 1,
            base_fee=pool.base_fee,
        )
        return header, chosen

    async def header_by_number(self, number: str | int) -> dict[str, Any] | None:
        if number == "pending":
            return pending_header_object((await self._pending())[0])
        header = await self._blocks.header(number)
        return None if header is None else header_object(header)

    async def header_by_hash(self, hash: bytes) -> dict[str, Any] | None:
        header = await self._ledger.reader.header(hash)
        return None if header is None else header_object(header)

    async def count_by_number(self, number: str | int) -> str | None:
        if number == "pending":
            return hex(len(self._candidates()))
        return await self._count(number)

    async def count_by_hash(self, hash: bytes) -> str | None:
        return await self._count(BlockHash(hash))

    async def _count(self, ref: BlockRef) -> str | None:
        found = await self._read(ref)
        return None if found is None else hex(len(found.block.transactions))

    async def uncles_by_number(self, number: str | int) -> str | None:
        return None if await self._blocks.header(number) is None else "0x0"

    async def uncles_by_hash(self, hash: bytes) -> str | None:
        return None if await self._ledger.reader.header(hash) is None else "0x0"

    # -- transactions

    async def _included(self, hash: bytes) -> Included | None:
        """Where a transaction is, once that block is told of: the database has it a moment earlier, and a receipt
        above ``eth_blockNumber`` has, to those who count, no confirmations."""
        included: Included | None = await self._ledger.reader.transaction(hash)
        return None if included is None or included.height > self._ledger.head.height else included

    async def transaction(self, hash: bytes) -> dict[str, Any] | None:
        entry = self._ledger.pool.entry(hash)
        if entry is not None:
            return transaction_object(entry.transaction, entry.sender)
        included = await self._included(hash)
        if included is None:
            return None
        found = await self._blocks.read(included.block_hash)
        if found is None:
            return None
        return transaction_object(included.transaction, included.sender, found.block.header, included.index)

    async def raw_transaction(self, hash: bytes) -> str:
        pooled = self._ledger.pool.transaction(hash)
        if pooled is not None:
            return hex_bytes(pooled.raw)
        included = await self._ledger.reader.transaction(hash)
        # geth answers empty bytes for a transaction that it does not know
        return "0x" if included is None else hex_bytes(included.transaction.raw)

    async def transaction_by_number(self, number: str | int, index: int) -> dict[str, Any] | None:
        if number == "pending":
            return next((transaction_object(*one) for one in self._candidates()[index : index + 1]), None)
        return await self._at(number, index)

    async def transaction_by_hash(self, hash: bytes, index: int) -> dict[str, Any] | None:
        return await self._at(BlockHash(hash), index)

    async def _at(self, ref: BlockRef, index: int) -> dict[str, Any] | None:
        found = await self._read(ref)
        if found is None or index >= len(found.block.transactions):
            return None
        return transaction_object(found.block.transactions[index], found.senders()[index], found.block.header, index)

    # -- receipts

    async def receipt(self, hash: bytes) -> dict[str, Any] | None:
        included = await self._included(hash)
        if included is None:
            return None
        found = await self._blocks.read(included.block_hash)
        if found is None or not found.receipts:
            return None
        return receipt_object(found.block, included.index, found.receipts[included.index])

    async def receipts(self, ref: BlockRef) -> list[dict[str, Any]] | None:
        if ref == "pending":
            raise RpcError(SERVER_ERROR, "pending receipts is not available")
        found = await self._read(ref)
        if found is None:
            return None
        if found.receipts is None:
            header = found.block.header
            if await self._blocks.hash_of(header.number) == header.hash:
                raise RpcError(PRUNED, "pruned history unavailable")
            raise RpcError(SERVER_ERROR, "hash is not currently canonical")
        return [receipt_object(found.block, index, receipt) for index, receipt in enumerate(found.receipts)]
