"""Threads of a node's own: a pool for work that releases the GIL, lanes of one thread each, and child processes."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, fail, gatherResults
from twisted.python.failure import Failure

from chainp2p.chain.executor import Executor
from chainp2p.node.children import ChildProcess

__all__ = ["OwnedExecutor", "ThreadExecutor"]

T = TypeVar("T")


class OwnedExecutor(Executor, Protocol):
    """An executor that the node made and therefore ends."""

    def stop(self) -> "Deferred[None]":
        """Finish what is queued, end threads and processes; fires when they are gone. Later jobs fail."""
        ...

    def stuck(self, seconds: float) -> list[str]:
        """Names of lanes whose current job has been running for longer than *seconds*."""
        ...


class _Crew:
    """Some threads that share one queue of jobs; they are started by the first job."""

    def __init__(self, reactor: Any, name: str, size: int) -> None:
        self.name = name
        self._reactor = reactor
        self._size = size
        self._jobs: deque[tuple[Deferred[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._wake = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._running: dict[int, float] = {}

    def run(self, f: Callable[..., T], /, *args: Any) -> "Deferred[T]":
        done: Deferred[T] = Deferred()
        with self._wake:
            if self._closed:
                return fail(RuntimeError(f"{self.name}: the executor has been stopped"))
            if len(self._threads) < self._size:
                thread = threading.Thread(target=self._work, name=f"chainp2p {self.name}", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._jobs.append((done, f, args))
            self._wake.notify()
        return done

    @property
    def spare_cores(self) -> int:
        return 0

    def lane(self, name: str) -> Executor:
        raise RuntimeError(f"{self.name}: a lane has no lanes of its own ({name})")

    def process(self, name: str, work: "Callable[[bytes], Iterator[bytes | None]]") -> ChildProcess:
        raise RuntimeError(f"{self.name}: a lane has no processes of its own ({name})")

    def busy_since(self) -> float | None:
        """When (reactor time) the oldest running job began."""
        return min(tuple(self._running.values()), default=None)

    def close(self) -> None:
        with self._wake:
            self._closed = True
            self._wake.notify_all()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        ident = threading.get_ident()
        while True:
            with self._wake:
                while not self._jobs:
                    if self._closed:
                        return
                    self._wake.wait()
                done, f, args = self._jobs.popleft()
            self._running[ident] = self._reactor.seconds()
            try:
                outcome: Any = f(*args)
            except BaseException:
                outcome = Failure()  # type: ignore[no-untyped-call]
                self._running.pop(ident)
                self._reactor.callFromThread(done.errback, outcome)
            else:
                self._running.pop(ident)
                self._reactor.callFromThread(done.callback, outcome)
            del done, f, args, outcome


class ThreadExecutor:
    """What production uses as :class:`OwnedExecutor`.

    The reactor's own pool is left to DNS. The threads are daemons, so that a hung job cannot keep the process; they are
    joined by one more thread, because joining on the reactor thread would wait for jobs that wait for the reactor.

    :param size: threads of the shared pool.
    :param spare_cores: see ``Executor``.
    """

    def __init__(self, reactor: Any, size: int, spare_cores: int = 0) -> None:
        self._reactor = reactor
        self.spare_cores = spare_cores
        self._pool = _Crew(reactor, "pool", size)
        self._lanes: list[_Crew] = []
        self._processes: list[ChildProcess] = []
        self._stopped: Deferred[None] | None = None

    def run(self, f: Callable[..., T], /, *args: Any) -> "Deferred[T]":
        return self._pool.run(f, *args)

    def lane(self, name: str) -> Executor:
        crew = _Crew(self._reactor, name, 1)
        if self._stopped is not None:
            crew.close()
        self._lanes.append(crew)
        return crew

    def process(self, name: str, work: "Callable[[bytes], Iterator[bytes | None]]") -> ChildProcess:
        process = ChildProcess(self._reactor, name, work)
        if self._stopped is not None:
            process.stop()
        self._processes.append(process)
        return process

    def stuck(self, seconds: float) -> list[str]:
        limit = self._reactor.seconds() - seconds
        since = ((crew.name, crew.busy_since()) for crew in self._lanes)
        return [name for name, start in since if start is not None and start < limit]

    def stop(self) -> "Deferred[None]":
        if self._stopped is None:
            joined: Deferred[None] = Deferred()
            crews = (self._pool, *self._lanes)
            for crew in crews:
                crew.close()
            threading.Thread(target=self._join, args=(crews, joined), name="chainp2p joiner", daemon=True).start()
            ended = gatherResults([joined, *(process.stop() for process in self._processes)])
            self._stopped = ended.addCallback(lambda _: None)
        return self._stopped

    def _join(self, crews: tuple[_Crew, ...], done: "Deferred[None]") -> None:
        for crew in crews:
            crew.join()
        self._reactor.callFromThread(done.callback, None)
