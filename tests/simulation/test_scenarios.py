"""Whole networks of production nodes in virtual time: the scenarios that ship, and one hash for one seed."""

import json
import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.testing import find_scenario, play, shipped


class ScenarioTests(SynchronousTestCase):
    def check(self, name: str) -> None:
        outcome = play(find_scenario(name), seed=1)
        self.assertIsNone(outcome.failure)

    def test_quickstart(self) -> None:
        self.check("quickstart")

    def test_partition(self) -> None:
        """Two against two, both sides seal; the losing side's transactions are included again."""
        self.check("partition")

    def test_restart(self) -> None:
        self.check("restart")

    def test_twenty(self) -> None:
        """Twenty nodes find each other through one, gossip, split, heal and converge."""
        self.check("twenty")

    def test_no_scenario_is_forgotten(self) -> None:
        self.assertEqual([one.name for one in shipped()], ["quickstart", "partition", "restart", "twenty"])


class DeterminismTests(SynchronousTestCase):
    def run_sim(self, seed: int, hash_seed: str) -> str:
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from chainp2p.cli.main import main; main()",
                "sim",
                "partition",
                "--seed",
                str(seed),
                "--json",
            ],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        event_log: str = json.loads(done.stdout)["eventLog"]
        return event_log

    def test_one_seed_gives_one_event_log_in_two_processes(self) -> None:
        first = self.run_sim(1, "1")
        self.assertEqual(len(first), 64)
        self.assertEqual(self.run_sim(1, "2"), first)
        self.assertNotEqual(self.run_sim(2, "1"), first)

    def test_another_run_in_the_same_process_gives_it_again(self) -> None:
        scenario = find_scenario("restart")
        first, again = play(scenario, 5), play(scenario, 5, keep_log=True)
        self.assertEqual(first.event_log, again.event_log)
        self.assertEqual(first.lines, ())
        self.assertGreater(len(again.lines), 100)
