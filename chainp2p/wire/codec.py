"""bincode 1.3 (free functions of the Rust crate), compiled once from the schema.

For each message two straight-line functions are written as source and compiled at import: runs of fixed-width fields
are one :class:`struct.Struct`, other fields call their reader or writer. Written out for ``GetHeaders``::

    def read(data, at, end):
        if end - at != 36: raise wrong_size(end - at)
        from_, count = unpack_0(data, at)
        message = new(cls)
        set_from_(message, from_); set_count(message, count)
        return message

    def write(message):
        from_ = message.from_; count = message.count
        if len(from_) != 32: raise wrong_raw('from_', 32)
        return pack_0(8, from_, count)

Messages are made past ``__init__``, by the descriptors of their slots: that is half of the time of a frozen attrs
``__init__``, which nothing but the assignments needs (no message has converters or validators).
"""

from collections.abc import Callable
from itertools import groupby
from struct import Struct
from struct import error as StructError
from typing import Any, TypeAlias

from chainp2p.errors import Reason
from chainp2p.wire.errors import WireError
from chainp2p.wire.fields import compile_field, compile_tail
from chainp2p.wire.messages import CORE
from chainp2p.wire.prefixes import fixed_format, short
from chainp2p.wire.schema import Blob, Kind, Message, Raw, Registry, Spec

__all__ = ["Codec", "MessageReader", "WireError", "decode", "encode"]

#: (data, position after the tag, end of the message) -> the message
MessageReader: TypeAlias = Callable[[bytes, int, int], Message]
MessageWriter: TypeAlias = Callable[[Any], bytes]

#: Fields that make up one struct, or one field that is read by its own function.
_Step: TypeAlias = "tuple[str | None, list[tuple[str, Any]]]"

_U64 = Struct("<Q")
#: For messages that have more than one byte string: no size is within this limit.
_NOT_LONE: tuple[type[Any], int] = (Message, -1)


def _steps(spec: Spec) -> list[_Step]:
    """Group neighbouring fixed-width fields: (struct format, fields), or (None, [one field])."""
    steps: list[_Step] = []
    for fixed, group in groupby(spec.fields, key=lambda field: fixed_format(field[1]) is not None):
        fields = list(group)
        if fixed:
            steps.append(("".join(str(fixed_format(kind)) for _, kind in fields), fields))
        else:
            steps += [(None, [field]) for field in fields]
    return steps


def _names(fields: list[tuple[str, Any]]) -> str:
    return "".join(f"{name}, " for name, _ in fields)


def _compile(lines: list[str], scope: dict[str, Any], spec: Spec) -> Any:
    exec(compile("\n".join(lines), f"<codec of {spec.name}>", "exec"), scope)
    return scope.pop("made")


def _reader(spec: Spec) -> MessageReader:
    """Write and compile the decoder of one message."""
    steps = _steps(spec)
    cls, maximum, name = spec.cls, spec.maximum - 4, spec.name

    def wrong_size(size: int) -> WireError:
        if size > maximum:
            return WireError(f"{name}: {size + 4} bytes, at most {maximum + 4} are allowed", Reason.OVERSIZE)
        return WireError(f"{name}: {size + 4} bytes instead of {maximum + 4}")

    def left_over(size: int) -> WireError:
        return WireError(f"{name}: {size} bytes follow the message")

    scope: dict[str, Any] = {"new": object.__new__, "cls": cls, "wrong_size": wrong_size, "left_over": left_over}
    lines = ["def made(data, at, end):"]
    fixed_alone = all(layout is not None for layout, _ in steps)
    if fixed_alone:
        lines.append(f"    if end - at != {maximum}: raise wrong_size(end - at)")
    else:
        lines.append(f"    if end - at > {maximum}: raise wrong_size(end - at)")
    for index, (layout, fields) in enumerate(steps):
        if layout is None:
            ((field, kind),) = fields
            scope[f"read_{index}"] = compile_field(kind, f"{name}.{field}")[0]
            lines.append(f"    {field}, at = read_{index}(data, at, end)")
            continue
        struct = Struct("<" + layout)
        scope[f"unpack_{index}"] = struct.unpack_from
        if not fixed_alone:
            scope["short"] = short
            lines.append(f"    if at + {struct.size} > end: raise short({name + '.' + fields[0][0]!r})")
        lines.append(f"    {_names(fields)}= unpack_{index}(data, at)")
        if not fixed_alone:
            lines.append(f"    at += {struct.size}")
    if not fixed_alone:
        lines.append("    if at != end: raise left_over(end - at)")
    lines.append("    message = new(cls)")
    for field, _ in spec.fields:
        scope[f"set_{field}"] = getattr(cls, field).__set__
        lines.append(f"    set_{field}(message, {field})")
    lines.append("    return message")
    made: MessageReader = _compile(lines, scope, spec)
    return made


