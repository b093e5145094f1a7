"""Roots against the ``trie`` package."""

from hypothesis import given, settings
from hypothesis import strategies as st
from trie import HexaryTrie
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.state.trie import EMPTY_ROOT, HashedTrie
from chainp2p.primitives.keccak import keccak256

#: Random keys, and keys that share long prefixes: those make extension nodes, forks and merges of them.
KEYS = [keccak256(bytes((number,))) for number in range(24)] + [
    (b"\xab" * shared + b"\x0f") + keccak256(bytes((number,)))[shared + 1 :]
    for shared in (0, 1, 5, 30)
    for number in range(4)
]
VALUES = st.one_of(st.none(), st.binary(min_size=32, max_size=110), st.binary(min_size=250, max_size=300))
CHANGES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8)


class Hashed(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=120)
    @given(st.lists(CHANGES, max_size=8))
    def test_as_the_oracle(self, steps: list[dict[bytes, bytes | None]]) -> None:
        expected = HexaryTrie({}, prune=True)
        model: dict[bytes, bytes] = {}
        trie = HashedTrie()
        versions = [(trie, dict(model))]
        for changes in steps:
            for key, value in changes.items():
                if value is not None:
                    expected[key] = model[key] = value
                elif model.pop(key, None) is not None:
                    del expected[key]
            trie = trie.updated(changes.items())
            self.assertEqual(trie.root, expected.root_hash)
            versions.append((trie, dict(model)))
        for version, content in versions:  # an update leaves older versions as they were
            self.assertEqual(list(version.rows()), sorted(content.items()))
            self.assertEqual([version.get(key) for key in KEYS], [content.get(key) for key in KEYS])
            self.assertEqual(HashedTrie.build(content.items()).root, version.root)

    def test_empty(self) -> None:
        trie = HashedTrie()
        self.assertEqual(trie.root, EMPTY_ROOT)
        self.assertIs(trie.updated([]), trie)
        self.assertEqual(trie.updated([(KEYS[0], None)]).root, EMPTY_ROOT)
        self.assertIsNone(trie.get(KEYS[0]))
        full = trie.updated([(KEYS[0], bytes(40))])
        self.assertEqual(full.updated([(KEYS[0], None)]).root, EMPTY_ROOT)

    def test_the_way_does_not_matter(self) -> None:
        rows = [(keccak256(index.to_bytes(4, "big")), index.to_bytes(40, "big")) for index in range(2_000)]
        at_once = HashedTrie.build(rows)
        halves = HashedTrie.build(rows[::2]).updated(rows[1::2])
        self.assertEqual(halves.root, at_once.root)
        again = at_once.updated([(key, None) for key, _ in rows[::3]]).updated(rows[::3])
        self.assertEqual(again.root, at_once.root)
