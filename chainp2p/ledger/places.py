"""Where each transaction of the best chain is: an index by hashes, which come in no order at all.

Put straight into one large table, each transaction dirties a page of its own: 20 us at 600,000 of them, and more the
more there are. So they gather in *runs*, each small enough to stay in memory, and sixteen runs at a time are merged
into the large table in its own order, page by page: 5 us, of which the interpreter's lock is held for a tenth, since
one statement takes all transactions of a block. A look-up asks the large table and each run.

A place is height * 65536 + index in the block: 2 MiB hold at most 32,264 transactions.
"""

import sqlite3
from collections.abc import Sequence

__all__ = ["FROM_ONE_TABLE", "TABLES", "Places"]

#: Transactions of a run (50 bytes each), and runs until they are merged, which takes a quarter of a second.
RUN, RUNS = 8192, 16

TABLES = """
CREATE TABLE IF NOT EXISTS places(hash BLOB PRIMARY KEY, place INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS new_places(
    run INTEGER NOT NULL, hash BLOB NOT NULL, place INTEGER NOT NULL, PRIMARY KEY(run, hash)) WITHOUT ROWID;
CREATE VIEW IF NOT EXISTS transactions(hash, block, position) AS
    SELECT p.hash, b.hash, p.place & 65535
    FROM (SELECT hash, place FROM places UNION ALL SELECT hash, place FROM new_places) p
    JOIN best b ON b.height = p.place >> 16;
"""

#: What leads here from schema 1 of the ledger's database, which had one table of (hash, block, position).
FROM_ONE_TABLE = """
ALTER TABLE transactions RENAME TO old_transactions;
CREATE TABLE places(hash BLOB PRIMARY KEY, place INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO places SELECT o.hash, (h.height << 16) + o.position
    FROM old_transactions o JOIN headers h ON h.hash = o.block ORDER BY o.hash;
DROP TABLE old_transactions;
"""

#: All hashes of a block in one statement: executemany lets go of the interpreter's lock, and waits for it, for each.
_ADD = """
WITH RECURSIVE block(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM block WHERE i + 1 < ?2)
INSERT OR REPLACE INTO new_places SELECT ?4, substr(?1, 32 * i + 1, 32), ?3 + i FROM block
"""


class Places:
    """See the module; the caller opens the transactions."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._many = connection.executemany

    def add(self, height: int, hashes: Sequence[bytes]) -> None:
        """Note the transactions of a block that joined the best chain."""
        run, count = self._run()
        if count >= RUN:
            run += 1
            if run == RUNS:
                self._execute("INSERT OR REPLACE INTO places SELECT hash, place FROM new_places ORDER BY hash")
                self._execute("DELETE FROM new_places")
                run = 0
        self._execute(_ADD, (b"".join(hashes), len(hashes), height << 16, run))

    def _run(self) -> tuple[int, int]:
        """The number of the last run, and how many transactions are in it."""
        run = self._execute("SELECT max(run) FROM new_places").fetchone()[0] or 0
        count: int = self._execute("SELECT count(*) FROM new_places WHERE run=?", (run,)).fetchone()[0]
        return run, count

    def drop(self, hashes: Sequence[bytes]) -> None:
        """Forget transactions of a block that left the best chain."""
        self._many("DELETE FROM places WHERE hash=?", [(hash,) for hash in hashes])
        self._many(
            "DELETE FROM new_places WHERE run=? AND hash=?", [(run, hash) for run in range(RUNS) for hash in hashes]
        )

    def find(self, hash: bytes) -> tuple[int, int] | None:
        """(height, index) of a transaction."""
        row = self._execute("SELECT place FROM places WHERE hash=?", (hash,)).fetchone()
        run = 0
        while row is None and run < RUNS:
            row = self._execute("SELECT place FROM new_places WHERE run=? AND hash=?", (run, hash)).fetchone()
            run += 1
        return None if row is None else (row[0] >> 16, row[0] & 0xFFFF)
