"""Keeps the table of discovery over restarts."""

from collections.abc import Callable, Iterable
from typing import Any

from chainp2p.discovery.table import Entry
from chainp2p.net.alarm import Alarm
from chainp2p.net.store import PeerStore

__all__ = ["TableKeeper"]

#: The table is stored for the first time after so many seconds, and then at this distance: what a ``kill -9`` takes is
#: news of the last minutes, and a transaction of some 200 rows is a few ms of the database's thread.
SAVE_FIRST, SAVE_INTERVAL = 30.0, 300.0


class TableKeeper:
    """Stores who is live and when it last answered; what is stored is never less for a table that is empty.

    :param now: answers Unix time in seconds.
    :param live: answers the entries that have answered.
    """

    def __init__(
        self, reactor: Any, now: Callable[[], float], store: PeerStore, live: Callable[[], Iterable[Entry]]
    ) -> None:
        self._reactor = reactor
        self._now = now
        self._store = store
        self._live = live
        self._alarm = Alarm(reactor, self._due)

    def start(self) -> None:
        """Store from now on."""
        self._alarm = Alarm(self._reactor, self._due)
        self._alarm.by(self._reactor.seconds() + SAVE_FIRST)

    def stop(self) -> None:
        """Store what there is and then nothing more."""
        self._alarm.stop()
        self._save()

    def _due(self) -> None:
        self._save()
        self._alarm.by(self._reactor.seconds() + SAVE_INTERVAL)

    def _save(self) -> None:
        now = self._now()
        offset = now - self._reactor.seconds()
        answered = [(one.enr, one.checked_at + offset) for one in self._live() if one.checked_at is not None]
        if answered:
            self._store.save_table(answered, now)
