"""Requests of one link: whoever is told of one failure may cancel others of the same batch, and waiting has a bound."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import PeerGone, Reason, RefusalReason, RequestRefused, RequestTimedOut
from chainp2p.net.asking import WAITING_LIMIT, Asking
from chainp2p.peer.requests import OPEN_LIMIT
from chainp2p.wire.codec import encode
from chainp2p.wire.messages import GetPeers, Peers


class BatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.asking = Asking(lambda: 0.0, lambda message, payload, sent: lambda: False)
        first, self.second, self.third = (self.asking.ask(GetPeers(), encode(GetPeers()), 10.0) for _ in range(3))
        self.first: Deferred[Any] = first.addErrback(self.cancel_second)

    def cancel_second(self, failure: Any) -> Any:
        self.second.cancel()
        return failure

    def check(self, error: type[Exception]) -> None:
        self.failureResultOf(self.first, error)
        self.failureResultOf(self.second, CancelledError)
        self.failureResultOf(self.third, error)

    def test_the_link_ends(self) -> None:
        self.asking.fail_all(Reason.SHUTDOWN, "")
        self.check(PeerGone)

    def test_the_deadline_passes(self) -> None:
        self.asking.expire(11.0)
        self.check(RequestTimedOut)


class WaitingTests(SynchronousTestCase):
    """Requests that wait for a place among the open ones have a bound in bytes."""

    def setUp(self) -> None:
        self.sent: list[Any] = []
        self.asking = Asking(lambda: 0.0, self.send)
        self.open = [self.ask() for _ in range(OPEN_LIMIT)]
        for number, (_, told) in enumerate(self.sent, 1):
            told(number)

    def send(self, message: Any, payload: bytes, told: Any) -> Any:
        self.sent.append((message, told))
        return lambda: True

    def ask(self, size: int = 4, deadline: float = 10.0) -> "Deferred[Any]":
        return self.asking.ask(GetPeers(), bytes(size), deadline)

    def test_what_is_above_is_refused_here(self) -> None:
        waiting = self.ask(WAITING_LIMIT)
        self.assertEqual(self.asking.waiting, WAITING_LIMIT)
        refused = self.asking.ask(GetPeers(), b"1", 10.0)
        self.assertEqual(self.failureResultOf(refused, RequestRefused).value.reason, RefusalReason.BUSY)
        self.assertNoResult(waiting)
        self.asking.replied(1, Peers(()))
        self.assertEqual((self.asking.waiting, len(self.sent)), (0, OPEN_LIMIT + 1))
        self.assertNoResult(self.ask(WAITING_LIMIT))

    def test_every_way_out_is_counted(self) -> None:
        cancelled, late, last = self.ask(10), self.ask(10, 5.0), self.ask(10)
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.assertEqual(self.asking.waiting, 20)
        self.asking.expire(6.0)
        self.failureResultOf(late, RequestTimedOut)
        self.assertEqual(self.asking.waiting, 10)
        self.open[0].cancel()
        self.failureResultOf(self.open[0], CancelledError)
        self.assertEqual(self.asking.waiting, 0)
        rest = [*self.open[1:], last, self.ask(10)]
        self.asking.fail_all(Reason.SHUTDOWN, "")
        self.assertEqual(self.asking.waiting, 0)
        for answer in rest:
            self.failureResultOf(answer, PeerGone)
