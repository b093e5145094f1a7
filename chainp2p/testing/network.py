"""A TCP network in memory: hosts are reactors, links have delay, jitter, loss and bandwidth, and can be cut.

Production endpoints run on it unchanged: ``serverFromString(host, "tcp:30303")``, ``TCP4ClientEndpoint(host, ...)``.
"""

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from random import Random
from typing import Any, cast

from attrs import field, frozen, validators
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import (
    CannotListenError,
    ConnectionRefusedError,
    TimeoutError,
    UserError,
)
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
)
from twisted.python.failure import Failure
from zope.interface import implementer

from chainp2p.testing.clock import HeapClock, Owner
from chainp2p.testing.transport import Address, MemoryTransport, Pipe

__all__ = ["MemoryHost", "MemoryNetwork", "Weather"]

#: What a lost segment costs (seconds): the smallest retransmission time-out of Linux.
RETRANSMISSION = 0.2
#: Seconds between the first and the second attempt to connect through a cut; it doubles.
SYN_RETRY = 1.0
#: Where the ports begin that are given out for port 0.
EPHEMERAL = 49_152
#: What Linux says, as ``CannotListenError`` carries it.
_NO_ADDRESS = "[Errno 99] Cannot assign requested address"
_IN_USE = "[Errno 98] Address already in use"


@frozen(kw_only=True)
class Weather:
    """How one direction behaves.

    :param low: shortest one-way delay, in seconds.
    :param high: longest; each segment's delay is drawn between them, order is kept.
    :param loss: share of segments (0 to 1) that come :data:`RETRANSMISSION` seconds later.
    :param bandwidth: bytes per second of each connection's direction; None: unlimited.
    """

    low: float = field(default=0.0, validator=validators.ge(0))
    high: float = field(default=0.0, validator=validators.ge(0))
    loss: float = field(default=0.0, validator=[validators.ge(0), validators.lt(1)])
    bandwidth: float | None = field(default=None, validator=validators.optional(validators.gt(0)))

    def __attrs_post_init__(self) -> None:
        if self.high < self.low:
            object.__setattr__(self, "high", self.low)


def _tcp(host: str, port: int) -> Address:
    return IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)


class MemoryNetwork:
    """Hosts and what lies between them.

    :param clock: all delays run on it.
    :param random: draws delays and losses; one seed gives one course of events.
    :param weather: of all links that have none of their own.
    """

    def __init__(self, clock: HeapClock, random: Random, weather: Weather | None = None) -> None:
        self.clock = clock
        self.random = random
        self.weather = weather if weather is not None else Weather(low=0.001)
        self._between: dict[tuple[str, str], Weather] = {}
        self._hosts: dict[str, MemoryHost] = {}
        self._by_ip: dict[str, MemoryHost] = {}
        self._side: dict[str, int] = {}
        self._held: dict[Pipe, None] = {}
        #: Whether any weather limits bandwidth: then segments are not joined.
        self.metered = self.weather.bandwidth is not None
        #: Segments that have been sent.
        self.segments = 0

    def host(self, name: str, ip: str) -> "MemoryHost":
        """Make a host; name and address are its own."""
        ip = ipaddress.ip_address(ip).compressed
        if name in self._hosts or ip in self._by_ip:
            raise ValueError(f"there is a host {name} or {ip} already")
        host = MemoryHost(self, name, ip)
        self._hosts[name] = self._by_ip[ip] = host
        return host

    @property
    def hosts(self) -> "tuple[MemoryHost, ...]":
        """All hosts, in the order in which they were made."""
        return tuple(self._hosts.values())

    def find(self, text: str) -> "MemoryHost | None":
        """The host of that name or IP address."""
        if text in self._hosts:
            return self._hosts[text]
        try:
            return self._by_ip.get(ipaddress.ip_address(text).compressed)
        except ValueError:
            return None

    # -- weather and cuts

    def set_weather(self, weather: Weather, source: str | None = None, target: str | None = None) -> None:
        """Change the weather from *source* to *target* (one direction), or of all links."""
        self.metered = self.metered or weather.bandwidth is not None
        if source is None or target is None:
            self.weather = weather
            self._between.clear()
        else:
            self._between[source, target] = weather

    def partition(self, *groups: Iterable[str]) -> None:
        """Let nothing pass between hosts of different groups; those in no group are one more group.

        Connections across the cut stay open and silent, as TCP's do: what is sent waits for :meth:`heal`.
        """
        side: dict[str, int] = {}
        for number, group in enumerate(groups, 1):
            for name in group:
                if name not in self._hosts:
                    raise ValueError(f"there is no host {name}")
                if side.setdefault(name, number) != number:
                    raise ValueError(f"{name} is in two groups")
        self._side = side
        self._release()

    def heal(self) -> None:
        """Let everything pass again."""
        self.partition()

    def passes(self, source: "MemoryHost", target: "MemoryHost") -> bool:
        """Whether segments pass from one host to the other now."""
        side = self._side
        return not side or side.get(source.name, 0) == side.get(target.name, 0)

    def drop_links(self, first: str | None = None, second: str | None = None) -> int:
        """Cut open connections for good: of all hosts, of one, or between two; both ends notice. Returns how many."""
        ends = [
            transport
            for host in self._hosts.values()
            for transport in tuple(host.transports)
            if {first, second} - {None} <= {host.name, transport.far.name}
        ]
        for transport in ends:
            transport.drop()
        return len(ends) // 2

    def _release(self) -> None:
        held, self._held = self._held, {}
        for pipe in held:
            pipe.release()

    def depart(self, pipe: Pipe, size: int) -> float | None:
        """When what *pipe* sends now arrives; None: it is held back."""
        source, target = pipe.source, pipe.target
        if self._side and not self.passes(source, target):
            self._held[pipe] = None
            return None
        self.segments += 1
        weather = self._between.get((source.name, target.name), self.weather) if self._between else self.weather
        now = self.clock.seconds()
        if source is target:
            return now
        low, high = weather.low, weather.high
        arrival = now + (low if high == low else low + (high - low) * self.random.random())
        if weather.loss and self.random.random() < weather.loss:
            arrival += RETRANSMISSION
        if weather.bandwidth is not None:
            pipe.free_at = max(now, pipe.free_at) + size / weather.bandwidth
            arrival += pipe.free_at - now
        return arrival

    def delay(self, source: "MemoryHost", target: "MemoryHost") -> float:
        """One drawn delay without loss."""
        if source is target:
            return 0.0
        weather = self._between.get((source.name, target.name), self.weather)
        return weather.low + (weather.high - weather.low) * self.random.random()

    def connection(
        self, near: "MemoryHost", near_port: int, far: "MemoryHost", far_port: int
    ) -> "tuple[MemoryTransport, MemoryTransport]":
        """Make both ends of a connection."""
        out, back = Pipe(self, near, far), Pipe(self, far, near)
        here, there = _tcp(near.ip, near_port), _tcp(far.ip, far_port)
        ours, theirs = MemoryTransport(here, there, out, back), MemoryTransport(there, here, back, out)
        near.transports[ours] = None
        far.transports[theirs] = None
        return ours, theirs


