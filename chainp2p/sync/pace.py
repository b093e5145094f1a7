"""How fast the validated tip moves."""

from collections import deque

from attrs import define, field

__all__ = ["Pace"]

#: The rate is over so long. Seconds.
SPAN = 30.0
#: Looks that are remembered of it.
LOOKS = 64


@define
class Pace:
    """Blocks per second over the last :data:`SPAN`, from heights that are looked at whenever there is something new."""

    _looks: deque[tuple[float, int]] = field(factory=lambda: deque([], LOOKS))

    def look(self, now: float, height: int) -> None:
        """The tip is at *height* now."""
        looks = self._looks
        if looks and height < looks[-1][1]:
            looks.clear()
        if not looks or now - looks[-1][0] >= SPAN / LOOKS:
            looks.append((now, height))

    def begin(self) -> None:
        """Blocks are awaited from now on: what was before does not count."""
        self._looks.clear()

    def rate(self, now: float, height: int) -> float | None:
        """Blocks per second; None: not known, or none came."""
        first = next(((time, at) for time, at in self._looks if now - time <= SPAN), None)
        if first is None or height <= first[1] or now <= first[0]:
            return None
        return (height - first[1]) / (now - first[0])
