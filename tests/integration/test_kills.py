"""A few kills and losses of power (the table over 200: ``benchmarks/table_kills.py``)."""

import shutil
import sqlite3
import subprocess
import sys
import unittest
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from tests.integration.crash.death import Moment, Watch
from tests.integration.crash.inspection import inspect
from tests.integration.crash.killing import Row, run
from tests.integration.crash.signing import kill_signer
from tests.integration.crash.statework import StateDownload
from tests.integration.crash.workloads import Birth, Import, PoolWrites, Reorg, Workload
from tests.integration.processes import ROOT, scratch

#: Seals three blocks and says when each may leave.
SEALING = """
import os, sys
from pathlib import Path
from tests.integration.crash.signing import kill_signer
from tests.integration.crash.workloads import LATER, opened, result
from tests.ledger.network import Clock, genesis_of

clock = Clock(LATER)
ledger = opened(genesis_of(1, 1000), Path(sys.argv[1]), signer=0, clock=clock)
for number in range(3):
    clock.now += 1
    assert result(ledger.produce(clock.now)) is not None
    os.write(1, b"block leaves")
"""


@pytest.mark.integration
@unittest.skipUnless(sys.platform == "linux", "the timer that kills is the kernel's of Linux")
class KillsTests(unittest.TestCase):
    def killed(self, workload: Workload, kills: int, seed: int) -> Row:
        row = run(workload, kills, Random(seed), Path(scratch(self)), losses=1)
        self.assertEqual(row.failures, [], f"seed {seed}")
        self.assertEqual(row.kills.total(), kills)
        return row

    def test_what_is_wrong_is_seen(self) -> None:
        workload = Import(8, 2)
        folder = Path(scratch(self))
        workload.life(folder, Watch(), None)
        for damage in (
            "UPDATE accounts SET value = x'00' WHERE key = (SELECT key FROM accounts LIMIT 1)",
            "DELETE FROM best WHERE height = 3",
            "DELETE FROM best WHERE height = 8",
            "DELETE FROM undo WHERE height = 1",
            "UPDATE undo SET old = x'c0' WHERE height = 4",
            "DELETE FROM receipts WHERE block = (SELECT hash FROM best WHERE height = 5)",
            "UPDATE new_places SET place = place + 7 WHERE hash = (SELECT hash FROM new_places LIMIT 1)",
            "DELETE FROM bodies WHERE hash = (SELECT hash FROM best WHERE height = 2)",
            "UPDATE headers SET bad = 1 WHERE height = 8",
            "UPDATE meta SET value = (SELECT hash FROM best WHERE height = 7) WHERE key = 'head'",
        ):
            copy = Path(scratch(self)) / "chain.sqlite"
            shutil.copyfile(folder / "chain.sqlite", copy)
            inspect(copy, workload.truth, root=True)
            with closing(sqlite3.connect(copy)) as connection, connection:
                self.assertEqual(connection.execute(damage).rowcount, 1, damage)
            with self.assertRaises(AssertionError, msg=damage):
                inspect(copy, workload.truth)

    def test_a_signer_signs_no_slot_twice(self) -> None:
        for period in (1000, 0):
            seen = kill_signer(8, Random(6), Path(scratch(self)), period)
            self.assertEqual((seen.failures, seen.sent_twice), ([], 0))
            self.assertGreater(seen.blocks, 8)
            self.assertEqual(seen.twice, 0)

    @unittest.skipUnless(shutil.which("strace"), "strace is not installed")
    def test_a_seal_is_on_the_disk_before_its_block_leaves(self) -> None:
        folder = Path(scratch(self))
        trace = folder / "trace"
        words = [
            "strace",
            "-f",
            "-y",
            "-o",
            trace,
            "-e",
            "trace=fdatasync,fsync,write",
            sys.executable,
            "-c",
            SEALING,
            folder,
        ]
        done = subprocess.run(list(map(str, words)), cwd=ROOT, capture_output=True, text=True, timeout=120)
        if done.returncode and "ptrace" in done.stderr and "not permitted" in done.stderr:
            raise unittest.SkipTest(f"nobody may trace processes here: {done.stderr.strip()}")
        self.assertEqual(done.returncode, 0, done.stderr)
        synced, sent = 0, 0
        for line in trace.read_text("utf-8", "replace").splitlines():
            synced += "sync(" in line and "seal.sqlite-wal" in line
            if "write(1" in line and "block leaves" in line:
                sent += 1
                # the slot was spent before it was signed, and the hash was stored after
                self.assertGreaterEqual(synced, 2, trace.read_text("utf-8", "replace")[-3000:])
                synced = 0
        self.assertEqual(sent, 3)

    def test_the_first_start(self) -> None:
        self.killed(Birth(), 6, 1)

    def test_an_import(self) -> None:
        row = self.killed(Import(140, 3), 5, 8)  # all five strike a transaction, unless the machine stumbles
        self.assertGreaterEqual(row.kills[Moment.INSIDE] + row.kills[Moment.COMMIT], 3)

    def test_a_reorganisation(self) -> None:
        self.killed(Reorg(8, (10, 20, 30), 2), 5, 3)

    def test_a_download_of_a_state(self) -> None:
        self.killed(StateDownload(60, 3), 5, 5)

    def test_writes_of_the_pool(self) -> None:
        self.killed(PoolWrites(120), 4, 4)
