"""A few seeds of table poisoning (the table over 200: ``benchmarks/table_poisoning.py``)."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.crowding import IN_TABLE
from chainp2p.testing.poisoners import Attack
from chainp2p.testing.poisoning import HONEST, poison


class PoisoningTest(SynchronousTestCase):
    def test_one_address_gets_next_to_nothing(self) -> None:
        outcome = poison(1, Attack(1, 1, 1))
        for share in (outcome.old, outcome.new):
            self.assertLessEqual(share.bad, IN_TABLE.address, outcome)
        self.assertLessEqual(outcome.crowd.bad, HONEST * IN_TABLE.address, outcome)
        self.assertLessEqual(outcome.lookups.part, 0.2, outcome)
        for share in (outcome.old_dials, outcome.new_dials, outcome.links):
            self.assertLessEqual(share.part, 0.15, outcome)
        self.assertGreaterEqual(outcome.honest, 20, outcome)

    def test_a_subnet_has_ten_places(self) -> None:
        outcome = poison(2, Attack(16, 1, 1))
        for share in (outcome.old, outcome.new):
            self.assertLessEqual(share.bad, IN_TABLE.subnet, outcome)
        for share in (outcome.lookups, outcome.old_dials, outcome.new_dials, outcome.links):
            self.assertLessEqual(share.part, 0.2, outcome)

    def test_many_addresses_leave_old_and_new_nodes_their_honest_ones(self) -> None:
        attack = Attack(16, 16, 16)
        outcome = poison(3, attack)
        self.assertGreaterEqual(outcome.old.bad, 20, "the attacker gets its places")
        self.assertLessEqual(outcome.old.part, 0.6, outcome)
        self.assertLessEqual(outcome.new.part, 0.75, outcome)
        self.assertLessEqual(outcome.old_dials.part, 0.4, outcome)
        self.assertGreaterEqual(outcome.old_dials.all, 16, outcome)
        self.assertGreaterEqual(outcome.honest, 8, outcome)
        self.assertEqual(poison(3, attack), outcome)
