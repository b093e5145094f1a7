"""The data directory."""

import os
import random
import stat
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import StartupError
from chainp2p.node.home import DirectoryHome

ENTROPY = random.Random(1).randbytes


class HomeTests(SynchronousTestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.path = Path(temporary.name) / "deep" / "data"

    def open(self) -> DirectoryHome:
        home = DirectoryHome(self.path)
        self.addCleanup(home.close)
        return home

    def test_one_at_a_time(self) -> None:
        home = self.open()
        error = self.assertRaises(StartupError, DirectoryHome, self.path)
        self.assertIn(f"in use by another node (process {os.getpid()})", str(error))
        home.close()
        home.close()
        self.open()

    def test_a_clean_end_leaves_no_lock_and_no_address(self) -> None:
        home = self.open()
        home.publish({"pid": 1})
        self.assertEqual((self.path / "node.json").read_text(), '{\n "pid": 1\n}\n')
        home.close()
        self.assertEqual(os.listdir(self.path), [])

    def test_a_lock_file_left_behind_locks_nobody_out(self) -> None:
        self.path.mkdir(parents=True)
        (self.path / "lock").write_text("4194304\n")
        self.open()

    def test_a_folder_that_cannot_be_made(self) -> None:
        self.path.parent.mkdir()
        self.path.write_text("a file")
        self.assertIn(str(self.path), str(self.assertRaises(StartupError, DirectoryHome, self.path)))

    def test_a_database_that_cannot_be_written(self) -> None:
        """It is named before anything is locked or opened, wherever a chain has put it."""
        for name in ("node.sqlite", "chain/own.sqlite-wal"):
            file = self.path / name
            file.mkdir(parents=True)
            self.assertIn(f"{file}: Is a directory", str(self.assertRaises(StartupError, DirectoryHome, self.path)))
            self.assertEqual([path.name for path in self.path.iterdir() if path.is_file()], [])
            file.rmdir()
        self.open()

    def test_what_a_failing_disk_does_not_let_go(self) -> None:
        """The end is one all the same, and the next start is not kept out."""
        home = self.open()
        (self.path / "node.json").mkdir()
        home.close()
        (self.path / "node.json").rmdir()
        self.open()

    def test_key_and_secret_are_made_once_and_private(self) -> None:
        home = self.open()
        key, secret = home.node_key(ENTROPY), home.token_secret(ENTROPY)
        self.assertEqual(home.node_key(ENTROPY), key)
        self.assertEqual(home.token_secret(ENTROPY), secret)
        for name in ("node.key", "jwt.hex"):
            self.assertEqual(stat.S_IMODE((self.path / name).stat().st_mode), 0o600)

    def test_damaged_files_are_named(self) -> None:
        home = self.open()
        for name, ask in (("node.key", home.node_key), ("jwt.hex", home.token_secret)):
            (self.path / name).write_text("nonsense")
            self.assertIn(name, str(self.assertRaises(StartupError, ask, ENTROPY)))

    def test_databases(self) -> None:
        home = self.open()
        connection = home.open_database("chain/other.sqlite")
        self.addCleanup(connection.close)
        self.assertEqual(connection.execute("PRAGMA journal_mode").fetchone(), ("wal",))
