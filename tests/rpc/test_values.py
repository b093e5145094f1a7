"""Quantities and byte strings, with go-ethereum's texts."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.rpc.core import Number
from chainp2p.rpc.values import address, boolean, data, hash32, hex_number, quantity, quantity64, text


class Values(SynchronousTestCase):
    def refused(self, read: Any, value: Any) -> str:
        return str(self.assertRaises(ValueError, read, value))

    def test_quantities(self) -> None:
        self.assertEqual([quantity(v) for v in ("0x0", "0x1f", "0XAB", "0x" + "f" * 64)], [0, 31, 171, 2**256 - 1])
        self.assertEqual((quantity(""), quantity64("0x" + "f" * 16), hex_number("0x1", 64)), (0, 2**64 - 1, 1))
        for value, expected in (
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
            self.assertEqual(self.refused(quantity, value), self.unmarshal(expected, "hexutil.Big"), value)
        self.assertIn("hex number > 64 bits", self.refused(quantity64, "0x1" + "0" * 16))
        self.assertEqual(self.refused(lambda value: hex_number(value, 64), ""), "empty hex string")
        for bad in (1, 1.5, None, True, [], {}, Number("1e400"), Number("9" * 5000)):
            self.assertIn("cannot unmarshal", self.refused(quantity, bad))

    def unmarshal(self, what: str, kind: str) -> str:
        return f"json: cannot unmarshal {what} into Go value of type {kind}"

    def test_data(self) -> None:
        self.assertEqual([data(value) for value in ("0x", "", "0xAb")], [b"", b"", b"\xab"])
        for value, expected in (
            ("0xabc", "hex string of odd length"),
            ("0xzz", "invalid hex string"),
            ("0xa b ", "invalid hex string"),
            ("ab", "hex string without 0x prefix"),
            (5, "non-string"),
        ):
            self.assertEqual(self.refused(data, value), self.unmarshal(expected, "hexutil.Bytes"), value)
        for size in (0, 2):
            text = f"hex string has length {size}, want 64 for common.Hash"
            self.assertEqual(
                self.refused(hash32, "0x"[:size] + "ab" * (size // 2)), self.unmarshal(text, "common.Hash")
            )
        self.assertEqual(len(address("0x" + "Ab" * 20)), 20)

    def test_others(self) -> None:
        self.assertEqual((text("x"), boolean(True)), ("x", True))
        self.assertIn("string", self.refused(text, 1))
        self.assertIn("bool", self.refused(boolean, 1))

    @settings(deadline=None, derandomize=True)
    @given(st.integers(0, 2**256 - 1))
    def test_quantities_round_trip(self, value: int) -> None:
        self.assertEqual(quantity(hex(value)), value)
