"""A small run of the experiment of finality, and that it would find what it looks for."""

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.consensus import finality
from chainp2p.testing.finality import play_finality

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "sweep_finality.py"


class FinalityTests(SynchronousTestCase):
    def test_a_third_at_most(self) -> None:
        moved = 0
        for seed in range(1, 21):
            outcome = play_finality(seed)
            self.assertTrue(outcome.good, outcome)
            moved += outcome.moved
        self.assertGreater(moved, 4, "nothing was final before the heal: nothing was tested")

    def test_more_than_a_third(self) -> None:
        conflicting = reported = 0
        for seed in range(1, 16):
            outcome = play_finality(seed, beyond=True)
            self.assertTrue(outcome.good, outcome)
            conflicting += outcome.conflicting
            reported += outcome.reported > 0
        self.assertGreater(conflicting, 0, "nobody was deceived: nothing was tested")
        self.assertGreaterEqual(reported, conflicting)

    def test_one_seed_is_one_course(self) -> None:
        self.assertEqual(play_finality(7), play_finality(7))

    def test_a_quorum_too_small_is_found(self) -> None:
        self.patch(finality, "quorum", lambda n: n // 2 + 1)
        self.assertIn("two finalized blocks contradict each other", play_finality(11, n=5, faulty=1).faults)

    def test_the_script(self) -> None:
        command = [sys.executable, SCRIPT, "--seeds", "4", "--beyond", "4", "--jobs", "1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = [line.split() for line in done.stdout.splitlines() if line.split()[:1] == ["all"]]
        self.assertEqual([row[2:4] for row in rows], [["4", "4"], ["4", "4"]])
