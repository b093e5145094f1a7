"""Proofs against the ``trie`` package, both ways, and against whoever changes them."""

from random import Random

import rlp as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from trie import HexaryTrie
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.state.proofs import ProofError, proven
from chainp2p.ledger.state.trie import EMPTY_ROOT, HashedTrie
from tests.ledger.state.test_trie import KEYS

CONTENTS = st.dictionaries(st.sampled_from(KEYS), st.binary(min_size=32, max_size=110), max_size=20)


class Proofs(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=60)
    @given(CONTENTS)
    def test_as_the_oracle(self, content: dict[bytes, bytes]) -> None:
        trie = HashedTrie.build(content.items())
        expected = HexaryTrie({})
        for key, value in content.items():
            expected[key] = value
        for key in KEYS:
            proof = trie.proof(key)
            self.assertEqual(proven(trie.root, key, proof), content.get(key))
            self.assertEqual(proof, [oracle.encode(node) for node in expected.get_proof(key) if node != b""])
            nodes = [oracle.decode(node) for node in proof]
            if nodes:
                self.assertEqual(HexaryTrie.get_from_proof(trie.root, key, nodes) or None, content.get(key))

    def test_what_proves_nothing(self) -> None:
        content = {key: bytes((number + 1,)) * 40 for number, key in enumerate(KEYS)}
        trie = HashedTrie.build(content.items())
        proof = trie.proof(KEYS[3])
        for text, nodes in (
            ("ends above the key", proof[:-1]),
            ("ends above the key", []),
            ("not the one that its parent names", proof[1:]),
            ("not the one that its parent names", proof[::-1]),
            ("below node", [*proof, proof[0]]),
        ):
            error = self.assertRaises(ProofError, proven, trie.root, KEYS[3], nodes)
            self.assertIn(text, str(error))
        self.assertRaises(ProofError, proven, EMPTY_ROOT, KEYS[3], proof)
        self.assertIsNone(proven(EMPTY_ROOT, KEYS[3], []))

    def test_every_changed_byte_is_seen(self) -> None:
        trie = HashedTrie.build((key, b"\7" * 50) for key in KEYS)
        proof, random = trie.proof(KEYS[5]), Random(3)
        for index, node in enumerate(proof):
            for at in random.sample(range(len(node)), 20):
                changed = bytearray(node)
                changed[at] ^= 1 << random.randrange(8)
                self.assertRaises(
                    ProofError, proven, trie.root, KEYS[5], [*proof[:index], bytes(changed), *proof[index + 1 :]]
                )
