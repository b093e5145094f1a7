"""Downloads of states that change, in small (in large: ``benchmarks/bench_statesync.py``)."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.state import chunks
from chainp2p.testing.stateloads import StateLoad, accounts, load_state

COUNT = 4_000


class Loads(SynchronousTestCase):
    def setUp(self) -> None:
        # 273 chunks all the same, as of a state a hundred times as large
        self.patch(chunks.make_chunk, "__defaults__", (None, 4_000))

    def check(self, load: StateLoad, times: float) -> None:
        self.assertTrue(load.good, load)
        self.assertLess(load.seconds, times * load.line + 10, load)
        self.assertEqual((load.blamed, load.backwards), (0, 0), load)

    def test_thirty_percent_liars(self) -> None:
        load = load_state(accounts(COUNT, 1), seed=1, liars=3, bandwidth=1_000.0)
        self.check(load, 1.3)
        self.assertEqual(load.caught, 3)
        self.assertLess(load.eta, 1.5, load)

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
        self.assertEqual(load.moved, 3, load)
        self.assertLess(load.eta, 1.5, load)
        # what changes is not known before the first change has come, behind what fills the lines
        self.assertLess(load.silent, load.line / 15, load)
