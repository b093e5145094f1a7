"""Compact forms and back, with a naive model of what a pool and a sender can know beside."""

from hashlib import blake2b, sha256

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import chainp2p.gossip.blocks.compact
from chainp2p.gossip.blocks.compact import SMALL, Form, draft, pack_indexes, prefill, read_indexes
from chainp2p.wire import decode, encode
from chainp2p.wire.messages import COMPACT_TRANSACTIONS, PREFILLED, PREFILLED_BYTES, CompactBlock, FoundCompactBlock

H = bytes(range(32))


class Pool:
    """Transactions by their ids, in order; what begins with "bad" is none."""

    def __init__(self, raws) -> None:
        self.raws = {sha256(raw).digest(): raw for raw in raws}

    def transaction(self, hash):
        return self.raws.get(hash)

    def transaction_hashes(self):
        return list(self.raws)

    def transaction_hash(self, raw):
        if raw.startswith(b"bad"):
            raise ValueError("no transaction")
        return sha256(raw).digest()


EMPTY = Pool([])


def ids(raws):
    return [(sha256(raw).digest(), raw) for raw in raws]


def compact(cls, hash, header, transactions, whole):
    form = Form.of(hash, header, transactions)
    return form.pushed(whole) if cls is CompactBlock else form.found(whole)


def short(raw: bytes, key: bytes = H) -> bytes:
    return blake2b(sha256(raw).digest(), digest_size=6, key=key).digest()


