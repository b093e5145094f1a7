"""Blocks: split and assemble are inverses, bodies must match their headers."""

import rlp as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.formats import block as blocks
from chainp2p.ledger.formats.block import (
    BlockError,
    assemble,
    block_hash,
    body_matches,
    decode_block,
    split,
    transactions_root,
)
from chainp2p.ledger.formats.header import Header, make_header
from chainp2p.primitives import rlp
from chainp2p.primitives.keccak import keccak256
from tests.ledger.common import raw_transfer

RAWS = [raw_transfer(nonce, nonce, type=nonce % 3) for nonce in range(6)]


def header_for(raws: list[bytes]) -> Header:
    return make_header(
        number=1, gas_limit=30_000_000, timestamp=1, base_fee=7, transactions_root=transactions_root(raws)
    )


class Blocks(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=30)
    @given(st.lists(st.sampled_from(RAWS), max_size=8))
    def test_split_and_assemble(self, raws: list[bytes]) -> None:
        header = header_for(raws)
        raw = assemble(header.raw, raws)
        # As Ethereum has it: a legacy transaction is a list in the body, a typed one a string.
        items = [oracle.decode(tx) if tx[0] >= 0xC0 else tx for tx in raws]
        self.assertEqual(raw, oracle.encode([oracle.decode(header.raw), items, []]))
        self.assertEqual(split(raw), (header.raw, tuple((keccak256(tx), tx) for tx in raws)))
        self.assertEqual(block_hash(raw), header.hash)
        self.assertEqual(block_hash(header.raw), header.hash)
        block = decode_block(raw)
        self.assertEqual((block.header, block.hash, block.size), (header, header.hash, len(raw)))
        self.assertEqual([tx.raw for tx in block.transactions], raws)

    def test_whether_a_body_matches(self) -> None:
        header = header_for(RAWS[:2])
        bodies = (RAWS[:2], RAWS[1::-1], RAWS[:1], [*RAWS[:2], b"\xff"])
        self.assertEqual([body_matches(assemble(header.raw, raws)) for raws in bodies], [True, False, False, False])
        for raw in (b"", b"x", assemble(b"\xc1\x80", RAWS[:2])):
            self.assertFalse(body_matches(raw))

    def test_body_of_another_header(self) -> None:
        with self.assertRaises(BlockError) as caught:
            decode_block(assemble(header_for(RAWS).raw, RAWS[1:]))
        self.assertIn("do not match", str(caught.exception))
        self.assertFalse(caught.exception.committed)
        # What was checked before it was stored is not checked again.
        self.assertEqual(len(decode_block(assemble(header_for(RAWS).raw, RAWS[1:]), checked=True).transactions), 5)

    def test_bad_transaction_that_the_signer_vouched_for(self) -> None:
        bad = [b"\x02\xc0"]
        with self.assertRaises(BlockError) as caught:
            decode_block(assemble(header_for(bad).raw, bad))
        self.assertTrue(caught.exception.committed)

    def test_refusals(self) -> None:
        header = header_for([])
        for raw in (
            b"",
            b"\x80",
            b"\xc0",
            rlp.encode([b"", [], [], []]),
            rlp.wrap_list(header.raw + b"\xc0" + b"\xc1\xc0"),  # ommers
            rlp.wrap_list(header.raw + b"\x80" + b"\xc0"),  # transactions are no list
            rlp.wrap_list(header.raw + b"\xc1\x80" + b"\xc0"),  # an empty transaction
            rlp.wrap_list(header.raw + rlp.encode([b"\xc0" * 9]) + b"\xc0"),  # a legacy transaction as a string
            rlp.wrap_list(header.raw + b"\xc1\x05" + b"\xc0\x00"),
        ):
            with self.subTest(raw[-20:].hex()), self.assertRaises(BlockError):
                split(raw)
        with self.assertRaises(BlockError):
            decode_block(rlp.wrap_list(b"\xc0\xc0\xc0"))
        for neither in (b"\x80", b"\xc0", rlp.encode([bytes(2000)]), header.raw + b"\0"):
            with self.subTest(neither[:5].hex()), self.assertRaises(ValueError):
                block_hash(neither)

    def test_oversized(self) -> None:
        self.patch(blocks, "MAX_BLOCK_BYTES", 1000)
        raw = assemble(header_for(RAWS).raw, RAWS)
        with self.assertRaises(BlockError) as caught:
            split(raw)
        self.assertIn("at most 1000", str(caught.exception))

    @settings(deadline=None, derandomize=True, max_examples=200)
    @given(st.binary(max_size=40))
    def test_arbitrary_bytes(self, raw: bytes) -> None:
        try:
            header, transactions = split(raw)
        except BlockError:
            return
        self.assertEqual(assemble(header, [tx for _, tx in transactions]), raw)
