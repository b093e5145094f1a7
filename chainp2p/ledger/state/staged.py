"""Tables of a state that is being downloaded, beside the accounts of the chain, until it takes their place.

``staged`` has the accounts, ``staged_parts`` the prefixes all of whose accounts it has, with the root they were proved
for. A part and its accounts are one commit, so that what was proved once is never asked for again, whenever it ends.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["StagedRows"]

_TABLES = (
    "CREATE TABLE IF NOT EXISTS staged(key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS staged_parts(prefix TEXT PRIMARY KEY, root BLOB NOT NULL) WITHOUT ROWID",
)


class StagedRows:
    """Reads and writes them; the caller opens the transactions."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._many = connection.executemany

    def create(self) -> None:
        """Make the tables where they do not exist."""
        for statement in _TABLES:
            self._execute(statement)

    def drop(self) -> None:
        """Remove the tables, if they exist."""
        for name in ("staged", "staged_parts"):
            self._execute(f"DROP TABLE IF EXISTS {name}")

    def parts(self) -> list[tuple[str, bytes]]:
        """All (prefix, root), in order."""
        return list(self._execute("SELECT prefix, root FROM staged_parts ORDER BY prefix"))

    def accounts(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """The (key in hexadecimal, value) below *prefix*, in order."""
        rows = self._execute("SELECT key, value FROM staged WHERE key>=? AND key<=? ORDER BY key", _ends(prefix))
        for key, value in rows:
            yield key.hex(), value

    def count(self) -> int:
        """How many accounts there are."""
        number: int = self._execute("SELECT count(*) FROM staged").fetchone()[0]
        return number

    def put_part(self, prefix: str, root: bytes) -> None:
        """All accounts below *prefix* are here as they are at *root*."""
        self._execute("INSERT OR REPLACE INTO staged_parts VALUES(?,?)", (prefix, root))

    def drop_parts(self, prefixes: Iterable[str]) -> None:
        """These are no longer parts; their accounts stay."""
        self._many("DELETE FROM staged_parts WHERE prefix=?", [(prefix,) for prefix in prefixes])

    def clear(self, prefix: str) -> None:
        """Remove the accounts below *prefix*."""
        self._execute("DELETE FROM staged WHERE key>=? AND key<=?", _ends(prefix))

    def write(self, rows: Sequence[tuple[bytes, bytes]], gone: Sequence[bytes] = ()) -> None:
        """Replace accounts, and remove those that are *gone*."""
        self._many("INSERT OR REPLACE INTO staged VALUES(?,?)", rows)
        if gone:
            self._many("DELETE FROM staged WHERE key=?", [(key,) for key in gone])

    def become_accounts(self) -> None:
        """Let them take the place of the chain's accounts, at the cost of a few pages however many there are."""
        self._execute("DROP TABLE accounts")
        self._execute("ALTER TABLE staged RENAME TO accounts")
        self._execute("DROP TABLE staged_parts")


def _ends(prefix: str) -> tuple[bytes, bytes]:
    return bytes.fromhex(prefix.ljust(64, "0")), bytes.fromhex(prefix.ljust(64, "f"))
