"""Who has to hear that our own record has changed."""

from collections.abc import Iterable

__all__ = ["News"]


class News:
    """The nodes that have not been pinged since our record changed: a PING carries its number, and whoever knows an
    older one asks for the new one. Memory: the ids of one table.
    """

    def __init__(self) -> None:
        self._seq: int | None = None
        self._untold: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self._untold)

    def look(self, seq: int, live: Iterable[bytes]) -> None:
        """Our record has this number now; *live*: who knows us. The first record is no news."""
        if self._seq is not None and seq != self._seq:
            self._untold = dict.fromkeys(live)
        self._seq = seq

    def told(self, node_id: bytes) -> None:
        """This node has been sent the number."""
        self._untold.pop(node_id, None)

    def next(self) -> bytes | None:
        """Return whom to tell, and pass on to the next one."""
        node_id = next(iter(self._untold), None)
        if node_id is not None:
            del self._untold[node_id]
        return node_id

    def clear(self) -> None:
        """Nobody has to be told."""
        self._seq = None
        self._untold.clear()
