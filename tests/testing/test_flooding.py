"""The flooded address book: a small edition of ``benchmarks/table_book.py``."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.testing.flooding import OUTBOUND, Flood, flood_book

SMALL = Flood(tried=100, new=400, attacker=4_000)


class FloodTest(SynchronousTestCase):
    def play(self, flood, seeds):
        outcomes = [flood_book(seed, flood) for seed in range(seeds)]
        picks, bad = sum(one.picks for one in outcomes), sum(one.bad for one in outcomes)
        self.assertEqual(picks, OUTBOUND * seeds)
        self.assertLessEqual(bad, 0.05 * picks, outcomes)
        return outcomes

    def test_a_flood_from_three_sources_gets_a_twentieth_of_the_picks(self):
        for one in self.play(SMALL, 6):
            self.assertTrue(one.kept_tried >= 98 and one.kept_new >= 390 and one.attacker_new > 2_500, one)

    def test_telling_honest_addresses_too_does_not_help(self):
        self.play(Flood(tried=100, new=400, attacker=2_000, repeats=True), 4)

    def test_an_attacker_with_as_many_sources_gets_its_share_of_the_new_and_none_of_the_tried(self):
        outcomes = [flood_book(seed, Flood(100, 400, 50, 3_000, 50)) for seed in range(4)]
        bad = sum(one.bad for one in outcomes)
        self.assertTrue(0.1 < bad / (4 * OUTBOUND) < 0.4, bad)

    def test_the_same_seed_gives_the_same_picks(self):
        self.assertEqual(flood_book(3, SMALL), flood_book(3, SMALL))
