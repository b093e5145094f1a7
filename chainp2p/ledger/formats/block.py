"""Raw blocks: RLP of [header, [transactions], []], the transactions as Ethereum puts them into a block.

A legacy transaction is an item (a list) of the body by itself, a typed one is wrapped as a byte string.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from attrs import frozen

from chainp2p.ledger.formats.header import MAX_HEADER_BYTES, Header, HeaderError
from chainp2p.ledger.formats.transaction import Transaction, TransactionError
from chainp2p.ledger.state.ordered import ordered_root
from chainp2p.primitives import rlp
from chainp2p.primitives.keccak import keccak256

__all__ = [
    "MAX_BLOCK_BYTES",
    "Block",
    "BlockError",
    "Split",
    "assemble",
    "block_hash",
    "body_matches",
    "decode_block",
    "split",
    "transactions_root",
]

#: Bytes of one block's RLP (see the design, "Transactions").
MAX_BLOCK_BYTES = 2 * 1024 * 1024

_NO_OMMERS = b"\xc0"
_NONE: Mapping[bytes, Transaction] = {}

Split: TypeAlias = tuple[bytes, tuple[tuple[bytes, bytes], ...]]


class BlockError(ValueError):
    """The bytes are not a block of this chain.

    :param committed: the body matches its header's root, so that whoever sealed the header is at fault, not the sender.
    """

    def __init__(self, text: str, committed: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.committed = committed


@frozen
class Block:
    """A decoded block."""

    raw: bytes
    header: Header
    transactions: tuple[Transaction, ...]

    @property
    def hash(self) -> bytes:
        return self.header.hash

    @property
    def size(self) -> int:
        """Bytes of its RLP."""
        return len(self.raw)


def _body(raw: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    if len(raw) > MAX_BLOCK_BYTES:
        raise BlockError(f"block of {len(raw)} bytes, at most {MAX_BLOCK_BYTES} are allowed")
    try:
        parts = rlp.split_list(raw)
        if len(parts) != 3:
            raise BlockError(f"block of {len(parts)} parts, 3 are expected")
        header, transactions, ommers = parts
        if ommers != _NO_OMMERS:
            raise BlockError("ommers are not empty")
        return header, tuple(map(_unwrap, rlp.split_list(transactions)))
    except rlp.RlpError as error:
        raise BlockError(f"rlp: {error}") from None


def _unwrap(item: bytes) -> bytes:
    """Return the raw transaction of one item of a body, whose prefix was checked when it was cut out."""
    first = item[0]
    if first >= 0xC0:
        return item
    raw = item if first < 0x80 else item[1:] if first < 0xB8 else item[first - 0xB6 :]
    if not raw or raw[0] >= 0x80:
        raise BlockError("an item of the body is no transaction")
    return raw


def split(raw: bytes) -> Split:
    """Return (raw header, ((transaction id, raw transaction), ...)); raises :exc:`BlockError`, a ValueError."""
    header, transactions = _body(raw)
    return header, tuple((keccak256(transaction), transaction) for transaction in transactions)


def assemble(header: bytes, transactions: Iterable[bytes]) -> bytes:
    """Return the raw block of a raw header and raw transactions: the inverse of :func:`split`."""
    body = b"".join(raw if raw[:1] >= b"\xc0" else rlp.encode(raw) for raw in transactions)
    return rlp.wrap_list(header + rlp.wrap_list(body) + _NO_OMMERS)


def block_hash(raw: bytes) -> bytes:
    """Return the hash of a raw block or of a raw header; raises :exc:`BlockError` on bytes that are neither."""
    try:
        first = rlp.first_item(raw)
    except rlp.RlpError as error:
        raise BlockError(f"rlp: {error}") from None
    if first[0] >= 0xC0:
        return keccak256(first)
    if len(raw) > MAX_HEADER_BYTES:
        raise BlockError("neither a block nor a header")
    return keccak256(raw)


def body_matches(raw: bytes) -> bool:
    """Return whether the transactions of a raw block are those of its header's root."""
    try:
        header, raws = _body(raw)
        return transactions_root(raws) == Header.decode(header).transactions_root
    except (BlockError, HeaderError):
        return False


def transactions_root(raws: Sequence[bytes]) -> bytes:
    """Return the Merkle-Patricia root of raw transactions in block order."""
    return ordered_root(raws)


def decode_block(
    raw: bytes,
    checked: bool = False,
    decoded: Mapping[bytes, Transaction] = _NONE,
    parts: Split | None = None,
) -> Block:
    """Decode a block and check that the body matches its header; raises :exc:`BlockError`.

    :param checked: it was, before it was stored: the root is not computed again.
    :param decoded: transactions that are decoded already, by their bytes.
    :param parts: what :func:`split` made of it, if it was split.
    """
    raws: Sequence[bytes]
    if parts is None:
        raw_header, raws = _body(raw)
    else:
        raw_header, raws = parts[0], [one for _, one in parts[1]]
    try:
        header = Header.decode(raw_header)
    except HeaderError as error:
        raise BlockError(str(error)) from None
    if not checked and transactions_root(raws) != header.transactions_root:
        raise BlockError("the transactions do not match the header's root")
    try:
        transactions = tuple([decoded.get(one) or Transaction.decode(one) for one in raws])
    except TransactionError as error:
        raise BlockError(f"transaction: {error}", committed=True) from None
    return Block(raw, header, transactions)
