"""The table of causes in ``node.sqlite``; times in it are Unix seconds."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from chainp2p.peer.causes import Cause, CauseKind

__all__ = ["CAUSE_SCHEMA", "cause_statements", "read_causes"]

CAUSE_SCHEMA = """
CREATE TABLE IF NOT EXISTS cause (
    number INTEGER PRIMARY KEY, last REAL NOT NULL, first REAL, count INTEGER NOT NULL, kind TEXT NOT NULL,
    code TEXT NOT NULL, peer BLOB, meant BLOB, host TEXT NOT NULL, port INTEGER NOT NULL, text TEXT NOT NULL,
    evidence TEXT NOT NULL
);
"""
_SAVE = "INSERT OR REPLACE INTO cause VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DROP = "DELETE FROM cause WHERE number = ?"


def cause_statements(changed: Mapping[int, Cause | None]) -> Iterable[tuple[str, tuple[Any, ...]]]:
    """Return the statements that store *changed* (:meth:`chainp2p.peer.causes.Causes.changed`)."""
    for number, one in changed.items():
        if one is None:
            yield _DROP, (number,)
        else:
            evidence = json.dumps(dict(one.evidence))
            times = one.when, one.first, one.count, one.kind.value, one.code
            yield _SAVE, (number, *times, one.peer_id, one.meant, *one.address, one.text, evidence)


def read_causes(database: sqlite3.Connection) -> tuple[tuple[int, Cause], ...]:
    """Return all that are stored with their numbers, the oldest first; those of a later version are left out."""
    rows = database.execute(
        "SELECT number, last, first, count, kind, code, peer, meant, host, port, text, evidence FROM cause"
        " ORDER BY last, number"
    )
    found = []
    for number, last, first, count, kind, code, peer, meant, host, port, text, evidence in rows:
        try:
            known, facts = CauseKind(kind), json.loads(evidence)
        except ValueError:
            continue
        found.append((number, Cause(last, known, code, peer, (host, port), text, facts, meant, count, first)))
    return tuple(found)
