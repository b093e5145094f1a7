"""Frames: how messages are cut into pieces of at most 64 KiB, and put together again.

::

    length u32 | id u32 | kind u8 | flags u8 | body        length = 6 + len(body), little-endian

A message is its bodies in order. Every body but the last has exactly 65,536 bytes, none is empty and the first has at
least the 4 bytes of the tag, from which the largest legal size is known before more is kept.
"""

from struct import Struct
from typing import NamedTuple, TypeAlias

from chainp2p.errors import Reason
from chainp2p.wire.codec import CODEC, Codec, MessageReader
from chainp2p.wire.errors import WireError
from chainp2p.wire.schema import Channel, Kind, Message

__all__ = ["BODY_LIMIT", "FrameReader", "Incoming", "Received", "Skipped", "encode_frames"]

#: Largest body of a frame.
BODY_LIMIT = 65_536
#: ``flags`` bit 0: another frame of this message follows.
MORE = 1

HEADER = Struct("<IIBB")
_START = Struct("<II")
_LENGTH_MIN, _LENGTH_MAX = 6 + 1, 6 + BODY_LIMIT
_KIND_MAX = int(Kind.REPLY)
#: Pieces of fewer bytes are joined when so many lie in a row: a peer that sends two bytes at a time must not cost 20
#: times what it sends.
_CRUMB, _CRUMBS = 1_024, 64
#: ``length`` of a first frame: kind, flags, id, and the tag.
_FIRST_MIN = 6 + 4


class Incoming(NamedTuple):
    """A whole message; *size* is its encoded length. (A named tuple: made for every frame, at half of attrs' price.)"""

    kind: Kind
    id: int
    message: Message
    size: int


class Skipped(NamedTuple):
    """A whole message with a tag that is not known here; its bytes were not kept."""

    kind: Kind
    id: int
    tag: int
    size: int


#: What a reader gives; a fault is the last that comes.
Received: TypeAlias = Incoming | Skipped | WireError


def encode_frames(kind: int, message_id: int, payload: bytes) -> list[bytes]:
    """Return the frames of one message."""
    frames = []
    for at in range(0, len(payload), BODY_LIMIT):
        body = payload[at : at + BODY_LIMIT]
        more = MORE if at + BODY_LIMIT < len(payload) else 0
        frames.append(HEADER.pack(6 + len(body), message_id, kind, more) + body)
    return frames


class _Partial:
    """A message that has begun to arrive; *channel* is None when its tag is unknown, and then nothing is kept."""

    __slots__ = ("channel", "crumbs", "id", "kind", "last", "maximum", "parts", "size", "tag")

    def __init__(self, kind: Kind, message_id: int, tag: int, maximum: int, channel: Channel | None) -> None:
        self.kind = kind
        self.id = message_id
        self.tag = tag
        self.maximum = maximum
        self.channel = channel
        self.parts: list[bytes | memoryview] = []
        #: How many of the last parts are small.
        self.crumbs = 0
        #: Of all frames that have begun.
        self.size = 0
        #: Whether the frame that has begun is the last one.
        self.last = False

    def keep(self, piece: bytes | memoryview) -> None:
        """Keep what came of the body; small pieces are gathered, for an object takes 40 bytes more than it holds."""
        self.parts.append(piece)
        if len(piece) >= _CRUMB:
            self.crumbs = 0
            return
        self.crumbs += 1
        if self.crumbs == _CRUMBS:
            self.parts[-_CRUMBS:] = [b"".join(self.parts[-_CRUMBS:])]
            self.crumbs = 0


