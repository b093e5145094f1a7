"""Pairs in ``Status.extra``."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.wire.extras import CLOCK, clock_extra, read_clock


class ClockTests(SynchronousTestCase):
    def test_the_bytes(self) -> None:
        self.assertEqual(clock_extra(1.5), (1, bytes.fromhex("dc05000000000000")))
        self.assertEqual(clock_extra(-1.0), (1, bytes(8)))

    @settings(deadline=None, derandomize=True)
    @given(st.floats(0, 1e10))
    def test_what_is_written_is_read_to_the_millisecond(self, now: float) -> None:
        self.assertLess(abs(read_clock(((9, b""), clock_extra(now))) - now), 0.001)

    def test_what_cannot_be_read_is_none(self) -> None:
        for extra in ((), ((2, bytes(8)),), ((CLOCK, bytes(7)),), ((CLOCK, bytes(9)),)):
            self.assertIsNone(read_clock(extra))
