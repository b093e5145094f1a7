"""How many bytes of a state are still to come, by those that came."""

from bisect import bisect_left, insort
from collections.abc import Iterable

__all__ = ["StateLeft", "share_of"]

#: Sorts after every nibble.
_AFTER = b"\x10"


class StateLeft:
    """See the module.

    1. A part has as many bytes as parts that came had for their share of the keys, for keys are hashes and spread
       evenly. The middle of the keys counts, so that prefixes which somebody ground do not.
    2. One of the parts into which another was split has at least its share of the largest that came whole: the other
       was more than that. This is how much is known of ground prefixes.
    3. Of a part that is here for an older root, and differs, only the changes are to come: as many as in those that
       came. Where it is not known what differs, as many parts do as did of those that were compared. Nobody can tell
       before one was.
    4. On the way down from a new root a prefix is asked for that is longer than what is here: then both count.

    Cost: O(log parts) a part, O(parts) a look.
    """

    def __init__(self) -> None:
        #: (bytes for all keys, share of the keys) of each part that came whole.
        self._dense: list[tuple[float, float]] = []
        self._middle: float | None = None
        #: Bytes of the largest part that came whole: more do not come at once.
        self.largest = 0
        #: Prefixes of which all is here, for whatever root, in order; none is below another.
        self._here: list[bytes] = []
        #: Bytes that came of changes, and those of all of these parts.
        self._renewed = (0.0, 0.0)
        #: Shares of the keys that were here for an older root and differed, and that did not.
        self._differed, self._same = 0.0, 0.0

    def found(self, prefixes: Iterable[bytes]) -> float:
        """All of these is here from an earlier run; answer which share of the keys that is."""
        self._here = sorted(prefixes)
        return sum(map(share_of, self._here))

    def whole(self, prefix: bytes, size: int) -> None:
        """All of a part came, in so many bytes."""
        self._dense.append((size / share_of(prefix), share_of(prefix)))
        self._middle = None
        self.largest = max(self.largest, size)
        del self._here[slice(*self._span(prefix))]
        insort(self._here, prefix)

    def renewed(self, prefix: bytes, siblings: int, size: int) -> None:
        """The changes of a part that was here came, in so many bytes."""
        came, whole = self._renewed
        self._renewed = came + size, whole + (self._all(prefix, siblings) or 0.0)

    def opened(self, prefix: bytes, children: Iterable[tuple[bytes, bool]]) -> None:
        """These are to be asked for in place of *prefix*, each with whether it is here for an older root.

        In what else is here below *prefix* nothing has changed.
        """
        same = self._below(prefix)
        for child, here in children:
            same -= share_of(child) if here else self._below(child)
            self._differed += share_of(child) if here else 0.0
        self._same += max(0.0, same)

    def part(self, prefix: bytes, siblings: int, here: bool) -> tuple[float, float] | None:
        """Bytes to come of a part, one of so many *siblings*: new ones, and changes. None: nobody can tell yet.

        :param here: it is here for an older root.
        """
        size = self._all(prefix, siblings)
        old = share_of(prefix) if here else self._below(prefix)
        rate = self._changed if here else self.changes
        if size is None or (old and rate is None):
            return None
        old *= size / share_of(prefix)
        return size - old, old * (rate or 0.0)

    @property
    def changes(self) -> float | None:
        """Bytes that change while one root gives way to another, for each that is here; None: nobody can tell yet."""
        if not self._differed:
            return 0.0 if self._same else None
        changed = self._changed
        return None if changed is None else changed * self._differed / (self._differed + self._same)

    @property
    def _changed(self) -> float | None:
        """The same of parts that differ."""
        came, whole = self._renewed
        return min(1.0, came / whole) if whole else None

    @property
    def total(self) -> float | None:
        """Bytes for all keys, but for those of ground prefixes."""
        return self._density()

    def _span(self, prefix: bytes) -> tuple[int, int]:
        return bisect_left(self._here, prefix), bisect_left(self._here, prefix + _AFTER)

    def _below(self, prefix: bytes) -> float:
        """The share of the keys that is here below a prefix."""
        return sum(map(share_of, self._here[slice(*self._span(prefix))]))

    def _all(self, prefix: bytes, siblings: int) -> float | None:
        density = self._density()
        return None if density is None else max(density * share_of(prefix), self.largest / siblings)

    def _density(self) -> float | None:
        if self._middle is None and self._dense:
            self._dense.sort()
            half, seen = sum(share for _, share in self._dense) / 2, 0.0
            for density, share in self._dense:
                seen += share
                if seen >= half:
                    self._middle = density
                    break
        return self._middle


def share_of(prefix: bytes) -> float:
    """The share of all keys that begin with *prefix*."""
    return float(16.0 ** -len(prefix))
