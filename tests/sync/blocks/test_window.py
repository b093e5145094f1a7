"""The block window beside a naive model: what is asked of whom, who keeps others waiting, what goes to the chain."""

from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import pairwise
from math import inf
from random import Random

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import chainp2p.sync.blocks.window
from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.sync.blocks.rates import FIRST_BYTES, TARGET_MAX, TARGET_MIN, PeerRate, target_seconds
from chainp2p.sync.blocks.sources import LEAVE_AFTER, LEFT_FOR, REQUESTS_MAX, Ask, Source
from chainp2p.sync.blocks.window import ASKED_MAX, NEAR_TIP, WINDOW, Window
from chainp2p.sync.pace import SPAN, Pace


def hash_of(height: int, branch: int = 0) -> bytes:
    return branch.to_bytes(16, "big") + height.to_bytes(16, "big")


def blocks(first: int, last: int, branch: int = 0) -> list[HeaderInfo]:
    """The headers of these heights."""
    return [
        HeaderInfo(hash_of(height, branch), hash_of(height - 1, branch), height, height.to_bytes(32, "big"))
        for height in range(first, last + 1)
    ]


@define(eq=False)
class Peer:
    """How a peer of the model behaves; *rate* in bytes a second, at most *height* blocks."""

    name: str
    rate: float
    delay: float
    height: int
    silent: bool = False
    free_at: float = 0.0


@define(eq=False)
class Game:
    """Peers, a chain that takes its time, and the window between them; every promise is checked at each step."""

    test: SynchronousTestCase
    chance: Random
    plan: list[HeaderInfo]
    peers: dict[str, Peer]
    sizes: dict[bytes, int]
    window: Window[str] = field(factory=Window)
    now: float = 0.0
    stored: int = 0
    failed: dict[str, float] = field(factory=dict)
    arrived: set[bytes] = field(factory=set)
    given: list[bytes] = field(factory=list)
    strikes: dict[str, int] = field(factory=dict)
    calls: list[tuple[float, int, object]] = field(factory=list)
    count: int = 0

    def sources(self) -> list[Source[str]]:
        return [
            Source(peer.name, peer.height, failed=self.now - self.failed.get(peer.name, -inf) < 30.0)
            for peer in self.peers.values()
        ]

    def later(self, when: float, what: object) -> None:
        self.count += 1
        heappush(self.calls, (when, self.count, what))

    def run(self, limit: float) -> None:
        """Play until every block is stored."""
        self.window.plan(self.plan, self.plan[-1].height, self.now)
        while self.stored < len(self.plan):
            self.act()
            wake = self.window.wakes(self.now, self.sources())
            when = min(self.calls[0][0] if self.calls else inf, wake)
            self.test.assertLess(when, limit, "nothing will happen any more")
            self.now = when
            while self.calls and self.calls[0][0] <= self.now:
                self.happen(heappop(self.calls)[2])

    def act(self) -> None:
        window, sources = self.window, self.sources()
        for key in window.stalled(self.now, sources):
            self.test.assertGreater(len(self.peers), 1)
            self.failed[key] = self.now
            self.strikes[key] = self.strikes.get(key, 0) + 1
        while (ask := window.choose(self.now, self.sources())) is not None:
            self.check_ask(ask)
            peer = self.peers[ask.peer]
            have = [info for info in ask.run if info.height <= peer.height]
            self.later(self.now + 64.0, ask)
            if not peer.silent:
                work = sum(self.sizes[info.hash] for info in have) / peer.rate
                peer.free_at = max(peer.free_at, self.now + peer.delay) + work
                self.later(peer.free_at, (ask, have))
        taken = window.row.take(self.chance.randint(1, 64), 1 << 20)
        if taken:
            self.given += [info.hash for info, _ in taken]
            self.later(self.now + 0.01, [info for info, _ in taken])
        self.check()

    def happen(self, what: object) -> None:
        match what:
            case Ask() as ask if ask in set(self.window.asks()):
                self.failed[ask.peer] = self.now
                self.window.timed_out(ask)
            case (Ask() as ask, list() as have) if ask in set(self.window.asks()):
                if have:
                    good = have[: self.chance.randint(1, len(have))]
                    self.arrived.update(info.hash for info in good)
                    self.window.arrived(ask, [bytes(self.sizes[info.hash]) for info in good], self.now)
                else:
                    self.window.lacked(ask, self.now)
            case list() as judged:
                for info in judged:
                    self.window.judged(info.hash, True, self.now)
                    self.stored += 1

    def check_ask(self, ask: Ask[str]) -> None:
        """A request that was just made keeps the rules."""
        test, run = self.test, ask.run
        test.assertTrue(all(one.hash == other.parent for one, other in pairwise(run)))
        test.assertLessEqual(run[-1].height - self.plan[0].height, self.stored + WINDOW)
        test.assertEqual([info for info in run if info.hash in self.arrived], [])
        test.assertLessEqual(len(self.window.servers[ask.peer].asks), REQUESTS_MAX)

    def check(self) -> None:
        """Nothing is counted twice, and nobody is asked twice for one block."""
        window, open = self.window, list(self.window.asks())
        pairs = [(ask.peer, info.hash) for ask in open for info in ask.run]
        self.test.assertEqual(len(pairs), len(set(pairs)))
        for info in self.chance.sample(self.plan, min(5, len(self.plan))):
            holders = [ask.peer for ask in open if info in ask.run and not ask.loose]
            self.test.assertLessEqual(len(holders), ASKED_MAX)
            self.test.assertEqual({ask.peer for ask in window.holders(info)}, set(holders))
        missing = next((info for info in self.plan if info.hash not in self.arrived), None)
        self.test.assertEqual(window.row.edge, missing)
        kept = [info.hash for info in self.plan if info.hash in self.arrived][self.stored :]
        self.test.assertEqual(window.row.size, sum(self.sizes[hash] for hash in kept))
        self.test.assertEqual(self.given, [info.hash for info in self.plan[: len(self.given)]])
        self.test.assertEqual(window.row.left, len(self.plan) - self.stored)


