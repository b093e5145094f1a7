"""The table of sentences in ``node.sqlite``; times in it are Unix seconds."""

import sqlite3

from chainp2p.peer.conduct import Sentence, SentenceKind

__all__ = ["DROP_SENTENCE", "PRUNE_SENTENCES", "SAVE_SENTENCE", "SCHEMA", "read_sentences", "sentence_row"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS sentence (
    peer BLOB PRIMARY KEY, kind TEXT NOT NULL, rule TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL,
    since REAL NOT NULL, until REAL NOT NULL, count INTEGER NOT NULL
) WITHOUT ROWID;
"""
SAVE_SENTENCE = "INSERT OR REPLACE INTO sentence VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
#: Keeps as many as are kept in memory (its one value), the operator's first.
PRUNE_SENTENCES = """
DELETE FROM sentence WHERE peer NOT IN (SELECT peer FROM sentence ORDER BY kind = 'operator' DESC, until DESC LIMIT ?)
"""
DROP_SENTENCE = "DELETE FROM sentence WHERE peer = ?"


def sentence_row(one: Sentence) -> tuple[bytes, str, str, str, str, float, float, int]:
    """Return what :data:`SAVE_SENTENCE` takes."""
    return one.peer_id, one.kind.value, one.rule, one.reason, one.detail, one.since, one.until, one.count


def read_sentences(database: sqlite3.Connection) -> tuple[Sentence, ...]:
    """Return all that are stored, the oldest first."""
    rows = database.execute(
        "SELECT peer, kind, rule, reason, detail, since, until, count FROM sentence ORDER BY since, peer"
    )
    return tuple(Sentence(peer, SentenceKind(kind), *rest) for peer, kind, *rest in rows)
