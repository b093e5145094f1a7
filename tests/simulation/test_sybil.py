"""A small crowd of Sybil addresses attacks one node (the large one: ``benchmarks/table_sybil.py``)."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.testing.sybils import EARLY, FULL, sybil_attack


class SybilTest(SynchronousTestCase):
    def test_honest_peers_keep_their_slots(self) -> None:
        for groups in (1, 64):
            outcome = sybil_attack(seed=7, groups=groups, sybils=80, length=120.0)
            self.assertTrue(outcome.good, outcome)
            self.assertGreaterEqual(outcome.honest[0], EARLY + FULL, outcome)
            self.assertGreaterEqual(outcome.attackers, 32, outcome)
            self.assertGreaterEqual(outcome.late, 4, outcome)
            self.assertEqual(outcome.outbound_bad, 0, outcome)
