"""A disk that takes nothing any more: a call fails, nothing has happened, and when there is room all goes on."""

import sqlite3
from typing import Any

from chainp2p.chain.interfaces import Connected, HeadChanged, IStorageWatch
from chainp2p.errors import StorageError
from chainp2p.ledger.chain import Ledger
from tests.ledger.forge import Forge
from tests.ledger.network import ADDRESSES, Disk, Harness, genesis_of, transfer


def fill(connection: sqlite3.Connection) -> None:
    """Let there be no room for another page."""
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")


def make_room(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA max_page_count=1000000")


class FullDisk(Harness):
    def setUp(self) -> None:
        super().setUp()
        self.clock.now += 10**7
        self.genesis = genesis_of(2)
        self.forge = Forge(self.genesis)
        self.disk = Disk()

    def chain_file(self) -> sqlite3.Connection:
        return self.disk.open["chain.sqlite"]

    def large(self, parent: Any, slot: int, nonce: int) -> Any:
        """A block that needs new pages."""
        payments = [transfer(5, at, data=bytes(3000), gas=100_000) for at in range(nonce, nonce + 10)]
        return self.forge.grow(parent, slot, transactions=payments)

    def refused(self, deferred: Any) -> str:
        return str(self.failureResultOf(deferred, StorageError).value)

    def test_a_block_waits_for_room(self) -> None:
        ledger = self.started(self.genesis, disk=self.disk)
        self.assertTrue(IStorageWatch.providedBy(ledger))
        one = self.large(self.forge.root, 1, 0)
        two = self.large(one, 2, 10)
        self.assertIsInstance(self.feed(ledger, one.raw), Connected)
        before = self.disk.copy().files
        fill(self.chain_file())
        ledger.seen.clear()
        for _ in range(2):
            self.assertIn("the disk is full: make room", self.refused(ledger.submit_block(two.raw)))
        self.assertIn("the disk is full", ledger.storage_error)
        self.assertEqual((ledger.head.hash, ledger.seen), (one.hash, []))
        self.assertEqual(self.disk.copy().files, before)
        self.get(ledger.store_again())
        self.assertIn("the disk is full", ledger.storage_error)
        make_room(self.chain_file())
        self.get(ledger.store_again())
        self.assertEqual(ledger.storage_error, "")
        self.assertIsInstance(self.feed(ledger, two.raw), Connected)
        self.assertEqual([event.head.hash for event in ledger.seen if isinstance(event, HeadChanged)], [two.hash])
        self.same_after_restart(ledger)

    def same_after_restart(self, ledger: Ledger) -> None:
        again = self.started(self.genesis, disk=self.disk.copy())
        self.assertEqual(again.head, ledger.head)
        rows = [list(self.get(one.reader.state(ledger.head.hash)).rows()) for one in (ledger, again)]
        self.assertEqual(*rows)

    def test_a_reorganisation_waits_for_room(self) -> None:
        ledger = self.started(self.genesis, disk=self.disk)
        trunk = self.large(self.forge.root, 1, 0)
        payments = [transfer(5, 10)]
        left = self.forge.grow(trunk, 2, base=1, transactions=payments)
        side = self.forge.grow(trunk, 3)
        right = self.large(side, 5, 10)
        for made in (trunk, left, side):
            self.feed(ledger, made.raw)
        self.assertEqual(ledger.head.hash, left.hash)
        fill(self.chain_file())
        self.refused(ledger.submit_block(right.raw))
        self.assertEqual(ledger.head.hash, left.hash)
        self.assertEqual(self.get(ledger.reader.state(left.hash)).root, left.header.state_root)
        make_room(self.chain_file())
        self.assertIsInstance(self.feed(ledger, right.raw), Connected)
        self.assertEqual(self.get(ledger.reader.state(right.hash)).root, right.header.state_root)
        self.same_after_restart(ledger)

    def test_headers_wait_for_room(self) -> None:
        ledger = self.started(self.genesis, disk=self.disk)
        made = self.forge.line(self.forge.root, range(1, 60))
        headers = [one.header.raw for one in made]
        fill(self.chain_file())
        self.refused(ledger.add_headers(headers))
        self.assertEqual(ledger.best_header.height, 0)
        make_room(self.chain_file())
        self.assertEqual(len(self.get(ledger.add_headers(headers))), 59)

    def test_the_pool_keeps_what_could_not_be_stored(self) -> None:
        ledger = self.started(self.genesis, disk=self.disk)
        fill(self.chain_file())
        raws = [transfer(5, nonce, data=bytes(2000), gas=100_000) for nonce in range(6)]
        for raw in raws:
            self.get(ledger.admit(raw, True))
        self.assertEqual(len(ledger.transaction_hashes()), 6)
        self.assertIn("the disk is full", ledger.storage_error)
        self.assertLess(len(self.stored()), 6)
        make_room(self.chain_file())
        self.get(ledger.store_again())
        self.assertEqual(sorted(self.stored()), sorted(raws))
        again = self.started(self.genesis, disk=self.disk.copy())
        self.assertEqual(sorted(again.transaction_hashes()), sorted(ledger.transaction_hashes()))
        self.assertEqual(self.flushLoggedErrors(), [])

    def stored(self) -> list[bytes]:
        return [row[0] for row in self.chain_file().execute("SELECT raw FROM pool")]

    def test_what_left_the_pool_meanwhile_is_not_stored_again(self) -> None:
        ledger = self.started(self.genesis, disk=self.disk)
        self.get(ledger.admit(transfer(5, 0, data=bytes(2000), gas=100_000), True))
        self.assertEqual(len(self.stored()), 1)
        fill(self.chain_file())
        self.get(ledger.admit(transfer(6, 0, data=bytes(9000), gas=200_000), True))
        ledger._pool_moved(ledger.pool.expire(self.clock.now + 10**6))
        self.assertEqual(ledger.transaction_hashes(), [])
        make_room(self.chain_file())
        self.get(ledger.store_again())
        self.assertEqual(self.stored(), [])

    def test_a_stop_closes_all_the_same(self) -> None:
        ledger = self.make(self.genesis, disk=self.disk)
        self.get(ledger.start())
        fill(self.chain_file())
        self.get(ledger.admit(transfer(5, 0, data=bytes(9000), gas=200_000), True))
        self.get(ledger.stop())
        self.assertRaises(sqlite3.ProgrammingError, self.chain_file().execute, "SELECT 1")

    def test_a_signer_waits_and_signs_no_slot_twice(self) -> None:
        ledger = self.started(self.genesis, 0, disk=self.disk)
        first = ledger.engine.slot_at(self.clock.now) // 2 * 2 + 2
        self.assertIsNotNone(self.seal(ledger, first))
        self.get(ledger.admit(transfer(5, 0, data=bytes(9000), gas=200_000), True))
        height = ledger.head.height
        for name, slot in (("seal.sqlite", first + 2), ("chain.sqlite", first + 4)):
            file = self.disk.open[name]
            file.execute("PRAGMA query_only=1")  # pages may have room for long: let any write be refused
            self.clock.now = ledger.engine.start_of(slot)
            self.refused(ledger.produce(self.clock.now))
            self.assertNotEqual(ledger.storage_error, "")
            self.assertEqual(ledger.head.height, height)
            self.get(ledger.store_again())
            self.assertNotEqual(ledger.storage_error, "")
            file.execute("PRAGMA query_only=0")
            self.get(ledger.store_again())
            self.assertEqual(ledger.storage_error, "")
            if name == "chain.sqlite":  # the slot was spent
                self.assertIsNone(self.get(ledger.produce(self.clock.now)))
        self.assertIsNotNone(self.seal(ledger, first + 6))
        self.assertEqual((ledger.head.height, ledger.storage_error), (height + 1, ""))
        self.assertEqual(self.get(ledger.reader.account(ADDRESSES[5], ledger.head.hash)).nonce, 1)
