"""Fire-and-forget coroutines of a service: failures are logged, and stopping the service cancels what still runs."""

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chainp2p.errors import PeerGone, RequestRefused, RequestTimedOut, StorageError

__all__ = ["Bell", "Postponed", "Tasks", "begin", "dismiss"]

#: Nobody's fault: a peer went away, was slow or busy, or the service stops; or told already, by who watches the disk.
QUIET = (CancelledError, PeerGone, RequestTimedOut, RequestRefused, StorageError)


class Tasks:
    """The one place that owns work which nobody waits for.

    :param log: where a failure of ours is logged, with its traceback.
    """

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._running: dict[Deferred[Any], None] = {}
        self._stopped = False

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run *work*; after :meth:`stop` it is closed unrun."""
        if self._stopped:
            work.close()
        else:
            self.watch(Deferred.fromCoroutine(work))

    def watch(self, deferred: "Deferred[Any]") -> None:
        """Look after what runs already; after :meth:`stop` it is cancelled."""
        if deferred.called and not deferred.paused and not isinstance(deferred.result, Failure):
            return  # it is over, and well
        self._running[deferred] = None
        deferred.addBoth(self._ended, deferred)
        if self._stopped:
            deferred.cancel()

    def _ended(self, result: Any, deferred: "Deferred[Any]") -> None:
        self._running.pop(deferred, None)
        if isinstance(result, Failure) and not isinstance(result.value, QUIET):
            self._log.failure("a background task failed", failure=result)

    def start(self) -> None:
        """Accept work (again)."""
        self._stopped = False

    def stop(self) -> None:
        """Cancel everything, and refuse what comes later."""
        self._stopped = True
        for deferred in tuple(self._running):
            deferred.cancel()


class Bell:
    """What a loop sleeps by: until it is rung, or for so long.

    Who rings while nobody sleeps is not missed: the next sleep is over at once.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._sleeping: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None
        self._rung = False

    async def sleep(self, seconds: float) -> None:
        """Wait for a ring."""
        if self._rung:
            self._rung = False
            return
        self._sleeping = Deferred(lambda _: None)
        self._timer = self._reactor.callLater(seconds, self.ring)
        try:
            await self._sleeping
        finally:
            self._sleeping = None
            if self._timer.active():
                self._timer.cancel()
            self._rung = False

    def ring(self) -> None:
        """Wake the sleeper."""
        self._rung = True
        sleeping, self._sleeping = self._sleeping, None
        if sleeping is not None:
            sleeping.callback(None)


def begin(work: Callable[[], Any], ended: Callable[[], None]) -> "Deferred[Any]":
    """Begin *work* now; *ended* is called when it is over, before those who wait are told.

    :param work: answers what comes of it, or a Deferred or coroutine of that.
    """
    return maybeDeferred(work).addBoth(_pass_on, ended)


def _pass_on(outcome: Any, ended: Callable[[], None]) -> Any:
    ended()
    return outcome


def dismiss(deferred: "Deferred[Any]") -> None:
    """Cancel what nobody waits for any more; how it ends is not told."""
    deferred.addErrback(lambda failure: None)
    deferred.cancel()


class Postponed:
    """Work that begins when its turn comes, unless nobody waits for it any more.

    :param work: begins it, and answers what comes of it, or a Deferred or coroutine of that.
    :param since: by ``reactor.seconds()``.
    :param withdrawn: told that it need not begin.
    :ivar done: fires with what comes of it.
    """

    __slots__ = ("_running", "_withdrawn", "_work", "done", "since")

    def __init__(self, work: Callable[[], Any], since: float, withdrawn: "Callable[[Postponed], None]") -> None:
        self._work = work
        self.since = since
        self._withdrawn = withdrawn
        self._running: Deferred[Any] | None = None
        self.done: Deferred[Any] = Deferred(self._cancel)

    def begin(self, ended: Callable[[], None]) -> None:
        """Begin it; *ended* is called when it is over, before those who wait are told."""
        self._running = begin(self._work, ended).addBoth(self._over)

    def miss(self, error: Exception) -> None:
        """It does not take place."""
        if not self.done.called:
            self.done.errback(error)

    def _over(self, outcome: Any) -> None:
        if not self.done.called:
            self.done.callback(outcome)

    def _cancel(self, _: "Deferred[Any]") -> None:
        if self._running is None:
            self._withdrawn(self)
        else:
            self._running.cancel()
