"""RLP against the ``rlp`` package, and strictness."""

import re

import rlp as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.primitives import rlp

ITEMS = st.recursive(st.binary(max_size=80), lambda inner: st.lists(inner, max_size=5), max_leaves=20)


def bytes_only(item: object) -> object:
    return item if isinstance(item, bytes) else [bytes_only(part) for part in item]


class Rlp(SynchronousTestCase):
    @settings(deadline=None, derandomize=True)
    @given(ITEMS)
    def test_as_the_oracle(self, item: object) -> None:
        data = rlp.encode(item)
        self.assertEqual(data, oracle.encode(item))
        self.assertEqual(rlp.decode(data), item)
        if not isinstance(item, bytes):
            self.assertEqual(rlp.decode_list(data), item)
            self.assertEqual(rlp.split_list(data), [rlp.encode(part) for part in item])
            if item:
                self.assertEqual(rlp.first_item(data), rlp.encode(item[0]))

    @settings(deadline=None, derandomize=True, max_examples=500)
    @given(st.binary(max_size=40))
    def test_accepted_bytes_are_canonical(self, data: bytes) -> None:
        try:
            item = rlp.decode(data)
        except rlp.RlpError:
            return
        self.assertEqual(rlp.encode(item), data)

    def test_any_kind_of_bytes(self) -> None:
        for data in (b"\x05", b"ab", bytes(80)):
            for kind in (bytearray, memoryview):
                self.assertEqual(rlp.encode(kind(data)), oracle.encode(data))
                self.assertIs(type(rlp.encode(kind(data))), bytes)
        self.assertEqual(rlp.wrap_list(rlp.encode(b"a") + rlp.encode(b"b")), oracle.encode([b"a", b"b"]))

    @given(st.integers(0, 2**256 - 1))
    @settings(deadline=None, derandomize=True)
    def test_integers(self, value: int) -> None:
        self.assertEqual(rlp.decode_uint(rlp.encode_uint(value)), value)

    @settings(deadline=None, derandomize=True)
    @given(st.integers(0, 2**256 - 1) | st.integers(0, 300))
    def test_items_of_integers(self, value: int) -> None:
        item = rlp.uint_item(value)
        self.assertEqual(item, oracle.encode(value))
        self.assertEqual(rlp.uint_of(item), value)
        for size in (1, 8, 32):
            match = re.fullmatch(rlp.uint_pattern(size), item, re.DOTALL)
            self.assertEqual(match is not None, value < 256**size)

    @settings(deadline=None, derandomize=True, max_examples=300)
    @given(st.binary(max_size=3) | st.binary(max_size=6).map(lambda tail: bytes((0x80 + len(tail),)) + tail))
    def test_the_pattern_takes_what_the_decoder_takes(self, data: bytes) -> None:
        try:
            expected = rlp.decode_uint(rlp.decode(data))
        except rlp.RlpError:
            expected = None
        match = re.fullmatch(rlp.uint_pattern(32), data, re.DOTALL)
        self.assertEqual(None if match is None else rlp.uint_of(match[1]), expected)

    def test_refusals(self) -> None:
        for data in (
            "",
            "8100",
            "b800",
            "b837" + "00" * 55,
            "b90001",
            "c1",
            "f800",
            "83ffff",
            "0000",
            "c18100",
            "c28100",
            "c183",
            "f9",
        ):
            with self.subTest(data), self.assertRaises(rlp.RlpError):
                rlp.decode(bytes.fromhex(data))
        deep = b"\xc0"
        for _ in range(rlp.MAX_DEPTH):
            deep = rlp.encode([rlp.decode(deep)]) if deep == b"\xc0" else bytes((0xC0 + len(deep),)) + deep
        with self.assertRaises(rlp.RlpError):
            rlp.decode(bytes((0xC0 + len(deep),)) + deep)
        for call in (
            lambda: rlp.decode_uint(b"\0\1"),
            lambda: rlp.decode_uint(bytes(33)),
            lambda: rlp.decode_uint([b""]),
            lambda: rlp.decode_list(b"\x80"),
            lambda: rlp.split_list(b"\x80"),
            lambda: rlp.split_list(b"\xc0\0"),
            lambda: rlp.first_item(b"\x80"),
            lambda: rlp.first_item(b"\xc0"),
            lambda: rlp.first_item(b"\xc1\x01\0"),
            lambda: rlp.first_item(b"\xc1\x81\x80"),
        ):
            with self.assertRaises(rlp.RlpError):
                call()