class Model(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=40)
    @given(st.randoms(use_true_random=False))
    def test_every_block_comes_whatever_peers_do(self, chance: Random) -> None:
        count = chance.choice((1, 10, 60, 120))
        plan = blocks(1, count)
        peers = {}
        for number in range(chance.randint(1, 8)):
            name = f"p{number}"
            peers[name] = Peer(
                name,
                rate=10 ** chance.uniform(2, 6),
                delay=10 ** chance.uniform(-3, 1),
                height=count if not number else chance.randint(0, count),
                silent=bool(number) and chance.random() < 0.4,
            )
        sizes = {info.hash: chance.choice((0, 100, 5_000)) for info in plan}
        game = Game(self, chance, plan, peers, sizes)
        game.run(limit=1e6)
        self.assertEqual(len(game.given), count)

    @settings(deadline=None, derandomize=True, max_examples=6)
    @given(st.integers(2, 8), st.randoms(use_true_random=False))
    def test_equals_share_the_work_and_nobody_is_said_to_stall(self, count: int, chance: Random) -> None:
        plan = blocks(1, 1_500)
        peers = {f"p{n}": Peer(f"p{n}", 1e6, 0.05, 1_500) for n in range(count)}
        game = Game(self, chance, plan, peers, dict.fromkeys((info.hash for info in plan), 5_000))
        game.chance.randint = lambda low, high: high  # type: ignore[method-assign]
        game.run(limit=1e3)
        self.assertEqual(game.strikes, {})
        self.assertLess(game.now, 1.3 * 1_500 * 5_000 / (1e6 * count) + 0.4)


