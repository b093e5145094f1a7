"""Roots of lists against the ``trie`` package."""

import rlp as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from trie import HexaryTrie
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.state.ordered import ordered_root
from chainp2p.primitives.keccak import keccak256


class OrderedRoot(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=60)
    @given(st.lists(st.one_of(st.binary(min_size=1, max_size=4), st.binary(min_size=20, max_size=150)), max_size=40))
    def test_as_the_oracle(self, values: list[bytes]) -> None:
        self.assertEqual(ordered_root(values), self.oracle_root(values))

    def oracle_root(self, values: list[bytes]) -> bytes:
        expected = HexaryTrie({})
        for index, value in enumerate(values):
            expected[oracle.encode(index)] = value
        return expected.root_hash

    def test_many(self) -> None:
        for count in (0, 1, 127, 128, 129, 256, 400):
            values = [keccak256(bytes((index & 255, index >> 8))) for index in range(count)]
            self.assertEqual(ordered_root(values), self.oracle_root(values))
