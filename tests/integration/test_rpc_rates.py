"""A small run of ``benchmarks/bench_rpc.py``: each server answers all that it is asked, under the whole load."""

import subprocess
import sys
import unittest

from tests.integration.processes import ROOT

SINGLES = ("eth_chainId", "eth_blockNumber", "eth_getBalance")
BATCH = "batch of 100, each of its calls"


class RatesTests(unittest.TestCase):
    def test_every_case_is_measured_against_each_yardstick(self) -> None:
        command = [sys.executable, str(ROOT / "benchmarks/bench_rpc.py"), "--rounds=1", "--seconds=0.05", "--no-anvil"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = [line for line in done.stdout.splitlines() if line.startswith((*SINGLES, BATCH))]
        expected = [(name, kind) for name in SINGLES for kind in ("twisted.web", "aiohttp", "fixed bytes")]
        expected += [(BATCH, "twisted.web"), (BATCH, "aiohttp")]
        self.assertEqual(len(lines), 2 * len(expected), done.stdout)  # by wall clock, and by CPU
        for line, (name, kind) in zip(lines, expected * 2, strict=True):
            self.assertTrue(line.startswith(name) and kind in line, line)
