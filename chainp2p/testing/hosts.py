"""A simulated machine: the reactor of the program that runs on it."""

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IDelayedCall,
    IHostnameResolver,
    IHostResolution,
    IListeningPort,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    IReactorUDP,
)
from zope.interface import implementer

from chainp2p.testing.clock import Owner
from chainp2p.testing.datagrams import MemoryUdpPort, refuse
from chainp2p.testing.sockets import MemoryConnector, MemoryPort
from chainp2p.testing.transport import MemoryTransport, tcp_address

if TYPE_CHECKING:
    from chainp2p.testing.network import MemoryNetwork

__all__ = ["MemoryHost"]

#: Where the ports begin that are given out for port 0.
EPHEMERAL = 49_152
#: What Linux says, as ``CannotListenError`` carries it.
_NO_ADDRESS = "[Errno 99] Cannot assign requested address"
_IN_USE = "[Errno 98] Address already in use"
_EVERYWHERE = ("", "0.0.0.0", "::", "127.0.0.1", "::1")


def ip_version(ip: str) -> int:
    """4 or 6."""
    return 6 if ":" in ip else 4


@implementer(IHostResolution)
class _Resolution:
    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """It is over before anybody can cancel it."""


@implementer(IHostnameResolver)
class _Resolver:
    """Knows the names of the network's hosts."""

    def __init__(self, network: "MemoryNetwork") -> None:
        self._network = network

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        host = self._network.find(hostName)
        try:
            ip = host.ip if host is not None else ip_address(hostName).compressed
        except ValueError:
            ip = "127.0.0.1" if hostName == "localhost" else ""
        if ip:
            resolutionReceiver.addressResolved(tcp_address(ip, portNumber))
        resolutionReceiver.resolutionComplete()
        return cast(IHostResolution, resolution)


@implementer(IReactorTime, IReactorTCP, IReactorUDP, IReactorPluggableNameResolver)
class MemoryHost:
    """A machine on the network: the reactor of the program that runs on it.

    After :meth:`kill` nothing that was planned runs, and what it held is kept as long as the host itself.
    """

    def __init__(self, network: "MemoryNetwork", name: str, ips: Sequence[str]) -> None:
        self.network = network
        self.name = name
        self.ips = tuple(ips)
        self.clock = network.clock
        self.owner = Owner()
        self.nameResolver: IHostnameResolver = cast(IHostnameResolver, _Resolver(network))
        self.transports: dict[MemoryTransport, None] = {}
        #: Bytes that have left by its connections.
        self.sent_bytes = 0
        self._ports: dict[tuple[int, int], MemoryPort] = {}
        self._udp: dict[tuple[int, int], MemoryUdpPort] = {}
        self._ephemeral = count(EPHEMERAL)

    @property
    def ip(self) -> str:
        """Its first address."""
        return self.ips[0]

    def toward(self, target: str) -> str | None:
        """Its address in the family of *target*; None: it cannot send there."""
        if target in ("127.0.0.1", "::1"):
            return self.ip
        return next((ip for ip in self.ips if (":" in ip) == (":" in target)), None)

    def _family(self, ip: str) -> int:
        """IP version by which a listener hears: a machine with one address hears everything there."""
        return ip_version(ip if len(self.ips) > 1 else self.ip)

    @property
    def up(self) -> bool:
        """Whether it runs."""
        return self.owner.alive

    def kill(self, silent: bool = False) -> None:
        """End the program at once. Its operating system resets the connections; *silent*: the power is cut instead,
        other hosts notice by their own time-outs, or when they send after :meth:`boot`.
        """
        self.owner.alive = False
        for transport in tuple(self.transports):
            transport.vanish()
            if not silent:
                transport.reset_other()
        self._ports.clear()
        self._udp.clear()

    def bury(self) -> None:
        """Let go of what a killed program held."""
        self.transports.clear()
        self.owner.kept.clear()

    def boot(self) -> "MemoryHost":
        """Start the machine again after :meth:`kill`: a new, empty host at the same address.

        This one stays dead, so that whatever is left of its program can never touch the next.
        """
        if self.up:
            raise RuntimeError(f"{self.name} is up")
        return self.network.replace(self)

    # -- IReactorTime

    def seconds(self) -> float:
        return self.clock.seconds()

    def callLater(self, delay: float, callable: Callable[..., object], *args: Any, **kw: Any) -> IDelayedCall:
        return cast(IDelayedCall, self.clock.plan(self.owner, delay, callable, args, kw))

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        return cast(Sequence[IDelayedCall], self.clock.planned(self.owner))

    def callWhenRunning(self, callable: Callable[..., object], *args: Any, **kw: Any) -> None:
        """It runs already."""
        callable(*args, **kw)

    def callFromThread(self, callable: Callable[..., object], *args: Any, **kw: Any) -> None:
        """There is one thread: the next turn of it is meant."""
        self.callLater(0, callable, *args, **kw)

    # -- IReactorTCP

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> IListeningPort:
        made = MemoryPort(self, interface, port, factory)
        made.startListening()
        return cast(IListeningPort, made)

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: tuple[str, int] | None = None
    ) -> IConnector:
        connector = MemoryConnector(self, host, port, factory, timeout)
        connector.connect()
        return cast(IConnector, connector)

    def bind(self, port: MemoryPort) -> None:
        """Give *port* its number."""
        if port.interface not in (*_EVERYWHERE, *self.ips):
            raise CannotListenError(port.interface, port.port, _NO_ADDRESS)  # type: ignore[no-untyped-call]
        if port.port == 0:
            port.port = self.ephemeral()
        key = self._family(port.interface), port.port
        if key in self._ports:
            raise CannotListenError(port.interface or "any", port.port, _IN_USE)  # type: ignore[no-untyped-call]
        self._ports[key] = port

    def unbind(self, port: MemoryPort) -> None:
        """Free its number."""
        self._ports = {key: other for key, other in self._ports.items() if other is not port}

    def listening(self, port: int, ip: str = "") -> MemoryPort | None:
        """Who listens on that port for what comes to *ip*."""
        return self._ports.get((self._family(ip), port))

    def ephemeral(self) -> int:
        """A free port."""
        port = next(self._ephemeral)
        if port > 65_535:
            self._ephemeral = count(EPHEMERAL)
            port = next(self._ephemeral)
        return port if all(taken != port for _, taken in self._ports) else self.ephemeral()

    def forget(self, transport: MemoryTransport) -> None:
        """A connection has ended."""
        self.transports.pop(transport, None)

    # -- IReactorUDP

    def listenUDP(self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192) -> IListeningPort:
        made = MemoryUdpPort(self, port, protocol, interface, maxPacketSize)
        made.startListening()
        return cast(IListeningPort, made)

    def bind_udp(self, port: MemoryUdpPort) -> None:
        """Give *port* its number."""
        if port.interface not in (*_EVERYWHERE, *self.ips):
            raise refuse(port, _NO_ADDRESS)
        if port.port == 0:
            port.port = self.ephemeral()
        key = self._family(port.interface), port.port
        if key in self._udp:
            raise refuse(port, _IN_USE)
        self._udp[key] = port

    def unbind_udp(self, port: MemoryUdpPort) -> None:
        """Free its number."""
        self._udp = {key: other for key, other in self._udp.items() if other is not port}

    def udp(self, port: int, ip: str = "") -> MemoryUdpPort | None:
        """Who receives datagrams on that port for what comes to *ip*."""
        return self._udp.get((self._family(ip), port))

    # -- names

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        before, self.nameResolver = self.nameResolver, resolver
        return before
