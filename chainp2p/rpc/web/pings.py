"""One timer for the pings of all connections: whoever was asked last is due last, for all have the same period."""

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Pings"]

#: Who is due within so much of a period is asked with the first of them: then 5,000 connections wake the reactor 40
#: times in a period, and nobody is asked noticeably early.
TOGETHER = 1 / 40


class Pings:
    """Calls *ping* with each connection every *period* seconds, as long as it answers that it goes on."""

    def __init__(self, reactor: IReactorTime, period: float, ping: Callable[[Any], bool]) -> None:
        self._reactor = reactor
        self._period = period
        self._ping = ping
        self._due: dict[Any, float] = {}  #: when; the first is due first
        self._timer: IDelayedCall | None = None

    def add(self, connection: Any) -> None:
        """From now on."""
        self._due[connection] = self._reactor.seconds() + self._period
        if self._timer is None:
            self._wait()

    def remove(self, connection: Any) -> None:
        """Not any more."""
        self._due.pop(connection, None)
        if not self._due and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        first = next(iter(self._due.values()))
        self._timer = self._reactor.callLater(max(0.0, first - self._reactor.seconds()), self._turn)

    def _turn(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        for connection, due in tuple(self._due.items()):
            if due > now + self._period * TOGETHER:
                break
            if self._due.pop(connection, None) is not None and self._ping(connection):
                self._due[connection] = now + self._period
        if self._due and self._timer is None:
            self._wait()
