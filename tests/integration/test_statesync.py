"""State sync between real processes over TLS, with a liar and a kill (in large: ``benchmarks/bench_statesync.py``)."""

import re
import subprocess
import sys
import unittest

from tests.integration.processes import ROOT


class BetweenProcesses(unittest.TestCase):
    def test_it_arrives_leaves_the_liar_and_goes_on_after_a_kill(self) -> None:
        command = [sys.executable, str(ROOT / "benchmarks/bench_statesync.py"), "--only", "processes"]
        done = subprocess.run([*command, "--accounts", "16000"], capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("16,000 accounts", done.stdout)
        self.assertIn("2 of 3 links are left", done.stdout)
        killed = re.search(r"killed at (\d+)% \((\d+) chunks\)", done.stdout)
        assert killed is not None, done.stdout
        self.assertGreaterEqual(int(killed[1]), 50)
