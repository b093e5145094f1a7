"""bincode 1.3 (free functions of the Rust crate), compiled once from the schema.

Runs of fixed-width fields become one :class:`struct.Struct`; lists of byte strings and of fixed-width items have loops
of their own, because they carry nearly all bytes. A count is checked against the field's maximum and against the bytes
left before anything is allocated.
"""

from collections.abc import Callable
from struct import Struct
from struct import error as StructError
from typing import Any, TypeAlias

from chainp2p.errors import PeerFault, Penalty, Reason
from chainp2p.wire.messages import CORE
from chainp2p.wire.schema import Blob, Field, Integer, ListOf, Message, Raw, Registry, Spec, Text, TupleOf

__all__ = ["Codec", "WireError", "decode", "encode"]

#: (data, position) -> (value, position after it)
Reader: TypeAlias = Callable[[bytes, int], tuple[Any, int]]
#: Appends the encoding of a value to the list.
Writer: TypeAlias = Callable[[Any, "list[bytes]"], None]

_U32 = Struct("<I")
_U64 = Struct("<Q")
_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}
#: Length prefixes that occur often, made once.
_PREFIXES = tuple(_U64.pack(n) for n in range(2_048))


class WireError(PeerFault):
    """Bytes that no honest peer sends: reason ``malformed_message``, ``malformed_frame`` or ``oversize``."""

    def __init__(
        self,
        detail: str,
        reason: Reason = Reason.MALFORMED_MESSAGE,
        penalty: Penalty = Penalty.MALICIOUS,
    ) -> None:
        super().__init__(reason, detail, penalty)


def _short(what: str) -> WireError:
    return WireError(f"{what}: the message ends early")


def _prefix(length: int) -> bytes:
    return _PREFIXES[length] if length < 2_048 else _U64.pack(length)


def _fixed_format(kind: Field) -> str | None:
    """The struct format of a fixed-width field that is a single value, else None."""
    if isinstance(kind, Integer):
        return _FORMATS[kind.size]
    if isinstance(kind, Raw):
        return f"{kind.size}s"
    return None


def _check_raw(value: Any, size: int, name: str) -> None:
    if type(value) is not bytes or len(value) != size:
        raise ValueError(f"{name}: exactly {size} bytes are needed")


def _length_reader(limit: int, item_minimum: int, name: str) -> Callable[[bytes, int], int]:
    unpack = _U64.unpack_from

    def read(data: bytes, at: int) -> int:
        if at + 8 > len(data):
            raise _short(name)
        count: int = unpack(data, at)[0]
        if count > limit:
            raise WireError(f"{name}: count {count} above the maximum of {limit}", Reason.OVERSIZE)
        if count * item_minimum > len(data) - at - 8:
            raise WireError(f"{name}: count {count} is more than the {len(data) - at - 8} bytes left can hold")
        return count

    return read


def _blob(limit: int, name: str) -> tuple[Reader, Writer]:
    length_of = _length_reader(limit, 1, name)

    def read(data: bytes, at: int) -> tuple[bytes, int]:
        end = at + 8 + length_of(data, at)
        return data[at + 8 : end], end

    def write(value: bytes, out: list[bytes]) -> None:
        if len(value) > limit:
            raise ValueError(f"{name}: {len(value)} bytes, at most {limit} are allowed")
        out.append(_prefix(len(value)))
        out.append(value)

    return read, write


def _text(limit: int, name: str) -> tuple[Reader, Writer]:
    read_bytes, write_bytes = _blob(limit, name)

    def read(data: bytes, at: int) -> tuple[str, int]:
        raw, end = read_bytes(data, at)
        try:
            return raw.decode(), end
        except UnicodeDecodeError as error:
            raise WireError(f"{name}: not UTF-8 at byte {error.start}") from None

    def write(value: str, out: list[bytes]) -> None:
        write_bytes(value.encode(), out)

    return read, write


