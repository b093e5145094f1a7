"""A virtual clock that steps from event to event; the reactor of everything simulated.

``task.Clock`` sorts a list per call and jumps over what repeats; this one is a heap of (time, sequence, call): events
of one time run in the order in which they were planned, and nothing runs late.
"""

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, cast

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

__all__ = ["HeapClock", "Owner", "TimedCall"]

#: Cancelled calls are swept out once there are that many and they are the majority: memory stays in proportion.
_SWEEP_AT = 1024


class Owner:
    """Whoever plans calls; those of an owner that is not alive any more never run.

    They are kept instead: dropping the last reference to a suspended coroutine would run its ``finally`` blocks.
    """

    __slots__ = ("alive", "kept")

    def __init__(self) -> None:
        self.alive = True
        self.kept: list[TimedCall] = []


_ALWAYS = Owner()


@implementer(IDelayedCall)
class TimedCall:
    """A planned call; see ``IDelayedCall``. Its heap entry is valid while the sequence numbers are equal."""

    __slots__ = ("_clock", "args", "func", "kw", "owner", "sequence", "time")

    def __init__(
        self,
        clock: "HeapClock",
        time: float,
        sequence: int,
        owner: Owner,
        func: Callable[..., object],
        args: tuple[Any, ...],
        kw: dict[str, Any],
    ) -> None:
        self._clock = clock
        self.time = time
        #: 0: was called; -1: was cancelled.
        self.sequence = sequence
        self.owner = owner
        self.func: Callable[..., object] | None = func
        self.args = args
        self.kw = kw

    def getTime(self) -> float:
        """When it runs, in seconds of the clock."""
        return self.time

    def active(self) -> bool:
        """Whether it is still to run."""
        return self.sequence > 0

    def cancel(self) -> None:
        """Take it back."""
        self._check()
        self.sequence = -1
        self.func = None
        self.args = ()
        self._clock._dropped()

    def reset(self, secondsFromNow: float) -> None:
        """Run it that many seconds from now instead."""
        self._check()
        self._clock._move(self, self._clock.seconds() + secondsFromNow)

    def delay(self, secondsLater: float) -> None:
        """Run it that many seconds later than planned (never before now)."""
        self._check()
        self._clock._move(self, self.time + secondsLater)

    def _check(self) -> None:
        if self.sequence == 0:
            raise AlreadyCalled
        if self.sequence < 0:
            raise AlreadyCancelled


@implementer(IReactorTime)
class HeapClock:
    """Virtual time in seconds from *start* on.

    A call that raises is logged and the clock goes on, as a reactor does. Cost: about 1 us an event.
    """

    log = Logger()

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._sequence = 0
        self._heap: list[tuple[float, int, TimedCall]] = []
        self._stale = 0
        #: How many calls have run.
        self.events = 0
        #: How many of them raised.
        self.failures = 0

    def seconds(self) -> float:
        """The virtual time."""
        return self._now

    def callLater(self, delay: float, callable: Callable[..., object], *args: Any, **kw: Any) -> IDelayedCall:
        """Run ``callable(*args, **kw)`` that many seconds from now."""
        return cast(IDelayedCall, self.plan(_ALWAYS, delay, callable, args, kw))

    def plan(
        self, owner: Owner, delay: float, func: Callable[..., object], args: tuple[Any, ...], kw: dict[str, Any]
    ) -> TimedCall:
        """The same for a call that only runs while *owner* is alive."""
        if not delay >= 0:
            raise ValueError(f"a call cannot be planned {delay} seconds from now")
        self._sequence = sequence = self._sequence + 1
        time = self._now + delay
        call = TimedCall(self, time, sequence, owner, func, args, kw)
        heappush(self._heap, (time, sequence, call))
        return call

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """What is planned, next first."""
        return cast(Sequence[IDelayedCall], self.planned(None))

    def planned(self, owner: Owner | None) -> list[TimedCall]:
        """What is planned by *owner* (None: by all who are alive), next first."""
        return [
            call
            for _, sequence, call in sorted(self._heap)
            if call.sequence == sequence and call.owner.alive and (owner is None or call.owner is owner)
        ]

    def clear(self) -> None:
        """Forget all that is planned."""
        self._heap.clear()
        self._stale = 0

    def _move(self, call: TimedCall, time: float) -> None:
        self._sequence = call.sequence = self._sequence + 1
        call.time = max(time, self._now)
        heappush(self._heap, (call.time, call.sequence, call))
        self._dropped()

    def _dropped(self) -> None:
        self._stale += 1
        if self._stale >= _SWEEP_AT and self._stale * 2 > len(self._heap):
            # in place: the loop of run_until holds the list
            self._heap[:] = [entry for entry in self._heap if entry[2].sequence == entry[1]]
            heapify(self._heap)
            self._stale = 0

    # -- time goes on

    def run_until(self, time: float) -> None:
        """Run all that is due up to *time*, which is the time afterwards."""
        heap = self._heap
        while heap and heap[0][0] <= time:
            self._run(heappop(heap))
        self._now = max(self._now, time)

    def run_for(self, seconds: float) -> None:
        """Run all that is due within so many seconds."""
        self.run_until(self._now + seconds)

    #: The name by which tests that were written for ``task.Clock`` call it.
    advance = run_for

    def run_while(self, condition: Callable[[], object], limit: float) -> bool:
        """Run event by event while *condition* holds, at most *limit* seconds; tell whether it ended in time."""
        heap, end = self._heap, self._now + limit
        while condition():
            if not heap or heap[0][0] > end:
                self._now = max(self._now, end)
                return not condition()
            self._run(heappop(heap))
        return True

    def step(self) -> bool:
        """Run the next call; tell whether there was one."""
        heap = self._heap
        while heap:
            before = self.events
            self._run(heappop(heap))
            if self.events != before:
                return True
        return False

    def _run(self, entry: tuple[float, int, TimedCall]) -> None:
        time, sequence, call = entry
        if call.sequence != sequence:
            self._stale = max(0, self._stale - 1)
            return
        call.sequence = 0
        func, call.func = call.func, None
        if not call.owner.alive or func is None:
            call.func = func
            call.owner.kept.append(call)
            return
        self._now = time
        self.events += 1
        try:
            func(*call.args, **call.kw)
        except Exception:
            self.failures += 1
            self.log.failure("a call on the virtual clock failed")
