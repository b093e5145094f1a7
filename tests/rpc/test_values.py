"""Quantities and byte strings, with go-ethereum's texts."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.rpc.core import Number
from chainp2p.rpc.values import address, boolean, data, hash32, quantity, text


class Values(SynchronousTestCase):
    def refused(self, read: Any, value: Any) -> str:
        return str(self.assertRaises(ValueError, read, value))

    def test_quantities(self) -> None:
        self.assertEqual([quantity(v) for v in ("0x0", "0x1f", "0XAB", "0x" + "f" * 64)], [0, 31, 171, 2**256 - 1])
        for value, expected in (
            ("", "empty hex string"),
            ("12", "hex string without 0x prefix"),
            ("0x", 'hex string "0x"'),
            ("0x01", "hex number with leading zero digits"),
            ("0x1" + "0" * 64, "hex number > 256 bits"),
            ("0xzz", "invalid hex string"),
            ("0x1_0", "invalid hex string"),
            ("0x-1", "invalid hex string"),
            ("0x٣", "invalid hex string"),
            ("0x\ud800", "invalid hex string"),
        ):
            self.assertEqual(self.refused(quantity, value), expected, value)
        for bad in (1, 1.5, None, True, [], {}, Number("1e400"), Number("9" * 5000)):
            self.assertIn("cannot unmarshal", self.refused(quantity, bad))

    def test_data(self) -> None:
        self.assertEqual(data()("0x"), b"")
        self.assertEqual(data()("0xAb"), b"\xab")
        self.assertEqual(self.refused(data(), "0xabc"), "hex string of odd length")
        self.assertEqual(self.refused(data(), "0xzz"), "invalid hex string")
        self.assertEqual(self.refused(data(), "0xa b "), "invalid hex string")
        self.assertEqual(self.refused(hash32, "0xab"), "hex string has length 2, want 64")
        self.assertEqual(len(address("0x" + "Ab" * 20)), 20)

    def test_others(self) -> None:
        self.assertEqual((text("x"), boolean(True)), ("x", True))
        self.assertIn("string", self.refused(text, 1))
        self.assertIn("bool", self.refused(boolean, 1))

    @settings(deadline=None, derandomize=True)
    @given(st.integers(0, 2**256 - 1))
    def test_quantities_round_trip(self, value: int) -> None:
        self.assertEqual(quantity(hex(value)), value)
