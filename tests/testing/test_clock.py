"""The virtual clock against ``task.Clock`` and against a naive model."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock, LoopingCall, deferLater
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from chainp2p.testing.clock import HeapClock, Owner


class HeapClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = HeapClock(10.0)
        self.ran: list[Any] = []

    def test_interfaces(self) -> None:
        self.assertTrue(verifyObject(IReactorTime, self.clock))
        self.assertTrue(verifyObject(IDelayedCall, self.clock.callLater(1, int)))

    def test_order_is_time_then_sequence(self) -> None:
        for name, delay in (("c", 2), ("a", 1), ("b", 1), ("d", 2)):
            self.clock.callLater(delay, lambda n=name: self.ran.append((n, self.clock.seconds())))
        self.clock.run_until(11.5)
        self.assertEqual(self.ran, [("a", 11.0), ("b", 11.0)])
        self.assertEqual(self.clock.seconds(), 11.5)
        self.clock.run_for(5)
        self.assertEqual([name for name, _ in self.ran], ["a", "b", "c", "d"])
        self.assertEqual((self.clock.events, self.clock.seconds()), (4, 16.5))

    def test_arguments(self) -> None:
        self.clock.callLater(1, lambda *a, **k: self.ran.append((a, k)), 1, 2, x=3)
        self.clock.advance(1)
        self.assertEqual(self.ran, [((1, 2), {"x": 3})])

    def test_a_call_at_the_same_time_runs_in_the_same_step(self) -> None:
        self.clock.callLater(1, lambda: self.clock.callLater(0, self.ran.append, "later"))
        self.clock.run_for(1)
        self.assertEqual(self.ran, ["later"])

    def test_negative_and_nan_delays(self) -> None:
        for delay in (-1, float("nan")):
            self.assertRaises(ValueError, self.clock.callLater, delay, int)

    def test_cancel(self) -> None:
        call = self.clock.callLater(1, self.ran.append, 1)
        self.assertTrue(call.active())
        call.cancel()
        self.assertFalse(call.active())
        self.assertRaises(AlreadyCancelled, call.cancel)
        self.assertRaises(AlreadyCancelled, call.reset, 1)
        self.clock.run_for(2)
        self.assertEqual(self.ran, [])
        done = self.clock.callLater(1, self.ran.append, 2)
        self.clock.run_for(1)
        self.assertRaises(AlreadyCalled, done.cancel)
        self.assertRaises(AlreadyCalled, done.delay, 1)

    def test_reset_and_delay(self) -> None:
        call = self.clock.callLater(5, lambda: self.ran.append(self.clock.seconds()))
        call.reset(1)
        self.assertEqual(call.getTime(), 11.0)
        call.delay(2)
        self.assertEqual(call.getTime(), 13.0)
        call.delay(-100)
        self.assertEqual(call.getTime(), 10.0)
        call.reset(4)
        self.clock.run_for(10)
        self.assertEqual(self.ran, [14.0])

    def test_delayed_calls(self) -> None:
        second, first = self.clock.callLater(2, int), self.clock.callLater(1, int)
        self.clock.callLater(1, int).cancel()
        second.reset(3)
        self.assertEqual(list(self.clock.getDelayedCalls()), [first, second])

    def test_failures_are_logged_and_time_goes_on(self) -> None:
        self.clock.callLater(1, lambda: 1 // 0)
        self.clock.callLater(2, self.ran.append, "on")
        self.clock.run_for(3)
        self.assertEqual(self.ran, ["on"])
        self.assertEqual(self.clock.failures, 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_owners(self) -> None:
        owner = Owner()
        call = self.clock.plan(owner, 1, self.ran.append, ("dead",), {})
        self.clock.callLater(1, self.ran.append, "alive")
        self.assertEqual(self.clock.planned(owner), [call])
        owner.alive = False
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.run_for(2)
        self.assertEqual(self.ran, ["alive"])

    def test_run_while(self) -> None:
        for delay in (1, 2, 3):
            self.clock.callLater(delay, self.ran.append, delay)
        self.assertTrue(self.clock.run_while(lambda: len(self.ran) < 2, 10))
        self.assertEqual((self.ran, self.clock.seconds()), ([1, 2], 12.0))
        self.assertFalse(self.clock.run_while(lambda: True, 0.5))
        self.assertEqual(self.clock.seconds(), 12.5)
        self.assertFalse(self.clock.run_while(lambda: True, 100))
        self.assertEqual(self.clock.seconds(), 112.5)

    def test_step(self) -> None:
        self.assertFalse(self.clock.step())
        self.clock.callLater(1, self.ran.append, 1).cancel()
        self.clock.callLater(2, self.ran.append, 2)
        self.assertTrue(self.clock.step())
        self.assertEqual((self.ran, self.clock.seconds()), ([2], 12.0))

    def test_cancelled_calls_do_not_pile_up(self) -> None:
        call = self.clock.callLater(1, self.ran.append, "once")
        for _ in range(10_000):
            call.reset(1)
            self.clock.callLater(100, int).cancel()
        self.assertLess(len(self.clock._heap), 3_000)
        self.clock.run_for(1)
        self.assertEqual(self.ran, ["once"])

    def test_twisted_runs_on_it(self) -> None:
        loop = LoopingCall(lambda: self.ran.append(self.clock.seconds()))
        loop.clock = self.clock
        loop.start(1.0)
        self.clock.run_for(10)
        self.assertEqual(self.ran, [10.0 + n for n in range(11)])
        loop.stop()
        self.assertNoResult(waiting := deferLater(self.clock, 1, lambda: "x"))
        self.clock.run_for(1)
        self.assertEqual(self.successResultOf(waiting), "x")


class ModelTests(SynchronousTestCase):
    @settings(deadline=None, derandomize=True)
    @given(
        st.lists(
            st.tuples(st.sampled_from(["call", "cancel", "reset", "advance"]), st.integers(0, 9), st.integers(0, 20)),
            max_size=40,
        )
    )
    def test_behaves_like_task_clock(self, steps: list[tuple[str, int, int]]) -> None:
        """Where task.Clock is exact (no two calls at one time), both run the same calls at the same times."""
        clocks: list[Any] = [HeapClock(), Clock()]
        calls: list[list[Any]] = [[], []]
        ran: list[list[Any]] = [[], []]
        for number, (what, index, amount) in enumerate(steps):
            # one time each: task.Clock does not promise an order among equals
            seconds = amount + number / 1024
            for side, clock in enumerate(clocks):
                mine = calls[side]
                if what == "call":
                    mine.append(clock.callLater(seconds, ran[side].append, number))
                elif what == "advance":
                    clock.advance(seconds)
                elif index < len(mine) and mine[index].active():
                    mine[index].cancel() if what == "cancel" else mine[index].reset(seconds)
        for clock in clocks:
            clock.advance(100)
        self.assertEqual(*map(sorted, ran))
        self.assertEqual(*[[call.active() for call in side] for side in calls])
