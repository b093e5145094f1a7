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
    "on_wire",
]

#: A message is at most 4 MiB (wire design, "Frames").
MESSAGE_LIMIT = 4 * 1024 * 1024
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


Field: TypeAlias = Integer | Raw | Blob | Text | TupleOf | ListOf
_FIELDS = (Integer, Raw, Blob, Text, TupleOf, ListOf)


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
        """Class decorator that registers a message; raises TypeError for a field without a maximum."""

        def register(cls: M) -> M:
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
            largest = 4 + sum(wire.maximum for _, wire in fields)
            spec = Spec(tag, cls.__name__, kind, channel, cls, tuple(fields), min(largest, maximum), replies)
            self.by_tag[tag] = spec
            cls.spec = spec
            return cls

        return register
