"""A network that is slower than loopback, for experiments: writes to peers are delayed below TLS."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from chainp2p.peer.key import NodeKey

if TYPE_CHECKING:
    import random

__all__ = ["SlowSecurity", "slow"]

#: What a lost TCP segment costs (seconds): the smallest retransmission time-out of Linux.
RETRANSMISSION = 0.2


class _SlowProtocol(ProtocolWrapper):
    """Hands writes on after their delay, in order."""

    factory: "_SlowFactory"

    def __init__(self, factory: Any, wrapped: Any) -> None:
        super().__init__(factory, wrapped)
        self._queue: deque[tuple[float, bytes]] = deque()
        self._call: Any = None
        self._closing = False

    def write(self, data: bytes) -> None:
        now = self.factory.reactor.seconds()
        due = now + self.factory.delay()
        if self._queue:
            due = max(due, self._queue[-1][0])
        self._queue.append((due, data))
        self._plan(now)

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        self._closing = True
        if not self._queue:
            super().loseConnection()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any = None) -> None:
        self._queue.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def _plan(self, now: float) -> None:
        if self._call is None and self._queue:
            self._call = self.factory.reactor.callLater(max(0.0, self._queue[0][0] - now), self._due)

    def _due(self) -> None:
        self._call = None
        now = self.factory.reactor.seconds()
        while self._queue and self._queue[0][0] <= now:
            super().write(self._queue.popleft()[1])  # type: ignore[no-untyped-call]
        if self._queue:
            self._plan(now)
        elif self._closing:
            super().loseConnection()  # type: ignore[no-untyped-call]


class _SlowFactory(WrappingFactory):
    protocol = _SlowProtocol
    noisy = False

    def __init__(self, wrapped: Any, reactor: Any, delay: Callable[[], float]) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]
        self.reactor = reactor
        self.delay = delay


class SlowSecurity:
    """Another transport security, over delayed transports.

    :param latency: seconds that each write waits.
    :param loss: share of the writes (0 to 1) that wait :data:`RETRANSMISSION` more.
    """

    def __init__(self, inner: Any, reactor: Any, random: "random.Random", latency: float, loss: float) -> None:
        self._inner = inner
        self._reactor = reactor
        self._random = random
        self._latency = latency
        self._loss = loss

    def _delay(self) -> float:
        lost = self._loss > 0 and self._random.random() < self._loss
        return self._latency + (RETRANSMISSION if lost else 0.0)

    def client(self, factory: Any) -> Any:
        return _SlowFactory(self._inner.client(factory), self._reactor, self._delay)

    def server(self, factory: Any) -> Any:
        return _SlowFactory(self._inner.server(factory), self._reactor, self._delay)

    def proven(self, transport: Any) -> bytes:
        peer_id: bytes = self._inner.proven(transport)
        return peer_id


def slow(
    security: Callable[[NodeKey], Any], reactor: Any, random: "random.Random", latency: float, loss: float
) -> Callable[[NodeKey], Any]:
    """Return *security*, delayed where there is a delay."""
    if not latency and not loss:
        return security
    return lambda key: SlowSecurity(security(key), reactor, random, latency, loss)
