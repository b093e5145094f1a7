"""Where a chain lets work be done that must not hold up the reactor; built only in ``node/`` and ``testing/``."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

__all__ = ["Executor", "Process"]

T = TypeVar("T")


class Process(Protocol):
    """A process of its own for work that holds the GIL, such as a search; started by the first task."""

    def ask(self, task: bytes, within: float) -> "Deferred[bytes | None]":
        """Begin with *task*, and no longer with the one before; fires with the answer, or with None when there is none
        in so many seconds, or it was dropped, or the process died (it is started again). Cancelling drops it, too."""
        ...

    def drop(self) -> None:
        """Let go of the task."""
        ...


class Executor(Protocol):
    """Runs work off the reactor thread; built only in ``node/`` and ``testing/``."""

    @property
    def spare_cores(self) -> int:
        """So many processes can work beside this one without taking its core; 0: none."""
        ...

    def run(self, f: Callable[..., T], /, *args: Any) -> "Deferred[T]":
        """Run ``f(*args)`` on one of the pool's threads; only work that releases the GIL gains by it."""
        ...

    def lane(self, name: str) -> "Executor":
        """Answer an executor with a single thread of its own: its jobs run one by one, in order."""
        ...

    def process(self, name: str, work: "Callable[[bytes], Iterator[bytes | None]]") -> Process:
        """Answer a process for tasks that *work*, a function of a module, solves: it yields None now and then, when it
        can be stopped, and at last the answer. It ends with the executor."""
        ...
