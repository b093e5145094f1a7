"""The messages of the wire: this file is the only place that describes them.

The encoding is bincode 1.3 of a Rust enum ``NetworkMessage`` (fixed-width little-endian integers, u32 tag, u64 counts).
Tags 0 to 11 never change. A number is never reused and a message never gains a field.
"""

from attrs import frozen

from chainp2p.wire.schema import (
    BLOCK_LIMIT,
    Blob,
    Channel,
    Integer,
    Kind,
    ListOf,
    Message,
    Raw,
    Registry,
    Text,
    TupleOf,
    on_wire,
)

__all__ = [
    "Ack",
    "AnnounceBlocks",
    "AnnounceTransactions",
    "BlockTransactions",
    "Blocks",
    "CORE",
    "CompactBlock",
    "Disconnect",
    "DoNotSend",
    "FoundCompactBlock",
    "GetBlockTransactions",
    "GetBlocks",
    "GetCompactBlock",
    "GetHeaders",
    "GetMempool",
    "GetPeers",
    "GetStateChunk",
    "GetTransactions",
    "Graft",
    "Headers",
    "Hello",
    "Mempool",
    "Message",
    "NewBlock",
    "NewTransaction",
    "NotFound",
    "Peers",
    "PeerRecord",
    "Ping",
    "Pong",
    "Prune",
    "PushBlocks",
    "Refused",
    "StateChunk",
    "Status",
    "Transactions",
]

U8, U16, U32, U64 = Integer(1), Integer(2), Integer(4), Integer(8)
HASH = Raw(32)
ENR = Blob(300)  #: EIP-778: at most 300 bytes
BLOCK = Blob(BLOCK_LIMIT)
HEADER = Blob(1024)
TRANSACTION = Blob(128 * 1024)
#: A part of the state, 1 MiB, and the way to it from the root. Bytes.
STATE_CHUNK = 1024 * 1024 + 64 * 1024
#: A block of more transactions than this is never sent in compact form.
COMPACT_TRANSACTIONS = 16_000
#: Bytes of one short id.
SHORT_ID = 6
#: Transactions in a compact block by themselves: so many, and so many bytes of them.
PREFILLED, PREFILLED_BYTES = 256, 10 * 1024
#: What a compact block can take at most: header, short ids, and prefilled transactions with positions and lengths.
COMPACT_MAXIMUM = 112 * 1024

CORE = Registry()

N, REQ, REP = Kind.NOTIFICATION, Kind.REQUEST, Kind.REPLY


@CORE.message(0, N, Channel.CONTROL)
@frozen
class Hello(Message):
    """First word of both sides: protocol version, genesis hash, height of the head."""

    version: int = on_wire(U32)
    genesis: bytes = on_wire(HASH)
    height: int = on_wire(U64)


@CORE.message(1, N, Channel.CONTROL)
@frozen
class Ack(Message):
    """Own peer id; it must be the one that the transport proved."""

    peer_id: bytes = on_wire(HASH)


@CORE.message(2, N, Channel.BLOCK_PUSH)
@frozen
class NewBlock(Message):
    """A whole new block, unasked."""

    block: bytes = on_wire(BLOCK)


@CORE.message(3, REQ, Channel.REQUESTS, replies=("Blocks", "NotFound", "Refused"))
@frozen
class GetBlocks(Message):
    """Block *from_* and those that follow it on the best chain; at most 128 are served."""

    from_: bytes = on_wire(HASH)
    count: int = on_wire(U32)


@CORE.message(4, REP, Channel.BULK)
@frozen
class Blocks(Message):
    """Raw blocks, cut before the one that would pass 2 MiB."""

    blocks: tuple[bytes, ...] = on_wire(ListOf(BLOCK, 512))


@CORE.message(5, N, Channel.ANNOUNCEMENTS)
@frozen
class NewTransaction(Message):
    """A whole transaction, unasked."""

    transaction: bytes = on_wire(TRANSACTION)


@CORE.message(6, REQ, Channel.REQUESTS, replies=("Mempool", "Refused"))
@frozen
class GetMempool(Message):
    """Ids of the announced pool; once per link."""


@CORE.message(7, REP, Channel.BULK)
@frozen
class Mempool(Message):
    """Ids of pooled transactions."""

    hashes: tuple[bytes, ...] = on_wire(ListOf(HASH, 50_000))


