"""One timer for many deadlines."""

from collections.abc import Callable
from math import inf
from typing import Any

from twisted.internet.interfaces import IDelayedCall

__all__ = ["Alarm"]


class Alarm:
    """Runs *wake* at the earliest time that was asked for; who is woken asks again for what is still to come.

    Cost: a comparison where an earlier time is set already, which each request of a link relies on.
    """

    def __init__(self, reactor: Any, wake: Callable[[], None]) -> None:
        self._reactor = reactor
        self._wake = wake
        self._timer: IDelayedCall | None = None
        self._at = inf

    def by(self, when: float) -> None:
        """Wake at *when* at the latest, by ``reactor.seconds()``."""
        if when >= self._at:
            return
        self._at = when
        delay = max(0.0, when - self._reactor.seconds())
        if self._timer is None:
            self._timer = self._reactor.callLater(delay, self._ring)
        else:
            self._timer.reset(delay)

    def _ring(self) -> None:
        self._timer = None
        self._at = inf
        self._wake()

    def stop(self) -> None:
        """Wake nobody any more, whatever is asked for later."""
        self._at = -inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
