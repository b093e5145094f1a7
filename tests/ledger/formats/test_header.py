"""Headers: round trips, hashes against the rlp package, every field checked."""

import inspect

import rlp as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.formats import header as module
from chainp2p.ledger.formats.header import (
    EMPTY_BLOOM,
    EMPTY_OMMERS_HASH,
    MAX_HEADER_BYTES,
    Header,
    HeaderError,
    make_header,
)
from chainp2p.ledger.state.trie import EMPTY_ROOT
from chainp2p.primitives import rlp
from chainp2p.primitives.keccak import keccak256

U64 = st.integers(0, 2**64 - 1)
HASH = st.binary(min_size=32, max_size=32)
FIELDS = st.fixed_dictionaries(
    {
        "parent": HASH,
        "miner": st.binary(min_size=20, max_size=20),
        "state_root": HASH,
        "transactions_root": HASH,
        "receipts_root": HASH,
        "difficulty": st.integers(0, 2**256 - 1),
        "number": U64,
        "gas_limit": U64,
        "gas_used": U64,
        "timestamp": U64,
        "extra": st.binary(max_size=32),
        "mix_hash": HASH,
        "nonce": U64,
        "base_fee": st.integers(0, 2**256 - 1),
        "seal": st.one_of(st.just(b""), st.binary(min_size=65, max_size=65)),
    }
)
PLAIN = {"number": 1, "gas_limit": 30_000_000, "timestamp": 2, "base_fee": 7}


class Headers(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=60)
    @given(FIELDS)
    def test_round_trip(self, fields: dict) -> None:
        header = make_header(**fields)
        for name, value in fields.items():
            self.assertEqual(getattr(header, name), value)
        self.assertEqual(Header.decode(header.raw), header)
        self.assertLessEqual(len(header.raw), MAX_HEADER_BYTES)
        items = oracle.decode(header.raw)
        self.assertEqual(len(items), 17)
        self.assertEqual((items[1], items[6]), (EMPTY_OMMERS_HASH, EMPTY_BLOOM))
        self.assertEqual(header.hash, keccak256(oracle.encode(items)))
        self.assertEqual(header.seal_hash, keccak256(oracle.encode(items[:-1])))

    @settings(deadline=None, derandomize=True, max_examples=60)
    @given(FIELDS, st.booleans())
    def test_the_usual_form(self, fields: dict, plain: bool) -> None:
        if plain:
            fields |= {"extra": b"", "seal": bytes(range(65)), "base_fee": fields["base_fee"] % 2**96}
        raw = make_header(**fields).raw
        usual = fields["extra"] == b"" and fields["seal"] != b"" and fields["base_fee"] < 2**96
        self.assertEqual(module._usual(raw), module._decode(raw) if usual else None)

    def test_every_byte_changed(self) -> None:
        raw = make_header(**PLAIN, seal=bytes(range(65)), gas_used=21_000).raw
        for position in range(len(raw)):
            for value in (0, 1, 0x80, 0x81, 0xA0, 0xFF):
                changed = raw[:position] + bytes((value,)) + raw[position + 1 :]
                try:
                    expected: Header | None = module._decode(changed)
                except HeaderError:
                    expected = None
                self.assertIn(module._usual(changed), (None, expected))
        self.assertIsNone(module._usual(raw + b"\0"))

    def test_sealing(self) -> None:
        plain = make_header(**PLAIN)
        sealed = plain.sealed(bytes(range(65)))
        self.assertEqual(sealed.seal_hash, plain.seal_hash)
        self.assertNotEqual(sealed.hash, plain.hash)
        self.assertEqual(sealed, make_header(**PLAIN, seal=bytes(range(65))))
        self.assertEqual(sealed.sealed(b""), plain)
        with self.assertRaises(HeaderError):
            plain.sealed(bytes(64))

    def test_constants(self) -> None:
        self.assertEqual(EMPTY_OMMERS_HASH, keccak256(rlp.encode([])))
        self.assertEqual(EMPTY_ROOT, keccak256(rlp.encode(b"")))
        largest = make_header(
            number=2**64 - 1,
            gas_limit=2**64 - 1,
            gas_used=2**64 - 1,
            timestamp=2**64 - 1,
            base_fee=2**256 - 1,
            difficulty=2**256 - 1,
            extra=bytes(32),
            seal=bytes(65),
        )
        self.assertLess(len(largest.raw), MAX_HEADER_BYTES)

    def test_refusals(self) -> None:
        items = rlp.decode_list(make_header(**PLAIN).raw)
        for index, value, text in (
            (0, bytes(31), "parent hash"),
            (0, [], "parent hash"),
            (1, bytes(32), "ommers"),
            (2, bytes(21), "miner"),
            (3, bytes(31), "state root"),
            (4, b"", "transactions root"),
            (5, b"", "receipts root"),
            (6, bytes(255), "bloom"),
            (6, bytes(255) + b"\1", "bloom"),
            (7, b"\0", "leading zero"),
            (8, b"\1" * 9, "integer of 9 bytes"),
            (9, [], "an integer is expected"),
            (10, b"\0\1", "leading zero"),
            (11, b"\1" * 9, "integer of 9 bytes"),
            (12, bytes(33), "extra data"),
            (12, [], "extra data"),
            (13, bytes(31), "mix hash"),
            (14, bytes(7), "nonce"),
            (15, b"\1" * 33, "integer of 33 bytes"),
            (16, bytes(64), "seal"),
            (16, [], "seal"),
        ):
            with self.subTest(index=index, value=value), self.assertRaises(HeaderError) as caught:
                Header.decode(rlp.encode([*items[:index], value, *items[index + 1 :]]))
            self.assertIn(text, str(caught.exception))
        for raw in (b"", b"\x80", rlp.encode(items[:-1]), rlp.encode([*items, b""]), rlp.encode(items) + b"\0"):
            with self.assertRaises(HeaderError):
                Header.decode(raw)
        with self.assertRaises(HeaderError):
            Header.decode(bytes(MAX_HEADER_BYTES + 1))
        with self.assertRaises(HeaderError):
            make_header(**PLAIN, extra=bytes(600))
        with self.assertRaises(HeaderError):
            make_header(**{**PLAIN, "number": 2**64})

    @settings(deadline=None, derandomize=True, max_examples=200)
    @given(st.integers(0, 600), st.integers(1, 255))
    def test_any_changed_byte(self, position: int, flip: int) -> None:
        header = make_header(**PLAIN, seal=bytes(65))
        position %= len(header.raw)
        raw = header.raw[:position] + bytes((header.raw[position] ^ flip,)) + header.raw[position + 1 :]
        try:
            other = Header.decode(raw)
        except HeaderError:
            return
        self.assertNotEqual(other.hash, header.hash)
        fields = inspect.signature(make_header).parameters
        self.assertEqual(make_header(**{name: getattr(other, name) for name in fields}).raw, raw)
