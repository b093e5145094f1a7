"""How long the rest of a state takes: at the rate of late, and with what changes each time that the goal passes."""

from collections import deque
from math import inf

from attrs import frozen

__all__ = ["Rest", "StateTime"]

#: The rate is that of the last so many seconds, chunks, or share of all bytes, whichever is most: chunks come in
#: bursts, and those on the way down to what has to be asked for are small, as are changes.
RATE_WINDOW, RATE_CHUNKS, RATE_SHARE = 30.0, 64, 1 / 8
#: Fewer chunks tell how long the first one took to come, rather than a rate.
RATE_CHUNKS_MIN = 4
#: So many goals ahead are looked at; who needs more cannot tell.
GOALS_MAX = 64


@frozen(kw_only=True)
class Rest:
    """What is to come. Bytes.

    :param new: of accounts of which nothing is here.
    :param changed: of changes to those that are, and of what comes for an older goal.
    :param open: that were asked for; *coming*: that should be on their way by now.
    :param whole: of the whole state.
    :param changes: which change with each goal, for each that is here.
    """

    new: float
    changed: float
    open: float
    coming: float
    whole: float
    changes: float


class StateTime:
    """See the module.

    A state is served for some time only. Then another one is aimed at, and of all that is here the changes are to come
    again. For how long a goal is served follows from the last time that it passed: so many blocks further at the rate
    at which blocks came meanwhile. Before that nobody can tell, nor how much changes.

    Chunks come in bursts, for all lines are asked at once. So what is on its way counts, as much of it as the lines
    should have carried by now.
    """

    def __init__(self) -> None:
        #: (when, as it counts, bytes of the chunk that came, bytes that were on their way then)
        self._came: deque[tuple[float, int, float]] = deque()
        self._bytes = self._within = 0
        self._apart = 0.0
        #: When the goal was chosen, its height, and that of the best header then.
        self._goal: tuple[float, int, int] | None = None
        #: For how long a goal is served, as far as the last one tells. Seconds.
        self.life = inf

    def aimed(self, now: float, goal: int, best: int) -> None:
        """The state of height *goal* is aimed at from now on, with the best header at height *best*."""
        if self._goal is not None:
            since, passed, was = self._goal
            if goal > passed and best > was and now > since:
                self.life = (goal - passed) * (now - since) / (best - was)
        self._goal = now, goal, best

    def counted(self, now: float) -> float:
        """Seconds that count for the rate."""
        return now - self._apart

    def apart(self, seconds: float) -> None:
        """The chain was so long at a chunk that leads down. What it compares there is here: no rate of what comes."""
        self._apart += seconds

    def began(self, then: float) -> None:
        """The first part that came whole was asked for *then*, as :meth:`counted`; chunks before led down to it."""
        self._came.clear()
        self._came.append((then, 0, 0.0))
        self._bytes = self._within = 0

    def came(self, size: int, coming: float, now: float) -> None:
        """A chunk of so many bytes was kept, or came and was of no use, with more on their way.

        Where checking is what takes the time, chunks wait for it: those count when it is their turn.
        """
        self._came.append((self.counted(now), size, coming))
        self._bytes += size
        self._within += size

    def seconds(self, rest: Rest, now: float) -> float | None:
        """How long that takes; None: nobody can tell, or it would never be done."""
        counted = self.counted(now)
        self._forget(counted)
        since, _, before = self._came[0] if self._came else (counted, 0, 0.0)
        carried = self._within + rest.coming - before
        if counted <= since or carried <= 0 or len(self._came) <= RATE_CHUNKS_MIN:
            return None
        rate = carried / (counted - since)
        new, changed, spent = rest.new, rest.changed - rest.coming, 0.0
        until = inf if self._goal is None else max(0.0, self._goal[0] + self.life - now)
        for _ in range(GOALS_MAX):
            if new + changed <= rate * until:
                return max(0.0, spent + (new + changed) / rate)
            new -= max(0.0, rate * until - changed)
            changed = rest.changes * max(0.0, rest.whole - new) + rest.open  # what is on its way then is of no use
            spent, until = spent + until, self.life
        return None

    def _forget(self, now: float) -> None:
        came, enough = self._came, RATE_SHARE * self._bytes
        while len(came) > RATE_CHUNKS and came[1][0] < now - RATE_WINDOW and self._within - came[1][1] >= enough:
            came.popleft()
            self._within -= came[0][1]
