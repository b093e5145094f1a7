"""When discovery looks for more nodes."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.pace import ENOUGH, PAUSE_MAX, PAUSE_MIN, LookupPace


class LookupPaceTest(SynchronousTestCase):
    def setUp(self):
        self.pace, self.now = LookupPace(), 0.0

    def looks(self, seconds, candidates, links, news=0):
        """When it looks within so many seconds, asked each second."""
        begun, found = self.now, []
        while self.now < begun + seconds:
            if self.pace.wants(self.now, candidates, links, news):
                found.append(self.now - begun)
            self.now += 1.0
        return found

    def test_with_enough_candidates_it_never_looks(self):
        self.assertEqual(self.looks(1_000, ENOUGH, 0), [])

    def test_without_use_it_looks_ever_more_rarely(self):
        self.assertEqual(self.looks(1_000, 3, 5), [0, 10, 30, 70, 150, 310, 610, 910])
        self.assertEqual((PAUSE_MIN, PAUSE_MAX), (10.0, 300.0))

    def test_while_it_finds_somebody_it_looks_on(self):
        looked = 0
        for news in range(50):
            looked += self.pace.wants(self.now, 0, 4, news)
            self.now += PAUSE_MIN
        self.assertEqual(looked, 50)

    def test_a_lost_link_or_a_newcomer_makes_it_look_again(self):
        self.looks(1_000, 0, 5)
        self.assertEqual(self.looks(100, 0, 4)[:3], [0, 10, 30])
        self.looks(1_000, 0, 4)
        self.assertEqual(self.looks(100, 1, 4, news=1)[:3], [0, 10, 30])

    def test_links_that_come_and_go_make_it_no_faster_than_the_shortest_pause(self):
        times = []
        for second in range(100):
            if self.pace.wants(float(second), 0, 5 - second % 2, 0):
                times.append(second)
        self.assertTrue(all(later - earlier >= PAUSE_MIN for earlier, later in zip(times, times[1:], strict=False)))
        self.assertGreaterEqual(len(times), 9)

    def test_what_was_enough_once_and_is_no_longer(self):
        self.looks(100, ENOUGH, 3)
        self.assertEqual(self.looks(31, ENOUGH - 1, 3), [0, 10, 30])
