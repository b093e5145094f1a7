"""When a table is refreshed, and for whom."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.refresh import PAUSE_FIRST, PAUSE_MAX, SMALL, Refresh

OWN = b"\x01" * 32


class RefreshTest(SynchronousTestCase):
    def setUp(self):
        self.refresh = Refresh(OWN, Random(1))
        self.refresh.start(5.0)

    def play(self, lives):
        """Look around as often as there are numbers of live entries; return (pause before the next, whether inward)."""
        seen = []
        for live in lives:
            now = self.refresh.at
            target = self.refresh.due(live, now)
            seen.append((self.refresh.at - now, None if target is None else target == OWN))
        return seen

    def test_pauses_grow_and_targets_alternate(self):
        seen = self.play([SMALL] * 8)
        self.assertEqual([pause for pause, _ in seen], [10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0])
        self.assertEqual([inward for _, inward in seen], [True, False] * 4)

    def test_a_small_table_is_refreshed_often(self):
        self.play([SMALL] * 7)
        seen = self.play([SMALL - 1] * 4)
        self.assertEqual({pause for pause, _ in seen}, {PAUSE_FIRST})
        self.assertEqual([inward for _, inward in seen], [False, True] * 2)
        self.assertEqual([pause for pause, _ in self.play([SMALL, SMALL])], [2 * PAUSE_FIRST, 4 * PAUSE_FIRST])

    def test_nobody_to_ask(self):
        self.assertEqual(self.play([0, 0]), [(PAUSE_FIRST, None)] * 2)
        self.assertEqual(self.play([1]), [(PAUSE_FIRST, True)])

    def test_beginning_anew(self):
        self.play([SMALL] * 9)
        self.refresh.start(7_000.0)
        self.assertEqual(self.refresh.at, 7_000.0)
        self.assertEqual(self.play([SMALL]), [(PAUSE_FIRST, True)])
        self.assertGreater(PAUSE_MAX, PAUSE_FIRST)
