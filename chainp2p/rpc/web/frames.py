"""Frames of WebSocket as a server writes them (RFC 6455, 5.2). Pure."""

from collections.abc import Iterator
from functools import lru_cache

__all__ = ["FRAGMENT", "fragments", "frame", "opening"]

#: The last (or only) frame of a message; a text message; both.
_FINAL, _TEXT_OPCODE = 0x80, 0x01
_TEXT = _FINAL | _TEXT_OPCODE

#: Bytes of the payload of one frame of a large answer: the largest with a length of two bytes.
FRAGMENT = 65_535


def frame(size: int, head: int = _TEXT) -> bytes:
    """Return the head of a frame of *size* bytes; by default it is a whole text message."""
    if size < 126:
        return bytes((head, size))
    if size < 1 << 16:
        return bytes((head, 126)) + size.to_bytes(2, "big")
    return bytes((head, 127)) + size.to_bytes(8, "big")


@lru_cache(maxsize=256)
def opening(head: bytes, size: int) -> bytes:
    """Return how a notification of *size* bytes begins: all who get the same one have the same, up to their id."""
    return frame(size) + head


def fragments(text: bytes) -> Iterator[bytes]:
    """Yield the frames of a text message, none larger than :data:`FRAGMENT`: a ping may stand between two of them."""
    if len(text) <= FRAGMENT:
        yield frame(len(text)) + text
        return
    for start in range(0, len(text), FRAGMENT):
        piece = text[start : start + FRAGMENT]
        opcode = _TEXT_OPCODE if not start else 0
        final = _FINAL if start + FRAGMENT >= len(text) else 0
        yield frame(len(piece), final | opcode) + piece
