"""Lists of byte strings and of fixed-width items: they carry nearly all bytes, so their loops run in ``struct`` and
``bytes.join`` wherever they can."""

from collections.abc import Callable
from functools import lru_cache
from itertools import chain
from struct import Struct
from typing import Any

from chainp2p.errors import Reason
from chainp2p.wire.errors import WireError
from chainp2p.wire.prefixes import (
    PREFIXES,
    U64,
    Reader,
    Tail,
    Writer,
    count_error,
    items_error,
    length_reader,
    prefix,
    raw_error,
    short,
)
from chainp2p.wire.schema import Blob, Field, Raw

__all__ = ["blob_list", "blob_list_tail", "fixed_tuple_list", "raw_list"]

#: Items that are cut by one call: beyond this the gain is small and the layout large (32 bytes an item).
_RUN = 512
#: Lists up to this long are not worth looking at as a whole.
_FEW = 3
#: Lists up to this long have a layout of their own for each length.
_SHORT_LIST = 16


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
    unpack = U64.unpack_from

    def read(data: bytes, at: int, end: int) -> tuple[tuple[bytes, ...], int]:
        at += 8
        if at > end:
            raise short(name)
        (count,) = unpack(data, at - 8)
        if count > limit or count * 8 > end - at:
            raise count_error(name, count, limit, end - at)
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


def blob_list_tail(item_limit: int, limit: int, name: str) -> Tail:
    """Write a message that ends with a list of byte strings: one join, without a loop in Python."""

    def too_long(length: int) -> ValueError:
        return ValueError(f"{name}: item of {length} bytes, at most {item_limit} are allowed")

    def write(head: bytes, values: Any) -> bytes:
        count = len(values)
        if count > limit:
            raise items_error(name, values, limit)
        head += PREFIXES[count] if count < 2_048 else U64.pack(count)
        if count <= _FEW:
            parts = [head]
            for value in values:
                length = len(value)
                if length > item_limit:
                    raise too_long(length)
                parts += (PREFIXES[length] if length < 2_048 else U64.pack(length)), value
            return b"".join(parts)
        lengths = list(map(len, values))
        length = lengths[0]
        if lengths.count(length) == len(lengths) and length <= item_limit:
            return prefix(length).join((head, *values))
        longest = max(lengths)
        if longest > item_limit:
            raise too_long(longest)
        parts = [head] * (1 + 2 * len(lengths))
        parts[1::2] = map(PREFIXES.__getitem__ if longest < 2_048 else U64.pack, lengths)
        parts[2::2] = values
        return b"".join(parts)

    return write


def blob_list(item: Blob, limit: int, name: str) -> tuple[Reader, Writer]:
    tail = blob_list_tail(item.limit, limit, name)

    def write(values: Any, out: list[bytes]) -> None:
        out.append(tail(b"", values))

    return _blob_list_reader(item.limit, limit, name), write


def raw_list(item: Raw, limit: int, name: str) -> tuple[Reader, Writer]:
    size = item.size
    count_of = length_reader(limit, size, name)
    layout = f"{size}s"

    def read(data: bytes, at: int, end: int) -> tuple[tuple[bytes, ...], int]:
        count = count_of(data, at, end)
        at += 8
        return _equal_items(data, at, layout, size, count), at + count * size

    def write(values: Any, out: list[bytes]) -> None:
        if len(values) > limit:
            raise items_error(name, values, limit)
        if list(map(len, values)).count(size) != len(values):
            raise raw_error(name, size)
        out.append(prefix(len(values)))
        out += values

    return read, write


def fixed_tuple_list(formats: str, kinds: tuple[Field, ...], limit: int, name: str) -> tuple[Reader, Writer]:
    layout = Struct("<" + formats)
    width = layout.size
    unpack, iter_unpack, pack = U64.unpack_from, layout.iter_unpack, layout.pack
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
            raise count_error(name, count, limit, end - at)
        stop = at + count * width
        # a copy is quicker made than a view, but a long list should not be twice in memory
        items = data[at:stop] if count < few else memoryview(data)[at:stop]
        return tuple(iter_unpack(items)), stop

    def write(values: Any, out: list[bytes]) -> None:
        count = len(values)
        if count > limit:
            raise items_error(name, values, limit)
        for index, size in raws:
            for value in values:
                if len(value[index]) != size:
                    raise raw_error(name, size)
        if count < few:
            out.append(packs[count](count, *chain.from_iterable(values)))
        else:
            out.append(prefix(count))
            out += [pack(*value) for value in values]

    return read, write
