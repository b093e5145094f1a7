"""Readers and writers of single fields, made once from the schema.

A reader takes (data, position, end) and gives (value, position after it); it never looks past *end*, so that a message
is read in place from a larger buffer. A writer appends its bytes to a list.
"""

from struct import Struct
from typing import Any

from chainp2p.wire.errors import WireError
from chainp2p.wire.lists import blob_list, blob_list_tail, fixed_tuple_list, raw_list
from chainp2p.wire.prefixes import (
    PREFIXES,
    U64,
    Reader,
    Tail,
    Writer,
    count_error,
    fixed_format,
    items_error,
    length_reader,
    prefix,
    raw_error,
    short,
)
from chainp2p.wire.schema import Blob, Field, ListOf, Raw, Text, TupleOf

__all__ = ["compile_field", "compile_tail"]


def _blob(limit: int, name: str) -> tuple[Reader, Writer]:
    unpack = U64.unpack_from

    def read(data: bytes, at: int, end: int) -> tuple[bytes, int]:
        at += 8
        if at > end:
            raise short(name)
        length: int = unpack(data, at - 8)[0]
        stop = at + length
        if length > limit or stop > end:
            raise count_error(name, length, limit, end - at)
        return data[at:stop], stop

    def write(value: bytes, out: list[bytes]) -> None:
        length = len(value)
        if length > limit:
            raise ValueError(f"{name}: {length} bytes, at most {limit} are allowed")
        out.append(PREFIXES[length] if length < 2_048 else U64.pack(length))
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


def _list(item: Field, limit: int, name: str) -> tuple[Reader, Writer]:
    if isinstance(item, Blob):
        return blob_list(item, limit, name)
    if isinstance(item, Raw):
        return raw_list(item, limit, name)
    if isinstance(item, TupleOf):
        formats = [fixed_format(kind) for kind in item.items]
        if None not in formats:
            return fixed_tuple_list("".join(map(str, formats)), item.items, limit, name)
    count_of = length_reader(limit, item.minimum, name)
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
            raise items_error(name, values, limit)
        out.append(prefix(len(values)))
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
            raise raw_error(name, width)
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
        return blob_list_tail(kind.item.limit, kind.limit, name)
    write = compile_field(kind, name)[1]

    def tail(head: bytes, value: Any) -> bytes:
        out = [head]
        write(value, out)
        return b"".join(out)

    return tail