@implementer(IListeningPort)
class _Port:
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
        return _tcp(self.interface or "0.0.0.0", self.port)


@implementer(IConnector)
class _Connector:
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
        return _tcp(self.address, self.port)

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
        port = far.listening(self.port)
        near_port = self.host.ephemeral()
        protocol = None
        if port is not None:
            protocol = port.factory.buildProtocol(_tcp(self.host.ip, near_port))
        if port is None or protocol is None:
            self._call(back, self._fail, ConnectionRefusedError())  # type: ignore[no-untyped-call]
            return
        ours, theirs = network.connection(self.host, near_port, far, self.port)
        self.transport = ours
        self._call(back, self._connected, ours)
        theirs.start(protocol)

    def _connected(self, ours: MemoryTransport) -> None:
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


@implementer(IHostResolution)
class _Resolution:
    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """It is over before anybody can cancel it."""


@implementer(IHostnameResolver)
class _Resolver:
    """Knows the names of the network's hosts."""

    def __init__(self, network: MemoryNetwork) -> None:
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
            ip = host.ip if host is not None else ipaddress.ip_address(hostName).compressed
        except ValueError:
            ip = "127.0.0.1" if hostName == "localhost" else ""
        if ip:
            resolutionReceiver.addressResolved(_tcp(ip, portNumber))
        resolutionReceiver.resolutionComplete()
        return cast(IHostResolution, resolution)


@implementer(IReactorTime, IReactorTCP, IReactorPluggableNameResolver)
class MemoryHost:
    """A machine on the network: the reactor of the program that runs on it.

    After :meth:`kill` nothing that was planned runs. After :meth:`boot` it is an empty machine at the same address.
    """

    def __init__(self, network: MemoryNetwork, name: str, ip: str) -> None:
        self.network = network
        self.name = name
        self.ip = ip
        self.clock = network.clock
        self.owner = Owner()
        self.nameResolver: IHostnameResolver = cast(IHostnameResolver, _Resolver(network))
        self.transports: dict[MemoryTransport, None] = {}
        self._ports: dict[int, _Port] = {}
        self._ephemeral = count(EPHEMERAL)

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
        self.transports.clear()
        self._ports.clear()

    def boot(self) -> None:
        """Start again after :meth:`kill`."""
        if not self.owner.alive:
            self.owner = Owner()

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
        made = _Port(self, interface, port, factory)
        made.startListening()
        return cast(IListeningPort, made)

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: tuple[str, int] | None = None
    ) -> IConnector:
        connector = _Connector(self, host, port, factory, timeout)
        connector.connect()
        return cast(IConnector, connector)

    def bind(self, port: _Port) -> None:
        """Give *port* its number."""
        if port.interface not in ("", "0.0.0.0", "::", "127.0.0.1", "::1", self.ip):
            raise CannotListenError(port.interface, port.port, _NO_ADDRESS)  # type: ignore[no-untyped-call]
        if port.port == 0:
            port.port = self.ephemeral()
        if port.port in self._ports:
            raise CannotListenError(port.interface or "any", port.port, _IN_USE)  # type: ignore[no-untyped-call]
        self._ports[port.port] = port

    def unbind(self, port: _Port) -> None:
        """Free its number."""
        if self._ports.get(port.port) is port:
            del self._ports[port.port]

    def listening(self, port: int) -> _Port | None:
        """Who listens on that port."""
        return self._ports.get(port)

    def ephemeral(self) -> int:
        """A free port."""
        port = next(self._ephemeral)
        if port > 65_535:
            self._ephemeral = count(EPHEMERAL)
            port = next(self._ephemeral)
        return port if port not in self._ports else self.ephemeral()

    def forget(self, transport: MemoryTransport) -> None:
        """A connection has ended."""
        self.transports.pop(transport, None)

    # -- names

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        before, self.nameResolver = self.nameResolver, resolver
        return before
