"""EIP-1559: published figures, and the bounds that every step keeps."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.formats.fees import base_fee_floor, gas_limit_allowed, next_base_fee, next_gas_limit

GWEI = 10**9


class BaseFee(SynchronousTestCase):
    def test_published_figures(self) -> None:
        # go-ethereum consensus/misc/eip1559 TestCalcBaseFee
        for used, expected in ((10_000_000, GWEI), (9_000_000, 987_500_000), (11_000_000, 1_012_500_000)):
            self.assertEqual(next_base_fee(GWEI, used, 20_000_000, 7), expected)

    def test_extremes(self) -> None:
        self.assertEqual(next_base_fee(GWEI, 20_000_000, 20_000_000, 7), 1_125_000_000)
        self.assertEqual(next_base_fee(GWEI, 0, 20_000_000, 7), 875_000_000)
        self.assertEqual(next_base_fee(7, 10_000_001, 20_000_000, 7), 8)  # up by at least one

    def test_floor(self) -> None:
        self.assertEqual(base_fee_floor(1), 7)
        self.assertEqual(base_fee_floor(GWEI), GWEI)
        self.assertEqual(next_base_fee(GWEI, 0, 20_000_000, GWEI), GWEI)
        self.assertEqual(next_base_fee(1, 10_000_000, 20_000_000, 7), 7)
        self.assertEqual(next_base_fee(1, 20_000_000, 20_000_000, 7), 7)
        fee = GWEI
        for _ in range(300):
            fee = next_base_fee(fee, 0, 20_000_000, 7)
        self.assertEqual(fee, 7)

    @settings(deadline=None, derandomize=True)
    @given(st.integers(7, 2**100), st.integers(5000, 2**40), st.floats(0, 1))
    def test_bounds(self, fee: int, limit: int, share: float) -> None:
        following = next_base_fee(fee, int(limit * share), limit, 7)
        self.assertGreaterEqual(following, max(7, fee - fee // 8 - 1))
        self.assertLessEqual(following, fee + fee // 8 + fee // 1000 + 1)


class GasLimit(SynchronousTestCase):
    def test_rule(self) -> None:
        parent = 30_000_000
        bound = parent // 1024
        self.assertTrue(gas_limit_allowed(parent, parent))
        self.assertTrue(gas_limit_allowed(parent, parent + bound - 1))
        self.assertFalse(gas_limit_allowed(parent, parent + bound))
        self.assertTrue(gas_limit_allowed(parent, parent - bound + 1))
        self.assertFalse(gas_limit_allowed(parent, parent - bound))
        self.assertTrue(gas_limit_allowed(5000, 5000))
        self.assertFalse(gas_limit_allowed(5000, 4999))

    @settings(deadline=None, derandomize=True)
    @given(st.integers(5000, 2**62), st.integers(0, 2**62))
    def test_next_is_allowed(self, parent: int, wanted: int) -> None:
        limit = next_gas_limit(parent, wanted)
        self.assertTrue(gas_limit_allowed(parent, limit))
        self.assertLessEqual(abs(max(wanted, 5000) - limit), abs(max(wanted, 5000) - parent))
        if gas_limit_allowed(parent, wanted):
            self.assertEqual(limit, wanted)
