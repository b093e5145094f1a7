"""Jobs on the virtual clock: in order, in turns of their own, and gone with their host."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.testing.clock import HeapClock
from chainp2p.testing.executor import SimExecutor


class SimExecutorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = HeapClock()
        self.ran: list[Any] = []

    def test_runs_in_a_turn_of_its_own(self) -> None:
        executor = SimExecutor(self.clock)
        done = executor.run(pow, 2, 5)
        self.assertNoResult(done)
        self.clock.run_for(0)
        self.assertEqual(self.successResultOf(done), 32)

    def test_failures_go_to_the_caller(self) -> None:
        done = SimExecutor(self.clock).run(lambda: 1 // 0)
        self.clock.run_for(0)
        self.failureResultOf(done, ZeroDivisionError)

    def test_lanes_keep_order_and_take_time(self) -> None:
        executor = SimExecutor(self.clock, cost=0.5)
        one, two = executor.lane("one"), executor.lane("two")
        for name, lane in (("a", one), ("b", one), ("c", two)):
            lane.run(lambda n=name: self.ran.append((n, self.clock.seconds())))
        self.clock.run_for(2)
        self.assertEqual(self.ran, [("a", 0.5), ("c", 0.5), ("b", 1.0)])
        self.assertEqual(executor.stuck(1.0), [])

    def test_stop_finishes_what_is_queued(self) -> None:
        executor = SimExecutor(self.clock, cost=1.0)
        lane = executor.lane("lane")
        job = lane.run(self.ran.append, 1)
        stopped = executor.stop()
        self.assertNoResult(stopped)
        self.failureResultOf(lane.run(int), RuntimeError)
        self.failureResultOf(executor.run(int), RuntimeError)
        self.failureResultOf(executor.lane("late").run(int), RuntimeError)
        self.clock.run_for(3)
        self.successResultOf(job)
        self.assertIs(executor.stop(), stopped)
        self.successResultOf(stopped)
        self.assertEqual(self.ran, [1])
