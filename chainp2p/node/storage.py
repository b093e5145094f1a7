"""A disk that takes nothing any more: said once in the log, told to whoever asks, and tried again."""

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from chainp2p.chain.interfaces import IStorageWatch

__all__ = ["StorageCheck"]

#: Seconds between two tries to store something.
TRY_INTERVAL = 5.0


class StorageCheck:
    """One of the checks of :class:`~chainp2p.node.health.Health`, which asks once a second.

    What had to be stored is tried again by who needs it stored: sync, the producer, the journal of the pool. They may
    have nothing to do for long; so that it is known when there is room again, the chain is asked to try now and then.

    :param now: a clock, in seconds.
    """

    log = Logger()

    def __init__(self, chain: Any, now: Callable[[], float]) -> None:
        self._chain = chain if IStorageWatch.providedBy(chain) else None
        self._now = now
        self._told = ""
        self._try_at = 0.0

    def __call__(self) -> tuple[str, str] | None:
        """What is wrong, for ``/readyz``."""
        if self._chain is None:
            return None
        error: str = self._chain.storage_error
        if error and not self._told:
            self._try_at = self._now() + TRY_INTERVAL
            self.log.error("the chain cannot be stored, and waits: {error}", error=error)
        elif self._told and not error:
            self.log.info("the chain can be stored again")
        self._told = error
        if not error:
            return None
        if self._now() >= self._try_at:
            self._try_at = self._now() + TRY_INTERVAL
            tried = self._chain.store_again()
            tried.addErrback(lambda failure: self.log.failure("trying to store failed", failure))
        return ("storage", f"storage: {error}")
