"""UDP in memory: sockets of simulated machines."""

from errno import ENETUNREACH
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IUDPTransport
from zope.interface import implementer

if TYPE_CHECKING:
    from chainp2p.testing.hosts import MemoryHost

__all__ = ["MemoryUdpPort", "udp_address"]

_ANY = ("", "0.0.0.0", "::")


def udp_address(ip: str, port: int) -> IPv4Address | IPv6Address:
    """Return Twisted's address of a UDP endpoint."""
    return (IPv6Address if ":" in ip else IPv4Address)("UDP", ip, port)


@implementer(IListeningPort, IUDPTransport)
class MemoryUdpPort:
    """A UDP socket of a simulated machine; made by ``MemoryHost.listenUDP``."""

    def __init__(self, host: "MemoryHost", port: int, protocol: Any, interface: str, size: int) -> None:
        self.host = host
        self.port = port
        self.protocol = protocol
        self.interface = interface
        self._size = size
        self._listening = False
        self._far: tuple[str, int] | None = None

    def startListening(self) -> None:
        """Take the port; CannotListenError if it is taken."""
        self.host.bind_udp(self)
        self._listening = True
        self.protocol.makeConnection(self)

    def stopListening(self) -> "Deferred[None] | None":
        """Give it back."""
        if self._listening:
            self._listening = False
            self.host.unbind_udp(self)
            self.protocol.doStop()
        return succeed(None)

    loseConnection = stopListening

    def getHost(self) -> IPv4Address | IPv6Address:
        interface = self.interface
        return udp_address((self.host.toward(interface) if interface in _ANY else interface) or interface, self.port)

    def write(self, packet: bytes, addr: tuple[str, int] | None = None) -> None:
        """Send a datagram; it may get lost, come twice, or late. OSError if the machine has no such address."""
        target = addr or self._far
        assert target is not None, "this socket is not connected: say where to"
        source = self.host.toward(target[0])
        if source is None:
            raise OSError(ENETUNREACH, "Network is unreachable")
        self.host.network.send_datagram(self.host, (source, self.port), target, packet)

    def connect(self, host: str, port: int) -> None:
        """Send to this address from now on, and take datagrams of nobody else."""
        self._far = (host, port)

    def setBroadcastAllowed(self, enabled: bool) -> None:
        """There is no broadcast."""

    def getBroadcastAllowed(self) -> bool:
        return False

    def arrived(self, data: bytes, source: tuple[str, int]) -> None:
        """A datagram is here."""
        if self._listening and self._far in (None, source):
            self.protocol.datagramReceived(data[: self._size], source)


def refuse(port: MemoryUdpPort, text: str) -> CannotListenError:
    """Return the error of a port that cannot be had."""
    return CannotListenError(port.interface or "any", port.port, text)  # type: ignore[no-untyped-call]
