"""An export or import on the data directory of a node that does not run: its lock, threads and chain, nothing else."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import LoopingCall

from chainp2p.node.assembly import data_folder, make_chain
from chainp2p.node.jobs import Job
from chainp2p.node.pauses import shorten_pauses
from chainp2p.node.platform import Platform, production_platform
from chainp2p.node.transfer import Export, Import, Transfer
from chainp2p.settings import Settings

__all__ = ["Offline", "carry_out"]

#: Seconds between two looks at how far it is.
SHOW_INTERVAL = 0.1


class Offline:
    """One export or import, from opening the directory to closing it.

    :param kind: ``export`` or ``import``.
    :param heights: first and last block of an export.
    :param show: told blocks done, in all, and known before.
    """

    def __init__(
        self,
        platform: Platform,
        settings: Settings,
        kind: str,
        file: Path,
        heights: tuple[int, ...] = (),
        show: Callable[[int, int, int], None] = lambda done, total, skipped: None,
    ) -> None:
        self._platform = platform
        self._settings = settings
        self._kind = kind
        self._file = file
        self._heights = heights
        self._show = show
        self._transfer: Transfer | None = None
        self._stopped = False

    def stop(self) -> None:
        """Let it end soon."""
        self._stopped = True
        if self._transfer is not None:
            self._transfer.stop()

    async def run(self) -> dict[str, Any]:
        """Do it and answer the facts, as ``admin_job`` has them; StartupError, SettingsError."""
        platform, settings = self._platform, self._settings
        executor = platform.executor()
        try:
            chain = make_chain(settings, executor, platform.now, platform.random, lambda name: home.open_database(name))
            home = await executor.run(platform.home, data_folder(settings, chain.genesis_hash))
            try:
                await chain.start()
                try:
                    return await self._carry_out(chain, executor.lane("chain file"))
                finally:
                    await chain.stop()
            finally:
                await executor.run(home.close)
        finally:
            await executor.stop()

    async def _carry_out(self, chain: Any, lane: Any) -> dict[str, Any]:
        seconds = self._platform.reactor.seconds
        made = Import(chain, lane, self._file)
        transfer = made if self._kind == "import" else Export(chain, lane, self._file, *self._heights)
        self._transfer = transfer
        if self._stopped:
            transfer.stop()
        job = Job(self._kind, str(self._file), transfer, seconds())
        showing = LoopingCall(lambda: self._show(transfer.done, transfer.total, transfer.skipped))
        showing.clock = self._platform.reactor
        showing.start(SHOW_INTERVAL)
        try:
            wrong = await job.run(seconds)
        finally:
            showing.stop()
        self._show(transfer.done, transfer.total, transfer.skipped)
        if wrong is not None:
            raise wrong
        return job.facts(seconds())


def carry_out(
    settings: Settings,
    folder: Path | None,
    kind: str,
    file: Path,
    heights: tuple[int, ...],
    show: Callable[[int, int, int], None],
) -> dict[str, Any]:
    """Run the reactor of this process until it is done; Ctrl-C ends it in order, with the state ``stopped``."""
    from twisted.internet import reactor as installed  # noqa: TID251

    reactor: Any = installed
    shorten_pauses()
    if folder is not None:
        settings = evolve(settings, node=evolve(settings.node, data_dir=folder))
    work = Offline(production_platform(reactor), settings, kind, file, heights, show)
    outcome: list[Any] = []
    ended: Deferred[None] = Deferred()

    def done(result: Any) -> None:
        outcome.append(result)
        ended.callback(None)
        with contextlib.suppress(ReactorNotRunning):  # Ctrl-C is stopping it
            reactor.stop()

    def shut_down() -> "Deferred[None]":
        work.stop()
        return ended

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(work.run()).addBoth(done))
    reactor.addSystemEventTrigger("before", "shutdown", shut_down)
    reactor.run()
    result = outcome[0]
    if isinstance(result, dict):
        return result
    raise result.value
