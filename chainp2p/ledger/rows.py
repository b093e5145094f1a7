"""The ledger's own tables beside headers and bodies: accounts, undo, receipts, transaction index, pool, evidence."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from chainp2p.chain.database import insert
from chainp2p.ledger import places
from chainp2p.ledger.consensus.equivocation import Evidence
from chainp2p.ledger.formats.receipt import Receipt
from chainp2p.ledger.pool.pool import Journaled
from chainp2p.ledger.state.accounts import Change
from chainp2p.primitives import rlp

__all__ = ["STEPS", "TABLES", "LedgerRows"]

T = TypeVar("T")

TABLES = (
    """
CREATE TABLE IF NOT EXISTS accounts(key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS undo(height INTEGER PRIMARY KEY, hash BLOB NOT NULL, old BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS receipts(block BLOB PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS pool(hash BLOB PRIMARY KEY, raw BLOB NOT NULL, added REAL NOT NULL, local INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS evidence(
    signer BLOB, first BLOB, first_slot INTEGER, second BLOB, second_slot INTEGER, PRIMARY KEY(first, second));
"""
    + places.TABLES
)

#: SQL that leads from each schema of the ledger's database to the next.
STEPS = (places.FROM_ONE_TABLE,)

#: The largest encoded account: 2 bytes of prefix, nonce 9, balance 33, two hashes of 33.
_VALUE_BYTES = 110
_ROW = 32 + 1 + _VALUE_BYTES

#: Rows of hashed key, length (a letter to SQLite, since an account has 70 to 110 bytes) and value, all of one size. One
#: statement for all: executemany lets go of the interpreter's lock, and waits for it, for each row.
_WRITE_ACCOUNTS = f"""
WITH RECURSIVE row(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM row WHERE i + 1 < ?2)
INSERT OR REPLACE INTO accounts SELECT
    substr(?1, {_ROW} * i + 1, 32), substr(?1, {_ROW} * i + 34, unicode(CAST(substr(?1, {_ROW} * i + 33, 1) AS TEXT)))
FROM row
"""

#: Names in one question.
_NAMES = 64


class LedgerRows:
    """Reads and writes them; the caller opens the transactions."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._many = connection.executemany
        self._places = places.Places(connection)

    # -- state

    def accounts(self) -> Iterator[tuple[bytes, bytes]]:
        """All (hashed key, encoded account)."""
        yield from self._execute("SELECT key, value FROM accounts")

    def write_accounts(self, values: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Replace accounts; None removes one."""
        kept, gone = [], []
        for key, value in values:
            if value is None:
                gone.append((key,))
            else:
                kept.append(b"%b%c%b" % (key, len(value), value.ljust(_VALUE_BYTES)))
        if kept:
            kept.sort()  # page by page
            self._execute(_WRITE_ACCOUNTS, (b"".join(kept), len(kept)))
        if gone:
            self._many("DELETE FROM accounts WHERE key=?", gone)

    def add_undo(self, blocks: Iterable[tuple[int, bytes, Sequence[Change]]]) -> None:
        """Note what the accounts were before each of these blocks (height, hash, what it changed)."""
        rows = ((height, hash, _old_accounts(changes)) for height, hash, changes in blocks)
        insert(self._connection, "INSERT OR REPLACE INTO undo", "(?,?,?)", rows)

    def undo(self, height: int) -> tuple[bytes, tuple[Change, ...]] | None:
        """(block hash, changes that lead back to the state before it) on the best chain; None: pruned."""
        row = self._execute("SELECT hash, old FROM undo WHERE height=?", (height,)).fetchone()
        if row is None:
            return None
        changes = []
        for key, old in rlp.decode_list(row[1]):
            assert isinstance(key, bytes) and isinstance(old, bytes)
            changes.append(Change(key, old or None, None))
        return row[0], tuple(changes)

    def cut_undo(self, height: int) -> None:
        """Forget the undo rows above *height*: those blocks were left."""
        self._execute("DELETE FROM undo WHERE height>?", (height,))

    def prune_undo(self, height: int) -> None:
        """Forget the undo rows up to *height*."""
        self._execute("DELETE FROM undo WHERE height<=?", (height,))

    # -- blocks of the best chain

    def add_receipts(self, height: int, block: bytes, receipts: Sequence[Receipt]) -> None:
        """Store the receipts of a block that joined the best chain, and where its transactions are."""
        data = rlp.wrap_list(b"".join(map(_receipt_item, receipts)))
        self._execute("INSERT OR REPLACE INTO receipts VALUES(?,?)", (block, data))
        self._places.add(height, [one.transaction_hash for one in receipts])

    def drop_receipts(self, block: bytes) -> None:
        """The block left the best chain."""
        self._places.drop([one.transaction_hash for one in self.receipts(block)])
        self._execute("DELETE FROM receipts WHERE block=?", (block,))

    def receipts(self, block: bytes) -> tuple[Receipt, ...]:
        """The receipts of a block of the best chain."""
        row = self._execute("SELECT data FROM receipts WHERE block=?", (block,)).fetchone()
        return () if row is None else tuple(map(_receipt, rlp.decode_list(row[0])))

    def position(self, hash: bytes) -> tuple[bytes, int] | None:
        """(block, index) of a transaction on the best chain."""
        place = self._places.find(hash)
        if place is None:
            return None
        height, index = place
        row = self._execute("SELECT hash FROM best WHERE height=?", (height,)).fetchone()
        return None if row is None else (row[0], index)

    # -- pool

    def add_pooled(self, entries: Iterable[tuple[bytes, Journaled]]) -> None:
        """Keep transactions of the pool for the next start."""
        rows = ((hash, one.raw, one.added, int(one.local)) for hash, one in entries)
        insert(self._connection, "INSERT OR REPLACE INTO pool", "(?,?,?,?)", rows)

    def drop_pooled(self, hashes: Iterable[bytes]) -> None:
        """They left the pool."""
        for some in _parts(list(hashes), _NAMES):
            self._execute(f"DELETE FROM pool WHERE hash IN ({','.join('?' * len(some))})", some)

    def pooled(self) -> list[Journaled]:
        """What the pool held, oldest first."""
        rows = self._execute("SELECT raw, added, local FROM pool ORDER BY added, rowid")
        return [Journaled(raw, added, bool(local)) for raw, added, local in rows]

    # -- evidence

    def add_evidence(self, found: Iterable[Evidence]) -> None:
        """Keep contradictions of signers."""
        rows = ((one.signer, one.first, one.first_slot, one.second, one.second_slot) for one in found)
        insert(self._connection, "INSERT OR IGNORE INTO evidence", "(?,?,?,?,?)", rows)

    def evidence(self) -> list[Evidence]:
        """All that was kept."""
        return [Evidence(*row) for row in self._execute("SELECT * FROM evidence ORDER BY rowid")]


def _old_accounts(changes: Sequence[Change]) -> bytes:
    string, wrap = rlp.encode, rlp.wrap_list
    return wrap(b"".join([wrap(b"\xa0" + key + (string(old) if old else b"\x80")) for key, old, _ in changes]))


def _receipt_item(receipt: Receipt) -> bytes:
    uint = rlp.uint_item
    status, cumulative, used, price, sender, hash, kind = receipt
    return rlp.wrap_list(
        b"%b%b%b%b\x94%b\xa0%b%b" % (uint(status), uint(cumulative), uint(used), uint(price), sender, hash, uint(kind))
    )


def _receipt(item: rlp.Item) -> Receipt:
    assert not isinstance(item, bytes)
    numbers = [rlp.decode_uint(one) for one in (*item[:4], item[6])]
    sender, hash = item[4:6]
    assert isinstance(sender, bytes) and isinstance(hash, bytes)
    return Receipt(numbers[0], numbers[1], numbers[2], numbers[3], sender, hash, numbers[4])


def _parts(items: list[T], count: int) -> Iterator[list[T]]:
    for at in range(0, len(items), count):
        yield items[at : at + count]
