"""What many toy chains of one process keep together: a thousand of them have one copy of a block, taken apart once."""

from collections.abc import Callable
from hashlib import sha256
from typing import TypeAlias

from attrs import define

__all__ = ["Copies", "Parts"]

#: Header, and (id, raw) of each transaction, as ``IChain.split`` gives them.
Parts: TypeAlias = tuple[bytes, tuple[tuple[bytes, bytes], ...]]
#: Blocks that are kept: of what spreads at a time.
KEPT = 4


@define
class _Copy:
    raw: bytes
    parts: Parts | None = None


class Copies:
    """The last blocks that were seen, by all their bytes: no two different ones are ever mistaken for each other."""

    def __init__(self) -> None:
        self._kept: dict[bytes, _Copy] = {}

    def _of(self, raw: bytes) -> _Copy:
        key = sha256(raw).digest()
        copy = self._kept.get(key)
        if copy is None:
            copy = self._kept[key] = _Copy(raw)
            if len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
        return copy

    def raw(self, raw: bytes) -> bytes:
        """The one copy of a block."""
        return self._of(raw).raw

    def parts(self, raw: bytes, split: Callable[[bytes], Parts]) -> Parts:
        """The one copy of its parts."""
        copy = self._of(raw)
        if copy.parts is None:
            copy.parts = split(raw)
        return copy.parts
