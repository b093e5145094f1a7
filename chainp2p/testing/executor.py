"""Jobs of a simulated node: they run on the clock, one by one in each lane, on no thread."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from chainp2p.chain.executor import Executor

__all__ = ["STEP", "SimExecutor", "SimProcess"]

T = TypeVar("T")

#: Virtual seconds between two chances of a process to stop, unless told otherwise.
STEP = 0.2


class SimExecutor:
    """Stands for the threads of a node (``chainp2p.node.threads.OwnedExecutor``).

    :param clock: runs the jobs; when it dies, so do they.
    :param cost: virtual seconds that a job takes; with 0 it is done in a turn of its own at the same time.
    :param step: virtual seconds between two chances of a process to stop: how fast a miner is.
    """

    def __init__(self, clock: IReactorTime, cost: float = 0.0, step: float = STEP) -> None:
        self._clock = clock
        self._cost = cost
        self._step = step
        self._free_at = 0.0
        self._lanes: list[SimExecutor] = []
        self._open = 0
        self._stopped: Deferred[None] | None = None

    @property
    def spare_cores(self) -> int:
        """Nothing runs beside anything here."""
        return 0

    def run(self, f: Callable[..., T], /, *args: Any) -> "Deferred[T]":
        """See ``Executor.run``."""
        if self._stopped is not None:
            return fail(RuntimeError("the executor has been stopped"))
        now = self._clock.seconds()
        self._free_at = max(now, self._free_at) + self._cost
        done: Deferred[T] = Deferred()
        self._open += 1
        self._clock.callLater(self._free_at - now, self._work, done, f, args)
        return done

    def lane(self, name: str) -> Executor:
        """See ``Executor.lane``."""
        lane = SimExecutor(self._clock, self._cost)
        if self._stopped is not None:
            lane._stopped = succeed(None)
        self._lanes.append(lane)
        return lane

    def process(self, name: str, work: "Callable[[bytes], Iterator[bytes | None]]") -> "SimProcess":
        """See ``Executor.process``."""
        return SimProcess(self._clock, work, self._step)

    def stuck(self, seconds: float) -> list[str]:
        """No job hangs here."""
        return []

    def stop(self) -> "Deferred[None]":
        """Finish what is queued; later jobs fail."""
        if self._stopped is None:
            self._stopped = Deferred()
            for lane in self._lanes:
                lane._stopped = self._stopped
            self._when_idle()
        return self._stopped

    def _when_idle(self) -> None:
        if any(crew._open for crew in (self, *self._lanes)):
            self._clock.callLater(self._cost, self._when_idle)
        elif self._stopped is not None:
            self._stopped.callback(None)

    def _work(self, done: "Deferred[Any]", f: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._open -= 1
        try:
            outcome: Any = f(*args)
        except Exception:
            done.errback(Failure())  # type: ignore[no-untyped-call]
        else:
            done.callback(outcome)


class SimProcess:
    """Stands for a process (``chainp2p.chain.executor.Process``): it works in steps on the clock."""

    def __init__(self, clock: IReactorTime, work: "Callable[[bytes], Iterator[bytes | None]]", step: float) -> None:
        self._clock = clock
        self._work = work
        self._step = step
        self._call: Any = None
        self._waiting: Deferred[bytes | None] | None = None

    def ask(self, task: bytes, within: float) -> "Deferred[bytes | None]":
        """See ``Process.ask``."""
        self.drop()
        waiting: Deferred[bytes | None] = Deferred(lambda _: self._cancelled())
        self._waiting = waiting
        self._go_on(self._work(task), self._clock.seconds() + within)
        return waiting

    def drop(self) -> None:
        """See ``Process.drop``."""
        self._fire(None)

    def _cancelled(self) -> None:
        self._forget()

    def _forget(self) -> "Deferred[bytes | None] | None":
        waiting, self._waiting = self._waiting, None
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        return waiting

    def _fire(self, answer: bytes | None) -> None:
        waiting = self._forget()
        if waiting is not None:
            waiting.callback(answer)

    def _go_on(self, steps: "Iterator[bytes | None]", until: float) -> None:
        self._call = self._clock.callLater(self._step, self._next, steps, until)

    def _next(self, steps: "Iterator[bytes | None]", until: float) -> None:
        answer = next(steps)
        if answer is not None or self._clock.seconds() >= until:
            self._fire(answer)
        else:
            self._go_on(steps, until)
