"""Readers and writers of single fields, made once from the schema.

A reader takes (data, position, end) and gives (value, position after it); it never looks past *end*, so that a message
is read in place from a larger buffer. A writer appends its bytes to a list. Lists of byte strings and of fixed-width
items carry nearly all bytes and have loops of their own, most of which run inside ``struct`` and ``bytes.join``.

A count is checked against the field's maximum and against the bytes left before anything is allocated.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import chain
from struct import Struct
from typing import Any, TypeAlias

from chainp2p.errors import Reason
from chainp2p.wire.errors import WireError
from chainp2p.wire.schema import Blob, Field, Integer, ListOf, Raw, Text, TupleOf

__all__ = ["Reader", "Tail", "Writer", "compile_field", "compile_tail", "fixed_format", "short"]

Reader: TypeAlias = Callable[[bytes, int, int], tuple[Any, int]]
Writer: TypeAlias = Callable[[Any, "list[bytes]"], None]
#: (all before the last field, value of the last field) -> the message, joined once.
Tail: TypeAlias = Callable[[bytes, Any], bytes]

_U64 = Struct("<Q")
_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}
#: Length prefixes that occur often, made once.
_PREFIXES = tuple(_U64.pack(n) for n in range(2_048))
#: Items that are cut by one call: beyond this the gain is small and the layout large (32 bytes an item).
_RUN = 512
#: Lists up to this long are not worth looking at as a whole.
_FEW = 3
#: Lists up to this long have a layout of their own for each length.
_SHORT_LIST = 16


def short(what: str) -> WireError:
    return WireError(f"{what}: the message ends early")


def _prefix(length: int) -> bytes:
    return _PREFIXES[length] if length < 2_048 else _U64.pack(length)


def fixed_format(kind: Field) -> str | None:
    """The struct format of a fixed-width field that is a single value, else None."""
    if isinstance(kind, Integer):
        return _FORMATS[kind.size]
    if isinstance(kind, Raw):
        return f"{kind.size}s"
    return None


def _items_error(name: str, values: Any, limit: int) -> ValueError:
    return ValueError(f"{name}: {len(values)} items, at most {limit} are allowed")


def _raw_error(name: str, size: int) -> ValueError:
    return ValueError(f"{name}: exactly {size} bytes are needed")


def _length_reader(limit: int, item_minimum: int, name: str) -> Callable[[bytes, int, int], int]:
    """Read a u64 count or length that the rest of the message can hold."""
    unpack = _U64.unpack_from

    def read(data: bytes, at: int, end: int) -> int:
        left = end - at - 8
        if left < 0:
            raise short(name)
        count: int = unpack(data, at)[0]
        if count > limit or count * item_minimum > left:
            raise _count_error(name, count, limit, left)
        return count

    return read


def _count_error(name: str, count: int, limit: int, left: int) -> WireError:
    if count > limit:
        return WireError(f"{name}: count {count} above the maximum of {limit}", Reason.OVERSIZE)
    return WireError(f"{name}: count {count} is more than the {left} bytes left can hold")


def _blob(limit: int, name: str) -> tuple[Reader, Writer]:
    unpack = _U64.unpack_from

    def read(data: bytes, at: int, end: int) -> tuple[bytes, int]:
        at += 8
        if at > end:
            raise short(name)
        length: int = unpack(data, at - 8)[0]
        stop = at + length
        if length > limit or stop > end:
            raise _count_error(name, length, limit, end - at)
        return data[at:stop], stop

    def write(value: bytes, out: list[bytes]) -> None:
        length = len(value)
        if length > limit:
            raise ValueError(f"{name}: {length} bytes, at most {limit} are allowed")
        out.append(_PREFIXES[length] if length < 2_048 else _U64.pack(length))
        out.append(value)

    return read, write


def _text(limit: int, name: str) -> tuple[Reader, Writer]:
    read_bytes, write_bytes = _blob(limit, name)

    def read(data: bytes, at: int, end: int) -> tuple[str, int]:
        raw, stop = read_bytes(data, at, end)
        try:
            return raw.decode(), stop
        except UnicodeDecodeError as error:
            raise WireError(f"{name}: not UTF-8 at byte {error.start}") from None

    def write(value: str, out: list[bytes]) -> None:
        write_bytes(value.encode(), out)

    return read, write


@lru_cache(maxsize=64)
def _cutter(layout: str, count: int) -> Callable[[bytes, int], tuple[bytes, ...]]:
    """Cut *count* byte strings of one layout; the layouts that are kept have at most 64 times 16 KiB."""
    return Struct(layout * count).unpack_from


def _equal_items(data: bytes, at: int, layout: str, width: int, count: int) -> tuple[bytes, ...]:
    """Cut *count* byte strings, each of which takes *width* bytes of the message."""
    if count <= _RUN:
        return _cutter(layout, count)(data, at)
    items: list[bytes] = []
    for _ in range(count // _RUN):
        items += _cutter(layout, _RUN)(data, at)
        at += _RUN * width
    items += _cutter(layout, count % _RUN)(data, at)
    return tuple(items)


def _blob_list_reader(item_limit: int, limit: int, name: str) -> Reader:
    unpack = _U64.unpack_from

    def read(data: bytes, at: int, end: int) -> tuple[tuple[bytes, ...], int]:
        at += 8
        if at > end:
            raise short(name)
        (count,) = unpack(data, at - 8)
        if count > limit or count * 8 > end - at:
            raise _count_error(name, count, limit, end - at)
        length: int
        if count > _FEW:
            # Items of one length (headers mostly are): the prefixes are compared octet by octet over all items at
            # once, then the items are cut by few calls.
            (length,) = unpack(data, at)
            stride = 8 + length
            stop = at + count * stride
            if length <= item_limit and stop <= end:
                for k in range(8):
                    if data[at + k : stop : stride] != data[at + k : at + k + 1] * count:
                        break
                else:
                    return _equal_items(data, at, f"8x{length}s", stride, count), stop
        items: list[bytes] = []
        append = items.append
        last = end - 8
        for _ in range(count):
            if at > last:
                raise short(name)
            (length,) = unpack(data, at)
            at += 8
            if length > item_limit:
                raise WireError(f"{name}: item of {length} bytes, at most {item_limit} are allowed", Reason.OVERSIZE)
            stop = at + length
            append(data[at:stop])
            at = stop
        if at > end:
            raise short(name)
        return tuple(items), at

    return read


def _blob_list_tail(item_limit: int, limit: int, name: str) -> Tail:
    """Write a message that ends with a list of byte strings: one join, without a loop in Python."""

    def too_long(length: int) -> ValueError:
        return ValueError(f"{name}: item of {length} bytes, at most {item_limit} are allowed")

    def write(head: bytes, values: Any) -> bytes:
        count = len(values)
        if count > limit:
            raise _items_error(name, values, limit)
        head += _PREFIXES[count] if count < 2_048 else _U64.pack(count)
        if count <= _FEW:
            parts = [head]
            for value in values:
                length = len(value)
                if length > item_limit:
                    raise too_long(length)
                parts += (_PREFIXES[length] if length < 2_048 else _U64.pack(length)), value
            return b"".join(parts)
        lengths = list(map(len, values))
        length = lengths[0]
        if lengths.count(length) == len(lengths) and length <= item_limit:
            return _prefix(length).join((head, *values))
        longest = max(lengths)
        if longest > item_limit:
            raise too_long(longest)
        parts = [head] * (1 + 2 * len(lengths))
        parts[1::2] = map(_PREFIXES.__getitem__ if longest < 2_048 else _U64.pack, lengths)
        parts[2::2] = values
        return b"".join(parts)

    return write


def _blob_list(item: Blob, limit: int, name: str) -> tuple[Reader, Writer]:
    tail = _blob_list_tail(item.limit, limit, name)

    def write(values: Any, out: list[bytes]) -> None:
        out.append(tail(b"", values))

    return _blob_list_reader(item.limit, limit, name), write


def _raw_list(item: Raw, limit: int, name: str) -> tuple[Reader, Writer]:
    size = item.size
    count_of = _length_reader(limit, size, name)
    layout = f"{size}s"

    def read(data: bytes, at: int, end: int) -> tuple[tuple[bytes, ...], int]:
        count = count_of(data, at, end)
        at += 8
        return _equal_items(data, at, layout, size, count), at + count * size

    def write(values: Any, out: list[bytes]) -> None:
        if len(values) > limit:
            raise _items_error(name, values, limit)
        if list(map(len, values)).count(size) != len(values):
            raise _raw_error(name, size)
        out.append(_prefix(len(values)))
        out += values

    return read, write


def _fixed_tuple_list(formats: str, kinds: tuple[Field, ...], limit: int, name: str) -> tuple[Reader, Writer]:
    layout = Struct("<" + formats)
    width = layout.size
    unpack, iter_unpack, pack = _U64.unpack_from, layout.iter_unpack, layout.pack
    raws = [(index, kind.size) for index, kind in enumerate(kinds) if isinstance(kind, Raw)]
    #: Short lists are packed by one call.
    packs = [Struct("<Q" + formats * count).pack for count in range(min(limit, _SHORT_LIST) + 1)]
    few = len(packs)

    def read(data: bytes, at: int, end: int) -> tuple[tuple[Any, ...], int]:
        at += 8
        if at > end:
            raise short(name)
        (count,) = unpack(data, at - 8)
        if count > limit or count * width > end - at:
            raise _count_error(name, count, limit, end - at)
        stop = at + count * width
        # a copy is quicker made than a view, but a long list should not be twice in memory
        items = data[at:stop] if count < few else memoryview(data)[at:stop]
        return tuple(iter_unpack(items)), stop

    def write(values: Any, out: list[bytes]) -> None:
        count = len(values)
        if count > limit:
            raise _items_error(name, values, limit)
        for index, size in raws:
            for value in values:
                if len(value[index]) != size:
                    raise _raw_error(name, size)
        if count < few:
            out.append(packs[count](count, *chain.from_iterable(values)))
        else:
            out.append(_prefix(count))
            out += [pack(*value) for value in values]

    return read, write


def _list(item: Field, limit: int, name: str) -> tuple[Reader, Writer]:
    if isinstance(item, Blob):
        return _blob_list(item, limit, name)
    if isinstance(item, Raw):
        return _raw_list(item, limit, name)
    if isinstance(item, TupleOf):
        formats = [fixed_format(kind) for kind in item.items]
        if None not in formats:
            return _fixed_tuple_list("".join(map(str, formats)), item.items, limit, name)
    count_of = _length_reader(limit, item.minimum, name)
    read_item, write_item = compile_field(item, name)

    def read(data: bytes, at: int, end: int) -> tuple[tuple[Any, ...], int]:
        count = count_of(data, at, end)
        at += 8
        items = []
        for _ in range(count):
            value, at = read_item(data, at, end)
            items.append(value)
        return tuple(items), at

    def write(values: Any, out: list[bytes]) -> None:
        if len(values) > limit:
            raise _items_error(name, values, limit)
        out.append(_prefix(len(values)))
        for value in values:
            write_item(value, out)

    return read, write


def _scalar(kind: Field, name: str) -> tuple[Reader, Writer]:
    layout = Struct(f"<{fixed_format(kind)}")
    width = layout.size
    raw = isinstance(kind, Raw)

    def read(data: bytes, at: int, end: int) -> tuple[Any, int]:
        if at + width > end:
            raise short(name)
        return layout.unpack_from(data, at)[0], at + width

    def write(value: Any, out: list[bytes]) -> None:
        if raw and len(value) != width:
            raise _raw_error(name, width)
        out.append(layout.pack(value))

    return read, write


def _tuple(kinds: tuple[Field, ...], name: str) -> tuple[Reader, Writer]:
    parts = [compile_field(kind, name) for kind in kinds]

    def read(data: bytes, at: int, end: int) -> tuple[tuple[Any, ...], int]:
        values = []
        for read_part, _ in parts:
            value, at = read_part(data, at, end)
            values.append(value)
        return tuple(values), at

    def write(value: Any, out: list[bytes]) -> None:
        for (_, write_part), part in zip(parts, value, strict=True):
            write_part(part, out)

    return read, write


def compile_field(kind: Field, name: str) -> tuple[Reader, Writer]:
    """Return reader and writer of one field; *name* is what errors call it."""
    if isinstance(kind, Blob):
        return _blob(kind.limit, name)
    if isinstance(kind, Text):
        return _text(kind.limit, name)
    if isinstance(kind, ListOf):
        return _list(kind.item, kind.limit, name)
    if isinstance(kind, TupleOf):
        return _tuple(kind.items, name)
    return _scalar(kind, name)


def compile_tail(kind: Field, name: str) -> Tail:
    """Return what finishes a message whose last field is *kind*."""
    if isinstance(kind, ListOf) and isinstance(kind.item, Blob):
        return _blob_list_tail(kind.item.limit, kind.limit, name)
    write = compile_field(kind, name)[1]

    def tail(head: bytes, value: Any) -> bytes:
        out = [head]
        write(value, out)
        return b"".join(out)

    return tail
