"""What was seen and chosen stays within its bounds."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.gossip.seen import (
    HEIGHTS_REMEMBERED,
    RELAYED_PER_HEIGHT,
    Heights,
    RollingSeen,
    chosen,
    halved,
    push_count,
)


class HeightsTests(SynchronousTestCase):
    def test_the_first_of_each_height(self) -> None:
        heights = Heights()
        self.assertEqual(
            [heights.room(7) for _ in range(RELAYED_PER_HEIGHT + 1)], [True] * RELAYED_PER_HEIGHT + [False]
        )
        for height in range(8, 8 + HEIGHTS_REMEMBERED):
            self.assertTrue(heights.room(height))
        self.assertTrue(heights.room(7))


class Seen(SynchronousTestCase):
    @settings(deadline=None, derandomize=True)
    @given(st.lists(st.integers(0, 30).map(lambda n: bytes([n]))))
    def test_the_last_are_remembered_and_no_more_than_twice_the_limit(self, ids: list[bytes]) -> None:
        seen, distinct = RollingSeen(5), []
        for id in ids:
            seen.add(id)
            distinct = [other for other in distinct if other != id] + [id]
            self.assertTrue(all(other in seen for other in distinct[-5:]))
            self.assertLessEqual(len(seen), 10)

    def test_new_or_not(self) -> None:
        seen = RollingSeen(5)
        self.assertEqual((seen.add(b"a"), seen.add(b"a")), (True, False))
        seen.update([b"b", b"c"])
        self.assertEqual(len(seen), 3)
        seen.clear()
        self.assertNotIn(b"a", seen)


class Choice(SynchronousTestCase):
    def test_square_root(self) -> None:
        self.assertEqual([push_count(n) for n in (0, 1, 2, 5, 16, 17)], [0, 1, 2, 3, 4, 5])
        self.assertEqual([push_count(n, 3) for n in (0, 1, 2, 3, 4, 100)], [0, 1, 2, 3, 3, 10])

    def test_half_of_it_and_of_odd_ones_either_half(self) -> None:
        ids = [bytes([n]) for n in range(200)]
        self.assertEqual({halved(b"k", id, 4) for id in ids}, {2})
        halves = [halved(b"k", id, 3) for id in ids]
        self.assertEqual(set(halves), {1, 2})
        self.assertTrue(70 < halves.count(2) < 130, halves.count(2))
        self.assertNotEqual(halves, [halved(b"other", id, 3) for id in ids])

    def test_by_key(self) -> None:
        peers = [(bytes([n]) * 32, n) for n in range(20)]
        choices = {tuple(chosen(bytes([key]), b"id", peers, 4)) for key in range(9)}
        self.assertGreater(len(choices), 5)
        self.assertEqual(chosen(b"k", b"id", peers, 4), chosen(b"k", b"id", peers[::-1], 4))
