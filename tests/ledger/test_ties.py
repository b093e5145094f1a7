"""A small run of the experiment of ties."""

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain import tree
from tests.ledger.ties import Wrong, play

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "sweep_ties.py"


class TieTests(SynchronousTestCase):
    def test_all_settle_on_one_head_and_the_sums_are_right(self) -> None:
        ties = [play(seed) for seed in range(1, 11)]
        self.assertGreater(sum(tie.moved for tie in ties), 5, "nobody had to move: nothing was tested")
        self.assertGreater(sum(tie.returned for tie in ties), 5)

    def test_whoever_comes_first_is_no_rule(self) -> None:
        self.patch(tree, "better", lambda one, other: one.rank > other.rank)
        with self.assertRaises(Wrong):
            for seed in range(1, 11):
                play(seed)

    def test_the_script(self) -> None:
        command = [sys.executable, SCRIPT, "--seeds", "2", "--jobs", "1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("2 of 2 seeds good", done.stdout)
