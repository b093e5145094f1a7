"""What travels in ``Status.extra``: pairs of a number from here and bytes, which who does not know them passes over."""

from collections.abc import Sequence

__all__ = ["CLOCK", "clock_extra", "read_clock"]

#: The sender's clock as it wrote ``Status``: Unix time in milliseconds, u64, little-endian.
CLOCK = 1


def clock_extra(now: float) -> tuple[int, bytes]:
    """Return the pair that says *now* (Unix seconds)."""
    return CLOCK, max(0, round(now * 1000)).to_bytes(8, "little")


def read_clock(extra: Sequence[tuple[int, bytes]]) -> float | None:
    """Return the clock that a ``Status`` tells (Unix seconds); None if it tells none that can be read."""
    for number, data in extra:
        if number == CLOCK and len(data) == 8:
            return int.from_bytes(data, "little") / 1000
    return None
