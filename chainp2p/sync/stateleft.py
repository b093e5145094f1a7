"""How much of a state is still to come, and how long that takes, by what has come."""

from collections import deque

__all__ = ["StateLeft", "share_of"]

#: The time left goes by what came in so many seconds, or by so many chunks if that takes longer: they come in bursts.
RATE_WINDOW, RATE_CHUNKS = 30.0, 64


class StateLeft:
    """See the module.

    1. A part has as many bytes as parts that came had for their share of the keys, for keys are hashes and spread
       evenly. The middle of the keys counts, so that prefixes which somebody ground do not.
    2. One of the parts into which another was split has at least its share of the largest that came whole: the other
       was more than that. This is how much is known of ground prefixes.
    3. Of a part that is here for an older root only the changes are to come: as many as in those that were renewed.
    """

    def __init__(self) -> None:
        #: (bytes for all keys, share of the keys) of each part that came whole.
        self._dense: list[tuple[float, float]] = []
        self._middle: float | None = None
        self._largest = 0
        self._renewed = (0, 0.0)
        self._came: deque[tuple[float, int]] = deque()

    def whole(self, prefix: bytes, size: int) -> None:
        """All of a part came, in so many bytes."""
        self._dense.append((size / share_of(prefix), share_of(prefix)))
        self._middle = None
        self._largest = max(self._largest, size)

    def renewed(self, prefix: bytes, siblings: int, size: int) -> None:
        """The changes of a part that was here came, in so many bytes."""
        came, expected = self._renewed
        self._renewed = came + size, expected + (self._all(prefix, siblings) or 0.0)

    def began(self, now: float) -> None:
        """The first chunk is asked for."""
        if not self._came:
            self._came.append((now, 0))

    def came(self, size: int, now: float) -> None:
        """A chunk of so many bytes was of use."""
        self._came.append((now, size))

    def part(self, prefix: bytes, siblings: int, here: bool) -> float | None:
        """Bytes that are to come of a part, one of so many *siblings*; *here*: it is here for an older root."""
        size = self._all(prefix, siblings)
        came, expected = self._renewed
        return size * min(1.0, came / expected) if size is not None and here and expected else size

    def _all(self, prefix: bytes, siblings: int) -> float | None:
        density = self._density()
        return None if density is None else max(density * share_of(prefix), self._largest / siblings)

    def _density(self) -> float | None:
        """Bytes for all keys."""
        if self._middle is None and self._dense:
            self._dense.sort()
            half, seen = sum(share for _, share in self._dense) / 2, 0.0
            for density, share in self._dense:
                seen += share
                if seen >= half:
                    self._middle = density
                    break
        return self._middle

    def seconds(self, left: float, now: float) -> float | None:
        """How long so many bytes will take, at the rate of late."""
        came = self._came
        while len(came) > RATE_CHUNKS and came[1][0] < now - RATE_WINDOW:
            came.popleft()
        if len(came) < 2:
            return None
        size = sum(size for _, size in came) - came[0][1]
        return left * (now - came[0][0]) / size if size else None


def share_of(prefix: bytes) -> float:
    """The share of all keys that begin with *prefix*."""
    return float(16.0 ** -len(prefix))
