"""What is kept for peers beside a model that is a list, and that nobody pushes another out of its part."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.gossip import reserved
from chainp2p.gossip.reserved import PARTS_LEAST, RESERVED, Reserved

UNITS, PART, LEAST = 12, 100, 2


class Model:
    """A list of (peer, id, size) in the order in which they came."""

    def __init__(self) -> None:
        self.peers: list[int] = []
        self.rows: list[tuple[int, bytes, int]] = []

    def mine(self, peer: int) -> list[tuple[int, bytes, int]]:
        return [row for row in self.rows if row[0] == peer]

    def excess(self, peer: int) -> float:
        mine = self.mine(peer)
        return max(len(mine) * len(self.peers) / UNITS, sum(row[2] for row in mine) / PART)

    def full(self) -> bool:
        return len(self.rows) > UNITS or sum(row[2] for row in self.rows) > PART * max(len(self.peers), LEAST)

    def add(self, peer: int, id: bytes, size: int) -> list[bytes]:
        if peer not in self.peers or any(row[1] == id for row in self.mine(peer)):
            return []
        self.rows.append((peer, id, size))
        lost = []
        while self.full():
            worst = max(self.peers, key=self.excess)
            assert self.excess(worst) > 1
            row = self.mine(worst)[0]
            self.rows.remove(row)
            if not any(other[1] == row[1] for other in self.rows):
                lost.append(row[1])
        return lost

    def left(self, peer: int) -> list[tuple[bytes, int]]:
        mine = self.mine(peer)
        self.rows = [row for row in self.rows if row[0] != peer]
        if peer in self.peers:
            self.peers.remove(peer)
        return [(id, size) for _, id, size in mine if not any(row[1] == id for row in self.rows)]


IDS = [bytes([n]) for n in range(24)]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.integers(0, 3)),
        st.tuples(st.just("add"), st.integers(0, 3), st.sampled_from(IDS), st.integers(1, 60)),
        st.tuples(st.just("add"), st.integers(0, 3), st.sampled_from(IDS), st.integers(1, 10)),
        st.tuples(st.just("add"), st.integers(0, 3), st.sampled_from(IDS), st.integers(1, 250)),
        st.tuples(st.just("left"), st.integers(0, 3)),
        st.tuples(st.just("forget"), st.sampled_from(IDS)),
    ),
    max_size=80,
)


class AgainstTheModel(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(reserved, "RESERVED", PART)
        self.patch(reserved, "PARTS_LEAST", LEAST)

    @settings(deadline=None, derandomize=True, max_examples=400)
    @given(steps)
    def test_the_same_is_kept(self, script: list) -> None:
        model, kept = Model(), Reserved[int](UNITS)
        for step in script:
            match step:
                case "join", peer:
                    kept.joined(peer)
                    if peer not in model.peers:
                        model.peers.append(peer)
                case "add", peer, id, size:
                    before = {one: model.excess(one) for one in model.peers if one != peer}
                    rows = {one: model.mine(one) for one in before}
                    self.assertEqual(kept.add(peer, id, size), model.add(peer, id, size))
                    for one, excess in before.items():  # who keeps within its part loses nothing
                        if excess <= 1:
                            self.assertEqual(model.mine(one), rows[one])
                case "left", peer:
                    self.assertEqual(kept.left(peer), model.left(peer))
                case "forget", id:
                    kept.forget(id)
                    model.rows = [row for row in model.rows if row[1] != id]
            self.assertEqual(len(kept), len({row[1] for row in model.rows}))
            for id in IDS:
                self.assertEqual(set(kept.keepers(id)), {row[0] for row in model.rows if row[1] == id})
                self.assertEqual(id in kept, bool(kept.keepers(id)))


class Rules(SynchronousTestCase):
    def test_a_hundred_thousand_of_one_peer_push_out_nothing_of_others(self) -> None:
        kept: Reserved[str] = Reserved(3_000)
        for peer in ("flood", "one", "two"):
            kept.joined(peer)
        for n in range(1_000):
            for peer in ("one", "two"):
                kept.add(peer, b"%s%d" % (peer.encode(), n), 400)
        for n in range(100_000):
            kept.add("flood", b"flood%d" % n, 400)
        self.assertEqual(len(kept), 3_000)
        self.assertTrue(all(b"%s%d" % (peer, n) in kept for peer in (b"one", b"two") for n in range(1_000)))
        self.assertIn(b"flood99999", kept)

    def test_one_peer_may_keep_more_than_its_part_while_there_is_room(self) -> None:
        kept: Reserved[str] = Reserved(10)
        for peer in ("one", "two"):
            kept.joined(peer)
        self.assertEqual(kept.add("one", b"large", RESERVED * PARTS_LEAST), [])
        self.assertEqual(kept.add("two", b"small", RESERVED), [b"large"])
        self.assertEqual(kept.add("two", b"too large", RESERVED * PARTS_LEAST + 1), [b"small", b"too large"])
        self.assertEqual(kept.add("nobody", b"x", 1), [])
