"""Blocks that wait for their time or for their parents."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.gossip.blocks.parked import BLOCKS, ParkedBlocks
from chainp2p.gossip.reserved import PARTS_LEAST, RESERVED


def name(n: int) -> bytes:
    return n.to_bytes(4, "big")


class Parking(SynchronousTestCase):
    def setUp(self) -> None:
        self.parked: ParkedBlocks[int] = ParkedBlocks()
        for peer in range(3):
            self.parked.joined(peer)

    def due(self, now: float) -> list[bytes]:
        return [block.hash for block in self.parked.due(now)]

    def test_in_order_of_time_and_each_once(self) -> None:
        self.assertIsNone(self.parked.next_time)
        for n, when in enumerate((3.0, 1.0, 2.0)):
            self.parked.early(0, name(n), b"raw", when)
        self.parked.early(1, name(0), b"raw", 9.0)
        self.assertEqual(self.parked.next_time, 1.0)
        self.assertEqual(self.due(2.5), [name(1), name(2)])
        self.assertEqual((len(self.parked), self.due(2.5)), (1, []))
        (block,) = self.parked.due(3.0)
        self.assertEqual((block.peer, block.raw), (0, b"raw"))

    def test_orphans_are_due_when_their_parent_is_here(self) -> None:
        for n in (1, 2):
            self.parked.orphan(n, name(n), b"child", b"parent")
        self.parked.orphan(0, name(3), b"grandchild", name(1))
        self.assertIsNone(self.parked.next_time)
        self.assertFalse(self.parked.here(b"stranger"))
        self.assertTrue(self.parked.here(b"parent"))
        self.assertFalse(self.parked.here(b"parent"))
        self.assertEqual(self.due(5.0), [name(1), name(2)])
        self.assertEqual(len(self.parked), 1)

    def test_who_leaves_takes_along_what_nobody_else_sent(self) -> None:
        self.parked.early(0, name(1), b"", 1.0)
        self.parked.early(0, name(2), b"", 2.0)
        self.parked.early(1, name(2), b"", 2.0)
        self.parked.orphan(0, name(3), b"", b"parent")
        self.parked.orphan(0, name(4), b"", b"parent")
        self.parked.orphan(1, name(4), b"", b"parent")
        self.parked.orphan(0, name(5), b"", b"other")
        self.parked.left(0)
        self.assertEqual(self.parked.next_time, 2.0)
        self.parked.here(b"parent")
        self.assertFalse(self.parked.here(b"other"))
        self.assertEqual([(block.peer, block.hash) for block in self.parked.due(5.0)], [(1, name(4)), (1, name(2))])
        self.parked.orphan(0, name(6), b"", b"parent")  # it is gone
        self.assertEqual(len(self.parked), 0)

    def test_a_flood_pushes_out_its_own(self) -> None:
        for n in range(3):
            self.parked.orphan(1, name(n), b"orphan", b"parent")
            self.parked.early(2, name(10 + n), b"early", 1.0)
        for n in range(100, 10_100):
            self.parked.orphan(0, name(n), b"flood", name(n + 1))
        self.assertEqual(len(self.parked), BLOCKS)
        self.parked.here(b"parent")
        self.assertEqual(self.due(2.0), [*map(name, range(3)), *map(name, range(10, 13))])
        self.assertEqual(len(self.parked._children), len(self.parked))

    def test_bytes_are_bounded(self) -> None:
        for n in range(30):
            self.parked.early(0, name(n), bytes(RESERVED), float(n))
        self.assertEqual(len(self.parked), PARTS_LEAST)
        self.assertEqual(self.due(100.0), list(map(name, range(30 - PARTS_LEAST, 30))))
