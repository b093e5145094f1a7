"""The table of signed lists in ``node.sqlite``: how new the newest root of each was, so that none is older later."""

import sqlite3
from collections.abc import Mapping
from typing import Any

from chainp2p.discovery.treewalk import NUMBERS_MAX

__all__ = ["TREE_SCHEMA", "read_trees", "tree_statements"]

TREE_SCHEMA = """
CREATE TABLE IF NOT EXISTS tree (place INTEGER PRIMARY KEY, url TEXT NOT NULL UNIQUE, seq BLOB NOT NULL);
"""
_SAVE = "INSERT OR REPLACE INTO tree (url, seq) VALUES (?, ?)"
_PRUNE = "DELETE FROM tree WHERE place NOT IN (SELECT place FROM tree ORDER BY place DESC LIMIT ?)"


def tree_statements(url: str, seq: int) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    """Remember the number of a list, and forget those that were heard of longest ago."""
    return (_SAVE, (url, seq.to_bytes(8, "big"))), (_PRUNE, (NUMBERS_MAX,))


def read_trees(database: sqlite3.Connection) -> Mapping[str, int]:
    """Return list -> number, the one that was heard of longest ago first."""
    rows = database.execute("SELECT url, seq FROM tree ORDER BY place")
    return {url: int.from_bytes(seq, "big") for url, seq in rows}