@CORE.message(8, REQ, Channel.REQUESTS, replies=("Headers", "NotFound", "Refused"))
@frozen
class GetHeaders(Message):
    """Headers that follow *from_* on the best chain; at most 2,000 are served."""

    from_: bytes = on_wire(HASH)
    count: int = on_wire(U32)


@CORE.message(9, REP, Channel.REPLIES)
@frozen
class Headers(Message):
    """Raw headers."""

    headers: tuple[bytes, ...] = on_wire(ListOf(HEADER, 2_000))


@CORE.message(10, REQ, Channel.REQUESTS, replies=("Peers", "Refused"))
@frozen
class GetPeers(Message):
    """Ask for records of other peers."""


@CORE.message(11, REP, Channel.REPLIES)
@frozen
class Peers(Message):
    """ENRs of other peers."""

    peers: tuple[bytes, ...] = on_wire(ListOf(ENR, 100))


#: ``Status.flags`` bit 0: no transactions, please.
NO_TRANSACTIONS = 1
#: ``Status.features`` bit 0: tags 32 to 37 are understood, and blocks may come in compact form.
COMPACT_BLOCKS = 1
#: Bit 1: tags 64 to 66 are understood.
MESH = 2


@CORE.message(12, N, Channel.CONTROL)
@frozen
class Status(Message):
    """All that a peer says of itself after a good ``Hello``.

    ``flags`` bit 0: no transactions, please (block-only link). ``rank`` is big-endian. ``settings`` holds (activation
    height, hash of the consensus settings). ``observed`` is the other side's address as seen from here.
    """

    agent: str = on_wire(Text(64))
    features: int = on_wire(U64)
    flags: int = on_wire(U8)
    port: int = on_wire(U16)
    head: bytes = on_wire(HASH)
    height: int = on_wire(U64)
    rank: bytes = on_wire(HASH)
    enr: bytes = on_wire(ENR)
    settings: tuple[tuple[int, bytes], ...] = on_wire(ListOf(TupleOf((U64, HASH)), 16))
    observed: tuple[bytes, int] = on_wire(TupleOf((Blob(16), U16)))
    extra: tuple[tuple[int, bytes], ...] = on_wire(ListOf(TupleOf((U16, Blob(64))), 16))


@CORE.message(13, REQ, Channel.CONTROL, replies=("Pong",))
@frozen
class Ping(Message):
    """Keep-alive; carries the sequence number of the own ENR."""

    enr_seq: int = on_wire(U64)


@CORE.message(14, REP, Channel.CONTROL)
@frozen
class Pong(Message):
    """Answer to ``Ping``."""

    enr_seq: int = on_wire(U64)


@CORE.message(15, N, Channel.CONTROL)
@frozen
class Disconnect(Message):
    """Why this link ends; legal at any moment."""

    reason: int = on_wire(U8)
    detail: str = on_wire(Text(256))


@CORE.message(16, REP, Channel.CONTROL)
@frozen
class NotFound(Message):
    """None of this is here; never an offence."""

    hashes: tuple[bytes, ...] = on_wire(ListOf(HASH, 256))


@CORE.message(17, N, Channel.ANNOUNCEMENTS)
@frozen
class AnnounceBlocks(Message):
    """(hash, height) of blocks that can be fetched here."""

    blocks: tuple[tuple[bytes, int], ...] = on_wire(ListOf(TupleOf((HASH, U64)), 64))


@CORE.message(18, N, Channel.ANNOUNCEMENTS)
@frozen
class AnnounceTransactions(Message):
    """(hash, size) of transactions that can be fetched here."""

    transactions: tuple[tuple[bytes, int], ...] = on_wire(ListOf(TupleOf((HASH, U32)), 5_000))


@CORE.message(19, REQ, Channel.REQUESTS, replies=("Transactions", "NotFound", "Refused"))
@frozen
class GetTransactions(Message):
    """Ask for announced transactions."""

    hashes: tuple[bytes, ...] = on_wire(ListOf(HASH, 256))


@CORE.message(20, REP, Channel.REPLIES)
@frozen
class Transactions(Message):
    """Raw transactions in asked order, unknown ones left out, cut before 1 MiB."""

    transactions: tuple[bytes, ...] = on_wire(ListOf(TRANSACTION, 256))


