"""Small runs of the experiments with blocks that spread; the tables are in ``benchmarks/``."""

from random import Random

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.testing.relaying import Bare, Lacking, Outcome, Relaying, diameter, distances, edges_of
from chainp2p.testing.tellers import colliding, flooding, invent, keep_silent

#: Blocks of 40 KB in a small network.
SMALL = Relaying(nodes=12, degree=4, transactions=80, size=500, blocks=2)


class Ways(SynchronousTestCase):
    def test_the_shortest(self) -> None:
        edges = {(0, 1): 1.0, (1, 2): 1.0, (0, 2): 3.0, (2, 3): 0.5}
        self.assertEqual(distances(edges, 0), {0: 0.0, 1: 1.0, 2: 2.0, 3: 2.5})
        self.assertEqual(diameter(edges), 2.5)

    def test_rings(self) -> None:
        edges = edges_of(Random(1), 30, 4)
        self.assertEqual(len(distances(edges, 0)), 30)
        self.assertLessEqual(len(edges), 60)


class RelayingTests(SynchronousTestCase):
    def play(self, **changes: object) -> Outcome:
        outcome = evolve(SMALL, **changes).run()
        self.assertEqual(outcome.parted, 0)
        return outcome

    def test_pools_that_lack_their_own(self) -> None:
        outcome = self.play(seed=1)
        self.assertEqual(outcome.counts.given_up, 0)
        self.assertLess(outcome.bytes, 12_000)
        self.assertGreater(outcome.counts.asked, outcome.received // 2)
        flood = self.play(seed=1, make=Bare, world=flooding)
        self.assertGreater(flood.bytes, 8 * outcome.bytes)

    def test_what_was_handed_in_the_moment_before(self) -> None:
        outcome = self.play(seed=2, lacking=Lacking.FRESH)
        self.assertGreater(outcome.counts.free, outcome.received // 2)

    def test_liars_cost_neither_a_block_nor_an_honest_peer(self) -> None:
        self.play(seed=3, hostile=(0.25, keep_silent))
        self.assertGreater(self.play(seed=3, hostile=(0.25, invent)).caught, 0)

    def test_collisions_cost_neither_either(self) -> None:
        outcome = self.play(seed=4, share=0.1, world=colliding, strangers=100)
        self.assertGreater(outcome.counts.asked + outcome.counts.given_up, 0)
