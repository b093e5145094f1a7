"""A small run of the experiment of ties on whole nodes (in large: ``benchmarks/sweep_ties.py --nodes``)."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain import tree
from tests.ledger.ties import Wrong
from tests.simulation.nodeties import play


class NodeTies(SynchronousTestCase):
    def test_nodes_settle_on_one_head_and_the_sums_are_right(self) -> None:
        ties = [play(seed) for seed in range(1, 7)]
        self.assertGreater(sum(tie.moved for tie in ties), 5, "nobody had to move: nothing was tested")
        self.assertGreater(sum(tie.returned for tie in ties), 5)

    def test_whoever_comes_first_is_no_rule(self) -> None:
        self.patch(tree, "better", lambda one, other: one.rank > other.rank)
        with self.assertRaises(Wrong):
            play(1)
