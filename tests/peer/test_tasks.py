"""Work that nobody waits for: failures are logged, the rest is quiet, stopping ends it."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import PeerGone, Reason
from chainp2p.peer.tasks import Tasks


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
