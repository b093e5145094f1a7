"""The vocabulary in which messages are described, and the registry that holds them.

A message is a frozen attrs class whose attributes carry a field kind; every kind has a maximum, so that the largest
encoding of a message is known before a byte of it is read. Sizes are in bytes.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, ClassVar, TypeAlias, TypeVar, cast

import attrs
from attrs import field, frozen

__all__ = [
    "BLOCK_LIMIT",
    "Blob",
    "Channel",
    "Field",
    "Integer",
    "Kind",
    "ListOf",
    "Message",
    "MESSAGE_CEILING",
    "MESSAGE_LIMIT",
    "Raw",
    "Registry",
    "Spec",
    "Text",
    "TupleOf",
    "excess_memory",
    "on_wire",
]

#: A message is at most 4 MiB (wire design, "Frames").
MESSAGE_LIMIT = 4 * 1024 * 1024
#: A block leaves room for tag, length and frames.
BLOCK_LIMIT = MESSAGE_LIMIT - 64
#: To which a chain with larger blocks may raise it.
MESSAGE_CEILING = 16 * 1024 * 1024


class Kind(IntEnum):
    """The ``kind`` octet of a frame."""

    NOTIFICATION = 0
    REQUEST = 1
    REPLY = 2


class Channel(IntEnum):
    """The class of a message in the send queue, most urgent first."""

    CONTROL = 0
    ANNOUNCEMENTS = 1
    BLOCK_PUSH = 2
    REQUESTS = 3
    REPLIES = 4
    BULK = 5


@frozen
class Integer:
    """An unsigned little-endian integer of *size* bytes: 1, 2, 4 or 8."""

    size: int

    @property
    def minimum(self) -> int:
        return self.size

    @property
    def maximum(self) -> int:
        return self.size


@frozen
class Raw:
    """Exactly *size* bytes, without a length."""

    size: int

    @property
    def minimum(self) -> int:
        return self.size

    @property
    def maximum(self) -> int:
        return self.size


@frozen
class Blob:
    """A byte string of at most *limit* bytes after a u64 length."""

    limit: int

    @property
    def minimum(self) -> int:
        return 8

    @property
    def maximum(self) -> int:
        return 8 + self.limit


@frozen
class Text:
    """UTF-8 of at most *limit* bytes after a u64 length."""

    limit: int

    @property
    def minimum(self) -> int:
        return 8

    @property
    def maximum(self) -> int:
        return 8 + self.limit


@frozen
class TupleOf:
    """Fields one after the other, without framing."""

    items: "tuple[Field, ...]"

    @property
    def minimum(self) -> int:
        return sum(item.minimum for item in self.items)

    @property
    def maximum(self) -> int:
        return sum(item.maximum for item in self.items)


@frozen
class ListOf:
    """At most *limit* items after a u64 count."""

    item: "Field"
    limit: int

    @property
    def minimum(self) -> int:
        return 8

    @property
    def maximum(self) -> int:
        return 8 + self.limit * self.item.maximum


#: Decoding takes at most six times the bytes received plus 64 KiB, a quarter of which is for the layouts of the codec.
MEMORY_FACTOR = 6
MEMORY_SLACK = 48 * 1024
#: Sizes of CPython objects in bytes, rounded up: integer (one-byte ones are shared), byte string, text, tuple, slots.
_INT, _BYTES, _TEXT, _TUPLE, _SLOT, _ITEM = 36, 33, 60, 56, 8, 18

Field: TypeAlias = Integer | Raw | Blob | Text | TupleOf | ListOf
_FIELDS = (Integer, Raw, Blob, Text, TupleOf, ListOf)


def excess_memory(kind: Field) -> int:
    """Bytes that the decoded value can take beyond :data:`MEMORY_FACTOR` times its encoding; negative: it is never so.

    Longer byte strings only help, so they count as empty; an item of a list that takes less than its share is left out.
    """
    if isinstance(kind, Integer):
        return (_INT if kind.size > 1 else 0) - MEMORY_FACTOR * kind.size
    if isinstance(kind, Raw):
        return _BYTES + kind.size - MEMORY_FACTOR * kind.size
    if isinstance(kind, Blob):
        return _BYTES - MEMORY_FACTOR * 8
    if isinstance(kind, Text):
        return _TEXT - MEMORY_FACTOR * 8
    if isinstance(kind, TupleOf):
        return _TUPLE + sum(_SLOT + excess_memory(item) for item in kind.items)
    return _TUPLE + kind.limit * max(0, _ITEM + excess_memory(kind.item))


def on_wire(kind: Field) -> Any:
    """Return the attrs field of a message attribute that travels as *kind*."""
    return field(metadata={"wire": kind})


class Message:
    """Base of all messages."""

    __slots__ = ()
    spec: ClassVar["Spec"]


M = TypeVar("M", bound=type[Message])


@frozen
class Spec:
    """What the schema says of one message.

    :param maximum: largest encoding, tag included.
    :param replies: names of the messages that may answer, for a request.
    """

    tag: int
    name: str
    kind: Kind
    channel: Channel
    cls: type[Message]
    fields: tuple[tuple[str, Field], ...]
    maximum: int
    replies: tuple[str, ...] = ()


class Registry:
    """The messages that a link understands, by tag and by class.

    :param base: messages that are taken over; an embedding chain adds its own (tags from 1,024) to a copy.
    """

    def __init__(self, base: "Registry | None" = None) -> None:
        self.by_tag: dict[int, Spec] = dict(base.by_tag) if base else {}

    @property
    def message_limit(self) -> int:
        """The largest message of all; one of an unknown tag may not be longer either."""
        return max([MESSAGE_LIMIT, *(spec.maximum for spec in self.by_tag.values())])

    def message(
        self,
        tag: int,
        kind: Kind,
        channel: Channel,
        *,
        replies: tuple[str, ...] = (),
        maximum: int = MESSAGE_LIMIT,
    ) -> Callable[[M], M]:
        """Class decorator that registers a message.

        :raise TypeError: a field without a maximum, or one whose decoding could take too much memory; a tag in use.
        """

        def register(cls: M) -> M:
            if maximum > MESSAGE_CEILING:
                raise TypeError(f"{cls.__name__}: a message has at most {MESSAGE_CEILING} bytes")
            if tag in self.by_tag:
                raise TypeError(f"{cls.__name__}: tag {tag} belongs to {self.by_tag[tag].name}")
            if (kind is Kind.REQUEST) != bool(replies):
                raise TypeError(f"{cls.__name__}: a request, and only a request, names its replies")
            fields = []
            for attribute in attrs.fields(cast("type[attrs.AttrsInstance]", cls)):
                wire = attribute.metadata.get("wire")
                if not isinstance(wire, _FIELDS):
                    raise TypeError(f"{cls.__name__}.{attribute.name}: no field kind, so no maximum")
                fields.append((attribute.name, wire))
            excess = sum(max(0, excess_memory(wire)) for _, wire in fields)
            if excess > MEMORY_SLACK:
                raise TypeError(f"{cls.__name__}: small items could decode to {excess} bytes above the memory bound")
            largest = 4 + sum(wire.maximum for _, wire in fields)
            spec = Spec(tag, cls.__name__, kind, channel, cls, tuple(fields), min(largest, maximum), replies)
            self.by_tag[tag] = spec
            cls.spec = spec
            return cls

        return register

    def raised(self, limit: int) -> "Registry":
        """Return the same messages for a chain with larger blocks: what may fill 4 MiB may fill *limit* bytes."""
        if not MESSAGE_LIMIT <= limit <= MESSAGE_CEILING:
            raise ValueError(f"a message limit is between {MESSAGE_LIMIT} and {MESSAGE_CEILING} bytes, not {limit}")
        registry = Registry(self)
        for tag, spec in self.by_tag.items():
            fields = tuple((name, _raised(kind, limit)) for name, kind in spec.fields)
            if fields != spec.fields:
                largest = 4 + sum(kind.maximum for _, kind in fields)
                registry.by_tag[tag] = attrs.evolve(spec, fields=fields, maximum=min(largest, limit))
        return registry


def _raised(kind: Field, limit: int) -> Field:
    if kind == Blob(BLOCK_LIMIT):
        return Blob(limit - (MESSAGE_LIMIT - BLOCK_LIMIT))
    if isinstance(kind, ListOf):
        return ListOf(_raised(kind.item, limit), kind.limit)
    return kind
