"""The plan of a state's download: what is asked of whom, and how much is left."""

import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.states import ChunkTaken, StateBegun, StatePart
from chainp2p.sync.blocks.sources import Source
from chainp2p.sync.states.left import StateLeft
from chainp2p.sync.states.plan import CHUNKS_MAX, PATIENCE, PATIENCE_MAX, StatePlan
from chainp2p.sync.states.servers import OPEN_MAX
from chainp2p.sync.states.time import Rest, StateTime

ZERO, OLD = bytes(32), b"o" * 32
SIZE = 100_000


def part(*nibbles: int, base: bytes = ZERO) -> StatePart:
    return StatePart(bytes(nibbles), base)


def sources(*names: str, **more: Any) -> list[Source[str]]:
    return [Source(name, 10, **more) for name in names]


class Base(SynchronousTestCase):
    def setUp(self) -> None:
        self.plan: StatePlan[str] = StatePlan()
        self.goal = 0
        self.begin([part(n) for n in range(16)])

    def begin(self, parts: list[StatePart], now: float = 0.0, here: tuple[bytes, ...] = ()) -> None:
        self.goal += 100
        self.plan.begin(StateBegun(tuple(parts), 0, here), now, self.goal, self.goal + 10)

    def all(self, now: float, *names: str) -> list[Any]:
        found = []
        while (ask := self.plan.choose(now, sources(*names))) is not None:
            found.append(ask)
        return found

    def serve(
        self, ask: Any, now: float, *opened: StatePart, size: int = SIZE, whole: bool | None = None, took: float = 0.0
    ) -> None:
        self.assertTrue(self.plan.arrived(ask, size, now))
        taken = ChunkTaken(opened, 0, not opened if whole is None else whole)
        self.plan.kept(ask.part.prefix, taken, size, now, took)


class Asking(Base):
    def test_one_of_the_unmeasured_then_up_to_four_in_order_of_keys(self) -> None:
        (first,) = self.all(0.0, "a")
        self.assertEqual(first.part, part(0))
        self.serve(first, 0.01)
        more = self.all(0.01, "a")
        self.assertLessEqual(len(more), OPEN_MAX)
        self.assertEqual([ask.part for ask in more], [part(n + 1) for n in range(len(more))])

    def test_a_slow_line_is_not_given_more_than_it_needs(self) -> None:
        self.begin([part(n) for n in range(16)])
        (first,) = self.all(0.0, "a")
        self.serve(first, 60.0)
        self.assertEqual(len(self.all(60.0, "a")), 1)

    def test_no_more_than_memory_allows(self) -> None:
        self.begin([part(n, m) for n in range(16) for m in range(16)])
        names = [str(n) for n in range(100)]
        asks = self.all(0.0, *names)
        self.assertEqual(len(asks), CHUNKS_MAX)
        for ask in asks[:10]:
            self.plan.arrived(ask, SIZE, 0.1)
        self.assertEqual(self.all(0.1, *names), [])
        self.plan.kept(asks[0].part.prefix, ChunkTaken((), 0, True), SIZE, 0.1, 0.0)
        self.assertEqual(len(self.all(0.2, *names)), 1)

    def test_what_failed_is_asked_of_another_while_there_is_one(self) -> None:
        (first,) = self.all(0.0, "a")
        self.assertEqual(first.until, PATIENCE)
        self.plan.closed(first)
        again = self.plan.choose(1.0, sources("a", "b"))
        assert again is not None
        self.assertEqual((again.peer, again.part, again.until), ("b", first.part, 1.0 + 2 * PATIENCE))
        self.plan.closed(again)
        self.begin([part(3)])
        for _ in range(8):
            (ask,) = self.all(2.0, "a")
            self.plan.closed(ask)
        self.assertEqual(ask.until, 2.0 + PATIENCE_MAX)

    def test_late_parts_are_asked_of_another_too_and_the_first_to_come_has_it(self) -> None:
        self.begin([part(n) for n in range(3)])
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
            plan.begin(StateBegun((part(),), 0, ()), 0.0, 1, 2)
            names, now, kept, open = ["a", "b", "c"], 0.0, [], []
            share = 0.0
            while not plan.complete:
                now += chance.random()
                while (ask := plan.choose(now, sources(*names))) is not None:
                    open.append(ask)
                self.assertLessEqual(max(map(len, (s.asks for _, s in plan.servers.all()))), OPEN_MAX)
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
                    plan.kept(ask.part.prefix, ChunkTaken(tuple(opened), 0, not split), SIZE, now, 0.0)
                    kept.append(ask.part.prefix)
                    self.assertGreaterEqual(plan.share, share)
                    share = plan.share
            self.assertEqual(len(kept), len(set(kept)), seed)
            self.assertEqual(plan.share, 1.0)
            self.assertEqual(plan.eta(now), 0.0)


