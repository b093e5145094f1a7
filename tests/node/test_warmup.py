"""When a signer may seal after a start."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.node.warmup import CLAIM_LIMIT, WarmUp

LOW, HIGH = b"\0" * 31 + b"\x01", b"\0" * 31 + b"\x02"


class WarmUpTests(SynchronousTestCase):
    def test_a_sole_signer_seals_at_once(self) -> None:
        self.assertTrue(WarmUp(10.0, 0.0, at_once=True).is_over(LOW, 0.0))

    def test_alone_it_waits_its_patience(self) -> None:
        warm_up = WarmUp(10.0, 5.0)
        self.assertFalse(warm_up.is_over(LOW, 14.9))
        self.assertEqual(warm_up.next_time(14.9), 15.0)
        self.assertTrue(warm_up.is_over(LOW, 15.0))

    def test_equal_peers_are_enough(self) -> None:
        warm_up = WarmUp(10.0, 0.0)
        warm_up.joined("a", LOW, 1.0)
        self.assertTrue(warm_up.is_over(LOW, 1.0))

    def test_a_better_peer_is_caught_up_with_first(self) -> None:
        warm_up = WarmUp(10.0, 0.0)
        warm_up.joined("a", HIGH, 1.0)
        self.assertFalse(warm_up.is_over(LOW, 20.0))
        self.assertTrue(warm_up.is_over(HIGH, 20.0))

    def test_a_claim_that_nobody_serves_lapses(self) -> None:
        warm_up = WarmUp(10.0, 0.0)
        warm_up.joined("liar", HIGH, 1.0)
        self.assertEqual(warm_up.next_time(1.0), 1.0 + CLAIM_LIMIT)
        self.assertFalse(warm_up.is_over(LOW, 0.9 + CLAIM_LIMIT))
        self.assertTrue(warm_up.is_over(LOW, 1.0 + CLAIM_LIMIT))

    def test_the_last_peer_that_leaves_begins_the_wait_anew(self) -> None:
        warm_up = WarmUp(10.0, 0.0)
        warm_up.joined("a", HIGH, 1.0)
        warm_up.left("a", 8.0)
        warm_up.left("stranger", 9.0)
        self.assertFalse(warm_up.is_over(LOW, 17.9))
        self.assertTrue(warm_up.is_over(LOW, 18.0))

    def test_once_over_it_stays_over(self) -> None:
        warm_up = WarmUp(10.0, 0.0)
        warm_up.joined("a", LOW, 1.0)
        self.assertTrue(warm_up.is_over(LOW, 1.0))
        warm_up.joined("b", HIGH, 2.0)
        self.assertTrue(warm_up.is_over(LOW, 2.0))

    @settings(deadline=None, derandomize=True)
    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 5), st.floats(0, 9)), max_size=12))
    def test_it_never_sleeps_past_the_end(self, steps) -> None:
        """Whoever sleeps until ``next_time`` is never late: it ends by then if nothing else happens."""
        warm_up, now, rank = WarmUp(10.0, 0.0), 0.0, bytes([3])
        for join, peer, claim, pause in steps:
            now += pause
            if join:
                warm_up.joined(peer, bytes([claim]), now)
            else:
                warm_up.left(peer, now)
        asked = 0
        while not warm_up.is_over(rank, now):
            when = warm_up.next_time(now)
            self.assertGreater(when, now)
            now = when
            asked += 1
            self.assertLess(asked, 8)
