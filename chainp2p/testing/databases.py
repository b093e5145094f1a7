"""Databases of a simulated node: SQLite in memory, with several connections to a name, as if they were files."""

import sqlite3
from contextlib import suppress
from itertools import count

__all__ = ["MemoryDisk"]

_disks = count()


class MemoryDisk:
    """A directory of SQLite databases that outlives the node's runs.

    What was committed survives :meth:`crash`, what was not is rolled back. Everything goes when :meth:`erase` is
    called or the object is dropped.
    """

    def __init__(self) -> None:
        # a name shared by the connections of this process only
        self._prefix = f"file:/chainp2p-{next(_disks)}"
        #: An open connection to each database keeps it from going.
        self._anchors: dict[str, sqlite3.Connection] = {}
        self._handed_out: list[sqlite3.Connection] = []

    @property
    def names(self) -> list[str]:
        """The databases that there are."""
        return sorted(self._anchors)

    def open(self, name: str) -> sqlite3.Connection:
        """A new connection to the database *name*."""
        if name not in self._anchors:
            self._anchors[name] = self._connect(name)
        connection = self._connect(name)
        self._handed_out.append(connection)
        return connection

    def _connect(self, name: str) -> sqlite3.Connection:
        # no time-out: all is one thread here, waiting for a lock would wait for ever
        connection = sqlite3.connect(f"{self._prefix}/{name}?vfs=memdb", uri=True, timeout=0.0, check_same_thread=False)
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    def crash(self) -> None:
        """Close all connections as the end of a process does, in the middle of whatever they do."""
        for connection in self._handed_out:
            with suppress(sqlite3.ProgrammingError):
                # its owner has not closed it: a cursor somewhere would keep the transaction open
                connection.rollback()
            connection.close()
        self._handed_out.clear()

    def erase(self) -> None:
        """Delete all databases."""
        self.crash()
        for anchor in self._anchors.values():
            anchor.close()
        self._anchors.clear()
