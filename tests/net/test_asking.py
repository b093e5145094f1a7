"""Open requests of one link: whoever is told of one failure may cancel others of the same batch."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import PeerGone, Reason, RequestTimedOut
from chainp2p.net.asking import Asking
from chainp2p.wire.codec import encode
from chainp2p.wire.messages import GetPeers


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
