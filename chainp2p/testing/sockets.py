"""Listening ports and connectors of simulated hosts, as Twisted's endpoints use them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionRefusedError, NoRouteError, TimeoutError, UserError
from twisted.internet.interfaces import IConnector, IDelayedCall, IListeningPort
from twisted.python.failure import Failure
from zope.interface import implementer

from chainp2p.testing.transport import Address, MemoryTransport, tcp_address

if TYPE_CHECKING:
    from chainp2p.testing.hosts import MemoryHost

__all__ = ["MemoryConnector", "MemoryPort"]

#: Seconds between the first and the second attempt to connect through a cut; it doubles.
SYN_RETRY = 1.0


@implementer(IListeningPort)
class MemoryPort:
    """See ``IListeningPort``."""

    def __init__(self, host: "MemoryHost", interface: str, port: int, factory: Any) -> None:
        self.host = host
        self.interface = interface
        self.port = port
        self.factory = factory
        self.listening = False

    def startListening(self) -> None:
        self.host.bind(self)
        self.listening = True
        self.factory.doStart()

    def stopListening(self) -> None:
        if self.listening:
            self.listening = False
            self.host.unbind(self)
            self.factory.doStop()

    loseConnection = stopListening

    def getHost(self) -> Address:
        return tcp_address(self.interface or "0.0.0.0", self.port)


@implementer(IConnector)
class MemoryConnector:
    """One attempt after the other to reach an address; see ``IConnector``."""

    def __init__(self, host: "MemoryHost", address: str, port: int, factory: Any, timeout: float) -> None:
        self.host = host
        self.address = address
        self.port = port
        self.factory = factory
        self.timeout = timeout
        self.state = "disconnected"
        self.transport: MemoryTransport | None = None
        self._calls: list[IDelayedCall] = []
        self._started = False

    def getDestination(self) -> Address:
        return tcp_address(self.address, self.port)

    def connect(self) -> None:
        if self.state != "disconnected":
            raise RuntimeError("cannot connect twice at once")
        self.state = "connecting"
        if not self._started:
            self._started = True
            self.factory.doStart()
        self.factory.startedConnecting(self)
        if self.state == "connecting":
            self._call(self.timeout, self._fail, TimeoutError())  # type: ignore[no-untyped-call]
            self._call(0.0, self._syn, SYN_RETRY)

    def stopConnecting(self) -> None:
        if self.state != "connecting":
            raise RuntimeError("there is no attempt to stop")
        self._fail(UserError())  # type: ignore[no-untyped-call]

    def disconnect(self) -> None:
        if self.state == "connecting":
            self.stopConnecting()
        elif self.transport is not None:
            self.transport.loseConnection()

    def _call(self, delay: float, f: Callable[..., object], *args: object) -> None:
        self._calls.append(self.host.callLater(delay, f, *args))

    def _syn(self, retry: float) -> None:
        network = self.host.network
        if self.address in network.unreachable or self.host.toward(self.address) is None:
            self._fail(NoRouteError())  # type: ignore[no-untyped-call]
            return
        far = self.host if self.address in ("127.0.0.1", "::1") else network.find(self.address)
        if far is None or not far.up or not network.passes(self.host, far):
            self._call(retry, self._syn, retry * 2)
            return
        self._call(network.delay(self.host, far), self._arrive, far, retry)

    def _arrive(self, far: "MemoryHost", retry: float) -> None:
        """The first segment has reached the other host."""
        network = self.host.network
        if not far.up or not network.passes(far, self.host):
            self._call(retry, self._syn, retry * 2)
            return
        back = network.delay(far, self.host)
        port = far.listening(self.port, self.address)
        near_port = self.host.ephemeral()
        protocol = None
        if port is not None:
            source = self.host.toward(self.address) or self.host.ip
            protocol = port.factory.buildProtocol(tcp_address(source, near_port))
        if port is None or protocol is None:
            self._call(back, self._fail, ConnectionRefusedError())  # type: ignore[no-untyped-call]
            return
        ours, theirs = network.connection(self.host, near_port, far, self.port, self.address)
        self.transport = ours
        self._call(back, self._connected, ours)
        theirs.start(protocol)

    def _connected(self, ours: MemoryTransport) -> None:
        if ours.disconnected:  # the connection was cut before this side knew of it
            self._fail(ConnectionRefusedError())  # type: ignore[no-untyped-call]
            return
        self._clear()
        protocol = self.factory.buildProtocol(ours.getPeer())
        if protocol is None:
            self._leave()
            self.state = "disconnected"
            self._stop()
            return
        self.state = "connected"
        ours.on_lost = self._lost
        ours.start(protocol)

    def _leave(self) -> None:
        """Give up a connection that the other end has accepted already."""
        if self.transport is not None:
            self.transport.reset_other()
            self.transport.vanish()
            self.host.forget(self.transport)
            self.transport = None

    def _clear(self) -> None:
        for call in self._calls:
            if call.active():
                call.cancel()
        self._calls.clear()

    def _fail(self, error: Exception) -> None:
        self._clear()
        self._leave()
        self.state = "disconnected"
        self.factory.clientConnectionFailed(self, Failure(error))  # type: ignore[no-untyped-call]
        self._stop()

    def _lost(self, reason: Failure) -> None:
        self.state = "disconnected"
        self.transport = None
        self.factory.clientConnectionLost(self, reason)
        self._stop()

    def _stop(self) -> None:
        if self.state == "disconnected" and self._started:
            self._started = False
            self.factory.doStop()