class FrameReader:
    """Turns any cut of a byte stream into messages.

    1. A whole frame that is a whole message is decoded in place: kind, flags and tag, which stand side by side, are
       one look-up that finds the reader, or the frame takes the long way.
    2. A frame that is cut is kept as the pieces that arrived, and a message is joined once, when all of it is there: no
       quadratic copying. Its header and tag are looked at as soon as they are there.
    3. Before any of a body is kept, its length is checked against the frame's limit and, with all that came before,
       against its message's own maximum, known from the tag.
    4. At most one partial message of a class, so that partial messages are bounded by the sum of the class maxima.
       Bodies of unknown tags are counted, never kept; at most :attr:`UNKNOWN_LIMIT` such messages are in progress.
    5. What came before a fault is still given, whatever the cut; the fault is the last value. The reader is dead then.

    Cost: one ``unpack_from`` and one look-up a frame, one copy of each value.
    """

    #: Unknown messages in progress at once; the sender has six classes.
    UNKNOWN_LIMIT = 6

    def __init__(self, codec: Codec = CODEC) -> None:
        self._codec = codec
        self._whole: dict[bytes, tuple[Kind, MessageReader]] = codec.framed
        self._partials: dict[tuple[int, int], _Partial] = {}
        #: The message whose frame is cut, and how many bytes of that frame are missing.
        self._current: _Partial | None = None
        self._missing = 0
        #: A frame's header and tag, as far as they have come (at most 13 bytes).
        self._head = b""
        self._kept = 0
        self._dead = False

    @property
    def buffered(self) -> int:
        """Bytes that are kept for messages not yet whole."""
        return self._kept + len(self._head)

    def feed(self, data: bytes) -> list[Received]:
        """Take the next bytes of the stream, return what they complete, in order of completion."""
        received: list[Received] = []
        size = len(data)
        if size < self._missing and self._current is not None:
            self._missing -= size
            if self._current.channel is not None:
                self._current.keep(data)
                self._kept += size
            return received
        if self._dead:
            return received
        try:
            self._feed(data, received)
        except WireError as fault:
            self._dead = True
            self._partials.clear()
            self._current = None
            self._missing = 0
            self._head = b""
            self._kept = 0
            received.append(fault)
        return received

    def _feed(self, data: bytes, received: list[Received]) -> None:
        at = 0
        if self._current is not None:
            at = self._fill(self._current, data, 0, received)
        elif self._head:
            data = self._head + data
            self._head = b""
        end = len(data)
        unpack, whole, partials, new = _START.unpack_from, self._whole, self._partials, tuple.__new__
        while end - at >= 10:
            length, message_id = unpack(data, at)
            stop = at + 4 + length
            if stop <= end and _FIRST_MIN <= length <= _LENGTH_MAX and message_id and not partials:
                found = whole.get(data[at + 8 : at + 14])
                if found is not None:
                    kind, read = found
                    received.append(new(Incoming, (kind, message_id, read(data, at + 14, stop), length - 6)))
                    at = stop
                    continue
            begun = self._begin(data, at)
            if begun is None:
                break
            at = self._fill(begun, data, at + 10, received)
        if at < end:
            self._head = data[at:]

    def _begin(self, data: bytes, at: int) -> _Partial | None:
        """Begin the frame at *at*; None if its header has not come far enough to know its message."""
        length, message_id, kind, flags = HEADER.unpack_from(data, at)
        if not _LENGTH_MIN <= length <= _LENGTH_MAX:
            reason = Reason.OVERSIZE if length > _LENGTH_MAX else Reason.MALFORMED_FRAME
            raise WireError(f"frame length {length}, legal are {_LENGTH_MIN} to {_LENGTH_MAX}", reason)
        if kind > _KIND_MAX or flags > MORE or message_id == 0:
            raise WireError(f"frame with kind {kind}, flags {flags}, id {message_id}", Reason.MALFORMED_FRAME)
        if flags and length != _LENGTH_MAX:
            raise WireError(f"body of {length - 6} bytes with more to follow", Reason.MALFORMED_FRAME)
        partial = self._partials.get((kind, message_id))
        if partial is None:
            if length < _FIRST_MIN:
                raise WireError(f"first body of {length - 6} bytes: the tag alone has 4", Reason.MALFORMED_FRAME)
            if len(data) - at < 14:
                return None
            partial = self._first(Kind(kind), message_id, data[at + 10 : at + 14], flags)
            if flags:
                self._partials[kind, message_id] = partial
        partial.size += length - 6
        if partial.size > partial.maximum:
            raise WireError(f"message of tag {partial.tag} is longer than {partial.maximum} bytes", Reason.OVERSIZE)
        partial.last = not flags
        self._missing = length - 6
        return partial

    def _first(self, kind: Kind, message_id: int, octets: bytes, flags: int) -> _Partial:
        """Check what the first frame of a message says."""
        tag = int.from_bytes(octets, "little")
        spec = self._codec.registry.by_tag.get(tag)
        if spec is None:
            unknown = sum(partial.channel is None for partial in self._partials.values())
            if flags and unknown >= self.UNKNOWN_LIMIT:
                raise WireError(f"more than {unknown} unknown messages in progress", Reason.MALFORMED_FRAME)
            return _Partial(kind, message_id, tag, self._codec.registry.message_limit, None)
        if spec.kind != kind:
            raise WireError(f"{spec.name} as {kind.name.lower()}", Reason.MALFORMED_FRAME)
        if flags and any(partial.channel is spec.channel for partial in self._partials.values()):
            raise WireError(f"a second partial message of class {spec.channel.name.lower()}", Reason.MALFORMED_FRAME)
        return _Partial(kind, message_id, tag, spec.maximum, spec.channel)

    def _fill(self, partial: _Partial, data: bytes, at: int, received: list[Received]) -> int:
        """Take what *data* has of the body in progress; return the position after it."""
        stop = min(at + self._missing, len(data))
        self._missing -= stop - at
        if partial.channel is not None:
            # A view of what was read is enough while most of it is this body; a small piece of it is copied.
            piece = memoryview(data)[at:stop] if 2 * (stop - at) > len(data) else data[at:stop]
            partial.keep(piece)
            self._kept += stop - at
        self._current = partial if self._missing else None
        if partial.last and not self._missing:
            self._complete(partial, received)
        return stop

    def _complete(self, partial: _Partial, received: list[Received]) -> None:
        self._partials.pop((partial.kind, partial.id), None)
        if partial.channel is None:
            received.append(Skipped(partial.kind, partial.id, partial.tag, partial.size))
            return
        self._kept -= partial.size
        message = self._codec.decode_parts(partial.parts, partial.size)
        received.append(Incoming(partial.kind, partial.id, message, partial.size))
