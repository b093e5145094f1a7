"""A few kills and losses of power (the table over 200: ``benchmarks/table_kills.py``)."""

import shutil
import sqlite3
import sys
import unittest
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from tests.integration.crash.death import Moment, Watch
from tests.integration.crash.inspection import inspect
from tests.integration.crash.killing import Row, run
from tests.integration.crash.workloads import Birth, Import, PoolWrites, Reorg, Workload
from tests.integration.processes import scratch


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
            "UPDATE transactions SET position = 7 WHERE hash = (SELECT hash FROM transactions LIMIT 1)",
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

    def test_the_first_start(self) -> None:
        self.killed(Birth(), 6, 1)

    def test_an_import(self) -> None:
        row = self.killed(Import(140, 3), 5, 2)
        self.assertGreaterEqual(row.kills[Moment.INSIDE] + row.kills[Moment.COMMIT], 3)

    def test_a_reorganisation(self) -> None:
        self.killed(Reorg(8, (10, 20, 30), 2), 5, 3)

    def test_writes_of_the_pool(self) -> None:
        self.killed(PoolWrites(120), 4, 4)
