"""``make sweep`` itself, with few seeds and short splits."""

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "sweep_partition.py"


class SweepTests(SynchronousTestCase):
    def test_a_small_sweep(self) -> None:
        done = subprocess.run(
            [sys.executable, SCRIPT, "--seeds", "2", "--blocks", "20", "--jobs", "1"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        header, *rows = [line.split() for line in done.stdout.splitlines()]
        self.assertEqual(header[:3], ["signers", "seeds", "converged"])
        self.assertEqual([row[:3] for row in rows], [["2", "2", "2"], ["4", "2", "2"]])
