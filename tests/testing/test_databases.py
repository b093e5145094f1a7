"""Databases in memory behave like files that survive a crash."""

import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.testing.databases import MemoryDisk


class MemoryDiskTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.disk = MemoryDisk()
        self.addCleanup(self.disk.erase)

    def test_connections_share_a_name(self) -> None:
        writer, reader = self.disk.open("chain.sqlite"), self.disk.open("chain.sqlite")
        with writer:
            writer.execute("CREATE TABLE t(a)")
            writer.execute("INSERT INTO t VALUES (7)")
        self.assertEqual(reader.execute("SELECT a FROM t").fetchall(), [(7,)])
        other = self.disk.open("node.sqlite")
        self.assertEqual(other.execute("SELECT * FROM sqlite_master").fetchall(), [])
        self.assertEqual(self.disk.names, ["chain.sqlite", "node.sqlite"])
        self.assertEqual(MemoryDisk().open("chain.sqlite").execute("SELECT * FROM sqlite_master").fetchall(), [])

    def test_a_crash_keeps_what_was_committed(self) -> None:
        connection = self.disk.open("a")
        connection.isolation_level = None
        connection.execute("CREATE TABLE t(a)")
        connection.execute("INSERT INTO t VALUES (1)")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t VALUES (2)")
        cursor = connection.execute("SELECT a FROM t")
        next(cursor)
        self.disk.crash()
        self.assertRaises(sqlite3.ProgrammingError, connection.execute, "SELECT 1")
        again = self.disk.open("a")
        self.assertEqual(again.execute("SELECT a FROM t").fetchall(), [(1,)])
        again.execute("INSERT INTO t VALUES (3)")

    def test_erase(self) -> None:
        self.disk.open("a").execute("CREATE TABLE t(a)")
        self.disk.erase()
        self.assertEqual(self.disk.names, [])
        self.disk.open("a").execute("CREATE TABLE t(a)")
