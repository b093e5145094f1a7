"""A small run of ``benchmarks/bench_subscriptions.py``: heads reach all, and idle subscribers stay small."""

import subprocess
import sys
import unittest

from tests.integration.processes import ROOT

#: KiB of an idle subscriber: the aim; 3.5 were measured, the aim leaves room for what an allocator does.
AIM_KIB = 12.0


class SubscribersTests(unittest.TestCase):
    def test_heads_reach_all_and_idle_ones_stay_small(self) -> None:
        command = [sys.executable, str(ROOT / "benchmarks/bench_subscriptions.py")]
        sizes = ["--few=100", "--many=400", "--rounds=2"]
        done = subprocess.run([*command, *sizes], capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual(len([line for line in lines if line.startswith("a head to 100")]), 4, done.stdout)
        (last,) = [line.split() for line in lines if line.startswith("400 ")]
        self.assertLess(float(last[1]), AIM_KIB, done.stdout)
        self.assertLess(float(last[1]), float(last[2]), "less than a connection of Autobahn")
