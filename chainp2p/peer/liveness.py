"""Whether the other side of a link is still there: keep-alive, and writing that makes no progress."""

from enum import Enum

from attrs import define

__all__ = ["DEAD_AFTER", "STALLED_AFTER", "Due", "Liveness"]

#: Silence after which we ask (wire design, "Handshake and lifecycle"; seconds).
PING_AFTER = 30.0
#: Silence after which the peer counts as dead.
DEAD_AFTER = 90.0
#: Bytes wait and none has left for so long: nobody reads.
STALLED_AFTER = 60.0


class Due(Enum):
    """What has to be done now."""

    NOTHING = "nothing"
    PING = "ping"
    DEAD = "dead"
    STALLED = "stalled"


@define
class Liveness:
    """Silence and stalls of one link, by times in seconds on any one clock.

    1. Whatever arrives proves life, so a busy link is never pinged.
    2. While we do not read (our own back-pressure), silence proves nothing: nobody dies of our slowness.
    3. A stall begins when the transport stops taking bytes and ends when it takes some again.
    """

    heard_at: float
    pinged_at: float | None = None
    stalled_at: float | None = None
    reading: bool = True

    def heard(self, now: float) -> None:
        """Bytes came."""
        self.heard_at = now
        self.pinged_at = None

    def stopped_reading(self) -> None:
        """We take no bytes for now."""
        self.reading = False

    def resumed_reading(self, now: float) -> None:
        """We take bytes again."""
        self.reading = True
        self.heard(now)

    def stalled(self, now: float) -> None:
        """The transport takes no bytes for now."""
        if self.stalled_at is None:
            self.stalled_at = now

    def moved(self) -> None:
        """The transport takes bytes again."""
        self.stalled_at = None

    def due(self, now: float) -> Due:
        """Say what is to be done at *now*; ``PING`` is said once in a silence."""
        if self.stalled_at is not None and now >= self.stalled_at + STALLED_AFTER:
            return Due.STALLED
        if not self.reading:
            return Due.NOTHING
        if now >= self.heard_at + DEAD_AFTER:
            return Due.DEAD
        if self.pinged_at is None and now >= self.heard_at + PING_AFTER:
            self.pinged_at = now
            return Due.PING
        return Due.NOTHING

    def next(self) -> float | None:
        """When to ask :meth:`due` again, unless something happens before."""
        times = []
        if self.stalled_at is not None:
            times.append(self.stalled_at + STALLED_AFTER)
        if self.reading:
            times.append(self.heard_at + (PING_AFTER if self.pinged_at is None else DEAD_AFTER))
        return min(times, default=None)
