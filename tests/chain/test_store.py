"""The SQLite store of headers, bodies and the best chain."""

import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.database import is_private
from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.chain.store import SCHEMA, ChainStore
from chainp2p.errors import StartupError


def h(number: int) -> bytes:
    return bytes([number]) * 32


class StoreTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.addCleanup(self.connection.close)
        self.store = ChainStore(self.connection, "CREATE TABLE IF NOT EXISTS own(x);")
        self.assertTrue(self.store.open(h(9)))
        with self.store.transaction():
            for height in range(6):
                info = HeaderInfo(h(height), h(height - 1 if height else 99), height, h(height))
                self.store.add_headers([(info, b"r", b"raw%d" % height)])
            self.store.add_bodies([(h(height), b"body%d" % height) for height in range(6)])
            self.store.set_best([(height, h(height)) for height in range(6)])
            self.store.add_headers([(HeaderInfo(h(50), h(2), 3, h(3)), b"side", b"rawside")])

    def test_open_again_and_by_others(self) -> None:
        self.assertFalse(self.store.open(h(9)))
        self.assertEqual(self.connection.execute("PRAGMA user_version").fetchone()[0], SCHEMA)
        self.assertRaises(StartupError, self.store.open, h(8))
        self.assertFalse(self.connection.in_transaction)
        self.connection.execute(f"PRAGMA user_version={SCHEMA + 1}")
        self.assertRaises(StartupError, self.store.open, h(9))

    def test_the_chains_own_tables_are_there(self) -> None:
        self.assertEqual(self.connection.execute("SELECT count(*) FROM own").fetchone(), (0,))

    def test_is_private(self) -> None:
        self.assertTrue(is_private(self.connection))
        file = sqlite3.connect(self.mktemp())
        self.addCleanup(file.close)
        self.assertFalse(is_private(file))

    def test_a_transaction_that_raises_leaves_nothing(self) -> None:
        def write() -> None:
            with self.store.transaction():
                self.store.set_meta("a", b"1")
                raise KeyError

        self.assertRaises(KeyError, write)
        self.assertIsNone(self.store.meta("a"))
        self.store.set_meta("a", b"2")
        self.store.set_meta("a", b"3")
        self.assertEqual(self.store.meta("a"), b"3")
        self.store.set_meta("a", None)
        self.assertIsNone(self.store.meta("a"))

    def test_headers(self) -> None:
        row = self.store.header(h(4))
        assert row is not None
        self.assertEqual((row.info.parent, row.rest, row.raw, row.bad, row.body), (h(3), b"r", b"raw4", False, True))
        self.assertIsNone(self.store.header(h(77)))
        self.assertIsNone(self.store.info(h(77)))
        self.assertIsNone(self.store.raw_header(h(77)))
        self.assertEqual(self.store.info(h(50)), HeaderInfo(h(50), h(2), 3, h(3)))
        self.store.mark_bad([h(50)])
        rows = list(self.store.headers_from(3))
        self.assertEqual([row.info.height for row in rows], [3, 3, 4, 5])
        self.assertEqual([row.info.hash for row in rows if row.bad], [h(50)])
        self.assertEqual([row.info.hash for row in rows if not row.body], [h(50)])
        self.assertEqual([row.info.height for row in self.store.ancestors(h(50))], [3, 2, 1, 0])

    def test_serving_headers(self) -> None:
        self.assertEqual(self.store.headers_after(h(2), 2), [b"raw3", b"raw4"])
        self.assertEqual(self.store.headers_after(h(5), 2), [])
        self.assertIsNone(self.store.headers_after(h(50), 2))
        self.assertIsNone(self.store.headers_after(h(77), 2))

    def test_serving_blocks(self) -> None:
        self.assertEqual(self.store.blocks_from(h(2), 2, 100), [b"body2", b"body3"])
        self.assertEqual(self.store.blocks_from(h(2), 9, 11), [b"body2", b"body3"])
        self.assertEqual(self.store.blocks_from(h(2), 9, 1), [b"body2"])
        self.assertIsNone(self.store.blocks_from(h(50), 9, 100))
        self.store.add_bodies([(h(50), b"side")])
        self.assertEqual(self.store.blocks_from(h(50), 9, 100), [b"side"])
        self.store.execute("DELETE FROM bodies WHERE hash=?", (h(5),))
        self.assertIsNone(self.store.blocks_from(h(5), 1, 100))

    def test_a_snapshot_stays_as_it_is(self) -> None:
        path = self.mktemp()
        connections = [sqlite3.connect(path) for _ in range(2)]
        for connection in connections:
            self.addCleanup(connection.close)
        connections[0].execute("PRAGMA journal_mode=WAL")
        writer, reader = map(ChainStore, connections)
        writer.open(h(9))
        writer.set_best([(1, h(1))])
        with reader.snapshot():
            self.assertEqual(reader.hash_at(1), h(1))
            writer.set_best([(1, h(2))])
            self.assertEqual(reader.hash_at(1), h(1))
        self.assertEqual(reader.hash_at(1), h(2))

    def test_the_best_chain_is_cut_and_grows(self) -> None:
        self.store.cut_best(2)
        self.store.set_best([(3, h(50))])
        self.assertEqual([self.store.hash_at(height) for height in range(5)], [h(0), h(1), h(2), h(50), None])
        self.assertEqual(self.store.height_on_best(h(50)), 3)
        self.assertIsNone(self.store.height_on_best(h(3)))