def _writer(spec: Spec) -> MessageWriter:
    """Write and compile the encoder of one message."""
    steps = _steps(spec)
    name, maximum = spec.name, spec.maximum

    def wrong_raw(field: str, size: int) -> ValueError:
        return ValueError(f"{name}.{field}: exactly {size} bytes are needed")

    def too_long(size: int) -> ValueError:
        return ValueError(f"{name}: {size} bytes, at most {maximum} are allowed")

    scope: dict[str, Any] = {"wrong_raw": wrong_raw, "too_long": too_long, "join": b"".join}
    lines = ["def made(message):"]
    lines += [f"    {field} = message.{field}" for field, _ in spec.fields]
    lines += [
        f"    if len({field}) != {kind.size}: raise wrong_raw({field!r}, {kind.size})"
        for field, kind in spec.fields
        if isinstance(kind, Raw)
    ]
    # The tag belongs to the first run of fixed-width fields.
    if not steps or steps[0][0] is None:
        steps.insert(0, ("", []))
    for index, (layout, fields) in enumerate(steps):
        last = index == len(steps) - 1
        if layout is not None:
            tag = "" if index else f"{spec.tag}, "
            scope[f"pack_{index}"] = Struct("<" + ("" if index else "I") + layout).pack
            packed = f"pack_{index}({tag}{_names(fields)})"
            if not fields:
                scope["tag"] = Struct("<I").pack(spec.tag)
                packed = "tag"
            if len(steps) == 1:
                lines.append(f"    return {packed}")
            else:
                lines.append(f"    out.append({packed})" if index else f"    out = [{packed}]")
            continue
        ((field, kind),) = fields
        if last:
            scope["tail"] = compile_tail(kind, f"{name}.{field}")
            head = "out[0]" if index == 1 else "join(out)"
            lines.append(f"    data = tail({head}, {field})")
        else:
            scope[f"write_{index}"] = compile_field(kind, f"{name}.{field}")[1]
            lines.append(f"    write_{index}({field}, out)")
    if len(steps) > 1:
        if steps[-1][0] is not None:
            lines.append("    data = join(out)")
        lines += [f"    if len(data) > {maximum}: raise too_long(len(data))", "    return data"]
    made: MessageWriter = _compile(lines, scope, spec)
    return made


class Codec:
    """Encoder and decoder of all messages of a registry.

    :ivar framed: kind, flags 0 and tag as the six octets that stand in a frame of a whole message -> (kind, reader).
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.framed: dict[bytes, tuple[Kind, MessageReader]] = {}
        self._readers: dict[bytes, MessageReader] = {}
        for tag, spec in registry.by_tag.items():
            octets = tag.to_bytes(4, "little")
            self._readers[octets] = read = _reader(spec)
            self.framed[bytes((spec.kind, 0)) + octets] = spec.kind, read
        self._writers: dict[type, MessageWriter] = {spec.cls: _writer(spec) for spec in registry.by_tag.values()}

        #: Messages that are one byte string and nothing else, and its limit.
        self._lone: dict[bytes, tuple[type[Any], int]] = {
            tag.to_bytes(4, "little"): (spec.cls, kind.limit)
            for tag, spec in registry.by_tag.items()
            for _, kind in spec.fields
            if len(spec.fields) == 1 and isinstance(kind, Blob)
        }

    def encode(self, message: Message) -> bytes:
        """Return the bytes of *message*; ValueError if a value does not fit its field."""
        try:
            return self._writers[message.__class__](message)
        except StructError as error:
            raise ValueError(f"{type(message).__name__}: {error}") from None

    def decode(self, data: bytes) -> Message:
        """Return the message; raises :exc:`WireError` for anything that is not exactly one."""
        reader = self._readers.get(data[:4])
        if reader is not None:
            return reader(data, 4, len(data))
        if len(data) < 4:
            raise WireError(f"{len(data)} bytes are no message: the tag alone has 4")
        raise WireError(f"unknown tag {int.from_bytes(data[:4], 'little')}")

    def decode_parts(self, parts: "list[bytes | memoryview]", size: int) -> Message:
        """Decode a message of *size* bytes that came in pieces; *parts* is used up.

        A message that is one byte string (a block) is joined without its prefix: the second copy of a large value, on
        fresh pages, would take longer than all the rest.
        """
        first = parts[0]
        cls, limit = self._lone.get(bytes(first[:4]), _NOT_LONE)
        if len(first) >= 12 and _U64.unpack_from(first, 4)[0] == size - 12 <= limit:
            parts[0] = first[12:]
            message: Message = cls(b"".join(parts))
            return message
        data = b"".join(parts)
        parts.clear()
        return self.decode(data)


CODEC = Codec(CORE)
encode = CODEC.encode
decode = CODEC.decode
