"""Checks in fair turns, on a virtual clock."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import PeerGone
from chainp2p.gossip.checks import LONGEST, LOOKED_AT, Checks, block_cost, body_cost, transaction_cost
from chainp2p.peer.tasks import Tasks
from chainp2p.testing.clock import HeapClock


class ChecksTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = HeapClock()
        self.checks = Checks(self.clock, 10.0, 2)
        self.tasks = Tasks(Logger())
        self.begun: list[str] = []
        self.running: list[Deferred[str]] = []
        self.ends: list[Any] = []

    def tearDown(self) -> None:
        self.checks.stop()
        self.assertEqual(self.clock.planned(None), [])

    def ask(self, link: Any, name: str, cost: float = 5.0) -> None:
        def check() -> "Deferred[str]":
            self.begun.append(name)
            self.running.append(Deferred())
            return self.running[-1]

        async def run() -> None:
            try:
                self.ends.append(await self.checks.run(link, cost, check))
            except Exception as error:
                self.ends.append(type(error))

        self.tasks.spawn(run())

    def end(self, answer: str) -> None:
        self.running.pop(0).callback(answer)

    def test_at_once_where_there_is_room_then_in_turns(self) -> None:
        for name in ("a1", "a2", "a3", "a4", "a5"):
            self.ask("a", name)
        self.ask("b", "b1")
        self.assertEqual(self.begun, ["a1", "a2"])
        self.assertEqual([self.checks.waiting(link) for link in "ab"], [3, 1])
        for answer in "xyz":
            self.end(answer)
        self.assertEqual((self.begun[2:], self.ends), (["a3", "a4", "b1"], ["x", "y", "z"]))
        for answer in "xyz":
            self.end(answer)
        self.assertEqual(len(self.ends), 6)

    def test_what_fails_makes_room(self) -> None:
        for name in ("a1", "a2", "a3"):
            self.ask("a", name)
        self.running.pop(0).errback(ValueError())
        self.assertEqual((self.begun, self.ends), (["a1", "a2", "a3"], [ValueError]))
        self.end("x")
        self.end("y")

    def test_a_peer_that_leaves(self) -> None:
        for link, name in (("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("a", "a4")):
            self.ask(link, name)
        self.checks.left("a")
        self.checks.left("unknown")
        self.assertEqual(self.ends, [PeerGone, PeerGone])
        self.end("x")
        self.assertEqual(self.begun, ["a1", "a2", "b1"])
        self.end("y")
        self.end("z")

    def test_nobody_waits_for_ever(self) -> None:
        for name in ("a1", "a2", "a3"):
            self.ask("a", name)
        self.clock.run_for(LONGEST + LOOKED_AT)
        self.assertEqual((self.ends, self.checks.waiting("a")), ([PeerGone], 0))
        self.end("x")
        self.end("y")

    def test_stopping(self) -> None:
        for name in ("a1", "a2", "a3", "a4"):
            self.ask("a", name)
        self.tasks.stop()
        self.assertEqual((len(self.tasks), self.checks.waiting("a")), (0, 0))
        self.ask("a", "a5")
        self.assertEqual(self.checks.waiting("a"), 0)

    def test_many_that_are_over_at_once_fill_no_stack_and_no_turn(self) -> None:
        done: list[int] = []
        hold: Deferred[None] = Deferred()

        async def one(number: int) -> None:
            async def check() -> None:
                if number < 2:
                    await hold
                done.append(number)

            await self.checks.run("a", 1.0, check)

        for number in range(5_000):
            self.tasks.spawn(one(number))
        self.assertEqual(done, [])
        hold.callback(None)
        turns = 0
        while len(done) < 5_000:
            before = len(done)
            self.assertTrue(self.clock.step())
            self.assertLessEqual(len(done) - before, 2)
            turns += 1
        self.assertGreater(turns, 2_000)
        in_turn = [number for number in done if number > 1]
        self.assertEqual(in_turn, sorted(in_turn))

    def test_what_is_larger_costs_more(self) -> None:
        for cost in (transaction_cost, body_cost, block_cost):
            self.assertLess(cost(100), cost(100_000))
        self.assertLess(transaction_cost(110), block_cost(1_000))