def _blob_list(item: Blob, limit: int, name: str) -> tuple[Reader, Writer]:
    count_of = _length_reader(limit, 8, name)
    unpack = _U64.unpack_from
    item_limit = item.limit

    def read(data: bytes, at: int) -> tuple[tuple[bytes, ...], int]:
        count = count_of(data, at)
        at += 8
        end = len(data)
        if count > 3:
            # Items of one length (headers mostly are): all prefixes are compared at once, then cut in one call.
            first: int = unpack(data, at)[0]
            stride = 8 + first
            if first <= item_limit and at + count * stride <= end:
                body = data[at : at + count * stride]
                prefix = data[at : at + 8]
                if all(body[k::stride] == prefix[k : k + 1] * count for k in range(8)):
                    cut = Struct(f"8x{first}s")
                    return tuple([piece for (piece,) in cut.iter_unpack(body)]), at + count * stride
        items: list[bytes] = []
        append = items.append
        for _ in range(count):
            if at + 8 > end:
                raise _short(name)
            length: int = unpack(data, at)[0]
            at += 8
            if length > item_limit:
                raise WireError(f"{name}: item of {length} bytes, at most {item_limit} are allowed", Reason.OVERSIZE)
            stop = at + length
            if stop > end:
                raise _short(name)
            append(data[at:stop])
            at = stop
        return tuple(items), at

    def write(values: Any, out: list[bytes]) -> None:
        if len(values) > limit:
            raise ValueError(f"{name}: {len(values)} items, at most {limit} are allowed")
        out.append(_prefix(len(values)))
        prefixes = _PREFIXES
        for value in values:
            length = len(value)
            if length > item_limit:
                raise ValueError(f"{name}: item of {length} bytes, at most {item_limit} are allowed")
            out.append(prefixes[length] if length < 2_048 else _U64.pack(length))
            out.append(value)

    return read, write


def _raw_list(item: Raw, limit: int, name: str) -> tuple[Reader, Writer]:
    size = item.size
    count_of = _length_reader(limit, size, name)
    cut = Struct(f"{size}s")

    def read(data: bytes, at: int) -> tuple[tuple[bytes, ...], int]:
        end = at + 8 + count_of(data, at) * size
        return tuple([piece for (piece,) in cut.iter_unpack(data[at + 8 : end])]), end

    def write(values: Any, out: list[bytes]) -> None:
        if len(values) > limit:
            raise ValueError(f"{name}: {len(values)} items, at most {limit} are allowed")
        for value in values:
            _check_raw(value, size, name)
        out.append(_prefix(len(values)))
        out.extend(values)

    return read, write


def _fixed_tuple_list(layout: Struct, kinds: tuple[Field, ...], limit: int, name: str) -> tuple[Reader, Writer]:
    count_of = _length_reader(limit, layout.size, name)
    raws = [(index, kind.size) for index, kind in enumerate(kinds) if isinstance(kind, Raw)]

    def read(data: bytes, at: int) -> tuple[tuple[Any, ...], int]:
        end = at + 8 + count_of(data, at) * layout.size
        return tuple(layout.iter_unpack(data[at + 8 : end])), end

    def write(values: Any, out: list[bytes]) -> None:
        if len(values) > limit:
            raise ValueError(f"{name}: {len(values)} items, at most {limit} are allowed")
        out.append(_prefix(len(values)))
        for value in values:
            for index, size in raws:
                _check_raw(value[index], size, name)
            out.append(layout.pack(*value))

    return read, write


def _list(item: Field, limit: int, name: str) -> tuple[Reader, Writer]:
    if isinstance(item, Blob):
        return _blob_list(item, limit, name)
    if isinstance(item, Raw):
        return _raw_list(item, limit, name)
    if isinstance(item, TupleOf):
        formats = [_fixed_format(kind) for kind in item.items]
        if None not in formats:
            return _fixed_tuple_list(Struct("<" + "".join(map(str, formats))), item.items, limit, name)
    count_of = _length_reader(limit, item.minimum, name)
    read_item, write_item = _compile(item, name)

    def read(data: bytes, at: int) -> tuple[tuple[Any, ...], int]:
        count = count_of(data, at)
        at += 8
        items = []
        for _ in range(count):
            value, at = read_item(data, at)
            items.append(value)
        return tuple(items), at

    def write(values: Any, out: list[bytes]) -> None:
        if len(values) > limit:
            raise ValueError(f"{name}: {len(values)} items, at most {limit} are allowed")
        out.append(_prefix(len(values)))
        for value in values:
            write_item(value, out)

    return read, write


def _scalar(kind: Field, name: str) -> tuple[Reader, Writer]:
    layout = Struct(f"<{_fixed_format(kind)}")
    size = kind.size if isinstance(kind, Raw) else 0

    def read(data: bytes, at: int) -> tuple[Any, int]:
        if at + layout.size > len(data):
            raise _short(name)
        return layout.unpack_from(data, at)[0], at + layout.size

    def write(value: Any, out: list[bytes]) -> None:
        if size:
            _check_raw(value, size, name)
        out.append(layout.pack(value))

    return read, write


