"""The state of a stored chain: a byte map in SQLite, and what a block writes on top of it."""

from collections.abc import Mapping

from chainp2p.chain.rules import ByteMap
from chainp2p.chain.store import ChainStore

__all__ = ["STATE_TABLES", "StateLayer", "StateRows"]

STATE_TABLES = """
CREATE TABLE IF NOT EXISTS state(key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS undo(height INTEGER, key BLOB, value BLOB, PRIMARY KEY(height, key)) WITHOUT ROWID;
"""


class StateRows:
    """The state after the head, and how each recent block is undone."""

    def __init__(self, store: ChainStore) -> None:
        self._store = store

    def get(self, key: bytes) -> bytes | None:
        row = self._store.execute("SELECT value FROM state WHERE key=?", (key,)).fetchone()
        return None if row is None else row[0]

    def set(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self._store.execute("DELETE FROM state WHERE key=?", (key,))
        else:
            self._store.execute("INSERT OR REPLACE INTO state VALUES(?,?)", (key, value))

    def apply(self, height: int, written: Mapping[bytes, bytes | None]) -> None:
        """Write what block *height* wrote, and keep what was there before."""
        for key, value in written.items():
            before = self.get(key)
            if before != value:
                self._store.execute("INSERT INTO undo VALUES(?,?,?)", (height, key, before))
                self.set(key, value)

    def undo(self, height: int) -> None:
        """Take back what block *height* wrote, the highest that is applied."""
        for key, before in self._store.execute("SELECT key, value FROM undo WHERE height=?", (height,)).fetchall():
            self.set(key, before)
        self._store.execute("DELETE FROM undo WHERE height=?", (height,))

    def prune(self, height: int) -> None:
        """Forget how blocks below *height* are undone."""
        self._store.execute("DELETE FROM undo WHERE height<?", (height,))

    def rows(self) -> dict[bytes, bytes]:
        """Return all of it."""
        return dict(self._store.execute("SELECT key, value FROM state"))


class StateLayer:
    """A :class:`ByteMap` on top of another that keeps what is written to itself."""

    def __init__(self, below: ByteMap) -> None:
        self._below = below
        self.written: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        if key in self.written:
            return self.written[key]
        return self._below.get(key)

    def set(self, key: bytes, value: bytes | None) -> None:
        if not isinstance(key, bytes) or not (value is None or isinstance(value, bytes)):
            raise TypeError("the state holds bytes by bytes")
        self.written[key] = value
