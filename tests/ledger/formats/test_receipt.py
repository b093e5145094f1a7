"""Receipts against the rlp package."""

import rlp as oracle
from trie import HexaryTrie
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.formats.receipt import Receipt, receipts_root
from chainp2p.ledger.state.trie import EMPTY_ROOT


def receipt(kind: int, cumulative: int) -> Receipt:
    return Receipt(1, cumulative, 21_000, 7, bytes(20), bytes(32), kind)


class Receipts(SynchronousTestCase):
    def test_encoding(self) -> None:
        for kind in range(3):
            body = oracle.encode([1, 42_000, bytes(256), []])
            self.assertEqual(receipt(kind, 42_000).encode(), (bytes((kind,)) if kind else b"") + body)

    def test_root(self) -> None:
        self.assertEqual(receipts_root([]), EMPTY_ROOT)
        receipts = [receipt(index % 3, 21_000 * (index + 1)) for index in range(20)]
        expected = HexaryTrie({})
        for index, item in enumerate(receipts):
            expected[oracle.encode(index)] = item.encode()
        self.assertEqual(receipts_root(receipts), expected.root_hash)
