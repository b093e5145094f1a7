"""Work that nobody waits for: failures are logged, the rest is quiet, stopping ends it."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import PeerGone, Reason
from chainp2p.peer.tasks import Bell, Tasks
from chainp2p.testing.clock import HeapClock


class Background(SynchronousTestCase):
    def setUp(self) -> None:
        self.tasks = Tasks(Logger())
        self.ended: list[str] = []

    async def wait(self, what: "Deferred[Any]") -> None:
        try:
            await what
        finally:
            self.ended.append("ended")

    def test_our_failures_are_logged_and_nobodys_are_not(self) -> None:
        for error, logged in ((KeyError("ours"), 1), (PeerGone(Reason.SHUTDOWN), 0)):
            waiting: Deferred[None] = Deferred()
            self.tasks.spawn(self.wait(waiting))
            self.assertEqual(len(self.tasks), 1)
            waiting.errback(error)
            self.assertEqual(len(self.flushLoggedErrors()), logged)
            self.assertEqual(len(self.tasks), 0)

    def test_stop_cancels_and_refuses(self) -> None:
        self.tasks.spawn(self.wait(Deferred()))
        self.tasks.spawn(self.wait(Deferred()))
        self.tasks.stop()
        self.assertEqual(self.ended, ["ended"] * 2)
        self.tasks.spawn(self.wait(Deferred()))
        self.assertEqual((self.ended, len(self.tasks)), (["ended"] * 2, 0))
        self.tasks.start()
        self.tasks.spawn(self.wait(Deferred()))
        self.assertEqual(len(self.tasks), 1)
        self.tasks.stop()


class BellTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = HeapClock()
        self.bell = Bell(self.clock)

    def sleep(self, seconds: float) -> "Deferred[None]":
        return Deferred.fromCoroutine(self.bell.sleep(seconds))

    def test_a_sleep_ends_at_its_time_or_when_the_bell_rings(self) -> None:
        long = self.sleep(5.0)
        self.clock.run_for(4.9)
        self.assertNoResult(long)
        self.clock.run_for(0.2)
        self.successResultOf(long)
        rung = self.sleep(5.0)
        self.bell.ring()
        self.successResultOf(rung)
        self.assertEqual(list(self.clock.planned(None)), [])

    def test_a_ring_while_nobody_sleeps_ends_the_next_sleep_and_no_other(self) -> None:
        self.bell.ring()
        self.bell.ring()
        self.successResultOf(self.sleep(5.0))
        self.assertNoResult(last := self.sleep(5.0))
        last.cancel()
        self.failureResultOf(last)
        self.assertEqual(list(self.clock.planned(None)), [])