class Rules(SynchronousTestCase):
    def setUp(self) -> None:
        self.window: Window[str] = Window()
        self.all = [Source(name, 10_000) for name in "abc"]

    def ask(self, now: float = 0.0, sources: Sequence[Source[str]] | None = None) -> list[Ask[str]]:
        asks = []
        while (ask := self.window.choose(now, self.all if sources is None else sources)) is not None:
            asks.append(ask)
        return asks

    def test_the_last_blocks_are_asked_of_two(self) -> None:
        self.window.plan(blocks(1, NEAR_TIP + 4), NEAR_TIP + 4, 0.0)
        for number in range(40):
            for ask in self.ask():
                self.window.arrived(ask, [b"x" * 100 for _ in ask.run[:1]], 0.001 * number)
            if self.window.row.edge is None:
                break
        else:
            self.fail("it does not end")
        self.window.plan(blocks(10_000, 10_000), 10_000, 1.0)
        self.assertEqual(len({ask.peer for ask in self.ask(1.0)}), 2)
        self.assertEqual(self.ask(1.0), [])

    def test_far_from_the_tip_each_is_asked_of_one(self) -> None:
        self.window.plan(blocks(1, 30), 1_000, 0.0)
        asked = [info.hash for ask in self.ask() for info in ask.run]
        self.assertEqual(len(asked), len(set(asked)))

    def test_no_more_than_the_window(self) -> None:
        self.window.plan(blocks(1, 3_000), 3_000, 0.0)
        got: set[int] = set()
        for number in range(200):
            for ask in self.ask(number * 0.1):
                got.update(info.height for info in ask.run)
                if ask.run[0].height > 1:
                    self.window.arrived(ask, [b"x" * 200 for _ in ask.run], number * 0.1 + 0.05)
        self.assertEqual(max(got), WINDOW)

    def test_what_is_too_much_is_let_go_but_never_the_next(self) -> None:
        self.patch(chainp2p.sync.blocks.window, "BYTES_MAX", 10_000)
        self.window.plan(blocks(1, 40), 1_000, 0.0)
        (first, *rest) = self.ask()
        for ask in rest:
            self.window.arrived(ask, [bytes(4_000) for _ in ask.run], 0.1)
        self.assertLessEqual(self.window.row.size, 10_000)
        self.window.arrived(first, [bytes(4_000) for _ in first.run], 0.1)
        self.assertEqual(self.window.row.take(1, 0)[0][0].height, 1)
        self.window.judged(hash_of(1), True, 0.2)
        while self.window.row.edge is not None:
            for info, _ in self.window.row.take(9, 1 << 20):
                self.window.judged(info.hash, True, 0.3)
            for ask in self.ask(0.3):
                self.window.arrived(ask, [bytes(4_000) for _ in ask.run], 0.4)
            self.assertLessEqual(self.window.row.size, 10_000 + 4_000 * 16)

    def test_a_stall_needs_somebody_else(self) -> None:
        self.window.plan(blocks(1, 1), 1_000, 0.0)
        (ask,) = self.ask(sources=self.all[:1])
        self.assertEqual(self.window.stalled(60.0, self.all[:1]), [])
        self.assertEqual(self.window.gives_up(ask, self.all, 0.0), 2.0)
        self.assertEqual(self.window.stalled(1.9, self.all), [])
        self.assertEqual(self.window.stalled(2.0, [self.all[0], Source("b", 9, failed=True)]), [])
        self.assertEqual(self.window.stalled(2.0, self.all), ["a"])
        (again,) = self.ask(2.0, [Source("a", 9, failed=True), *self.all[1:]])
        self.assertNotEqual(again.peer, "a")
        self.window.arrived(ask, [b"late"], 3.0)
        self.assertIsNone(self.window.row.edge)
        self.assertEqual(self.window.servers["a"].stalls, 0)

    def test_who_stalls_three_times_in_a_row_is_left_while_another_is_there(self) -> None:
        self.window.plan(blocks(1, 9), 1_000, 0.0)
        for number in range(LEAVE_AFTER):
            (ask,) = self.ask(100.0 * number, self.all[:1])
            self.assertEqual(self.window.stalled(100.0 * number + 90, self.all), ["a"])
            self.window.closed(ask)
        now = 100.0 * LEAVE_AFTER
        self.assertNotIn("a", {ask.peer for ask in self.ask(now)})
        self.window.forget("b")
        self.window.forget("c")
        self.assertEqual({ask.peer for ask in self.ask(now, self.all[:1])}, {"a"})
        self.assertGreater(self.window.servers["a"].left_until, LEFT_FOR)

    def test_patience_begins_when_it_holds_the_edge(self) -> None:
        self.window.plan(blocks(1, 400), 1_000, 0.0)
        first, *rest = self.ask()
        late = next(ask for ask in rest if ask.peer != first.peer)
        self.window.arrived(first, [b"x" for _ in first.run], 50.0)
        self.assertEqual(self.window.gives_up(late, self.all, 50.0), 52.0)

    def test_who_has_nothing_to_do_helps_with_the_edge_when_it_is_overdue(self) -> None:
        self.window.plan(blocks(1, 2), 1_000, 0.0)
        (ask,) = self.ask(sources=self.all[:1])
        self.window.servers["b"].rate.measured(100_000, 0.0, 0.1)
        self.assertEqual(self.ask(0.1), [])
        (help,) = self.ask(1.0)
        self.assertEqual((help.peer, help.run[0]), ("b", ask.run[0]))
        self.assertEqual(self.ask(1.0), [])

    def test_nobody_helps_while_the_chain_has_blocks_to_go_on_with(self) -> None:
        self.window.plan(blocks(1, 2), 1_000, 0.0)
        (ask,) = self.ask(sources=self.all[:1])
        self.window.arrived(ask, [bytes(100)], 1.0)
        (ask,) = self.ask(1.0, self.all[:1])
        self.window.servers["b"].rate.measured(100_000, 0.9, 1.0)
        self.assertEqual((self.window.row.ready, self.ask(1.0)), (1, []))
        self.window.row.take(1, 1_000)
        (help,) = self.ask(1.0)
        self.assertEqual((help.peer, help.run, self.window.row.ready), ("b", ask.run, 0))

    def test_not_having_a_block_holds_for_those_after_it_and_not_for_another_branch(self) -> None:
        self.window.plan(blocks(5, 9), 1_000, 0.0)
        only = self.all[:1]
        (ask,) = self.ask(0.0, only)
        self.window.lacked(ask, 0.0)
        self.assertTrue(self.window.nobody(0.0, only))
        self.assertEqual(self.ask(1.0, only), [])
        self.window.plan(blocks(6, 9), 1_000, 1.0)
        self.assertEqual(self.ask(1.0, only), [])
        self.window.plan(blocks(5, 9, branch=1), 1_000, 1.0)
        (other,) = self.ask(1.0, only)
        self.window.lacked(other, 1.0)
        self.assertEqual(self.window.wakes(1.5, only), 3.0)
        self.window.servers["a"].claimed()
        self.assertEqual(len(self.ask(1.5, only)), 1)

    def test_who_is_overdue_is_asked_for_the_edge_if_all_others_lack_it(self) -> None:
        """It may have answered nothing that it was asked when it was away, and answer now."""
        two = self.all[:2]
        self.window.plan(blocks(1, 1), 1_000, 0.0)
        (old,) = self.ask(0.0, two[:1])
        self.window.servers["b"].rate.measured(100_000, 0.0, 0.1)
        self.window.plan(blocks(5, 5), 1_000, 0.0)  # the first has come by gossip
        (ask,) = self.ask(0.0, two[1:])
        self.window.lacked(ask, 0.05)
        self.assertFalse(self.window.nobody(1.0, two))
        (late,) = self.ask(1.0, two)
        self.assertEqual((late.peer, late.run[0].height), ("a", 5))
        self.assertEqual(self.ask(1.0, two), [])  # no more than that
        self.window.arrived(late, [b"x" for _ in late.run], 1.1)
        self.assertEqual(self.window.servers["a"].asks, [old])

    def test_another_plan_keeps_what_fits(self) -> None:
        self.window.plan(blocks(1, 4), 1_000, 0.0)
        for ask in self.ask():
            self.window.arrived(ask, [b"x" for _ in ask.run], 0.1)
        self.assertEqual(self.window.row.waiting, 4)
        self.window.plan([*blocks(1, 2), *blocks(3, 5, branch=1)], 1_000, 0.2)
        self.assertEqual((self.window.row.waiting, self.window.row.size), (2, 2))
        self.assertEqual(self.window.row.edge, blocks(3, 3, branch=1)[0])

    def test_a_block_that_was_bad_is_wanted_again_and_its_sender_is_known(self) -> None:
        self.window.plan(blocks(1, 3), 1_000, 0.0)
        for source in self.all:
            (ask,) = self.ask(0.0, [source])
            self.window.arrived(ask, [b"x"], 0.1)
        taken = self.window.row.take(9, 99)
        self.assertEqual([info.height for info, _ in taken], [1, 2, 3])
        self.assertEqual(self.window.judged(hash_of(1), False, 0.3), "a")
        self.window.forget("c")
        self.assertIsNone(self.window.judged(hash_of(3), True, 0.3))
        self.assertEqual((self.window.row.edge, self.window.row.left), (blocks(1, 1)[0], 3))
        self.assertEqual(self.window.judged(hash_of(2), True, 0.3), "b")
        (again,) = self.ask(0.4, self.all[:1])
        self.assertEqual([info.height for info in again.run], [1])
        self.window.arrived(again, [b"x"], 0.5)
        self.assertEqual([info.height for info, _ in self.window.row.take(9, 99)], [1])
        self.window.judged(hash_of(1), True, 0.6)
        self.assertEqual((self.window.row.edge, self.window.row.left, self.window.row.size), (None, 0, 0))


