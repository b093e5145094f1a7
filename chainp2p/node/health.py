"""Whether a node lives and whether it is fit to serve, with the reasons why not."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from chainp2p.rpc.tally import Metric

__all__ = ["Health", "Readiness"]

#: livez: the writer thread must come back within this many seconds.
WRITER_LIMIT = 30.0
#: readyz: a reason must hold this long (seconds) before it counts, once the node has been ready.
GRACE = 10.0
#: readyz: how late (seconds) the reactor may call what it was to call.
LATENESS_LIMIT = 1.0
#: readyz: bytes that must be free on the disk.
FREE_LIMIT = 1 << 30
#: Seconds between two looks; and looks between two questions about the disk.
INTERVAL, DISK_EVERY = 1.0, 10


class Readiness:
    """Turns what is wrong now into what counts: before the node has once been ready everything, later what lasts.

    Without the grace a load balancer would take a node out whenever a reorg or a peer's restart takes a second.
    """

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._was_ready = False

    def observe(self, reasons: Sequence[tuple[str, str]], now: float) -> list[str]:
        """Return the texts of those that count. *reasons* are (name, text); the name is what must last."""
        if not reasons:
            self._was_ready = True
        names = {name for name, _ in reasons}
        self._since = {name: self._since.get(name, now) for name in names}
        return [text for name, text in reasons if not self._was_ready or now - self._since[name] >= GRACE]


class Health:
    """Looks once a second; ``livez`` and ``readyz`` answer from the last look.

    :param checks: each answers (name, text) of something wrong, or None.
    """

    log = Logger()

    def __init__(
        self,
        *,
        reactor: Any,
        executor: Any,
        checks: Sequence[Callable[[], "tuple[str, str] | None"]],
        folder: Path | None,
    ) -> None:
        self._reactor = reactor
        self._executor = executor
        self._checks = checks
        self._folder = folder
        self._readiness = Readiness()
        self._call: Any = None
        self._due = 0.0
        self._looks = 0
        self._late = 0.0
        self._free = FREE_LIMIT
        self._failing: list[str] = ["starting"]

    def start(self) -> None:
        self._due = self._reactor.seconds()
        self._look()

    def stop(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def livez(self) -> list[str]:
        """What says that the process should be restarted."""
        return [
            f"thread {name} has been at one job for {WRITER_LIMIT:.0f} s" for name in self._executor.stuck(WRITER_LIMIT)
        ]

    def readyz(self) -> list[str]:
        """What says that requests should go elsewhere."""
        return list(self._failing)

    def metrics(self) -> Iterator[Metric]:
        """What the last look has found."""
        yield "chainp2p_live", {}, not self.livez()
        yield "chainp2p_ready", {}, not self._failing
        yield "chainp2p_reactor_lateness_seconds", {}, max(0.0, self._late)
        yield "chainp2p_disk_free_bytes", {}, self._free

    def _look(self) -> None:
        now = self._reactor.seconds()
        self._late = now - self._due
        if self._folder is not None and self._looks % DISK_EVERY == 0:
            self._executor.run(_free_bytes, self._folder).addCallbacks(
                self._measured, lambda failure: self.log.failure("cannot tell the free disk space", failure)
            )
        self._looks += 1
        self._failing = self._readiness.observe(self._reasons(), now)
        self._due = now + INTERVAL
        self._call = self._reactor.callLater(INTERVAL, self._look)

    def _measured(self, free: int) -> None:
        self._free = free

    def _reasons(self) -> list[tuple[str, str]]:
        reasons = [found for check in self._checks if (found := check()) is not None]
        if self._free < FREE_LIMIT:
            reasons.append(("disk", f"disk: {self._free >> 20} MiB free, {FREE_LIMIT >> 20} are needed"))
        if self._late > LATENESS_LIMIT:
            reasons.append(("lateness", f"lateness: the reactor is {self._late:.1f} s late"))
        return reasons


def _free_bytes(folder: Path) -> int:
    import shutil

    return shutil.disk_usage(folder).free
