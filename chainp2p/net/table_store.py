"""The nodes of discovery in ``node.sqlite``; times in it are Unix seconds."""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from chainp2p.peer.enr import Enr, EnrError

__all__ = ["STORED_MAX", "TABLE_SCHEMA", "read_table", "table_statements"]

#: Nodes that are stored, those that answered last: half of what a full table holds, enough to find the rest, and 30 ms
#: to verify at the start.
STORED_MAX = 128
#: Who has not answered for so long (seconds) is stored no longer; as for the address book.
AGE_MAX = 30 * 86_400.0

TABLE_SCHEMA = """
CREATE TABLE IF NOT EXISTS discovered (
    node BLOB PRIMARY KEY, record BLOB NOT NULL, answered REAL NOT NULL
) WITHOUT ROWID;
"""

Statement: TypeAlias = tuple[str, tuple[Any, ...]]


def read_table(database: sqlite3.Connection) -> tuple[Enr, ...]:
    """Return all that are stored, the one that answered last in front; what is no record is left out."""
    found: list[Enr] = []
    for (record,) in database.execute("SELECT record FROM discovered ORDER BY answered DESC, node"):
        try:
            found.append(Enr.decode(record))
        except EnrError:
            continue
    return tuple(found)


def table_statements(answered: Iterable[tuple[Enr, float]], now: float) -> Iterator[Statement]:
    """Remember who answered when, beside those of before: a table that is empty for a while loses nothing.

    Who has answered in the future, by a clock that was wrong, has answered now.
    """
    yield "UPDATE discovered SET answered = ? WHERE answered > ?", (now, now)
    for enr, when in answered:
        yield "INSERT OR REPLACE INTO discovered VALUES (?, ?, ?)", (enr.peer_id, enr.raw, min(when, now))
    yield "DELETE FROM discovered WHERE answered < ?", (now - AGE_MAX,)
    yield (
        "DELETE FROM discovered WHERE node NOT IN (SELECT node FROM discovered ORDER BY answered DESC, node LIMIT ?)",
        (STORED_MAX,),
    )