@CORE.message(21, REP, Channel.CONTROL)
@frozen
class Refused(Message):
    """The request is not served: 0 busy, 1 too often, 2 unsupported."""

    reason: int = on_wire(U8)
    retry_ms: int = on_wire(U32)


@CORE.message(22, N, Channel.CONTROL)
@frozen
class PeerRecord(Message):
    """Own ENR, on change."""

    enr: bytes = on_wire(ENR)


@frozen
class _Compact(Message):
    header: bytes = on_wire(HEADER)
    short_ids: bytes = on_wire(Blob(SHORT_ID * COMPACT_TRANSACTIONS))
    prefilled: tuple[tuple[int, bytes], ...] = on_wire(
        ListOf(TupleOf((U32, Blob(PREFILLED_BYTES))), PREFILLED),
    )


@CORE.message(32, N, Channel.BLOCK_PUSH, maximum=COMPACT_MAXIMUM)
@frozen
class CompactBlock(_Compact):
    """A new block, unasked: its header, some transactions with their positions (ascending), and for all others, in
    order, a short id of 6 bytes: keyed BLAKE2b of the transaction's id, with the block's hash as key. ``checked``: 1:
    the sender has the whole block, and the body is what the header says; 0: it passes on what it was sent.
    """

    checked: int = on_wire(U8)


@CORE.message(33, REQ, Channel.REQUESTS, replies=("BlockTransactions", "NotFound", "Refused"))
@frozen
class GetBlockTransactions(Message):
    """Ask for transactions of a block by their positions: bit n % 8 of octet n // 8 of ``indexes`` stands for n."""

    hash: bytes = on_wire(HASH)
    indexes: bytes = on_wire(Blob(COMPACT_TRANSACTIONS // 8))


@CORE.message(34, REP, Channel.REPLIES)
@frozen
class BlockTransactions(Message):
    """Raw transactions of a block in asked order, cut before 2 MiB."""

    hash: bytes = on_wire(HASH)
    transactions: tuple[bytes, ...] = on_wire(ListOf(TRANSACTION, COMPACT_TRANSACTIONS))


@CORE.message(35, N, Channel.CONTROL)
@frozen
class PushBlocks(Message):
    """1: push new blocks to me in compact form; 0: do not (any more), announce them. Nobody is pushed to unasked."""

    wanted: int = on_wire(U8)


@CORE.message(36, REQ, Channel.REQUESTS, replies=("FoundCompactBlock", "NotFound", "Refused"))
@frozen
class GetCompactBlock(Message):
    """Ask for an announced block in compact form."""

    hash: bytes = on_wire(HASH)


@CORE.message(37, REP, Channel.REPLIES, maximum=COMPACT_MAXIMUM)
@frozen
class FoundCompactBlock(_Compact):
    """The answer: what ``CompactBlock`` holds."""


@CORE.message(48, REQ, Channel.REQUESTS, replies=("StateChunk", "NotFound", "Refused"))
@frozen
class GetStateChunk(Message):
    """Ask for the part of the state of ``root`` below ``prefix``: one nibble an octet, each below 16.

    ``base``: a root whose state is here below that prefix, so that the changes would do; zeros: there is none.
    """

    root: bytes = on_wire(HASH)
    base: bytes = on_wire(HASH)
    prefix: bytes = on_wire(Blob(64))


@CORE.message(49, REP, Channel.BULK)
@frozen
class StateChunk(Message):
    """A part of the state, with its proof; what is in it is the chain's own affair."""

    chunk: bytes = on_wire(Blob(STATE_CHUNK))


@CORE.message(64, N, Channel.CONTROL)
@frozen
class Graft(Message):
    """We are in each other's mesh from now on, unless you answer with ``Prune``: send new blocks to me at once."""


@CORE.message(65, N, Channel.CONTROL)
@frozen
class Prune(Message):
    """We are not, or not any more, in each other's mesh; do not ask for so many seconds (at least 60), nor shall I."""

    seconds: int = on_wire(U16)


@CORE.message(66, N, Channel.ANNOUNCEMENTS)
@frozen
class DoNotSend(Message):
    """I am getting these blocks from others: announce them to me, unless you have sent them already."""

    hashes: tuple[bytes, ...] = on_wire(ListOf(HASH, 16))
