"""What every SQLite file here has: transactions that leave nothing behind, a version, and errors that say what to do.

An error of the disk becomes :exc:`~chainp2p.errors.StorageError` with the file and the remedy. Anything else (a mistake
in SQL, a constraint) is ours and goes on as it is.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from os.path import isabs

from chainp2p.errors import StartupError, StorageError

__all__ = ["file_of", "guarded", "insert", "is_private", "prepare", "transaction"]

#: What to do about each primary result code of SQLite that is the disk's or another program's doing.
_REMEDIES = {
    sqlite3.SQLITE_FULL: "the disk is full: make room",
    sqlite3.SQLITE_READONLY: "it cannot be written: mount the disk for writing, or give the file to this user",
    sqlite3.SQLITE_PERM: "it may not be opened: give the file to this user",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: is the directory there, writable, and this user's?",
    sqlite3.SQLITE_BUSY: "another program holds it: end that program",
    sqlite3.SQLITE_LOCKED: "another program holds it: end that program",
    sqlite3.SQLITE_PROTOCOL: "another program holds it: end that program",
    sqlite3.SQLITE_IOERR: "the disk fails: look at it, or whether a limit on file sizes is reached",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: restore a copy of it",
    sqlite3.SQLITE_NOTADB: "the file is no database: restore a copy of it",
}


def file_of(connection: sqlite3.Connection) -> str:
    """The path of the file, empty where there is none: SQLite names files by absolute paths."""
    name: str = connection.execute("PRAGMA database_list").fetchone()[2]
    return name if isabs(name) else ""


def is_private(connection: sqlite3.Connection) -> bool:
    """Whether no second connection would see this database: it is in memory."""
    return not file_of(connection)


@contextmanager
def guarded(file: str) -> Iterator[None]:
    """Let what SQLite says of the disk inside be a StorageError that names *file*."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        remedy = None if code is None else _REMEDIES.get(code & 0xFF)
        if remedy is None:
            raise
        raise StorageError(f"{file or 'the database in memory'}: {remedy} ({error})") from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All writes inside are one commit, or none of them happens; none is left open, whatever fails."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # of some errors, as a full disk, SQLite rolls back by itself
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


#: Rows in one statement: SQLite before 3.32 takes 999 values.
_ROWS = 64


def insert(connection: sqlite3.Connection, into: str, row: str, rows: Iterable[Sequence[object]]) -> None:
    """Insert *rows* by few statements, inside a transaction of the caller's.

    Each statement lets go of the interpreter's lock and waits for it, as each row of ``executemany`` does: up to a
    switch interval where the reactor is busy, which is more than SQLite takes for the row.

    :param into: ``INSERT INTO table(columns)``, or as it ought to be.
    :param row: the values of one row, as ``(?,?,0)``; at most 15 question marks.
    """
    left = iter(rows)
    while some := list(islice(left, _ROWS)):
        connection.execute(f"{into} VALUES{','.join([row] * len(some))}", tuple(chain.from_iterable(some)))


def prepare(connection: sqlite3.Connection, tables: str, steps: Sequence[str] = (), known_by: str = "") -> None:
    """Bring an opened database to the newest schema, inside a transaction of the caller's.

    :param tables: SQL that creates them where they do not exist.
    :param steps: SQL that leads from schema 1 to 2, from 2 to 3, and so on; the last one leads to the newest.
    :param known_by: a table of files that were made before they had a number: those are of schema 1.
    :raises StartupError: it has a newer schema, or tables of somebody else's.
    """
    execute, newest = connection.execute, 1 + len(steps)
    stored = version = execute("PRAGMA user_version").fetchone()[0]
    if version > newest:
        raise StartupError(
            f"{file_of(connection)} has schema {version}, this version of chainp2p knows {newest}: upgrade chainp2p"
        )
    names = {row[0] for row in execute("SELECT name FROM sqlite_master")}
    if version == 0 and names:
        if known_by not in names:
            raise StartupError(f"{file_of(connection)} was not made by chainp2p: move it away")
        version = 1
    older = steps[version - 1 :] if version else ()
    for script in (*older, tables):
        for statement in script.split(";"):
            if statement.strip():
                execute(statement)
    if stored != newest:
        execute(f"PRAGMA user_version={newest}")
