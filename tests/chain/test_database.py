"""Transactions, versions and what is said of the disk's errors, over real files."""

import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.database import file_of, guarded, insert, is_private, prepare, transaction
from chainp2p.chain.store import ChainStore
from chainp2p.errors import StartupError, StorageError

GENESIS = bytes([9]) * 32
TABLES = "CREATE TABLE IF NOT EXISTS words(word TEXT PRIMARY KEY);"


class DatabaseCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def open(self, timeout: float = 0.0) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=timeout, isolation_level=None)
        self.addCleanup(connection.close)
        connection.execute("PRAGMA journal_mode=WAL")
        return connection

    def fill(self, connection: sqlite3.Connection) -> None:
        """Let there be no room for anything that needs another page."""
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")

    def make_room(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA max_page_count=100000")


class TransactionTests(DatabaseCase):
    def setUp(self) -> None:
        super().setUp()
        self.connection = self.open()
        self.connection.execute(TABLES)

    def words(self) -> list[str]:
        return [row[0] for row in self.connection.execute("SELECT word FROM words ORDER BY word")]

    def test_all_or_nothing(self) -> None:
        with transaction(self.connection):
            self.connection.execute("INSERT INTO words VALUES('a')")
        with self.assertRaises(KeyError), transaction(self.connection):
            self.connection.execute("INSERT INTO words VALUES('b')")
            raise KeyError
        self.assertEqual(self.words(), ["a"])
        self.assertFalse(self.connection.in_transaction)

    def test_a_full_disk_leaves_no_transaction_open(self) -> None:
        self.fill(self.connection)
        with self.assertRaises(sqlite3.OperationalError), transaction(self.connection):
            for number in range(10_000):
                self.connection.execute("INSERT INTO words VALUES(?)", (str(number),))
        self.assertFalse(self.connection.in_transaction)
        self.make_room(self.connection)
        with transaction(self.connection):
            self.connection.execute("INSERT INTO words VALUES('c')")
        self.assertEqual(self.words(), ["c"])

    def test_a_commit_that_fails_leaves_no_transaction_open(self) -> None:
        # a deferred constraint is the one thing that makes COMMIT itself fail and keeps the transaction
        execute = self.connection.execute
        execute("PRAGMA foreign_keys=1")
        execute("CREATE TABLE uses(word TEXT REFERENCES words(word) DEFERRABLE INITIALLY DEFERRED)")
        with self.assertRaises(sqlite3.IntegrityError), transaction(self.connection):
            execute("INSERT INTO uses VALUES('nowhere')")
        self.assertFalse(self.connection.in_transaction)
        with transaction(self.connection):
            execute("INSERT INTO words VALUES('d')")
        self.assertEqual(self.words(), ["d"])

    def test_errors_of_the_disk_say_which_file_and_what_to_do(self) -> None:
        self.fill(self.connection)
        with self.assertRaises(StorageError) as caught, guarded("here.sqlite"):
            self.connection.execute("CREATE TABLE more(x)")
        self.assertIn("here.sqlite: the disk is full: make room", str(caught.exception))
        self.make_room(self.connection)
        other = self.open()
        with (
            transaction(other),
            self.assertRaises(StorageError) as caught,
            guarded(""),
            transaction(self.connection),
        ):
            raise AssertionError("not reached")
        self.assertIn("the database in memory: another program holds it", str(caught.exception))
        with self.assertRaises(StorageError) as caught, guarded("bad.sqlite"):
            Path(bad := self.mktemp()).write_bytes(b"no database, but long enough to look like one" * 99)
            sqlite3.connect(bad).execute("SELECT * FROM x")
        self.assertIn("restore a copy", str(caught.exception))

    def test_our_own_mistakes_stay_what_they_are(self) -> None:
        with self.assertRaises(sqlite3.OperationalError), guarded("x"):
            self.connection.execute("SELECT * FROM nowhere")
        with self.assertRaises(sqlite3.ProgrammingError), guarded("x"):
            self.connection.execute("SELECT ?")


class InsertTests(DatabaseCase):
    def test_any_number_of_rows_in_few_statements(self) -> None:
        connection, statements = self.open(), []
        connection.execute("CREATE TABLE numbers(number INTEGER PRIMARY KEY, name TEXT, mark INTEGER)")
        connection.set_trace_callback(lambda sql: statements.append(sql) if sql.startswith("INSERT") else None)
        at = 0
        for count, few in ((0, 0), (1, 1), (63, 1), (64, 1), (65, 2), (1000, 16)):
            statements.clear()
            rows = ((number, f"number {number}") for number in range(at, at + count))
            insert(connection, "INSERT INTO numbers(number, name, mark)", "(?,?,7)", rows)
            self.assertEqual(len(statements), few)
            at += count
        found = connection.execute("SELECT * FROM numbers ORDER BY number").fetchall()
        self.assertEqual(found, [(number, f"number {number}", 7) for number in range(at)])
        with self.assertRaises(sqlite3.IntegrityError):
            insert(connection, "INSERT INTO numbers", "(?,?,?)", [(at, "", 0), (0, "", 0)])
        insert(connection, "INSERT OR REPLACE INTO numbers", "(?,?,?)", [(0, "none", 1)])
        self.assertEqual(connection.execute("SELECT * FROM numbers WHERE number=0").fetchone(), (0, "none", 1))


class VersionTests(DatabaseCase):
    def prepared(self, steps: tuple[str, ...] = (), tables: str = TABLES) -> sqlite3.Connection:
        connection = self.open()
        with transaction(connection):
            prepare(connection, tables, steps)
        return connection

    def version(self, connection: sqlite3.Connection) -> int:
        number: int = connection.execute("PRAGMA user_version").fetchone()[0]
        return number

    def test_a_new_file_has_the_newest_schema(self) -> None:
        self.assertEqual(self.version(self.prepared()), 1)
        self.path = Path(self.mktemp()).absolute()
        self.assertEqual(self.version(self.prepared(("NOT SQL, AND NOT RUN",) * 2)), 3)

    def test_an_older_file_is_brought_up_step_by_step(self) -> None:
        old = self.prepared()
        old.execute("INSERT INTO words VALUES('kept')")
        old.close()
        steps = (
            "ALTER TABLE words ADD COLUMN length INTEGER; UPDATE words SET length = length(word);",
            "CREATE INDEX by_length ON words(length)",
        )
        self.assertEqual(self.version(self.prepared(steps[:1])), 2)
        new = self.prepared(steps)
        self.assertEqual(self.version(new), 3)
        self.assertEqual(new.execute("SELECT word, length FROM words INDEXED BY by_length").fetchall(), [("kept", 4)])
        self.assertRaises(StartupError, self.prepared)

    def test_a_step_that_fails_leaves_the_file_as_it_was(self) -> None:
        self.prepared().execute("INSERT INTO words VALUES('kept')")
        broken = ("ALTER TABLE words ADD COLUMN length INTEGER; UPDATE nowhere SET x = 1",)
        self.assertRaises(sqlite3.OperationalError, self.prepared, broken)
        self.assertEqual(self.open().execute("SELECT * FROM words").fetchall(), [("kept",)])

    def test_somebody_elses_file_is_left_alone(self) -> None:
        self.open().execute("CREATE TABLE addresses(name)")
        error = self.assertRaises(StartupError, self.prepared)
        self.assertIn(f"{self.path} was not made by chainp2p", str(error))
        self.assertEqual(len(self.open().execute("SELECT * FROM sqlite_master").fetchall()), 1)

    def test_a_file_from_before_there_were_numbers_is_known_by_a_table(self) -> None:
        old = self.open()
        old.execute("CREATE TABLE words(word TEXT PRIMARY KEY)")
        with transaction(old):
            prepare(old, TABLES, ("ALTER TABLE words ADD COLUMN length INTEGER",), "words")
        self.assertEqual((self.version(old), len(old.execute("PRAGMA table_info(words)").fetchall())), (2, 2))

    def test_is_private(self) -> None:
        self.assertFalse(is_private(self.open()))
        self.assertEqual(file_of(self.open()), str(self.path))
        memory = sqlite3.connect(":memory:")
        self.addCleanup(memory.close)
        self.assertTrue(is_private(memory))


class StoreFailureTests(DatabaseCase):
    def setUp(self) -> None:
        super().setUp()
        self.store = ChainStore(self.open())
        self.store.open(GENESIS)
        self.read: list[str] = []

    def write(self, size: int = 100_000) -> None:
        with self.store.transaction(lambda: self.read.append("again")):
            self.store.set_meta("large", bytes(size))

    def test_memory_is_read_anew_and_the_failure_is_known_until_something_is_stored(self) -> None:
        self.write()
        self.fill(self.store.connection)
        self.assertRaises(StorageError, self.write, 200_000)
        self.assertEqual(self.read, ["again"])
        self.assertIn(f"{self.path}: the disk is full: make room", self.store.failure)
        self.assertEqual(self.store.meta("large"), bytes(100_000))
        with self.store.transaction():
            pass  # that is no proof
        self.assertTrue(self.store.failure)
        self.make_room(self.store.connection)
        self.write(200_000)
        self.assertEqual(self.store.failure, "")
        self.assertEqual(self.read, ["again"])

    def test_what_could_not_be_read_anew_is_read_before_the_next_transaction(self) -> None:
        def fails() -> None:
            raise OSError

        with self.assertRaises(OSError), self.store.transaction(fails):
            raise KeyError
        with self.assertRaises(OSError), self.store.transaction(fails):
            raise AssertionError("not reached")
        with self.store.transaction():  # of somebody who keeps nothing in memory
            self.store.set_meta("a", b"1")
        self.write()
        self.write()
        self.assertEqual(self.read, ["again"])

    def test_half_a_creation_is_none(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        store = ChainStore(self.open())

        def create() -> None:
            store.set_meta("head", b"x")
            raise KeyError

        self.assertRaises(KeyError, store.open, GENESIS, create)
        self.assertEqual(store.execute("SELECT * FROM sqlite_master").fetchall(), [])
        self.assertTrue(store.open(GENESIS))

    def test_an_older_schema_of_the_chain(self) -> None:
        self.store.set_meta("kept", b"1")
        newer = ChainStore(self.open(), steps=("ALTER TABLE best ADD COLUMN note TEXT",))
        self.assertFalse(newer.open(GENESIS))
        self.assertEqual(newer.meta("kept"), b"1")
        error = self.assertRaises(StartupError, self.store.open, GENESIS)
        self.assertIn(f"{self.path} has schema 2, this version of chainp2p knows 1: upgrade", str(error))
