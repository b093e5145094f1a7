"""A bucket kept as one number against one that is filled drop by drop."""

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.peer.rate import Rate

#: 1970 and a clock that was just started.
STARTS = (0.0, 1_800_000_000.0)


class Buckets(SynchronousTestCase):
    @settings(deadline=None, derandomize=True)
    @given(
        st.sampled_from(STARTS),
        st.lists(st.tuples(st.integers(0, 4_000), st.integers(1, 60)), max_size=40),
    )
    def test_like_a_bucket_of_tokens(self, start: float, script: list[tuple[int, int]]) -> None:
        rate = Rate(8.0, 50.0)
        full_at, now = float("-inf"), Fraction(start)
        tokens = Fraction(50)
        for wait, units in script:
            elapsed = Fraction(wait, 1_000)
            now += elapsed
            tokens = min(Fraction(50), tokens + elapsed * 8)
            self.assertLess(abs(rate.left(full_at, float(now)) - tokens), 1e-4)
            after = rate.spent(full_at, units, float(now))
            over = rate.over(after, float(now))
            self.assertLess(abs(over - max(0.0, float(units - tokens) / 8)), 1e-5)
            if not over:
                full_at, tokens = after, tokens - units

    def test_who_waits_as_long_as_told_is_served(self) -> None:
        for start in STARTS:
            rate, full_at, now = Rate(3.0, 7.0), start, start
            full_at = rate.spent(full_at, 7.0, now)
            self.assertEqual(rate.over(full_at, now), 0.0)
            for _ in range(1_000):
                wait = rate.over(rate.spent(full_at, 1.0, now), now)
                self.assertGreater(wait, 0.3)
                now += wait
                full_at = rate.spent(full_at, 1.0, now)
                self.assertEqual(rate.over(full_at, now), 0.0)
