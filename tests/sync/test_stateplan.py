"""The plan of a state's download: what is asked of whom, and how much is left."""

import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.states import StatePart
from chainp2p.sync.sources import Source
from chainp2p.sync.stateleft import StateLeft
from chainp2p.sync.stateplan import CHUNKS_MAX, OPEN_MAX, PATIENCE, PATIENCE_MAX, StatePlan

ZERO, OLD = bytes(32), b"o" * 32
SIZE = 100_000


def part(*nibbles: int, base: bytes = ZERO) -> StatePart:
    return StatePart(bytes(nibbles), base)


def sources(*names: str, **more: Any) -> list[Source[str]]:
    return [Source(name, 10, **more) for name in names]


class Base(SynchronousTestCase):
    def setUp(self) -> None:
        self.plan: StatePlan[str] = StatePlan()
        self.plan.begin([part(n) for n in range(16)])

    def all(self, now: float, *names: str) -> list[Any]:
        found = []
        while (ask := self.plan.choose(now, sources(*names))) is not None:
            found.append(ask)
        return found

    def serve(self, ask: Any, now: float, *opened: StatePart, size: int = SIZE) -> None:
        self.assertTrue(self.plan.arrived(ask, size, now))
        self.plan.kept(ask.part.prefix, opened, size, now)


class Asking(Base):
    def test_one_of_the_unmeasured_then_up_to_four_in_order_of_keys(self) -> None:
        (first,) = self.all(0.0, "a")
        self.assertEqual(first.part, part(0))
        self.serve(first, 0.01)
        more = self.all(0.01, "a")
        self.assertLessEqual(len(more), OPEN_MAX)
        self.assertEqual([ask.part for ask in more], [part(n + 1) for n in range(len(more))])

    def test_a_slow_line_is_not_given_more_than_it_needs(self) -> None:
        self.plan.begin([part(n) for n in range(16)])
        (first,) = self.all(0.0, "a")
        self.serve(first, 60.0)
        self.assertEqual(len(self.all(60.0, "a")), 1)

    def test_no_more_than_memory_allows(self) -> None:
        self.plan.begin([part(n, m) for n in range(16) for m in range(16)])
        names = [str(n) for n in range(100)]
        asks = self.all(0.0, *names)
        self.assertEqual(len(asks), CHUNKS_MAX)
        for ask in asks[:10]:
            self.plan.arrived(ask, SIZE, 0.1)
        self.assertEqual(self.all(0.1, *names), [])
        self.plan.kept(asks[0].part.prefix, [], SIZE, 0.2)
        self.assertEqual(len(self.all(0.2, *names)), 1)

    def test_what_failed_is_asked_of_another_while_there_is_one(self) -> None:
        (first,) = self.all(0.0, "a")
        self.assertEqual(first.until, PATIENCE)
        self.plan.closed(first)
        again = self.plan.choose(1.0, sources("a", "b"))
        assert again is not None
        self.assertEqual((again.peer, again.part, again.until), ("b", first.part, 1.0 + 2 * PATIENCE))
        self.plan.closed(again)
        self.plan.begin([part(3)])
        for _ in range(8):
            (ask,) = self.all(2.0, "a")
            self.plan.closed(ask)
        self.assertEqual(ask.until, 2.0 + PATIENCE_MAX)

    def test_late_parts_are_asked_of_another_too_and_the_first_to_come_has_it(self) -> None:
        self.plan.begin([part(n) for n in range(3)])
        one, two = self.all(0.0, "a", "b")
        self.serve(one, 0.1)
        third = self.plan.choose(0.1, sources("a", "b"))
        assert third is not None
        self.assertEqual(third.part, part(2))
        self.serve(third, 0.2)
        late = self.plan.choose(5.0, sources("a", "b"))
        assert late is not None
        self.assertEqual((late.part, late.peer, two.loose), (two.part, one.peer, True))
        self.serve(late, 5.1)
        self.assertTrue(self.plan.complete)
        self.assertFalse(self.plan.arrived(two, SIZE, 6.0))

    def test_who_lacks_the_state_rests_and_who_failed_comes_last(self) -> None:
        (ask,) = self.all(0.0, "a")
        self.plan.lacked(ask, 0.0)
        self.assertTrue(self.plan.nobody(0.5, sources("a")))
        self.assertFalse(self.plan.nobody(0.5, []))
        self.assertIsNone(self.plan.choose(0.5, sources("a")))
        failed = [*sources("a", failed=True), *sources("b")]
        other = self.plan.choose(2.5, failed)
        assert other is not None
        self.assertEqual(other.peer, "b")

    def test_a_bad_chunk_is_asked_of_another(self) -> None:
        (ask,) = self.all(0.0, "a")
        self.plan.arrived(ask, SIZE, 0.1)
        self.plan.refused(ask.part.prefix, "a")
        again = self.plan.choose(0.1, sources("a", "b"))
        assert again is not None
        self.assertEqual((again.peer, again.part), ("b", ask.part))

    def test_whatever_happens_every_part_comes_once(self) -> None:
        for seed in range(12):
            chance = random.Random(seed)
            plan: StatePlan[str] = StatePlan()
            plan.begin([part()])
            names, now, kept, open = ["a", "b", "c"], 0.0, [], []
            share = 0.0
            while not plan.complete:
                now += chance.random()
                while (ask := plan.choose(now, sources(*names))) is not None:
                    open.append(ask)
                self.assertLessEqual(max(map(len, (s.asks for s in plan.servers.values()))), OPEN_MAX)
                if not open:
                    now += 2.0
                    continue
                ask = open.pop(chance.randrange(len(open)))
                what = chance.random()
                if what < 0.1:
                    plan.closed(ask, failed=what < 0.05)
                elif what < 0.2:
                    plan.lacked(ask, now)
                elif plan.arrived(ask, chance.randrange(1, SIZE), now):
                    if what < 0.3:
                        plan.refused(ask.part.prefix, ask.peer)
                        continue
                    depth = len(ask.part.prefix)
                    split = depth < 1 or (depth < 3 and chance.random() < 0.2)
                    opened = [StatePart(ask.part.prefix + bytes((n,)), ZERO) for n in range(16)] if split else []
                    plan.kept(ask.part.prefix, opened, SIZE, now)
                    kept.append(ask.part.prefix)
                    self.assertGreaterEqual(plan.share, share)
                    share = plan.share
            self.assertEqual(len(kept), len(set(kept)), seed)
            self.assertEqual(plan.share, 1.0)
            self.assertEqual(plan.eta(now), 0.0)