class MakingTests(SynchronousTestCase):
    def test_short_ids_and_whole_ones(self) -> None:
        made = compact(CompactBlock, H, b"header", ids([b"a", b"b", b"c"]), {1})
        self.assertEqual(made, CompactBlock(b"header", short(b"a") + short(b"c"), ((1, b"b"),), 1))
        found = compact(FoundCompactBlock, H, b"header", (), ())
        self.assertEqual(found, FoundCompactBlock(b"header", b"", ()))

    def test_unchecked(self) -> None:
        form = Form.of(H, b"h", ids([b"a", b"b"]))
        self.assertEqual((form.pushed().checked, form.pushed({1}, checked=False).checked), (1, 0))

    def test_too_many_transactions(self) -> None:
        form = Form.of(H, b"", ids([b"a"]) * (COMPACT_TRANSACTIONS + 1))
        self.assertEqual((form.compact, form.size), (False, COMPACT_TRANSACTIONS + 1))
        self.assertTrue(Form.of(H, b"", ids([b"a"]) * COMPACT_TRANSACTIONS).compact)
        most = compact(CompactBlock, H, bytes(1024), ids([b"a"]) * COMPACT_TRANSACTIONS, ())
        self.assertEqual(decode(encode(most)), most)

    def test_small_bodies_go_whole(self) -> None:
        self.assertEqual(prefill(ids([bytes(SMALL // 2)] * 2)), {0, 1})
        self.assertEqual(prefill(ids([bytes(SMALL // 2)] * 3)), set())
        self.assertEqual(prefill(ids([b""] * (PREFILLED + 1))), set())

    def test_guesses_all_or_nothing_in_their_order(self) -> None:
        raws = ids([bytes(PREFILLED_BYTES // 4)] * 9)
        self.assertEqual(prefill(raws, {1, 2}, {2, 3, 4}), {1, 2, 3, 4})
        self.assertEqual(prefill(raws, {1, 2}, {3, 4, 5}), {1, 2})
        self.assertEqual(prefill(raws, {1, 2, 3, 4, 5}, {6}), {6})
        many = ids([b"x" * 8] * 600)
        self.assertEqual(prefill(many, range(PREFILLED), range(300)), set(range(PREFILLED)))
        self.assertEqual(prefill(many, range(PREFILLED + 1)), set())

    def test_the_largest_fits_the_message(self) -> None:
        raws = ids([bytes(PREFILLED_BYTES // PREFILLED)] * COMPACT_TRANSACTIONS)
        largest = compact(CompactBlock, H, bytes(1024), raws, prefill(raws, range(PREFILLED)))
        self.assertEqual(len(largest.prefilled), PREFILLED)
        self.assertEqual(decode(encode(largest)), largest)


class RebuildingTests(SynchronousTestCase):
    def test_from_the_pool_alone(self) -> None:
        raws = [b"a", b"b", b"c"]
        made = draft(compact(CompactBlock, H, b"h", ids(raws), ()), H, Pool([b"x", *raws, b"y"]))
        self.assertEqual((made.slots, made.missing, made.lacked), (raws, [], set()))

    def test_what_is_missing_is_asked_for_and_checked(self) -> None:
        raws = [b"a", b"b", b"c", b"d"]
        made = draft(compact(CompactBlock, H, b"h", ids(raws), {0}), H, Pool([b"c"]))
        self.assertEqual((made.missing, made.lacked), ([1, 3], {0, 1, 3}))
        self.assertEqual([raw for _, raw in made.form.transactions], [b"a", b"", b"c", b""])
        self.assertEqual(made.form.shorts, [short(raw) for raw in raws])
        pool = Pool([])
        for wrong in ((b"b", b"c"), (b"d", b"b"), (b"b", b"bad")):
            self.assertFalse(made.put(wrong, pool.transaction_hash))
            self.assertEqual(made.missing, [1, 3])
        with self.assertRaises(ValueError):
            made.put((b"b",), pool.transaction_hash)
        self.assertTrue(made.put((b"b", b"d"), pool.transaction_hash))
        self.assertEqual(made.slots, raws)

    def test_what_came_whole_and_was_here_was_not_lacked(self) -> None:
        raws = [b"a", b"b", b"c"]
        made = draft(compact(CompactBlock, H, b"h", ids(raws), {0, 1, 2}), H, Pool([b"a"]))
        self.assertEqual((made.slots, made.lacked), (raws, {1, 2}))
        self.assertEqual(made.form, Form.of(H, b"h", tuple(ids(raws))))

    def test_collisions_are_asked_for(self) -> None:
        self.patch(chainp2p.gossip.blocks.compact, "_short", lambda key, id: id[:1] * 6)
        by_short: dict[bytes, list[bytes]] = {}
        for n in range(600):
            raw = b"%d" % n
            by_short.setdefault(sha256(raw).digest()[:1], []).append(raw)
        one, two, three = [group for group in by_short.values() if len(group) > 2][:3]
        # two of the pool
        made = draft(compact(CompactBlock, H, b"", ids([one[0], two[0]]), ()), H, Pool([*one, two[0]]))
        self.assertEqual(made.missing, [0])
        # two of the block
        made = draft(compact(CompactBlock, H, b"", ids([one[0], three[0], one[1]]), ()), H, Pool([*one[:2], three[0]]))
        self.assertEqual(made.missing, [0, 2])
        # another one of the pool: nothing tells that but the header
        made = draft(compact(CompactBlock, H, b"", ids([one[0]]), ()), H, Pool([one[1]]))
        self.assertEqual(made.slots, [one[1]])

    def test_a_transaction_that_leaves_the_pool_meanwhile_is_missing(self) -> None:
        pool = Pool([b"a"])
        pool.transaction = lambda hash: None
        made = draft(compact(CompactBlock, H, b"", ids([b"a"]), ()), H, pool)
        self.assertEqual((made.missing, made.lacked), ([0], {0}))

    def test_what_is_no_compact_form(self) -> None:
        for message in (
            CompactBlock(b"", b"12345", (), 1),
            CompactBlock(b"", b"", ((1, b""),), 1),
            CompactBlock(b"", b"123456", ((2, b""),), 1),
            CompactBlock(b"", b"123456", ((1, b""), (0, b"")), 1),
            CompactBlock(b"", b"123456", ((1, b""), (1, b"")), 1),
            CompactBlock(b"", bytes(6 * COMPACT_TRANSACTIONS), ((0, b""),), 1),
            CompactBlock(b"", b"", ((0, b"bad"),), 1),
        ):
            with self.assertRaises(ValueError):
                draft(message, H, EMPTY)
        self.assertEqual(draft(CompactBlock(b"", b"", (), 1), H, EMPTY).slots, [])

    @settings(deadline=None, derandomize=True, max_examples=300)
    @given(
        block=st.lists(st.integers(0, 30).map(lambda n: b"%d" % n), max_size=12),
        pool=st.sets(st.integers(0, 30)),
        whole=st.sets(st.integers(0, 11)),
        width=st.sampled_from([6, 6, 1]),
    )
    def test_any_block_and_any_pool(self, block, pool, whole, width) -> None:
        """Whatever collides, once what is missing has come the block is right, or the pool had another of that id."""
        real = chainp2p.gossip.blocks.compact._short
        chainp2p.gossip.blocks.compact._short = lambda key, id: (
            bytes([real(key, id)[0] % 8]) * 6 if width == 1 else real(key, id)
        )
        try:
            self.rebuild(block, [b"%d" % n for n in sorted(pool)], {at for at in whole if at < len(block)})
        finally:
            chainp2p.gossip.blocks.compact._short = real

    def rebuild(self, block, raws, whole) -> None:
        name = lambda raw: chainp2p.gossip.blocks.compact._short(H, sha256(raw).digest())  # noqa: E731
        pool = Pool(raws)
        message = decode(encode(compact(CompactBlock, H, b"h", ids(block), whole)))
        made = draft(message, H, pool)
        for at, raw in enumerate(block):
            others = [one for n, one in enumerate(block) if n != at and n not in whole]
            same = [one for one in raws if name(one) == name(raw)]
            if at in whole:
                expected = {raw}
            elif any(name(one) == name(raw) for one in others):
                expected = {None}
            else:
                # a second match may not have been looked for any more
                expected = {same[0] if same else None, None if len(same) > 1 else same[0] if same else None}
            self.assertIn(made.slots[at], expected)
        asked = list(read_indexes(pack_indexes(made.missing)))
        self.assertEqual(asked, made.missing)
        self.assertTrue(set(asked) <= made.lacked)
        self.assertTrue(made.put([block[at] for at in asked], pool.transaction_hash))
        wrong = [at for at, raw in enumerate(block) if made.slots[at] != raw]
        self.assertTrue(all(name(made.slots[at]) == name(block[at]) for at in wrong))
        if len({name(raw) for raw in {*raws, *block}}) == len({*raws, *block}):
            self.assertEqual(made.slots, block)
            self.assertEqual(made.form, Form.of(H, b"h", tuple(ids(block))))


class BitMaps(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=200)
    @given(st.sets(st.integers(0, COMPACT_TRANSACTIONS - 1)))
    def test_there_and_back(self, positions) -> None:
        packed = pack_indexes(positions)
        self.assertLessEqual(len(packed), COMPACT_TRANSACTIONS // 8)
        self.assertEqual(list(read_indexes(packed)), sorted(positions))

    def test_as_the_wire_has_it(self) -> None:
        self.assertEqual(pack_indexes([0, 2, 8]), b"\5\1")
        self.assertEqual(pack_indexes([]), b"")
