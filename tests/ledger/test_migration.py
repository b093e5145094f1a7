"""Databases of a ledger as older versions made them."""

import sqlite3

from tests.ledger.forge import Forge
from tests.ledger.network import Disk, Harness, genesis_of, transfer


def to_schema_1(connection: sqlite3.Connection) -> None:
    """One table of transactions, as there was before there were runs."""
    connection.executescript(
        """
        BEGIN;
        CREATE TABLE kept(hash BLOB PRIMARY KEY, block BLOB NOT NULL, position INTEGER NOT NULL) WITHOUT ROWID;
        INSERT INTO kept SELECT hash, block, position FROM transactions;
        DROP VIEW transactions;
        DROP TABLE places;
        DROP TABLE new_places;
        ALTER TABLE kept RENAME TO transactions;
        PRAGMA user_version=1;
        COMMIT;
        """
    )


class MigrationTests(Harness):
    def test_from_one_table_of_transactions(self) -> None:
        self.clock.now += 10**7
        forge = Forge(genesis_of(2))
        disk = Disk()
        ledger = self.started(forge.genesis, disk=disk)
        raws = [transfer(5, nonce) for nonce in range(12)]
        parent = forge.root
        for slot in (1, 3, 5):
            first = 2 * (slot - 1)
            parent = forge.grow(parent, slot, transactions=raws[first : first + 4])
            self.feed(ledger, parent.raw)
        ids = [ledger.transaction_hash(raw) for raw in raws]
        before = [self.get(ledger.reader.transaction(hash)) for hash in ids]
        self.assertEqual([(one.height, one.index) for one in before], [(1 + at // 4, at % 4) for at in range(12)])
        to_schema_1(disk.open["chain.sqlite"])
        old = disk.copy()
        again = self.started(forge.genesis, disk=old)
        self.assertEqual(again.head, ledger.head)
        self.assertEqual([self.get(again.reader.transaction(hash)) for hash in ids], before)
        self.assertEqual(old.open["chain.sqlite"].execute("PRAGMA user_version").fetchone(), (2,))
        # what was brought over can be left like anything else
        branch = forge.line(parent.parent, (6, 7))
        for made in branch:
            self.feed(again, made.raw)
        self.assertEqual(again.head.hash, branch[-1].hash)
        found = [self.get(again.reader.transaction(hash)) for hash in ids]
        self.assertEqual(found, [*before[:8], *[None] * 4])
