"""The tables of the address book in ``node.sqlite``; times in them are Unix seconds."""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from attrs import frozen

from chainp2p.peer.address import NodeAddress
from chainp2p.peer.known import Known, known_at

__all__ = ["BOOK_SCHEMA", "StoredBook", "anchor_statements", "book_statements", "read_book", "secret_statement"]

BOOK_SCHEMA = """
CREATE TABLE IF NOT EXISTS book_secret (id INTEGER PRIMARY KEY CHECK (id = 0), secret BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS address (
    peer BLOB PRIMARY KEY, host TEXT NOT NULL, port INTEGER NOT NULL, record BLOB NOT NULL, seq BLOB NOT NULL,
    sources TEXT NOT NULL, tried INTEGER NOT NULL, seen REAL NOT NULL, reached REAL, failures INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS anchor (place INTEGER PRIMARY KEY, peer BLOB NOT NULL);
"""

Statement: TypeAlias = tuple[str, tuple[Any, ...]]


@frozen
class StoredBook:
    """What the last run left: the secret of the slots, addresses, the tried first, and ids of the anchors."""

    secret: bytes | None = None
    known: tuple[Known, ...] = ()
    anchors: tuple[bytes, ...] = ()


def read_book(database: sqlite3.Connection) -> StoredBook:
    """Return all that is stored.

    The records were verified before they were stored; the file is trusted as the key beside it.
    """
    secret = database.execute("SELECT secret FROM book_secret").fetchone()
    rows = database.execute(
        "SELECT peer, host, port, record, seq, sources, tried, seen, reached, failures FROM address"
        " ORDER BY tried DESC, peer"
    )
    anchors = database.execute("SELECT peer FROM anchor ORDER BY place")
    return StoredBook(secret[0] if secret else None, tuple(map(_known, rows)), tuple(row[0] for row in anchors))


def _known(row: tuple[Any, ...]) -> Known:
    peer_id, host, port, record, seq, sources, tried, seen, reached, failures = row
    return known_at(
        NodeAddress(peer_id, host, port),
        record=record,
        seq=int.from_bytes(seq, "big"),
        sources=tuple(sources.split()),
        tried=bool(tried),
        seen_at=seen,
        reached_at=reached,
        failures=failures,
    )


def secret_statement(secret: bytes) -> Statement:
    """Remember the secret."""
    return "INSERT OR REPLACE INTO book_secret VALUES (0, ?)", (secret,)


def anchor_statements(anchors: Iterable[bytes]) -> Iterator[Statement]:
    """Remember the anchors."""
    yield "DELETE FROM anchor", ()
    for peer_id in anchors:
        yield "INSERT INTO anchor (peer) VALUES (?)", (peer_id,)


def book_statements(changes: Iterable[tuple[bytes, Known | None]], offset: float) -> Iterator[Statement]:
    """Remember what changed; *offset* makes Unix time of the times in it.

    A peer without a record, which only the operator named, is the operator's to name again.
    """
    for peer_id, known in changes:
        if known is None or not known.record:
            yield "DELETE FROM address WHERE peer = ?", (peer_id,)
            continue
        reached = None if known.reached_at is None else known.reached_at + offset
        yield (
            "INSERT OR REPLACE INTO address VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                peer_id,
                known.address.host,
                known.address.port,
                known.record,
                known.seq.to_bytes(8, "big"),
                " ".join(known.sources),
                known.tried or (known.held and known.reached_at is not None),
                known.seen_at + offset,
                reached,
                known.failures,
            ),
        )
