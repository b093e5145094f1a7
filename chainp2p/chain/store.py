"""Headers, bodies and the best chain in SQLite: what every chain stores, whatever its blocks mean.

One connection, used by one lane. A chain adds tables of its own to the same database and writes them inside the same
:meth:`ChainStore.transaction`, so that a block and all its effects are one commit: kill -9 at any point leaves the
chain at some height, with nothing to repair.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from attrs import frozen

from chainp2p.chain.database import file_of, guarded, insert, prepare, transaction
from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.errors import StartupError, StorageError

__all__ = ["SCHEMA", "ChainStore", "HeaderRow"]

#: Version of a database whose chain names no steps; one with a higher version is refused.
SCHEMA = 1

#: Pages of the write-ahead log before SQLite copies them back (4 KiB each): one copy takes up to 50 ms.
_CHECKPOINT_PAGES = 4000

#: Values in one question: SQLite before 3.32 takes 999.
_VALUES = 900

#: Under this name so much is written, and taken away again, to find out whether there is room. Bytes.
_ROOM, _ROOM_BYTES = "room", 256 * 1024

_TABLES = """
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS headers(
    hash BLOB PRIMARY KEY, parent BLOB NOT NULL, height INTEGER NOT NULL, rank BLOB NOT NULL,
    bad INTEGER NOT NULL, rest BLOB NOT NULL, raw BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS headers_by_height ON headers(height);
CREATE TABLE IF NOT EXISTS bodies(hash BLOB PRIMARY KEY, raw BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS best(height INTEGER PRIMARY KEY, hash BLOB NOT NULL);
"""

_INFO = "hash, parent, height, rank"


@frozen
class HeaderRow:
    """A stored header; *rest* is the chain's own, *body* tells whether its block is stored."""

    info: HeaderInfo
    rest: bytes
    raw: bytes
    bad: bool
    body: bool


class ChainStore:
    """See the module.

    :param tables: SQL that creates the chain's own tables where they do not exist.
    :param steps: SQL that leads from schema 1 of the chain's database to 2, and so on: an older one is brought up.
    :ivar failure: why the last transaction could not be stored; empty since one was.
    """

    def __init__(self, connection: sqlite3.Connection, tables: str = "", steps: Sequence[str] = ()) -> None:
        self.connection = connection
        connection.isolation_level = None
        self.execute: Callable[..., sqlite3.Cursor] = connection.execute
        self.failure = ""
        self._tables = tables
        self._steps = steps
        self._file = file_of(connection)
        self._stale = False

    def open(self, genesis_hash: bytes, create: Callable[[], None] = lambda: None) -> bool:
        """Make or check the tables; tell whether the database is new. StartupError if it is not this chain's.

        :param create: writes what a new database holds, in the same commit: half a chain would be opened as a whole.
        """
        with self.transaction():
            prepare(self.connection, _TABLES + self._tables, self._steps)
            stored = self.meta("genesis")
            if stored is None:
                self.set_meta("genesis", genesis_hash)
                create()
            elif stored != genesis_hash:
                raise StartupError(
                    f"{self._file} belongs to another network: its genesis is 0x{stored.hex()}, ours is "
                    f"0x{genesis_hash.hex()}; name the genesis file that it was made with, or another data directory"
                )
        self.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        return stored is None

    @contextmanager
    def transaction(self, again: Callable[[], None] | None = None) -> Iterator[None]:
        """All writes inside are one commit, or none of them happens.

        :param again: reads anew what memory holds of the database: it may be ahead when nothing was written. Where that
            fails too, the next transaction begins with it.
        :raises StorageError: the disk did not take them.
        """
        with guarded(self._file):
            if again is not None and self._stale:
                self._anew(again)
            before = self.connection.total_changes
            try:
                with guarded(self._file), transaction(self.connection):
                    yield
            except BaseException as error:
                if isinstance(error, StorageError):
                    self.failure = str(error)
                if again is not None:
                    self._stale = True
                    self._anew(again)
                raise
            if self.connection.total_changes != before:
                self.failure = ""

    def try_disk(self) -> None:
        """Find out whether the disk takes as much as a block may need; StorageError."""
        with self.transaction():
            self.set_meta(_ROOM, bytes(_ROOM_BYTES))
        with self.transaction():
            self.set_meta(_ROOM, None)

    def _anew(self, again: Callable[[], None]) -> None:
        again()
        self._stale = False

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads inside see the same state, whatever another connection commits meanwhile."""
        self.execute("BEGIN")
        try:
            yield
        finally:
            self.execute("COMMIT")

    # -- small values

    def meta(self, key: str) -> bytes | None:
        """A named value."""
        row = self.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return None if row is None else row[0]

    def set_meta(self, key: str, value: bytes | None) -> None:
        """Replace a named value; None removes it."""
        if value is None:
            self.execute("DELETE FROM meta WHERE key=?", (key,))
        else:
            self.execute("INSERT OR REPLACE INTO meta VALUES(?,?)", (key, value))

    # -- headers

    def add_headers(self, headers: Iterable[tuple[HeaderInfo, bytes, bytes]]) -> None:
        """Store headers (info, rest, raw) that are not stored yet."""
        rows = ((info.hash, info.parent, info.height, info.rank, rest, raw) for info, rest, raw in headers)
        insert(self.connection, f"INSERT INTO headers({_INFO}, bad, rest, raw)", "(?,?,?,?,0,?,?)", rows)

    def mark_bad(self, hashes: Iterable[bytes], bad: bool = True) -> None:
        """Note that these headers failed, or descend from one that did; or, after all, did not."""
        self.connection.executemany("UPDATE headers SET bad=? WHERE hash=?", ((int(bad), hash) for hash in hashes))

    def header(self, hash: bytes) -> HeaderRow | None:
        """A header by hash."""
        return next(self._rows("h.hash=?", (hash,)), None)

    def highest(self) -> int:
        """The height of the highest header."""
        height: int = self.execute("SELECT max(height) FROM headers").fetchone()[0]
        return height

    def headers_from(self, height: int) -> Iterator[HeaderRow]:
        """All headers at *height* and above, lower ones first."""
        return self._rows("h.height>=? ORDER BY h.height", (height,))

    def _rows(self, condition: str, values: tuple[object, ...]) -> Iterator[HeaderRow]:
        rows = self.execute(
            "SELECT h.hash, h.parent, h.height, h.rank, h.rest, h.raw, h.bad, b.rowid FROM headers h"
            f" LEFT JOIN bodies b ON b.hash=h.hash WHERE {condition}",
            values,
        )
        for hash, parent, height, rank, rest, raw, bad, body in rows:
            yield HeaderRow(HeaderInfo(hash, parent, height, rank), rest, raw, bool(bad), body is not None)

    def info(self, hash: bytes) -> HeaderInfo | None:
        """What is known of a hash."""
        row = self.execute(f"SELECT {_INFO} FROM headers WHERE hash=?", (hash,)).fetchone()
        return None if row is None else HeaderInfo(*row)

    def raw_header(self, hash: bytes) -> bytes | None:
        """The bytes of a header."""
        row = self.execute("SELECT raw FROM headers WHERE hash=?", (hash,)).fetchone()
        return None if row is None else row[0]

    # -- bodies

    def add_bodies(self, bodies: Iterable[tuple[bytes, bytes]]) -> None:
        """Store blocks (hash, raw)."""
        insert(self.connection, "INSERT OR REPLACE INTO bodies(hash, raw)", "(?,?)", bodies)

    def body(self, hash: bytes) -> bytes | None:
        """A stored block."""
        row = self.execute("SELECT raw FROM bodies WHERE hash=?", (hash,)).fetchone()
        return None if row is None else row[0]

    # -- the best connected chain

    def set_best(self, places: Iterable[tuple[int, bytes]]) -> None:
        """Put blocks (height, hash) on the best chain."""
        insert(self.connection, "INSERT OR REPLACE INTO best", "(?,?)", places)

    def cut_best(self, height: int) -> None:
        """Take all above *height* off the best chain."""
        self.execute("DELETE FROM best WHERE height>?", (height,))

    def hash_at(self, height: int) -> bytes | None:
        """The best chain's hash at *height*."""
        row = self.execute("SELECT hash FROM best WHERE height=?", (height,)).fetchone()
        return None if row is None else row[0]

    def hashes_at(self, hash: bytes, heights: Iterable[int]) -> dict[int, bytes] | None:
        """See ``IChain.hashes_at``."""
        wanted = tuple(heights)
        with self.snapshot():
            if self.height_on_best(hash) is None:
                return None
            found: dict[int, bytes] = {}
            for start in range(0, len(wanted), _VALUES):
                some = wanted[start : start + _VALUES]
                places = ",".join("?" * len(some))
                found.update(self.execute(f"SELECT height, hash FROM best WHERE height IN ({places})", some))
            return found

    def height_on_best(self, hash: bytes) -> int | None:
        """The height of *hash*, if it is on the best chain."""
        row = self.execute(
            "SELECT b.height FROM headers h JOIN best b ON b.height=h.height AND b.hash=h.hash WHERE h.hash=?", (hash,)
        ).fetchone()
        return None if row is None else row[0]

    def headers_after(self, hash: bytes, count: int) -> list[bytes] | None:
        """At most *count* raw headers that follow *hash* on the best chain; None: it is not on it."""
        with self.snapshot():
            height = self.height_on_best(hash)
            if height is None:
                return None
            rows = self.execute(
                "SELECT h.raw FROM best b JOIN headers h ON h.hash=b.hash"
                " WHERE b.height>? AND b.height<=? ORDER BY b.height",
                (height, height + count),
            )
            return [row[0] for row in rows]

    def blocks_from(self, hash: bytes, count: int, max_bytes: int) -> list[bytes] | None:
        """See ``IChain.blocks_from``."""
        with self.snapshot():
            return self._blocks_from(hash, count, max_bytes)

    def missing_bodies(self, low: int, high: int, limit: int) -> list[HeaderInfo]:
        """Blocks of the best chain from height *low* to *high* without a body, lower ones first."""
        rows = self.execute(
            "SELECT h.hash, h.parent, h.height, h.rank FROM best b JOIN headers h ON h.hash=b.hash"
            " LEFT JOIN bodies d ON d.hash=b.hash"
            " WHERE b.height>=? AND b.height<=? AND d.hash IS NULL ORDER BY b.height LIMIT ?",
            (low, high, limit),
        )
        return [HeaderInfo(*row) for row in rows]

    def _blocks_from(self, hash: bytes, count: int, max_bytes: int) -> list[bytes] | None:
        height = self.height_on_best(hash)
        if height is None:
            body = self.body(hash)
            return None if body is None else [body]
        rows = self.execute(
            "SELECT d.raw FROM best b LEFT JOIN bodies d ON d.hash=b.hash"
            " WHERE b.height>=? AND b.height<? ORDER BY b.height",
            (height, height + count),
        )
        found: list[bytes] = []
        size = 0
        for (raw,) in rows:
            size += 0 if raw is None else len(raw)
            if raw is None or (found and size > max_bytes):  # below where the state was downloaded there are no bodies
                break
            found.append(raw)
        return found or None

    def ancestors(self, hash: bytes) -> Iterator[HeaderRow]:
        """The header *hash* and those below it, one query each."""
        row = self.header(hash)
        while row is not None:
            yield row
            row = self.header(row.info.parent)
