"""A disk that is read-only, full from the start or full later, and databases that are not this node's: a real daemon.

The disks are small file systems in memory, which only root may mount: elsewhere those tests are skipped.
"""

import json
import os
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import closing, suppress
from pathlib import Path
from shutil import which
from typing import Any
from unittest import SkipTest, TestCase

from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES, DEV_KEYS
from chainp2p.ledger.formats.genesis import genesis_json
from chainp2p.ledger.formats.transaction import sign_transaction
from tests.integration.processes import Daemon, call, eventually, run_door, scratch

QUIET = tuple(word for option in ("--listen", "--rpc", "--admin") for word in (option, "tcp:0:interface=127.0.0.1"))


MAKER = Path(__file__).parents[2] / "benchmarks" / "make_chain.py"


#: Another user.
NOBODY = 65534
#: Runs a program that root starts so that the permissions of files hold for it as for anybody.
BOUND = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


class SmallDisk:
    """A file system of its own that goes with the test."""

    def __init__(self, test: TestCase, mebibytes: int) -> None:
        self.path = scratch(test)
        done = self._mount("-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(self.path))
        if done.returncode:
            raise SkipTest(f"nothing can be mounted here: {done.stderr.strip()}")
        test.addCleanup(subprocess.run, ["umount", "-l", str(self.path)], check=False)
        self._filler = self.path / "filler"

    @staticmethod
    def _mount(*words: str) -> "subprocess.CompletedProcess[str]":
        try:
            return subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
        except OSError as error:
            raise SkipTest(str(error)) from None

    def protect(self, how: str) -> None:
        """Let it be read only (``ro``) or written again (``rw``)."""
        assert self._mount("-o", f"remount,{how}", str(self.path)).returncode == 0

    def grow(self, mebibytes: int) -> None:
        assert self._mount("-o", f"remount,size={mebibytes}m", str(self.path)).returncode == 0

    def fill(self) -> None:
        """Leave no byte."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def make_room(self) -> None:
        self._filler.unlink()


class FailingDisk:
    """A file system on a file, which can be told to fail: then it takes no more writes, though files are open, as ext4
    does when its disk fails. (A system refuses to make a file system read-only that has files open for writing.)
    """

    def __init__(self, test: TestCase, mebibytes: int) -> None:
        folder = scratch(test)
        self._image, self.path = folder / "image", folder / "disk"
        self.path.mkdir()
        with self._image.open("wb") as file:
            file.truncate(mebibytes << 20)
        self._run("mkfs.ext4", "-q", "-F", str(self._image))
        self.mount()
        test.addCleanup(subprocess.run, ["umount", "-l", str(self.path)], check=False, capture_output=True)

    @staticmethod
    def _run(*words: str) -> None:
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False)
        except OSError as error:
            raise SkipTest(str(error)) from None
        if done.returncode:
            raise SkipTest(f"a disk cannot be made here: {done.stderr.strip()}")

    def mount(self) -> None:
        self._run("mount", "-o", "loop", str(self._image), str(self.path))

    def fail(self) -> None:
        self._run("mount", "-o", "remount,abort", str(self.path))

    def unmount(self) -> None:
        self._run("umount", str(self.path))


def content(folder: Path) -> dict[str, bytes]:
    """What the databases of a stopped node hold."""
    return {path.name: path.read_bytes() for path in folder.glob("*.sqlite")}


class RefusalTests(TestCase):
    def refused(self, data: Path, *texts: str, words: tuple[object, ...] = (), before: tuple[str, ...] = ()) -> None:
        done = run_door("python -m twisted", "--data-dir", data, *QUIET, *words, before=before)
        self.assertEqual(done.returncode, 1, done)
        lines = [line for line in done.stderr.splitlines() if line.startswith("chainp2p: ")]
        self.assertEqual(len(lines), 1, done.stderr)
        for text in texts:
            self.assertIn(text, lines[0])
        self.assertNotIn("Traceback", done.stdout + done.stderr)

    def stopped(self, data: Path) -> None:
        """Let a node have made its files and be gone."""
        node = Daemon(self, *QUIET, data=data)
        node.facts()
        node.stop()

    def test_databases_that_are_not_this_nodes(self) -> None:
        data = scratch(self) / "data"
        data.mkdir()
        self.stopped(data)
        before = content(data)
        for name, text in (("chain.sqlite", "has schema 99"), ("node.sqlite", "has schema 99")):
            with closing(sqlite3.connect(data / name)) as connection:
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                connection.execute("PRAGMA user_version=99")
            self.refused(data, str(data / name), text, "upgrade chainp2p")
            with closing(sqlite3.connect(data / name)) as connection:
                connection.execute(f"PRAGMA user_version={version}")
        genesis = data / "other.json"
        document = genesis_json(chain_id=9, signers=DEV_ADDRESSES[:1], period_ms=1000, alloc={}, timestamp=1)
        genesis.write_text(json.dumps(document))
        self.refused(
            data, str(data / "chain.sqlite"), "another network", "another data directory", words=("--genesis", genesis)
        )
        with closing(sqlite3.connect(data / "chain.sqlite")) as connection:
            heads = connection.execute("SELECT value FROM meta WHERE key='head'").fetchall()
        self.assertEqual(len(heads), 1)
        (data / "chain.sqlite").write_bytes(b"this was a database" * 1000)
        self.refused(data, str(data / "chain.sqlite"), "restore a copy")
        (data / "chain.sqlite").write_bytes(before["chain.sqlite"])
        self.stopped(data)

    def test_a_second_process(self) -> None:
        first = Daemon(self, *QUIET)
        pid = first.facts()["pid"]
        self.refused(first.data, str(first.data), f"in use by another node (process {pid})", "another directory")
        self.assertIsNone(first.process.poll())
        first.stop()

    def test_files_that_this_user_may_not_write(self) -> None:
        root = os.geteuid() == 0
        if root and which(BOUND[0]) is None:
            raise SkipTest(f"root may write anything, and there is no {BOUND[0]} to take that away")
        before = BOUND if root else ()
        folder = scratch(self)
        data = folder / "data"
        data.mkdir()
        self.stopped(data)
        kept = content(data)
        for name, mode in (("chain.sqlite", 0o400), ("node.sqlite", 0), ("node.key", 0), (".", 0o500)):
            path = data / name
            before_that = path.stat().st_mode
            path.chmod(mode)
            self.refused(data, str(path), "Permission denied", before=before)
            path.chmod(before_that)
            self.assertEqual(content(data), kept)
        folder.chmod(0o500)
        self.refused(folder / "new", str(folder / "new"), "Permission denied", "give it to this user", before=before)
        folder.chmod(0o700)
        if root:
            os.chown(data, NOBODY, NOBODY)
            self.refused(data, str(data), "Permission denied", "give it to this user", before=before)
            os.chown(data, 0, 0)
        self.assertEqual(content(data), kept)
        self.stopped(data)

    def test_a_disk_that_is_read_only(self) -> None:
        disk = SmallDisk(self, 32)
        data = disk.path / "data"
        data.mkdir()
        self.stopped(data)
        before = content(data)
        disk.protect("ro")
        self.refused(data, str(data), "Read-only file system", "mount the disk for writing")
        self.refused(disk.path / "new", "Read-only file system")
        disk.protect("rw")
        self.assertEqual(content(data), before)
        self.stopped(data)

    def test_a_disk_that_is_full(self) -> None:
        disk = SmallDisk(self, 32)
        data = disk.path / "data"
        data.mkdir()
        self.stopped(data)
        before = content(data)
        disk.fill()
        self.refused(data, str(data), "make room")
        self.assertEqual(content(data), before)
        disk.make_room()
        self.stopped(data)


class FullLaterTests(TestCase):
    def test_an_import_ends_in_one_line_and_goes_on(self) -> None:
        folder, disk = scratch(self), SmallDisk(self, 1)
        words = [sys.executable, MAKER, folder, "--blocks", "150", "--transfers", "20", "--accounts", "50"]
        subprocess.run(list(map(str, words)), check=True, capture_output=True)
        words = ["chain", "import", folder / "chain.blocks", "--genesis", folder / "genesis.json"]
        command = [sys.executable, "-c", "from chainp2p.cli.main import main; main()", *words]

        def take() -> "subprocess.CompletedProcess[str]":
            line = [str(word) for word in (*command, "--data-dir", disk.path / "data")]
            return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)

        done = take()
        self.assertEqual(done.returncode, 1, done)
        (line,) = [line for line in done.stderr.splitlines() if "chainp2p: " in line]
        self.assertIn(f"{disk.path / 'data' / 'chain.sqlite'}: the disk is full: make room", line)
        self.assertNotIn("Traceback", done.stderr)
        disk.grow(32)
        done = take()
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("blocks 1 to 150 taken", done.stdout)

    def test_a_node_waits_and_goes_on(self) -> None:
        disk = SmallDisk(self, 48)
        data = disk.path / "data"
        data.mkdir()
        node = Daemon(self, *QUIET, data=data)
        rpc = node.facts()["rpc"]
        self.pay(rpc, range(3))
        eventually(lambda: self.mined(rpc) == 3, 30, "three transactions in blocks")
        disk.fill()
        self.pay(rpc, range(3, 6))
        failing = eventually(lambda: self.unready(rpc, "storage: "), 30, "readyz tells of the disk")
        self.assertIn(str(data), failing)
        self.assertIn("the disk is full: make room", failing)
        stuck = self.mined(rpc)
        self.assertIn("the chain cannot be stored, and waits", node.log())
        self.assertIsNone(node.process.poll())
        self.assertEqual(self.mined(rpc), stuck)
        self.assertLess(stuck, 6)
        disk.make_room()
        eventually(lambda: self.mined(rpc) == 6, 30, "all transactions in blocks, once there is room")
        eventually(lambda: self.unready(rpc, "storage: ") is None, 30, "readyz tells of it no more")
        self.assertIn("the chain can be stored again", node.log())
        self.assertNotIn("Traceback", node.log())
        height = call(rpc, "eth_blockNumber")
        node.stop()
        self.assertEqual(node.process.returncode, 0)
        again = Daemon(self, *QUIET, data=data)
        rpc = again.facts()["rpc"]
        self.assertEqual((self.mined(rpc), call(rpc, "eth_blockNumber")), (6, height))
        again.stop()

    def test_a_node_that_is_stopped_or_killed_meanwhile_has_lost_nothing(self) -> None:
        disk = SmallDisk(self, 48)
        data = disk.path / "data"
        data.mkdir()
        for kill in (False, True):
            node = Daemon(self, *QUIET, data=data)
            rpc = node.facts()["rpc"]
            first = self.mined(rpc)
            self.pay(rpc, range(first, first + 2))
            eventually(lambda rpc=rpc, n=first + 2: self.mined(rpc) == n, 30, "transactions in blocks")
            disk.fill()
            self.pay(rpc, range(first + 2, first + 4))
            eventually(lambda rpc=rpc: self.unready(rpc, "storage: "), 30, "readyz tells of the disk")
            mined, height = self.mined(rpc), call(rpc, "eth_blockNumber")
            if kill:
                node.process.kill()
                node.process.wait()
            else:
                node.stop()
                self.assertEqual(node.process.returncode, 0)
                self.assertNotIn("Traceback", node.log())
            disk.make_room()
            again = Daemon(self, *QUIET, data=data)
            rpc = again.facts()["rpc"]
            self.assertGreaterEqual((self.mined(rpc), int(call(rpc, "eth_blockNumber"), 16)), (mined, int(height, 16)))
            again.stop()

    def test_a_disk_that_turns_read_only_under_a_node(self) -> None:
        """What the node said holds after the disk is mounted anew; meanwhile it answers, and says what it lacks."""
        disk = FailingDisk(self, 48)
        node = Daemon(self, *QUIET, data=disk.path)
        rpc = node.facts()["rpc"]
        self.pay(rpc, range(3))
        eventually(lambda: self.mined(rpc) == 3, 30, "three transactions in blocks")
        disk.fail()
        self.pay(rpc, range(3, 6))
        failing = eventually(lambda: self.unready(rpc, "storage: "), 30, "readyz tells of the disk")
        self.assertIn(str(disk.path), failing)
        self.assertIn("look at it", failing)
        mined, height = self.mined(rpc), call(rpc, "eth_blockNumber")
        self.assertIn("the chain cannot be stored, and waits", node.log())
        self.assertIsNone(node.process.poll())
        self.assertGreaterEqual(mined, 3)
        node.stop()
        self.assertEqual(node.process.returncode, 0, node.log())
        self.assertNotIn("Traceback", node.log())
        disk.unmount()
        disk.mount()
        again = Daemon(self, *QUIET, data=disk.path)
        rpc = again.facts()["rpc"]
        self.assertGreaterEqual((self.mined(rpc), int(call(rpc, "eth_blockNumber"), 16)), (mined, int(height, 16)))
        self.pay(rpc, range(self.mined(rpc), 6))
        eventually(lambda: self.mined(rpc) == 6, 30, "all transactions in blocks")
        again.stop()

    def pay(self, rpc: str, nonces: range) -> None:
        for nonce in nonces:
            raw = sign_transaction(
                bytes(DEV_KEYS[0]),
                chain_id=31337,
                nonce=nonce,
                to=DEV_ADDRESSES[1],
                value=1,
                max_fee=3 * 10**9,
                max_priority_fee=10**9,
                # large enough to need pages that the log has not had before
                data=bytes(60_000),
                gas=400_000,
            )
            call(rpc, "eth_sendRawTransaction", "0x" + raw.hex())

    def mined(self, rpc: str) -> int:
        return int(call(rpc, "eth_getTransactionCount", "0x" + DEV_ADDRESSES[0].hex(), "latest"), 16)

    def unready(self, rpc: str, text: str) -> str | None:
        """The line of ``/readyz`` that has *text* in it."""
        try:
            with urllib.request.urlopen(f"{rpc.rstrip('/')}/readyz", timeout=10) as response:
                body: Any = response.read()
        except urllib.error.HTTPError as error:
            body = error.read()
        return next((line for line in body.decode().splitlines() if text in line), None)
