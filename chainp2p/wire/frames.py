"""Frames: how messages are cut into pieces of at most 64 KiB, and put together again.

::

    length u32 | id u32 | kind u8 | flags u8 | body        length = 6 + len(body), little-endian

A message is its bodies in order. Every body but the last has exactly 65,536 bytes, none is empty and the first has at
least the 4 bytes of the tag, from which the largest legal size is known before more is kept.
"""

from struct import Struct
from typing import TypeAlias

from attrs import frozen

from chainp2p.errors import Reason
from chainp2p.wire.codec import CODEC, Codec, WireError
from chainp2p.wire.schema import MESSAGE_LIMIT, Channel, Kind, Message

__all__ = ["BODY_LIMIT", "FrameReader", "Incoming", "Received", "Skipped", "encode_frames"]

#: Largest body of a frame.
BODY_LIMIT = 65_536
#: ``flags`` bit 0: another frame of this message follows.
MORE = 1

HEADER = Struct("<IIBB")
_TAG = Struct("<I")
_LENGTH_MIN, _LENGTH_MAX = 6 + 1, 6 + BODY_LIMIT


@frozen
class Incoming:
    """A whole message; *size* is its encoded length."""

    kind: Kind
    id: int
    message: Message
    size: int


@frozen
class Skipped:
    """A whole message with a tag that is not known here; its bytes were not kept."""

    kind: Kind
    id: int
    tag: int
    size: int


Received: TypeAlias = Incoming | Skipped


def encode_frames(kind: int, message_id: int, payload: bytes) -> list[bytes]:
    """Return the frames of one message."""
    if len(payload) <= BODY_LIMIT:
        return [HEADER.pack(6 + len(payload), message_id, kind, 0) + payload]
    frames = []
    for at in range(0, len(payload), BODY_LIMIT):
        body = payload[at : at + BODY_LIMIT]
        more = MORE if at + BODY_LIMIT < len(payload) else 0
        frames.append(HEADER.pack(6 + len(body), message_id, kind, more) + body)
    return frames


class _Partial:
    """A message some frames of which have arrived; *parts* is None when its tag is unknown."""

    __slots__ = ("channel", "maximum", "parts", "size", "tag")

    def __init__(self, tag: int, maximum: int, channel: Channel | None) -> None:
        self.tag = tag
        self.maximum = maximum
        self.channel = channel
        self.parts: list[bytes] | None = None if channel is None else []
        self.size = 0


class FrameReader:
    """Turns any cut of a byte stream into messages; raises :exc:`WireError` and is dead after that.

    1. With nothing pending, frames are parsed straight from the received bytes and sliced once.
    2. An incomplete frame is kept as a list of chunks and joined once, when all of it is there: no quadratic copying.
    3. A length is checked before any of the body is kept; a body against its message's own maximum, known from the tag.
    4. At most one partial message of a class, so that partial messages are bounded by the sum of the class maxima.
       Messages of unknown tags are counted, not kept, and at most :attr:`UNKNOWN_LIMIT` of them are in progress.

    Cost: one ``unpack_from`` and one slice a frame.
    """

    #: Unknown messages in progress at once; the sender has six classes.
    UNKNOWN_LIMIT = 6

    def __init__(self, codec: Codec = CODEC, message_limit: int = MESSAGE_LIMIT) -> None:
        self._codec = codec
        self._specs = codec.registry.by_tag
        self._limit = message_limit
        self._chunks: list[bytes] = []
        self._have = 0
        self._need = HEADER.size
        self._partials: dict[tuple[int, int], _Partial] = {}

    @property
    def buffered(self) -> int:
        """Bytes that are kept for messages not yet whole."""
        return self._have + sum(partial.size for partial in self._partials.values() if partial.parts is not None)

    def feed(self, data: bytes) -> list[Received]:
        """Take the next bytes of the stream, return the messages that they complete, in order of completion."""
        if self._chunks:
            self._chunks.append(data)
            self._have += len(data)
            if self._have < self._need:
                return []
            data = b"".join(self._chunks)
            self._chunks = []
            self._have = 0
        received: list[Received] = []
        at, end = 0, len(data)
        unpack = HEADER.unpack_from
        while end - at >= 10:
            length, message_id, kind, flags = unpack(data, at)
            if not _LENGTH_MIN <= length <= _LENGTH_MAX:
                reason = Reason.OVERSIZE if length > _LENGTH_MAX else Reason.MALFORMED_FRAME
                raise WireError(f"frame length {length}, legal are {_LENGTH_MIN} to {_LENGTH_MAX}", reason)
            if kind > 2 or flags > 1 or message_id == 0:
                raise WireError(f"frame with kind {kind}, flags {flags}, id {message_id}", Reason.MALFORMED_FRAME)
            stop = at + 4 + length
            if stop > end:
                self._need = 4 + length
                break
            self._frame(kind, message_id, flags, data[at + 10 : stop], received)
            at = stop
        else:
            self._need = HEADER.size
        if at < end:
            rest = data[at:] if at else data
            self._chunks.append(rest)
            self._have = len(rest)
        return received

    def _frame(self, kind: int, message_id: int, flags: int, body: bytes, received: list[Received]) -> None:
        key = (kind, message_id)
        partial = self._partials.get(key) if self._partials else None
        if partial is None:
            partial = self._begin(kind, key, flags, body, received)
            if partial is None:
                return
        if flags and len(body) != BODY_LIMIT:
            raise WireError(f"body of {len(body)} bytes with more to follow", Reason.MALFORMED_FRAME)
        partial.size += len(body)
        if partial.size > partial.maximum:
            raise WireError(f"message of tag {partial.tag} is longer than {partial.maximum} bytes", Reason.OVERSIZE)
        if partial.parts is not None:
            partial.parts.append(body)
        if not flags:
            del self._partials[key]
            if partial.parts is None:
                received.append(Skipped(Kind(kind), message_id, partial.tag, partial.size))
            else:
                message = self._codec.decode(b"".join(partial.parts))
                received.append(Incoming(Kind(kind), message_id, message, partial.size))

    def _begin(
        self, kind: int, key: tuple[int, int], flags: int, body: bytes, received: list[Received]
    ) -> _Partial | None:
        """Check the first frame of a message; a message of one frame is done at once (None is returned)."""
        if len(body) < 4:
            raise WireError(f"first body of {len(body)} bytes: the tag alone has 4", Reason.MALFORMED_FRAME)
        tag: int = _TAG.unpack_from(body)[0]
        spec = self._specs.get(tag)
        if spec is None:
            if not flags:
                received.append(Skipped(Kind(kind), key[1], tag, len(body)))
                return None
            unknown = sum(partial.parts is None for partial in self._partials.values())
            if unknown >= self.UNKNOWN_LIMIT:
                raise WireError(f"more than {unknown} unknown messages in progress", Reason.MALFORMED_FRAME)
            partial = self._partials[key] = _Partial(tag, self._limit, None)
            return partial
        if spec.kind != kind:
            raise WireError(f"{spec.name} as {Kind(kind).name.lower()}", Reason.MALFORMED_FRAME)
        if not flags:
            size = len(body)
            received.append(Incoming(spec.kind, key[1], self._codec.decode(body), size))
            return None
        if any(partial.channel is spec.channel for partial in self._partials.values()):
            raise WireError(f"a second partial message of class {spec.channel.name.lower()}", Reason.MALFORMED_FRAME)
        partial = self._partials[key] = _Partial(tag, spec.maximum, spec.channel)
        return partial
