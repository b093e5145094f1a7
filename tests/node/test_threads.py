"""Threads of the node; the reactor is a queue that the test drains."""

import queue
import threading

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.node.threads import ThreadExecutor


class Reactor:
    def __init__(self) -> None:
        self.calls: queue.Queue = queue.Queue()
        self.now = 0.0

    def callFromThread(self, f, *args) -> None:
        self.calls.put((f, args))

    def seconds(self) -> float:
        return self.now

    def drain(self, done: Deferred) -> None:
        while not done.called:
            f, args = self.calls.get(timeout=60)
            f(*args)


class ThreadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.executor = ThreadExecutor(self.reactor, 2)
        self.addCleanup(lambda: self.reactor.drain(self.executor.stop()))

    def result(self, done: Deferred):
        self.reactor.drain(done)
        return self.successResultOf(done)

    def test_results_and_failures_come_back(self) -> None:
        self.assertEqual(self.result(self.executor.run(divmod, 7, 3)), (2, 1))
        failing = self.executor.run(divmod, 7, 0)
        self.reactor.drain(failing)
        self.failureResultOf(failing, ZeroDivisionError)

    def test_a_lane_is_one_thread_in_order(self) -> None:
        lane, seen = self.executor.lane("writer"), []
        jobs = [lane.run(lambda i=i: seen.append((i, threading.get_ident()))) for i in range(50)]
        self.result(jobs[-1])
        self.assertEqual([i for i, _ in seen], list(range(50)))
        self.assertEqual(len({ident for _, ident in seen}), 1)
        self.assertNotEqual(seen[0][1], threading.get_ident())
        self.assertRaises(RuntimeError, lane.lane, "more")

    def test_nothing_starts_before_the_first_job(self) -> None:
        before = set(threading.enumerate())
        ThreadExecutor(self.reactor, 2).lane("writer")
        self.assertEqual(set(threading.enumerate()) - before, set())

    def test_stopping_finishes_what_is_queued_and_joins(self) -> None:
        lane = self.executor.lane("writer")
        go = threading.Event()
        jobs = [lane.run(go.wait), lane.run(lambda: "last")]
        stopped = self.executor.stop()
        go.set()
        self.reactor.drain(stopped)
        self.assertEqual(self.result(jobs[1]), "last")
        self.assertFalse([t for t in threading.enumerate() if t.name == "chainp2p writer"])
        self.failureResultOf(lane.run(len, ""), RuntimeError)
        self.failureResultOf(self.executor.run(len, ""), RuntimeError)
        self.failureResultOf(self.executor.lane("late").run(len, ""), RuntimeError)
        self.assertIs(self.executor.stop(), stopped)

    def test_a_lane_that_hangs_is_named(self) -> None:
        lane, entered, go = self.executor.lane("writer"), threading.Event(), threading.Event()

        def hang() -> None:
            entered.set()
            go.wait(10)

        done = lane.run(hang)
        self.assertTrue(entered.wait(10))
        self.reactor.now = 29.0
        self.assertEqual(self.executor.stuck(30.0), [])
        self.reactor.now = 31.0
        self.assertEqual(self.executor.stuck(30.0), ["writer"])
        go.set()
        self.result(done)
        self.assertEqual(self.executor.stuck(30.0), [])
