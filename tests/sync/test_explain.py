"""What sync says of the blocks that it awaits."""

from math import inf

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.sync.blocks.sources import Source
from chainp2p.sync.blocks.window import Window
from chainp2p.sync.explain import BlockView, block_waits, sentence
from chainp2p.sync.state import Waiting
from tests.sync.blocks.test_window import blocks


@frozen
class Peer:
    peer_id: bytes


ONE, TWO = Peer(b"\x01" * 32), Peer(b"\x02" * 32)


class Words(SynchronousTestCase):
    def setUp(self) -> None:
        self.window: Window[Peer] = Window()
        self.sources = [Source(ONE, 1_000)]
        self.window.plan(blocks(7, 9), 1_000, 10.0)

    def waits(self, now: float, hold: str = "", until: float = -inf) -> list[Waiting]:
        return block_waits(BlockView(self.window, self.sources, hold, until, 12.0), now)

    def test_who_is_asked_and_when_another_is(self) -> None:
        ask = self.window.choose(10.0, self.sources)
        assert ask is not None
        ask.until = 74.0
        (wait,) = self.waits(11.0)
        self.assertEqual((wait.what, wait.peer, wait.height, wait.count), ("blocks", ONE.peer_id, 7, 3))
        self.assertEqual((wait.age, wait.left, wait.otherwise), (1.0, 63.0, "it is asked for again"))
        self.sources.append(Source(TWO, 1_000))
        (wait,) = self.waits(11.0)
        self.assertEqual((wait.left, wait.otherwise), (1.0, "another peer is asked"))
        self.assertEqual(
            sentence([wait]),
            "01010101 is asked for 3 blocks, block 7 00000000 is awaited, since 1.0 s; in 1.0 s: another peer is asked",
        )
        self.assertEqual(self.window.stalled(12.0, self.sources), [ONE])
        again = self.window.choose(12.0, [Source(ONE, 1_000, failed=True), self.sources[1]])
        assert again is not None
        first, *rest = self.waits(12.0)
        self.assertEqual(first.peer, TWO.peer_id)
        self.assertEqual({one.peer for one in rest}, {ONE.peer_id} if len(again.run) < 3 or rest else set())
        self.assertIn("asked meanwhile", "".join(one.otherwise for one in rest))

    def test_nobody_has_it(self) -> None:
        ask = self.window.choose(10.0, self.sources)
        assert ask is not None
        self.window.lacked(ask, 10.5)
        (wait,) = self.waits(11.5)
        self.assertEqual((wait.what, wait.peer, wait.age, wait.left), ("peers", None, 1.5, 1.0))
        self.assertIn("no peer has it now", sentence([wait]))
        self.window.forget(ONE)
        self.sources.clear()
        (wait,) = self.waits(11.5)
        self.assertEqual((wait.left, wait.otherwise), (None, "it is asked of the next peer that comes"))

    def test_the_chain_is_at_work(self) -> None:
        ask = self.window.choose(10.0, self.sources)
        assert ask is not None
        self.window.arrived(ask, [b"a", b"b", b"c"], 11.0)
        self.window.row.take(9, 99)
        (wait,) = self.waits(13.0)
        self.assertEqual((wait.what, wait.height, wait.count, wait.age, wait.left), ("chain", 7, 3, 1.0, None))
        self.assertEqual(sentence([wait]), "the chain checks 3 blocks from 7 00000000, since 1.0 s")

    def test_what_has_come_from_another_is_awaited_no_more(self) -> None:
        ask = self.window.choose(10.0, self.sources)
        assert ask is not None
        self.sources.append(Source(TWO, 1_000))
        self.window.stalled(12.0, self.sources)
        while (again := self.window.choose(12.0, self.sources[1:])) is not None:
            self.window.arrived(again, [b"x" for _ in again.run], 12.5)
        self.assertEqual(self.waits(12.6), [])

    def test_a_block_from_the_future(self) -> None:
        (wait,) = self.waits(11.0, "block 7 is from the future", 14.0)
        self.assertEqual((wait.what, wait.left), ("time", 3.0))
        self.assertEqual(sentence([wait]), "block 7 is from the future; it is tried again in 3.0 s")
        self.window.plan([], 6, 11.0)
        self.assertEqual(self.waits(11.0, "x", 14.0), [])