class Rates(SynchronousTestCase):
    def test_a_rate_is_over_the_time_that_something_was_open(self) -> None:
        rate = PeerRate()
        self.assertEqual((rate.per_second, rate.seconds(1), rate.allowance(2.0)), (None, None, FIRST_BYTES))
        rate.measured(1_000, 0.0, 1.0)
        rate.measured(1_000, 0.0, 2.0)
        rate.measured(1_000, 100.0, 101.0)
        self.assertAlmostEqual(rate.per_second or 0, 1_000.0)
        self.assertAlmostEqual(rate.seconds(3_000) or 0, 4.0, places=1)
        for _ in range(100):
            rate.measured(9_000, 200.0, 201.0)
        self.assertGreater(rate.per_second or 0, 8_900.0)
        rate.slower()
        self.assertLess(rate.per_second or 0, 1e9)

    def test_whoever_is_far_away_is_asked_for_what_the_line_carries(self) -> None:
        for way in (0.1, 1.0, 4.0, 15.0):
            rate, now, width = PeerRate(), 0.0, 100_000.0
            for _ in range(40):
                asked, share = now, max(1_000, int(rate.allowance(target_seconds([rate])) / 4))
                for part in range(1, 5):
                    now = asked + way + part * share / width
                    rate.measured(share, asked, now)
            self.assertGreater(4 * share / (now - asked), width / 4, way)
            self.assertLess(4 * share, 30 * width, way)

    def test_the_target_follows_the_middle_peer(self) -> None:
        def rate(seconds: float) -> PeerRate:
            made = PeerRate()
            made.measured(1, 0.0, seconds)
            return made

        self.assertEqual(target_seconds([]), TARGET_MIN)
        self.assertEqual(target_seconds([rate(0.1), rate(0.2), rate(90.0)]), TARGET_MIN)
        self.assertAlmostEqual(target_seconds([rate(9.0), rate(10.0), rate(90.0), PeerRate()]), 9.0)
        self.assertEqual(target_seconds([rate(90.0)]), TARGET_MAX)

    def test_pace(self) -> None:
        pace = Pace()
        self.assertIsNone(pace.rate(0.0, 0))
        for second in range(200):
            pace.look(float(second), second * 5)
        self.assertAlmostEqual(pace.rate(199.0, 995) or 0, 5.0)
        self.assertIsNone(pace.rate(199.0 + 2 * SPAN, 995))
        pace.look(500.0, 3)
        self.assertIsNone(pace.rate(501.0, 3))
        pace.begin()
        pace.look(600.0, 3)
        self.assertAlmostEqual(pace.rate(601.0, 13) or 0, 10.0)
