"""What the network remembers over restarts, in ``node.sqlite``; all work is done on one thread of its own."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.logger import Logger

from chainp2p.chain.database import file_of, guarded, prepare, transaction
from chainp2p.errors import StartupError, StorageError
from chainp2p.net.book_store import (
    BOOK_SCHEMA,
    Statement,
    StoredBook,
    anchor_statements,
    book_statements,
    read_book,
    secret_statement,
)
from chainp2p.net.cause_store import CAUSE_SCHEMA, cause_statements, read_causes
from chainp2p.net.conduct_store import (
    DROP_SENTENCE,
    PRUNE_SENTENCES,
    SAVE_SENTENCE,
    SCHEMA,
    read_sentences,
    sentence_row,
)
from chainp2p.net.table_store import TABLE_SCHEMA, read_table, table_statements
from chainp2p.net.tree_store import TREE_SCHEMA, read_trees, tree_statements
from chainp2p.peer.causes import Cause
from chainp2p.peer.conduct import SENTENCES_LIMIT, Sentence
from chainp2p.peer.enr import Enr
from chainp2p.peer.known import Known

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from chainp2p.chain.executor import Executor

__all__ = ["PeerStore", "StoredPeers"]

#: What could not be stored waits for the next write; of more than so many statements the oldest are forgotten.
WAITING_MAX = 10_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS own (id INTEGER PRIMARY KEY CHECK (id = 0), enr BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS removed (peer BLOB PRIMARY KEY) WITHOUT ROWID;
"""


@frozen
class StoredPeers:
    """What the last run left: our own raw record, the address book, removed peers, sentences, numbered causes, and
    the nodes of discovery, the one that answered last in front, and how new the lists in DNS were.
    """

    own: bytes | None = None
    book: StoredBook = StoredBook()
    removed: frozenset[bytes] = frozenset()
    sentences: tuple[Sentence, ...] = ()
    causes: tuple[tuple[int, Cause], ...] = ()
    table: tuple[Enr, ...] = ()
    trees: Mapping[str, int] = {}


class PeerStore:
    """The network's tables.

    Writes are queued and not waited for: a lost record costs a dial, and the own one is found again by its number. What
    the disk does not take is carried out with the next write.

    :param open_database: answers a connection to the named file of the data directory, in the calling thread.
    :param lane: an executor with a single thread of its own.
    """

    _log = Logger()

    def __init__(self, open_database: Callable[[str], sqlite3.Connection], lane: "Executor") -> None:
        self._open_database = open_database
        self._lane = lane
        self._database: sqlite3.Connection | None = None
        self._waiting: list[Statement] = []
        self._told = False

    def load(self) -> "Deferred[StoredPeers]":
        """Open the database and read all of it; fails with StartupError if it cannot be read."""
        return self._lane.run(self._load)

    def _load(self) -> StoredPeers:
        database = self._database = self._open_database("node.sqlite")
        database.isolation_level = None
        self._file = file_of(database) or "node.sqlite"
        try:
            return self._read(database)
        except StorageError as error:
            raise StartupError(str(error)) from error
        except sqlite3.Error as error:
            raise StartupError(f"{self._file}: {error}: move it away, and peers are found anew") from error

    def _read(self, database: sqlite3.Connection) -> StoredPeers:
        with guarded(self._file), transaction(database):
            prepare(database, _SCHEMA + BOOK_SCHEMA + SCHEMA + CAUSE_SCHEMA + TABLE_SCHEMA + TREE_SCHEMA, (), "own")
        own = database.execute("SELECT enr FROM own").fetchone()
        removed = database.execute("SELECT peer FROM removed").fetchall()
        return StoredPeers(
            own[0] if own else None,
            read_book(database),
            frozenset(row[0] for row in removed),
            read_sentences(database),
            read_causes(database),
            read_table(database),
            read_trees(database),
        )

    def _write(self, *statements: Statement) -> None:
        self._lane.run(self._store, statements).addCallbacks(self._stored, self._failed)

    def _store(self, statements: Sequence[Statement]) -> None:
        """Carry them out, after those that could not be before."""
        if self._database is None:
            return
        waiting, self._waiting = [*self._waiting, *statements][-WAITING_MAX:], []
        try:
            with guarded(self._file), transaction(self._database):
                for sql, values in waiting:
                    self._database.execute(sql, values)
        except StorageError:
            self._waiting = waiting
            raise

    def _stored(self, _: None) -> None:
        self._told = False

    def _failed(self, failure: "Failure") -> None:
        if not isinstance(failure.value, StorageError):
            self._log.failure("storing peers failed", failure=failure)
        elif not self._told:
            self._told = True
            self._log.error("what is known of peers cannot be stored, and waits: {why}", why=failure.getErrorMessage())

    def save_own(self, enr: bytes) -> None:
        """Remember the own record."""
        self._write(("INSERT OR REPLACE INTO own VALUES (0, ?)", (enr,)))

    def save_book(self, changes: Sequence[tuple[bytes, Known | None]], offset: float) -> None:
        """Remember what changed in the address book; *offset* makes Unix time of the times in it."""
        if changes:
            self._write(*book_statements(changes, offset))

    def save_secret(self, secret: bytes) -> None:
        """Remember the secret of the address book."""
        self._write(secret_statement(secret))

    def save_anchors(self, anchors: Sequence[bytes]) -> None:
        """Remember whom to dial first."""
        self._write(*anchor_statements(anchors))

    def save_removed(self, peer_id: bytes, removed: bool) -> None:
        """Remember that a peer stays away, or no longer."""
        if removed:
            self._write(("INSERT OR REPLACE INTO removed VALUES (?)", (peer_id,)))
        else:
            self._write(("DELETE FROM removed WHERE peer = ?", (peer_id,)))

    def save_sentence(self, sentence: Sentence) -> None:
        """Remember a sentence; its times are Unix seconds."""
        self._write((SAVE_SENTENCE, sentence_row(sentence)), (PRUNE_SENTENCES, (SENTENCES_LIMIT,)))

    def drop_sentence(self, peer_id: bytes) -> None:
        """Forget a peer's sentence."""
        self._write((DROP_SENTENCE, (peer_id,)))

    def save_causes(self, changed: Mapping[int, Cause | None]) -> None:
        """Remember causes by number; None: forget it."""
        self._write(*cause_statements(changed))

    def save_table(self, answered: Iterable[tuple[Enr, float]], now: float) -> None:
        """Remember the nodes of discovery and when they last answered; times are Unix seconds."""
        self._write(*table_statements(answered, now))

    def save_tree(self, url: str, seq: int) -> None:
        """Remember the number of the newest root of a list in DNS."""
        self._write(*tree_statements(url, seq))

    def close(self) -> "Deferred[None]":
        """Finish what is queued and close the database."""
        return self._lane.run(self._close)

    def _close(self) -> None:
        if self._database is not None:
            with suppress(StorageError):
                self._store(())
            self._database.close()
            self._database = None
