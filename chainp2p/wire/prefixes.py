"""Counts and lengths before what they count: how they are packed, and refused before anything is allocated."""

from collections.abc import Callable
from struct import Struct
from typing import Any, TypeAlias

from chainp2p.errors import Reason
from chainp2p.wire.errors import WireError
from chainp2p.wire.schema import Field, Integer, Raw

__all__ = [
    "PREFIXES",
    "U64",
    "Reader",
    "Tail",
    "Writer",
    "count_error",
    "fixed_format",
    "items_error",
    "length_reader",
    "prefix",
    "raw_error",
    "short",
]

#: (data, position, end of the message) -> (value, position after it)
Reader: TypeAlias = Callable[[bytes, int, int], tuple[Any, int]]
Writer: TypeAlias = Callable[[Any, "list[bytes]"], None]
#: (all before the last field, value of the last field) -> the message, joined once.
Tail: TypeAlias = Callable[[bytes, Any], bytes]

U64 = Struct("<Q")
_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}
#: Length prefixes that occur often, made once.
PREFIXES = tuple(U64.pack(n) for n in range(2_048))


def short(what: str) -> WireError:
    return WireError(f"{what}: the message ends early")


def prefix(length: int) -> bytes:
    return PREFIXES[length] if length < 2_048 else U64.pack(length)


def fixed_format(kind: Field) -> str | None:
    """The struct format of a fixed-width field that is a single value, else None."""
    if isinstance(kind, Integer):
        return _FORMATS[kind.size]
    if isinstance(kind, Raw):
        return f"{kind.size}s"
    return None


def items_error(name: str, values: Any, limit: int) -> ValueError:
    return ValueError(f"{name}: {len(values)} items, at most {limit} are allowed")


def raw_error(name: str, size: int) -> ValueError:
    return ValueError(f"{name}: exactly {size} bytes are needed")


def length_reader(limit: int, item_minimum: int, name: str) -> Callable[[bytes, int, int], int]:
    """Read a u64 count or length that the rest of the message can hold."""
    unpack = U64.unpack_from

    def read(data: bytes, at: int, end: int) -> int:
        left = end - at - 8
        if left < 0:
            raise short(name)
        count: int = unpack(data, at)[0]
        if count > limit or count * item_minimum > left:
            raise count_error(name, count, limit, left)
        return count

    return read


def count_error(name: str, count: int, limit: int, left: int) -> WireError:
    if count > limit:
        return WireError(f"{name}: count {count} above the maximum of {limit}", Reason.OVERSIZE)
    return WireError(f"{name}: count {count} is more than the {left} bytes left can hold")
