"""How much of something may happen: so much at once, then so much a second."""

from attrs import frozen

__all__ = ["Rate"]

#: Seconds that sums of floating point times may be off by; a clock that counts from 1970 has steps of 0.2 us.
_ROUNDING = 1e-6


@frozen
class Rate:
    """A token bucket. What is kept of one is a single number, the time at which it will be full again.

    That number is the caller's: many buckets of one rate (one for each address, say) are a dictionary of floats, and
    one that nobody has drawn from for long enough need not be kept (the generic cell rate algorithm, ITU-T I.371).

    :param rate: units that come back in a second.
    :param burst: units that may be spent at once.
    """

    rate: float
    burst: float

    def spent(self, full_at: float, units: float, now: float) -> float:
        """Return when the bucket will be full again if *units* are spent now."""
        return max(full_at, now) + units / self.rate

    def over(self, full_at: float, now: float) -> float:
        """Return for how many seconds a bucket, to be full at *full_at*, is overdrawn; 0.0: that may be spent."""
        excess = full_at - now - self.burst / self.rate
        # half of it is left over: who rounds up by the millisecond does not get one more by a sum that is not exact
        return excess - _ROUNDING / 2 if excess > _ROUNDING else 0.0

    def left(self, full_at: float, now: float) -> float:
        """Return how many units may be spent now."""
        return self.burst - max(0.0, full_at - now - _ROUNDING) * self.rate
