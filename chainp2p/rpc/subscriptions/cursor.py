"""The cursor of the loss-free stream: a place on a chain as 128 characters that mean the same on every node. Pure.

1. It names a block by height and hash, and 7 ancestors by the beginnings of their hashes, the lowest 4,096 below: so a
   node that never saw the block finds where its own chain and the client's part, exactly if that is one of those. Near
   genesis that is the last of them, so that no cursor of a young network is unknown there.
2. Eight bytes of a hash are enough: to make another block that begins with them takes 2^64 tries, and it would have to
   be on the best chain at that height.
3. It is made of the chain alone, of nothing that a node counts: so it outlives restarts and is good on other nodes.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Iterator, Mapping

from attrs import frozen

__all__ = ["LENGTH", "STEPS", "Cursor", "ladder"]

#: How far below the block the named ancestors are.
STEPS = (1, 4, 16, 64, 256, 1_024, 4_096)
#: Bytes of an ancestor's hash.
_PART = 8
_SIZE = 8 + 32 + _PART * len(STEPS)
#: Characters of the text; base64 fills them without padding.
LENGTH = _SIZE * 4 // 3
#: Heights that are possible: what SQLite can ask for.
_MAX_HEIGHT = (1 << 63) - 1


def ladder(height: int) -> Iterator[int]:
    """Yield the heights of the ancestors that the cursor of a block at *height* names, the highest first."""
    below = height
    for step in STEPS:
        if not below:
            return
        below = max(0, height - step)
        yield below


@frozen
class Cursor:
    """See the module.

    :param ancestors: height -> beginning of the hash, the highest first.
    """

    height: int
    hash: bytes
    ancestors: Mapping[int, bytes]

    @classmethod
    def of(cls, height: int, hash: bytes, hashes: Mapping[int, bytes]) -> "Cursor":
        """The cursor of a block; *hashes* has those of all heights of its :func:`ladder`."""
        return cls(height, hash, {below: hashes[below][:_PART] for below in ladder(height)})

    def encode(self) -> bytes:
        """Return the text; genesis stands in the place of the first step beyond it, zeros in those after."""
        parts = b"".join(self.ancestors.values())
        raw = self.height.to_bytes(8, "big") + self.hash + parts
        return urlsafe_b64encode(raw.ljust(_SIZE, b"\0"))

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """Read the text; ValueError says what is malformed."""
        if len(text) != LENGTH:
            raise ValueError(f"a cursor has {LENGTH} characters, this has {len(text)}")
        try:
            raw = urlsafe_b64decode(text.encode("ascii"))
        except (UnicodeEncodeError, Error):
            raw = b""
        if len(raw) != _SIZE or urlsafe_b64encode(raw).decode("ascii") != text:
            raise ValueError("the cursor is not base64url")
        height = int.from_bytes(raw[:8], "big")
        if height > _MAX_HEIGHT:
            raise ValueError("the cursor's height is beyond every chain")
        parts = (raw[at : at + _PART] for at in range(40, _SIZE, _PART))
        return cls(height, raw[8:40], dict(zip(ladder(height), parts, strict=False)))
