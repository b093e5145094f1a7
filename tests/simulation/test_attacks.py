"""Small runs of the experiments with attackers; the table is ``benchmarks/table_attacks.py``."""

from collections.abc import Callable

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.gossip.blocks.parked import BLOCKS
from chainp2p.testing.machines import Machine
from chainp2p.testing.relaying import Lacking
from chainp2p.testing.siege import (
    Besieged,
    Siege,
    announce_nothing,
    behave,
    control,
    depart,
    flood_invalid,
    flood_unpaid,
    orphans,
    withhold,
)

SMALL = Siege(nodes=10, degree=4, transactions=40, size=110, blocks=1, lacking=Lacking.LATE, share=0.05, seed=3)


class AttackTests(SynchronousTestCase):
    def play(self, share: float, attack: Callable[[Machine], None]) -> Besieged:
        calm, loud = (evolve(SMALL, hostile=(share, how)).play() for how in (behave, attack))
        self.assertEqual((loud.outcome.parted, loud.wronged), (0, 0))
        times = [one.outcome.spreads[0].within(1.0) for one in (calm, loud)]
        self.assertLess(times[1], times[0] * 1.1 + 0.05)
        return loud

    def test_withholding(self) -> None:
        self.play(0.3, withhold)

    def test_announcements_of_nothing(self) -> None:
        self.play(0.1, announce_nothing(40, 4))

    def test_control_messages(self) -> None:
        self.play(0.1, control)

    def test_bad_signatures_cost_the_links(self) -> None:
        self.assertGreater(self.play(0.1, flood_invalid(1_000, 4)).outcome.caught, 0)

    def test_who_leaves(self) -> None:
        self.assertGreater(self.play(0.1, depart).outcome.caught, 0)

    def test_unpaid_transactions_cost_the_place(self) -> None:
        loud = self.play(0.1, flood_unpaid(1_000, 4))
        self.assertGreater(loud.useless, 0)
        self.assertGreater(loud.pushed, 3_000)
        self.assertTrue(0.01 < loud.busy < 0.1, loud.busy)  # 250 a second at each of four, 100 us each

    def test_orphans(self) -> None:
        self.assertEqual(self.play(0.1, orphans(1_000, 1)).parked, BLOCKS)