class Left(SynchronousTestCase):
    def test_by_the_share_of_the_keys(self) -> None:
        left = StateLeft()
        self.assertIsNone(left.part(b"\1", 16, False))
        left.whole(b"\1", 1_000)
        self.assertEqual(left.part(b"\2", 16, False), 1_000.0)
        self.assertEqual(left.part(b"\2\3", 1, False), 1_000.0)
        self.assertEqual(left.part(b"", 1, False), 16_000.0)

    def test_ground_parts_do_not_count_for_others_but_for_themselves(self) -> None:
        left = StateLeft()
        for n in range(8):
            left.whole(bytes((n,)), 1_000)
        left.whole(b"\x0f\0\0\0\0\1", 5_000)
        self.assertEqual(left.part(b"\x0e", 16, False), 1_000.0)
        self.assertEqual(left.part(b"\x0f\0\0\0\0\2", 16, False), 5_000 / 16)

    def test_of_what_is_here_only_changes_come(self) -> None:
        left = StateLeft()
        left.whole(b"\1", 1_000)
        self.assertEqual(left.part(b"\2", 16, True), 1_000.0)
        left.renewed(b"\2", 16, 100)
        self.assertEqual(left.part(b"\3", 16, True), 100.0)
        self.assertEqual(left.part(b"\3", 16, False), 1_000.0)

    def test_the_rate_is_that_of_late(self) -> None:
        left = StateLeft()
        self.assertIsNone(left.seconds(1.0, 0.0))
        left.came(10**9, 0.0)
        for second in range(1, 100):
            left.came(1_000, float(second))
        self.assertAlmostEqual(left.seconds(10_000.0, 99.0) or 0.0, 10.0, delta=0.5)
