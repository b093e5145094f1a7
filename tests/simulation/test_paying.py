"""Small runs of the experiment with transactions that spread; the table is in ``benchmarks/``."""

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.gossip.redundancy import Way
from chainp2p.testing.paying import FIVE_HOPS, Outcome, Paying, by_square_root

#: A small network for two seconds.
SMALL = Paying(nodes=16, degree=6, rate=40.0, seconds=2.0)


class PayingTests(SynchronousTestCase):
    def play(self, **changes: object) -> Outcome:
        outcome = evolve(SMALL, **changes).run()
        self.assertEqual((outcome.sent, outcome.missing), (80, 0), changes)
        return outcome

    def test_everywhere_for_few_copies_and_soon(self) -> None:
        outcome = self.play(seed=1)
        self.assertLessEqual(outcome.copies, 1.5)
        self.assertLessEqual(outcome.announcements, 60.0)
        self.assertLessEqual(outcome.delay(0.95), 2.0 + FIVE_HOPS)
        self.assertEqual(sum(outcome.first.values()), 80 * 16)
        self.assertGreater(outcome.first[Way.PUSHED], 160)
        self.assertGreater(self.play(seed=1, world=by_square_root).copies, outcome.copies + 0.5)

    def test_a_spy_guesses_worse_than_where_nodes_push_to_whoever_dials(self) -> None:
        careful = self.play(seed=2, spies=1)
        careless = self.play(seed=2, spies=1, world=by_square_root)
        self.assertLess(careful.guessed, careless.guessed)

    def test_spies_that_are_dialled_keep_nothing_from_others(self) -> None:
        self.assertGreater(self.play(seed=3, dialled=0.15).sent, 0)
