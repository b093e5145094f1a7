"""Exports and imports of a running node: one at a time, by files in ``DATA/export/``, watched and stopped by RPC."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chainp2p.chain.executor import Executor
from chainp2p.errors import StorageError
from chainp2p.node.transfer import Export, Import, Transfer, TransferError

__all__ = ["EXPORT_FOLDER", "Job", "JobRefused", "Jobs", "rate_and_eta"]

EXPORT_FOLDER = "export"
#: Jobs that are remembered after their end.
JOBS_MAX = 16
#: One part of a path that means nothing special to any system.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


class JobRefused(ValueError):
    """There can be no such job; the text says why."""


@define(eq=False)
class Job:
    """An export or import; *state* is ``running``, ``done``, ``failed`` or ``stopped``."""

    id: str
    name: str
    transfer: Transfer
    started: float
    state: str = "running"
    error: str = ""
    ended: float | None = None
    finished: "Deferred[None]" = field(factory=Deferred)

    async def run(self, seconds: Callable[[], float]) -> BaseException | None:
        """Do it; how it ended is in the attributes. Answers what went wrong and is nobody's but our fault."""
        wrong = None
        try:
            await self.transfer.run()
            self.state = "done"
        except (TransferError, StorageError) as error:
            self.state, self.error = "stopped" if self.transfer.stopped else "failed", str(error)
        except Exception as error:
            self.state, self.error, wrong = "failed", f"{type(error).__name__}: {error}", error
        self.ended = seconds()
        return wrong

    def facts(self, now: float) -> dict[str, Any]:
        """What RPC and CLI say of it."""
        transfer = self.transfer
        seconds = (now if self.ended is None else self.ended) - self.started
        rate, eta = rate_and_eta(transfer.done - transfer.skipped, transfer.total - transfer.skipped, seconds)
        return {
            "id": self.id,
            "kind": transfer.kind,
            "file": self.name,
            "state": self.state,
            "error": self.error or None,
            "first": transfer.first,
            "last": transfer.last,
            "done": transfer.done,
            "total": transfer.total,
            "skipped": transfer.skipped,
            "seconds": round(seconds, 3),
            "blocksPerSecond": round(rate, 1),
            "eta": None if eta is None or self.ended is not None else round(eta, 1),
            "connected": transfer.connected if isinstance(transfer, Import) and self.state == "done" else None,
        }


def rate_and_eta(done: int, total: int, seconds: float) -> tuple[float, float | None]:
    """Blocks a second so far, and the seconds that are left at that rate; None: nobody can tell yet."""
    rate = done / seconds if seconds > 0 else 0.0
    return rate, max(0, total - done) / rate if rate else None


class Jobs:
    """See the module.

    :param folder: the data directory; None: there is none, and no job.
    :param seconds: a clock for rates.
    """

    log = Logger()

    def __init__(self, chain: Any, executor: Executor, folder: Path | None, seconds: Callable[[], float]) -> None:
        self._chain = chain
        self._lane = executor.lane("chain file")
        self._folder = None if folder is None else folder / EXPORT_FOLDER
        self._seconds = seconds
        self._jobs: dict[str, Job] = {}
        self._running: Job | None = None
        self._count = 0

    def _path(self, name: str) -> Path:
        if self._folder is None:
            raise JobRefused("this node has no data directory")
        if not _NAME.fullmatch(name) or name.endswith(".new"):
            raise JobRefused(
                f"{name!r}: the name of a file in {EXPORT_FOLDER}/ is expected (letters, digits, '.', '-' and '_')"
            )
        return self._folder / name

    def export(self, name: str, first: int = 1, last: int = 0) -> str:
        """Write blocks *first* to *last* (0: the head) to a new file; answers the job's id. JobRefused."""
        path = self._path(name)
        if path.exists() or path.is_symlink():
            raise JobRefused(f"{name}: the file is there already")
        path.parent.mkdir(mode=0o700, exist_ok=True)
        return self._start(name, Export(self._chain, self._lane, path, first, last))

    def restore(self, name: str) -> str:
        """Give the chain the blocks of a file; answers the job's id. JobRefused."""
        path = self._path(name)
        if path.is_symlink() or not path.is_file():
            raise JobRefused(f"{name}: there is no such file in {path.parent}")
        return self._start(name, Import(self._chain, self._lane, path))

    def _start(self, name: str, transfer: Transfer) -> str:
        if self._running is not None:
            raise JobRefused(f"{self._running.id} is running: one at a time")
        self._count += 1
        job = Job(f"{transfer.kind}-{self._count}", name, transfer, self._seconds())
        self._running = self._jobs[job.id] = job
        for id in list(self._jobs)[:-JOBS_MAX]:
            del self._jobs[id]
        Deferred.fromCoroutine(self._run(job))
        return job.id

    async def _run(self, job: Job) -> None:
        self.log.info("{id} of {name} begins", id=job.id, name=job.name)
        wrong = await job.run(self._seconds)
        if wrong is not None and not job.transfer.stopped:  # else the chain was closed below it
            self.log.failure("{id} failed", Failure(wrong), id=job.id)  # type: ignore[no-untyped-call]
        self._running = None
        self.log.info(
            "{id} of {name} is {state} at block {height} {error}",
            id=job.id,
            name=job.name,
            state=job.state,
            height=job.transfer.height - 1,
            error=job.error,
        )
        job.finished.callback(None)

    def job(self, id: str) -> dict[str, Any] | None:
        """What is known of a job."""
        job = self._jobs.get(id)
        return None if job is None else job.facts(self._seconds())

    def cancel(self, id: str) -> bool:
        """Stop a job; False: it does not run."""
        job = self._jobs.get(id)
        if job is None or job is not self._running:
            return False
        job.transfer.stop()
        return True

    async def stop(self) -> None:
        """Stop what runs, and wait until it has let go."""
        job = self._running
        if job is not None:
            job.transfer.stop()
            await job.finished
