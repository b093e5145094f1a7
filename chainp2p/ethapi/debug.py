"""The ``debug`` namespace: raw bytes, for the admin port."""

from typing import Any

from chainp2p.ethapi.blocks import Blocks
from chainp2p.ethapi.params import BLOCK_PARAM, HASH_PARAM, BlockRef
from chainp2p.ethapi.reading import Reading
from chainp2p.namespaces import SERVER_ERROR, Method, Namespace, RpcError
from chainp2p.rpc.values import DATA, hex_bytes

__all__ = ["debug_namespace"]


def debug_namespace(ledger: Any) -> Namespace:
    """:param ledger: a ``Ledger``; it need not be started yet."""
    blocks = Blocks(ledger)
    reading = Reading(ledger, blocks)

    async def raw_header(ref: BlockRef) -> str:
        header = await blocks.header(ref)
        if header is None:
            raise RpcError(SERVER_ERROR, "header not found")
        return hex_bytes(header.raw)

    async def raw_block(ref: BlockRef) -> str:
        found = await blocks.read(await blocks.hash_of(ref))
        if found is None:
            raise RpcError(SERVER_ERROR, "block not found")
        return hex_bytes(found.block.raw)

    async def raw_receipts(ref: BlockRef) -> list[str]:
        found = await blocks.read(await blocks.hash_of(ref))
        if found is None or found.receipts is None:
            raise RpcError(SERVER_ERROR, "block not found")
        return [hex_bytes(receipt.encode()) for receipt in found.receipts]

    return Namespace(
        "debug",
        (
            Method("getRawHeader", raw_header, (BLOCK_PARAM,), DATA, "A header as its hash is made of it.", 2),
            Method("getRawBlock", raw_block, (BLOCK_PARAM,), DATA, "A block as it travels.", 5),
            Method(
                "getRawTransaction", reading.raw_transaction, (HASH_PARAM,), DATA, "A transaction as it travels.", 5
            ),
            Method(
                "getRawReceipts",
                raw_receipts,
                (BLOCK_PARAM,),
                {"type": "array", "items": DATA},
                "Receipts as their root is made.",
                10,
            ),
        ),
    )
