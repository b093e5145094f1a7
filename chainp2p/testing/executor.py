"""Jobs of a simulated node: they run on the clock, one by one in each lane, on no thread."""

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from chainp2p.chain.interfaces import Executor

__all__ = ["SimExecutor"]

T = TypeVar("T")


class SimExecutor:
    """Stands for the threads of a node (``chainp2p.node.threads.OwnedExecutor``).

    :param clock: runs the jobs; when it dies, so do they.
    :param cost: virtual seconds that a job takes; with 0 it is done in a turn of its own at the same time.
    """

    def __init__(self, clock: IReactorTime, cost: float = 0.0) -> None:
        self._clock = clock
        self._cost = cost
        self._free_at = 0.0
        self._lanes: list[SimExecutor] = []
        self._open = 0
        self._stopped: Deferred[None] | None = None

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
