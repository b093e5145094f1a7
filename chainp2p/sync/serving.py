"""What a peer is answered that asks for headers or blocks."""

from typing import Any

from chainp2p.errors import PeerFault, Reason
from chainp2p.wire.messages import (
    Blocks,
    GetBlocks,
    GetHeaders,
    GetStateChunk,
    Headers,
    Message,
    NotFound,
    StateChunk,
)

__all__ = ["BLOCKS_MAX", "BLOCKS_BYTES", "HEADERS_MAX", "serve_blocks", "serve_headers", "serve_state"]

#: Served at most (wire design, tags 3, 4, 8 and 9); asking for more is no fault.
HEADERS_MAX = 2_000
BLOCKS_MAX = 128
#: ``Blocks`` is cut before the block that would pass this, but never below one. Bytes.
BLOCKS_BYTES = 2 * 1024 * 1024


async def serve_headers(chain: Any, message: GetHeaders) -> Message:
    """Answer with what follows ``from_`` on our best chain."""
    raws = await chain.headers_after(message.from_, min(message.count, HEADERS_MAX))
    return NotFound((message.from_,)) if raws is None else Headers(tuple(raws))


async def serve_blocks(chain: Any, message: GetBlocks) -> Message:
    """Answer with block ``from_`` and those after it; a side-branch block alone."""
    count = max(1, min(message.count, BLOCKS_MAX))
    raws = await chain.blocks_from(message.from_, count, BLOCKS_BYTES)
    return Blocks(tuple(raws)) if raws else NotFound((message.from_,))


async def serve_state(chain: Any, message: GetStateChunk) -> Message:
    """Answer with a part of a state, as the chain makes it."""
    if any(nibble > 15 for nibble in message.prefix):
        raise PeerFault(Reason.MISBEHAVED, "GetStateChunk: a nibble above 15")
    chunk = await chain.state_chunk(message.root, message.base, message.prefix)
    return NotFound((message.root,)) if chunk is None else StateChunk(chunk)
