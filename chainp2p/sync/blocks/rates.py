"""How fast each peer delivers blocks, measured, and how much to ask of it at once.

The ideas are those of go-ethereum's ``p2p/msgrate``: nobody is told how fast to be; what a peer is asked for is what it
delivered lately, and a little more, so that whoever can do better shows it.
"""

from collections.abc import Iterable
from math import inf
from statistics import median

from attrs import define

__all__ = ["FIRST_BLOCKS", "FIRST_BYTES", "PeerRate", "middle_seconds", "target_seconds"]

#: What is open at a peer is meant to be here after this time at the latest. Seconds.
TARGET_MIN, TARGET_MAX = 2.0, 20.0
#: Less is enough to keep its line busy, and leaves it free for what is urgent: so many times its shortest answer, but
#: not less than this. Seconds.
ANSWERS, BUSY_MIN = 2.0, 0.5
#: What is open has to outlast the way there and back, or else nobody far away would ever be seen to carry more.
OUTLAST = 1.5
#: The target is a little below what answers took, so that queues which we made ourselves become shorter.
PUSH_DOWN = 0.9
#: Each answer counts for so much in what is remembered of those before it.
MEMORY = 0.9
#: A little more than was measured is asked for: without it nobody would ever be seen to be faster.
MORE = 1.01
#: Asked of a peer that was never measured: so many blocks, or bytes of blocks as large as others' were.
FIRST_BLOCKS, FIRST_BYTES = 16, 256 * 1024


@define
class PeerRate:
    """What one peer delivered.

    1. The rate is bytes over seconds in which something was open here: both sums fade alike, so that neither many small
       answers nor one burst out of a buffer count for more than they brought.
    2. An answer's own time is from the answer before it, or from the question if nothing was open then.
    3. The shortest time of an answer stands for the way there and back; it fades upwards, since ways change.
    """

    least: float | None = None
    typical: float | None = None
    _bytes: float = 0.0
    _seconds: float = 0.0
    _last: float = float("-inf")

    @property
    def per_second(self) -> float | None:
        """Bytes per second; None: not measured."""
        return self._bytes / max(self._seconds, 1e-6) if self._bytes else None

    def measured(self, bytes: int, asked: float, now: float) -> None:
        """It answered with so many bytes what was *asked* then."""
        taken = now - asked
        self.least = taken if self.least is None else min(taken, self.least * MORE)
        self.typical = taken if self.typical is None else MEMORY * self.typical + (1 - MEMORY) * taken
        self._bytes = MEMORY * self._bytes + bytes
        self._seconds = MEMORY * self._seconds + now - max(asked, self._last)
        self._last = now

    def coming(self, asked: float, now: float) -> float:
        """Bytes that should be on their way of what was *asked* then; none while it is not measured."""
        return (self.per_second or 0.0) * max(0.0, now - max(asked, self._last))

    def slower(self) -> None:
        """It did not answer in time: half of what it is asked for is enough for now."""
        self._bytes = max(1.0, self._bytes / 2)

    def seconds(self, bytes: float) -> float | None:
        """How long so much would take, with all that is open before it; None: not measured."""
        rate = self.per_second
        return None if rate is None or self.least is None else self.least + bytes / rate

    def allowance(self, target: float) -> float:
        """Bytes that may be open here at once, to come within *target* seconds at most, if the way is not that long."""
        rate = self.per_second
        if rate is None or self.least is None:
            return FIRST_BYTES
        return MORE * rate * min(max(target, OUTLAST * self.least), max(BUSY_MIN, ANSWERS * self.least))


def target_seconds(rates: Iterable[PeerRate]) -> float:
    """How long what is open at a peer may take, by what it takes at the middle one of all."""
    known = [rate.typical for rate in rates if rate.typical is not None]
    return min(TARGET_MAX, max(TARGET_MIN, PUSH_DOWN * median(known))) if known else TARGET_MIN


def middle_seconds(rates: Iterable[PeerRate], bytes: float) -> float:
    """How long so much takes the middle one of those that were measured; infinity: none was."""
    known = [seconds for rate in rates if (seconds := rate.seconds(bytes)) is not None]
    return median(known) if known else inf