class Again(Base):
    """The goal passes."""

    def half(self) -> list[Any]:
        """Eight of sixteen parts came, one a second; two requests are open at "a" and "b"."""
        for second in range(8):
            ask = self.plan.choose(float(second), sources("a"))
            assert ask is not None
            self.serve(ask, second + 1.0)
        return [self.plan.choose(8.0, sources(name)) for name in "ab"]

    def test_what_was_asked_for_before_fills_its_line_and_is_of_no_use(self) -> None:
        one, two = self.half()
        self.begin([part()], 8.5)
        self.assertEqual(self.plan.asks(), [])
        self.assertFalse(self.plan.nobody(8.5, sources("a", "b")))
        self.assertIsNone(self.plan.choose(8.5, sources("b")))  # never measured: one at a time
        self.assertFalse(self.plan.arrived(two, SIZE, 9.0))
        root = self.plan.choose(9.0, sources("b"))
        assert root is not None
        self.plan.lacked(one, 9.0)  # the old state, of which nobody speaks any more
        self.assertFalse(self.plan.nobody(9.0, sources("a")))
        self.assertEqual(self.plan.asks(), [root])

    def test_a_stale_request_that_fails_is_forgotten(self) -> None:
        _, two = self.half()
        self.begin([part(9)], 8.5)
        self.plan.closed(two)
        again = self.plan.choose(9.0, sources("b"))
        assert again is not None
        self.assertEqual((again.part, again.until), (part(9), 9.0 + PATIENCE))

    def test_the_time_left_counts_what_is_here_what_changed_and_what_will(self) -> None:
        self.half()
        self.assertLess(abs((self.plan.eta(8.0) or 0.0) - 8.0), 0.7)
        self.assertLess(abs((self.plan.eta(8.5) or 0.0) - 7.5), 0.7)
        self.begin([part()], 8.5)
        self.assertIsNone(self.plan.eta(8.5))  # nobody knows how much changed
        for ask in list(self.plan.servers.asks()):
            self.plan.arrived(ask, SIZE, 9.0)
        root = self.plan.choose(9.0, sources("a"))
        assert root is not None
        new = [part(n, base=OLD if n < 8 else ZERO) for n in range(4, 16)]
        self.serve(root, 9.0, *new, size=100)
        self.assertIsNone(self.plan.eta(9.0))
        change = self.plan.choose(9.0, sources("a"))
        assert change is not None
        self.assertEqual(change.part, new[0])
        self.serve(change, 9.1, size=SIZE // 10)
        rate = (10 * SIZE + SIZE // 10 + 100) / 9.1
        left = (8 + 3 * 0.1) * SIZE / rate
        self.assertLess(abs((self.plan.eta(9.1) or 0.0) - left), 0.1)
        # later than the goal lasts, again for 8.5 s: then a tenth of half of what is here will have changed
        self.begin([part(n, base=OLD if n < 8 else ZERO) for n in range(16)], 17.0)
        self.assertGreater(self.plan.eta(17.0) or 0.0, (8 + 8 * 0.1) * SIZE / rate + 0.05 * 8 * SIZE / rate)

    def test_what_an_earlier_run_has_brought_tells_nothing_of_what_is_left(self) -> None:
        plan = self.plan = StatePlan()
        self.begin([part()])
        for second, names in enumerate((6, 0, 0, 0, 0, 0)):
            ask = plan.choose(float(second), sources("a"))
            assert ask is not None
            opened = [part(n) for n in range(names - 1, 16)] if names else []
            self.serve(ask, second + 1.0, *opened, size=600, whole=False)
            self.assertIsNone(plan.eta(second + 1.0))
        # the way down took six seconds, which do not count, and its chunks say that nothing is missing below
        self.assertEqual(plan.share, 10 / 16)
        for second in range(6, 10):
            ask = plan.choose(float(second), sources("a"))
            assert ask is not None
            self.serve(ask, second + 1.0)
        self.assertEqual(plan.eta(10.0), 2.0)

    def test_what_an_earlier_run_has_brought_counts_at_once(self) -> None:
        plan = self.plan = StatePlan()
        self.begin([part()], here=tuple(bytes((15, n)) for n in range(8)))
        self.assertEqual(plan.share, 0.5 / 16)
        root = plan.choose(0.0, sources("a"))
        assert root is not None
        self.serve(root, 1.0, *[part(n) for n in range(10, 16)], size=600)
        for second in range(1, 6):
            ask = plan.choose(float(second), sources("a"))
            assert ask is not None
            self.serve(ask, second + 1.0)
        # half of the last part is here; it was not compared yet, so nobody knows how much of it has changed
        self.assertIsNone(plan.eta(6.0))
        last = plan.choose(6.0, sources("a"))
        assert last is not None
        self.serve(last, 16.0, *[part(15, n) for n in range(8, 16)], size=600, whole=False, took=10.0)
        # nothing has; and the ten seconds in which the chain compared tell nothing of how fast parts come
        self.assertLess(abs((plan.eta(16.0) or 0.0) - 1.0), 0.01)


class Left(SynchronousTestCase):
    def test_by_the_share_of_the_keys(self) -> None:
        left = StateLeft()
        self.assertIsNone(left.part(b"\1", 16, False))
        left.whole(b"\1", 1_000)
        self.assertEqual(left.part(b"\2", 16, False), (1_000.0, 0.0))
        self.assertEqual(left.part(b"\2\3", 1, False), (1_000.0, 0.0))
        self.assertEqual((left.total, left.largest), (16_000.0, 1_000))

    def test_ground_parts_do_not_count_for_others_but_for_themselves(self) -> None:
        left = StateLeft()
        for n in range(8):
            left.whole(bytes((n,)), 1_000)
        left.whole(b"\x0f\0\0\0\0\1", 5_000)
        self.assertEqual(left.part(b"\x0e", 16, False), (1_000.0, 0.0))
        self.assertEqual(left.part(b"\x0f\0\0\0\0\2", 16, False), (5_000 / 16, 0.0))

    def test_of_what_is_here_only_changes_come(self) -> None:
        left = StateLeft()
        left.whole(b"\1", 1_000)
        self.assertIsNone(left.part(b"\2", 16, True))
        left.renewed(b"\2", 16, 100)
        self.assertEqual(left.part(b"\3", 16, True), (0.0, 100.0))
        self.assertEqual(left.part(b"\3", 16, False), (1_000.0, 0.0))

    def test_on_the_way_down_both_count_and_what_is_the_same_does_not(self) -> None:
        left = StateLeft()
        for n in range(4):
            left.whole(bytes((0, n)), 1_000)
        self.assertIsNone(left.part(b"\0", 16, False))
        left.opened(b"", [(bytes((n,)), False) for n in range(16)])
        left.opened(b"\0", [(bytes((0, n)), n == 1) for n in range(1, 16) if n not in (2, 3)])
        self.assertIsNone(left.changes)  # one of four differs
        left.renewed(b"\0\1", 16, 200)
        self.assertEqual(left.changes, 0.2 / 4)
        new, changed = left.part(b"\0", 16, False) or (0.0, 0.0)
        self.assertEqual((new, changed), (12_000.0, 4_000 * 0.2 / 4))
        left.whole(b"\0", 4_000)  # all below it in one
        self.assertEqual(left.part(b"\0", 16, False), (0.0, 4_000 * 0.2 / 4))

    def test_where_nothing_differs_nothing_will_change(self) -> None:
        left = StateLeft()
        left.whole(b"\1", 1_000)
        left.opened(b"", [(b"\2", False)])
        self.assertEqual(left.changes, 0.0)


class Time(SynchronousTestCase):
    def rest(self, new: float, **more: float) -> Rest:
        return Rest(**{"new": new, "changed": 0.0, "open": 0.0, "coming": 0.0, "whole": new, "changes": 0.0, **more})

    def running(self) -> StateTime:
        time = StateTime()
        for second in range(200):
            time.came(1_000, 0.0, float(second))
        return time

    def test_the_rate_is_that_of_late(self) -> None:
        time = StateTime()
        time.began(0.0)
        self.assertIsNone(time.seconds(self.rest(1.0), 0.0))
        for second in range(4):
            self.assertIsNone(time.seconds(self.rest(1.0), float(second)))  # too few to tell
            time.came(2_500, 0.0, (second + 1) / 4)
        self.assertAlmostEqual(time.seconds(self.rest(10**4), 1.0) or 0.0, 1.0)
        for second in range(2, 100):
            time.came(1_000, 0.0, float(second))
        self.assertLess(abs((time.seconds(self.rest(10_000), 99.0) or 0.0) - (10.0)), 0.5)

    def test_what_is_on_its_way_smooths_the_bursts(self) -> None:
        time = StateTime()
        for second in range(0, 1_000, 10):
            for _ in range(10):
                time.came(1_000, 0.0, float(second))
        told = [time.seconds(self.rest(10_000, coming=1_000.0 * ahead), 990.0 + ahead) or 0.0 for ahead in range(10)]
        for ahead, seconds in enumerate(told):
            self.assertLess(abs(seconds - (10 - ahead)), 1.2)

    def test_the_goal_passes_as_it_did_before(self) -> None:
        time = self.running()
        time.aimed(0.0, 100, 100)
        self.assertLess(abs((time.seconds(self.rest(300_000), 199.0) or 0.0) - (300)), 5)
        time.aimed(150.0, 250, 250)
        # it lasts until 300, and again 150 s: a tenth of what is here each time
        rest = self.rest(150_000, whole=300_000, changes=0.1)
        naive, spent, left, until = 150_000.0, 0.0, 101.0, 101.0
        while naive > 1_000 * until:
            naive -= 1_000 * until
            naive += 0.1 * (300_000 - naive)
            spent, until = spent + until, 150.0
        left = spent + naive / 1_000
        self.assertLess(abs((time.seconds(rest, 199.0) or 0.0) - (left)), 6)

    def test_what_changes_sooner_than_it_comes_is_never_done(self) -> None:
        time = self.running()
        time.aimed(0.0, 100, 100)
        time.aimed(150.0, 250, 250)
        self.assertIsNone(time.seconds(self.rest(200_000, whole=600_000, changes=1.0), 199.0))