def _tuple(kinds: tuple[Field, ...], name: str) -> tuple[Reader, Writer]:
    parts = [_compile(kind, name) for kind in kinds]

    def read(data: bytes, at: int) -> tuple[tuple[Any, ...], int]:
        values = []
        for read_part, _ in parts:
            value, at = read_part(data, at)
            values.append(value)
        return tuple(values), at

    def write(value: Any, out: list[bytes]) -> None:
        for (_, write_part), part in zip(parts, value, strict=True):
            write_part(part, out)

    return read, write


def _compile(kind: Field, name: str) -> tuple[Reader, Writer]:
    if isinstance(kind, Blob):
        return _blob(kind.limit, name)
    if isinstance(kind, Text):
        return _text(kind.limit, name)
    if isinstance(kind, ListOf):
        return _list(kind.item, kind.limit, name)
    if isinstance(kind, TupleOf):
        return _tuple(kind.items, name)
    return _scalar(kind, name)


def _compile_fixed(spec: Spec, formats: list[str]) -> tuple[Callable[[bytes], Message], Callable[[Any], bytes]]:
    """A message of fixed-width fields alone is one pack and one unpack."""
    layout = Struct("<I" + "".join(formats))
    cls, tag, size = spec.cls, spec.tag, layout.size
    names = [name for name, _ in spec.fields]
    raws = [(name, kind.size) for name, kind in spec.fields if isinstance(kind, Raw)]

    def read(data: bytes) -> Message:
        if len(data) != size:
            raise WireError(f"{spec.name}: {len(data)} bytes instead of {size}")
        return cls(*layout.unpack(data)[1:])

    def write(message: Any) -> bytes:
        for name, length in raws:
            _check_raw(getattr(message, name), length, f"{spec.name}.{name}")
        return layout.pack(tag, *[getattr(message, name) for name in names])

    return read, write


def _compile_message(spec: Spec) -> tuple[Callable[[bytes], Message], Callable[[Any], bytes]]:
    formats = [_fixed_format(kind) for _, kind in spec.fields]
    if None not in formats:
        return _compile_fixed(spec, [str(one) for one in formats])
    parts = [(name, *_compile(kind, f"{spec.name}.{name}")) for name, kind in spec.fields]
    cls, tag, maximum = spec.cls, _U32.pack(spec.tag), spec.maximum

    def read(data: bytes) -> Message:
        if len(data) > maximum:
            raise WireError(f"{spec.name}: {len(data)} bytes, at most {maximum} are allowed", Reason.OVERSIZE)
        at = 4
        values = []
        for _, read_part, _ in parts:
            value, at = read_part(data, at)
            values.append(value)
        if at != len(data):
            raise WireError(f"{spec.name}: {len(data) - at} bytes follow the message")
        return cls(*values)

    def write(message: Any) -> bytes:
        out = [tag]
        for name, _, write_part in parts:
            write_part(getattr(message, name), out)
        data = b"".join(out)
        if len(data) > maximum:
            raise ValueError(f"{spec.name}: {len(data)} bytes, at most {maximum} are allowed")
        return data

    return read, write


class Codec:
    """Encoder and decoder of all messages of a registry."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._readers: dict[int, Callable[[bytes], Message]] = {}
        self._writers: dict[type[Message], Callable[[Any], bytes]] = {}
        for tag, spec in registry.by_tag.items():
            self._readers[tag], self._writers[spec.cls] = _compile_message(spec)

    def encode(self, message: Message) -> bytes:
        """Return the bytes of *message*; ValueError if a value does not fit its field."""
        try:
            return self._writers[type(message)](message)
        except StructError as error:
            raise ValueError(f"{type(message).__name__}: {error}") from None

    def decode(self, data: bytes) -> Message:
        """Return the message; raises :exc:`WireError` for anything that is not exactly one."""
        if len(data) < 4:
            raise WireError(f"{len(data)} bytes are no message: the tag alone has 4")
        tag: int = _U32.unpack_from(data)[0]
        reader = self._readers.get(tag)
        if reader is None:
            raise WireError(f"unknown tag {tag}")
        return reader(data)


CODEC = Codec(CORE)
encode = CODEC.encode
decode = CODEC.decode
