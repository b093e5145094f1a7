"""Downloads of states that change, in small (in large: ``benchmarks/bench_statesync.py``)."""

import re
from math import exp

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.state import chunks
from chainp2p.testing.stateloads import INTERVAL, StateLoad, accounts, load_state

COUNT = 4_000


class Loads(SynchronousTestCase):
    def setUp(self) -> None:
        # 273 chunks all the same, as of a state a hundred times as large
        self.patch(chunks.make_chunk, "__defaults__", (None, 4_000))

    def check(self, load: StateLoad, times: float) -> None:
        self.assertTrue(load.good, load)
        self.assertLess(load.seconds, times * load.line + 10, load)
        self.assertEqual((load.blamed, load.backwards, load.outrun), (0, 0, 0), load)

    def test_thirty_percent_liars(self) -> None:
        load = load_state(accounts(COUNT, 1), seed=1, liars=3, bandwidth=1_000.0)
        self.check(load, 1.3)
        self.assertEqual(load.caught, 3)
        self.assertLess(load.eta, 1.5, load)

    def test_the_time_left_is_told_after_a_restart_too(self) -> None:
        for stop in (0.3, 0.6):
            load = load_state(accounts(COUNT, 7), seed=7, liars=3, bandwidth=1_000.0, stop=stop)
            self.check(load, 1.4)
            self.assertLess(load.chunks, 1.15 * 290, load)  # it goes on with what is stored
            self.assertLess(load.eta, 1.5, load)
            self.assertLess(load.silent, load.line / 15, load)

    def test_ground_prefixes(self) -> None:
        load = load_state(accounts(COUNT, 2, ground=800), seed=2, bandwidth=1_000.0)
        self.check(load, 1.3)

    def test_the_goal_passes_several_times_while_accounts_change(self) -> None:
        load = load_state(accounts(COUNT, 3), seed=3, peers=3, bandwidth=200.0, changes=2, hot=20)
        self.check(load, 4.0)
        self.assertGreaterEqual(load.passed, 2, load)

    def test_the_time_left_is_told_while_the_goal_moves_three_times(self) -> None:
        self.patch(chunks.make_chunk, "__defaults__", (None, 14_000))
        count, seconds = 16_000, 2_000
        load = load_state(accounts(count, 4), seed=4, bandwidth=45 * count / 10 / seconds, changes=16, hot=64)
        self.assertTrue(load.good, load)
        self.assertEqual((load.moved, load.outrun), (3, 0), load)
        self.assertLess(load.eta, 1.5, load)
        # what changes is not known before the first change has come, behind what fills the lines
        self.assertLess(load.silent, load.line / 15, load)

    def test_changes_that_outrun_the_lines_are_named(self) -> None:
        """The state is never whole: that is said after three goals without progress, with true figures."""
        self.patch(chunks.make_chunk, "__defaults__", (None, 1_000))
        count, changes = 2_000, 4
        load = load_state(accounts(count, 5), seed=5, peers=3, bandwidth=40.0, changes=changes, limit=3.0)
        self.assertFalse(load.good)
        self.assertGreaterEqual(load.moved, 6)
        found = re.search(
            r"outrun the lines: (\S+) accounts change a second, (\S+) are fetched, and (\d+) s", load.words
        )
        assert found is not None, load.words
        changed, fetched, goals = map(float, found.groups())
        served = 2 * INTERVAL  # for so many seconds, in which some accounts change more than once
        true = count * (1 - exp(-changes * served / count)) / served
        self.assertTrue(true / 1.3 < changed < true * 1.3, (changed, true))
        true = load.bytes / load.whole * count / load.seconds
        self.assertTrue(true / 1.5 < fetched < true * 1.5, (fetched, true))
        self.assertGreaterEqual(load.moved, goals)
        self.assertIn("more peers, faster lines or sync.mode = full", load.words)

    def test_it_is_said_no_more_when_the_state_gets_on(self) -> None:
        """Half as many changes as the lines carry: it takes goals, but each brings it nearer."""
        self.patch(chunks.make_chunk, "__defaults__", (None, 1_000))
        load = load_state(accounts(2_000, 6), seed=6, peers=3, bandwidth=60.0, changes=1, hot=100, limit=10.0)
        self.assertTrue(load.good, load)
        self.assertGreaterEqual(load.moved, 2, load)
        self.assertEqual(load.outrun, 0, load)
