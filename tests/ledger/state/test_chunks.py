"""Chunks of the state: whatever is asked for is proved, whatever is not that is refused."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.state.accounts import Account
from chainp2p.ledger.state.chunks import ChunkError, Split, make_chunk, read_chunk
from chainp2p.ledger.state.subtree import Subtree, join, subtree_of
from chainp2p.ledger.state.trie import EMPTY_ROOT, HashedTrie
from chainp2p.primitives import rlp
from chainp2p.primitives.keccak import keccak256

DIGITS = "0123456789abcdef"


def account(number: int) -> bytes:
    return Account(number % 3, number + 1, EMPTY_ROOT if number % 5 else bytes([number % 256]) * 32).encode()


def some(count: int, seed: int = 1, ground: str = "") -> dict[bytes, bytes]:
    """Accounts at random keys, those after the first half below *ground*."""
    chance = random.Random(seed)
    keys = [chance.randbytes(32).hex() for _ in range(count)]
    half = count // 2
    keys[half:] = [ground + key[len(ground) :] for key in keys[half:]]
    return {bytes.fromhex(key): account(index) for index, key in enumerate(keys)}


def whole(root: bytes, source: HashedTrie, limit: int, base: HashedTrie | None = None) -> tuple[list[Subtree], int]:
    """Fetch all, as a client would; *base* is what it has."""
    todo, parts, chunks = [""], [], 0
    while todo:
        prefix = todo.pop()
        have = None if base is None else subtree_of(base, prefix)
        result = read_chunk(root, prefix, make_chunk(source, prefix, base, limit), have)
        chunks += 1
        if isinstance(result, Split):
            todo += [child for child, _ in result.children]
        else:
            parts.append(result)
    return sorted(parts, key=lambda part: part.prefix), chunks


#: Tries small and crowded: few digits differ, so that extensions, lone leaves and deep branches all occur.
keys = st.builds(
    lambda head, tail: bytes.fromhex(head + tail + "0" * (64 - len(head) - len(tail))),
    st.sampled_from(["", "ab", "abcdef", "1111111111"]),
    st.text(alphabet="01f", min_size=1, max_size=4),
)
tries = st.dictionaries(keys, st.integers(0, 300).map(account), max_size=40)
prefixes = st.one_of(
    st.sampled_from(["", "a", "ab", "abc", "abcd", "abcdef", "11111", "1111111111"]),
    st.text(alphabet="01fab", max_size=7),
)


class Chunks(SynchronousTestCase):
    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(tries, prefixes, st.sampled_from([150, 300, 1 << 20]))
    def test_every_prefix_of_every_trie(self, rows: dict[bytes, bytes], prefix: str, limit: int) -> None:
        trie = HashedTrie.build(rows.items())
        result = read_chunk(trie.root, prefix, make_chunk(trie, prefix, limit=limit))
        below = sorted((key, value) for key, value in rows.items() if key.hex().startswith(prefix))
        if isinstance(result, Split):
            self.assertGreater(len(below), 1)
            for key, _ in below:
                self.assertTrue(any(key.hex().startswith(child) for child, _ in result.children))
            for child, reference in result.children:
                self.assertEqual(subtree_of(trie, child).reference, reference)
        else:
            self.assertEqual(list(result.rows()), below)
            self.assertEqual(result.prefix, prefix)

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(tries, tries, st.sampled_from([150, 300, 1 << 20]))
    def test_what_changed_leads_from_any_trie_to_any_other(
        self, before: dict[bytes, bytes], after: dict[bytes, bytes], limit: int
    ) -> None:
        old, new = HashedTrie.build(before.items()), HashedTrie.build(after.items())
        parts, _ = whole(new.root, new, limit, old)
        self.assertEqual(HashedTrie(join(parts)).root, new.root)
        parts, _ = whole(new.root, new, limit)
        self.assertEqual(list(HashedTrie(join(parts)).rows()), sorted(after.items()))

    def test_few_changes_are_less_than_all(self) -> None:
        rows = some(4_000)
        old = HashedTrie.build(rows.items())
        new = old.updated([(key, account(7_000)) for key in list(rows)[:20]])
        prefix = next(iter(rows)).hex()[:1]
        changes, everything = make_chunk(new, prefix, old), make_chunk(new, prefix)
        self.assertLess(len(changes), len(everything) // 10)
        have = subtree_of(old, prefix)
        self.assertEqual(
            list(read_chunk(new.root, prefix, changes, have).rows()),  # type: ignore[union-attr]
            list(subtree_of(new, prefix).rows()),
        )
        with self.assertRaisesRegex(ChunkError, "nobody asked"):
            read_chunk(new.root, prefix, changes)

    def test_ground_keys_are_split_where_they_are(self) -> None:
        rows = some(2_000, ground="abcde")
        trie = HashedTrie.build(rows.items())
        parts, chunks = whole(trie.root, trie, 8_000)
        self.assertEqual(HashedTrie(join(parts)).root, trie.root)
        self.assertLess(chunks, 120)
        self.assertTrue(any(len(part.prefix) > 5 for part in parts))

    def test_nothing_at_all(self) -> None:
        empty = HashedTrie()
        result = read_chunk(EMPTY_ROOT, "3", make_chunk(empty, "3"))
        self.assertEqual(list(result.rows()), [])  # type: ignore[union-attr]
        with self.assertRaisesRegex(ChunkError, "nothing below node 0"):
            read_chunk(EMPTY_ROOT, "", rlp.encode([[b"x"], b"", b"", b"", b""]))


class Lies(SynchronousTestCase):
    def setUp(self) -> None:
        self.rows = some(600, seed=3)
        self.trie = HashedTrie.build(self.rows.items())
        self.raw = make_chunk(self.trie, "7")
        self.parts = list(rlp.decode_list(self.raw))

    def refuse(self, text: str, prefix: str = "7", **parts: object) -> None:
        fields = ("nodes", "kind", "keys", "lengths", "values")
        items = [parts.get(name, part) for name, part in zip(fields, self.parts, strict=True)]
        with self.assertRaisesRegex(ChunkError, text):
            read_chunk(self.trie.root, prefix, rlp.encode(items))  # type: ignore[arg-type]

    def test_each_octet_matters(self) -> None:
        chance = random.Random(5)
        for _ in range(300):
            at = chance.randrange(len(self.raw))
            changed = bytearray(self.raw)
            changed[at] ^= 1 << chance.randrange(8)
            with self.assertRaises(ChunkError):
                read_chunk(self.trie.root, "7", bytes(changed))

    def test_cut_anywhere(self) -> None:
        for at in range(0, len(self.raw), 97):
            with self.assertRaises(ChunkError):
                read_chunk(self.trie.root, "7", self.raw[:at])

    def test_what_is_said_of_it(self) -> None:
        nodes, keys, lengths, values = self.parts[0], self.parts[2], self.parts[3], self.parts[4]
        self.refuse("outside of the prefix", prefix="8")
        self.refuse("no accounts where", kind=b"", keys=b"", lengths=b"", values=b"")
        self.refuse("no accounts where", kind=b"\x03")
        self.refuse("nobody asked", kind=b"\x02")
        self.refuse("not as many", lengths=lengths[:-1])
        self.refuse("not as many", values=values[:-1])
        self.refuse("out of order", keys=keys[32:64] + keys[:32] + keys[64:])
        self.refuse("out of order", keys=keys[:32] + keys[:32] + keys[64:])
        self.refuse("not those that the proof names", keys=keys[32:], lengths=lengths[1:], values=values[lengths[0] :])
        self.refuse("not the one that its parent names", nodes=[nodes[0], nodes[0]])
        self.refuse("not the one that its parent names", nodes=[b"\xc0"])
        self.refuse("not the one that its parent names", nodes=[[b""]])
        self.refuse("a list where", keys=[b""])
        self.refuse("a list where", nodes=b"")
        with self.assertRaisesRegex(ChunkError, "no chunk"):
            read_chunk(self.trie.root, "7", b"\xc1\x80")

    def test_a_node_alone_is_no_excuse_for_what_it_is_not(self) -> None:
        split = rlp.decode_list(make_chunk(self.trie, "7", limit=1_000))
        self.parts = list(split)
        self.refuse("beside a proof", kind=b"\x01", keys=bytes(32), lengths=b"\x01", values=b"x")
        self.refuse("below the one at the prefix", nodes=[*split[0], b"x"])

    def test_a_leaf_or_an_extension_is_not_where_a_proof_ends(self) -> None:
        one = HashedTrie.build([(bytes(32), account(1))])
        leaf = one.proof(bytes(32))[0]
        with self.assertRaisesRegex(ChunkError, "an account, not a way"):
            read_chunk(one.root, "0", rlp.encode([[leaf], b"", b"", b"", b""]))
        two = HashedTrie.build([(bytes(32), account(1)), (bytes(31) + b"\1", account(2))])
        extension = two.proof(bytes(32))[0]
        with self.assertRaisesRegex(ChunkError, "ends above"):
            read_chunk(two.root, "0", rlp.encode([[extension], b"", b"", b"", b""]))

    def test_nodes_that_are_none(self) -> None:
        for node, text in (
            (rlp.encode([b"\x00", b"x", b"y"]), "no node of a trie"),
            (rlp.encode([b"\x00\x07", b"short"]), "names no child"),
            (b"\xc1", "node 0"),
        ):
            with self.subTest(node), self.assertRaisesRegex(ChunkError, text):
                read_chunk(keccak256(node), "07", rlp.encode([[node], b"", b"", b"", b""]))
