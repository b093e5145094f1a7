"""The short door for authors of new chains: what a block means, and nothing of how it is kept.

Whoever provides :class:`IRules` gets a whole chain from :class:`chainp2p.chain.stored.StoredChain`: header tree, fork
choice, reorganisations, storage, crash safety. Rules are pure: what they answer follows from their arguments.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from attrs import frozen
from zope.interface import Attribute, Interface

__all__ = [
    "BlockRefused",
    "ByteMap",
    "HeaderRefused",
    "IPoolRules",
    "IProducerRules",
    "IRules",
    "Place",
    "ReadBlock",
    "ReadHeader",
    "Summary",
    "pack_block",
    "unpack_block",
]


@frozen
class ReadHeader:
    """A header that has been read; *data* is the author's own."""

    hash: bytes
    parent: bytes
    height: int
    data: Any = None


@frozen
class ReadBlock:
    """A block whose body belongs to its header; *transactions*: (id, raw) in their order."""

    header: ReadHeader
    raw_header: bytes
    transactions: tuple[tuple[bytes, bytes], ...]
    data: Any = None


@frozen
class Summary:
    """What a good header adds up to with all below it.

    :param rank: 32 bytes, compared as a big-endian number; the highest wins, then the smaller hash.
    :param finalized: the highest block that this header makes final; None: none.
    :param rest: whatever the checks of later headers need; stored with the header.
    """

    rank: bytes
    finalized: bytes | None = None
    rest: bytes = b""


@frozen
class Place:
    """A header and what it adds up to."""

    header: ReadHeader
    summary: Summary


class HeaderRefused(Exception):
    """A header breaks a rule: whoever sent it is at fault.

    :param when: it is merely too early, and worth another try at this Unix time in seconds: no fault.
    """

    def __init__(self, reason: str, when: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.when = when


class BlockRefused(Exception):
    """A block breaks a rule that its header does not show: its producer is at fault, nobody who passed it on."""


class ByteMap(Protocol):
    """The state: bytes by bytes. What is written is undone when the block leaves the chain."""

    def get(self, key: bytes) -> bytes | None:
        """Return a value, None if there is none."""
        ...

    def set(self, key: bytes, value: bytes | None) -> None:
        """Replace a value; None removes it."""
        ...


class IRules(Interface):
    """What headers and blocks mean.

    Rules may have an attribute ``lookback``, an int of at least 1: ``check_header`` never takes more than so many of
    the *ancestors*. With it, headers of a peer are not stored before they rank high enough; without it they are.
    """

    def genesis() -> bytes:
        """The raw genesis block, whose hash is the identity of the network. It is connected like any other."""

    def read_header(raw: bytes) -> ReadHeader:
        """Read a header; ValueError says what is malformed."""

    def read_block(raw: bytes) -> ReadBlock:
        """Read a block; ValueError says what is malformed, or that the body is not the one its header names."""

    def write_block(raw_header: bytes, transactions: "Sequence[bytes]") -> bytes:
        """The inverse of ``read_block``."""

    def check_header(header: ReadHeader, parent: "Place | None", ancestors: "Iterator[Place]", now: float) -> Summary:
        """Add a header up with its parent, whose hash it names; raises HeaderRefused.

        *ancestors* goes from the parent back to genesis, lazily; *now* is Unix time in seconds. That the height is one
        above the parent's has been checked. The genesis header has no parent.
        """

    def connect(block: ReadBlock, state: ByteMap) -> None:
        """Make the block's changes; raises BlockRefused. What was written by then is forgotten."""


class IPoolRules(Interface):
    """Optional: the chain has transactions that wait for a block."""

    def transaction_id(raw: bytes) -> bytes:
        """The id of a raw transaction, 32 bytes; ValueError if it is malformed or badly signed: the sender's fault."""

    def check_transaction(raw: bytes, state: ByteMap) -> str:
        """Say why a transaction cannot be included at this state; an empty text if it can."""


class IProducerRules(Interface):
    """Optional: this node can produce blocks."""

    sole = Attribute("bool: nobody else can produce on this network")

    def next_time(parent: Place, waiting: int, now: float) -> "float | None":
        """When (Unix seconds) to propose a block on *parent*, *waiting* transactions being there; None: not before
        either changes."""

    def propose(parent: Place, state: ByteMap, transactions: "Sequence[bytes]", now: float) -> "bytes | None":
        """The raw block to follow *parent*, whose state this is; what is written to it is forgotten."""


def pack_block(raw_header: bytes, transactions: Sequence[bytes]) -> bytes:
    """A block format for rules that need no other: each part with its length, u32 little-endian, in front."""
    return b"".join(len(part).to_bytes(4, "little") + part for part in (raw_header, *transactions))


def unpack_block(raw: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """The inverse of :func:`pack_block`; ValueError if the parts do not fill *raw*."""
    parts, at = [], 0
    while at < len(raw):
        end = at + 4 + int.from_bytes(raw[at : at + 4], "little")
        if end > len(raw) or at + 4 > len(raw):
            raise ValueError("the block ends within a part")
        parts.append(raw[at + 4 : end])
        at = end
    if not parts:
        raise ValueError("the block is empty")
    return parts[0], tuple(parts[1:])
