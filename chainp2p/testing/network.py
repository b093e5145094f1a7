"""A TCP network in memory: hosts are reactors, links have delay, jitter, loss and bandwidth, and can be cut.

Production endpoints run on it unchanged: ``serverFromString(host, "tcp:30303")``, ``TCP4ClientEndpoint(host, ...)``.
"""

import ipaddress
from collections.abc import Iterable
from random import Random

from attrs import field, frozen, validators

from chainp2p.testing.clock import HeapClock
from chainp2p.testing.hosts import MemoryHost, ip_version
from chainp2p.testing.pipe import Pipe
from chainp2p.testing.transport import MemoryTransport, tcp_address

__all__ = ["MemoryHost", "MemoryNetwork", "Weather"]

_LOOPBACK = ("127.0.0.1", "::1")
#: What a lost segment costs (seconds): the smallest retransmission time-out of Linux.
RETRANSMISSION = 0.2


@frozen(kw_only=True)
class Weather:
    """How one direction behaves.

    :param low: shortest one-way delay, in seconds.
    :param high: longest; each segment's delay is drawn between them, order is kept.
    :param loss: share of segments (0 to 1) that come :data:`RETRANSMISSION` seconds later, and of datagrams that do not
        come at all.
    :param duplication: share of datagrams that come twice.
    :param bandwidth: bytes per second of each connection's direction; None: unlimited.
    """

    low: float = field(default=0.0, validator=validators.ge(0))
    high: float = field(default=0.0, validator=validators.ge(0))
    loss: float = field(default=0.0, validator=[validators.ge(0), validators.lt(1)])
    duplication: float = field(default=0.0, validator=[validators.ge(0), validators.lt(1)])
    bandwidth: float | None = field(default=None, validator=validators.optional(validators.gt(0)))

    def __attrs_post_init__(self) -> None:
        if self.high < self.low:
            object.__setattr__(self, "high", self.low)


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
        #: Datagrams that have been sent, and their bytes.
        self.datagrams = self.datagram_bytes = 0
        #: Addresses to which no way leads: dials fail at once.
        self.unreachable: set[str] = set()

    def host(self, name: str, *ips: str) -> "MemoryHost":
        """Make a host; name and addresses are its own, one of IPv4 and one of IPv6 at most."""
        if name in self._hosts:
            raise ValueError(f"there is a host {name} already")
        host = MemoryHost(self, name, ())
        self._settle(host, ips)
        self._hosts[name] = host
        return host

    def _settle(self, host: "MemoryHost", ips: Iterable[str]) -> None:
        wanted = tuple(ipaddress.ip_address(ip).compressed for ip in ips)
        if not wanted or len({ip_version(ip) for ip in wanted}) < len(wanted):
            raise ValueError("a host has one address a family, and one at least")
        taken = [ip for ip in wanted if self._by_ip.get(ip, host) is not host]
        if taken:
            raise ValueError(f"there is a host {taken[0]} already")
        for ip in host.ips:
            del self._by_ip[ip]
        host.ips = wanted
        self._by_ip.update(dict.fromkeys(wanted, host))

    def move(self, name: str, *ips: str) -> None:
        """Give a host other addresses; its connections end."""
        self.drop_links(name)
        self._settle(self._hosts[name], ips)

    def replace(self, host: "MemoryHost") -> "MemoryHost":
        """Put a new host at the address of one that was killed."""
        new = self._hosts[host.name] = MemoryHost(self, host.name, host.ips)
        self._by_ip.update(dict.fromkeys(host.ips, new))
        return new

    def clear(self) -> None:
        """Forget all hosts."""
        self._hosts.clear()
        self._by_ip.clear()
        self._held.clear()

    def runs(self, name: str) -> bool:
        """Whether the machine of that name is up."""
        return self._hosts[name].up

    @property
    def hosts(self) -> "tuple[MemoryHost, ...]":
        """All hosts, in the order in which they were made."""
        return tuple(self._hosts.values())

    def find(self, text: str) -> "MemoryHost | None":
        """The host of that name or IP address."""
        known = self._hosts.get(text) or self._by_ip.get(text)
        if known is not None:
            return known
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
            if not transport.disconnected and {first, second} - {None} <= {host.name, transport.far.name}
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
        source.sent_bytes += size
        weather = self._between.get((source.name, target.name), self.weather) if self._between else self.weather
        now = self.clock.seconds()
        if source.name == target.name:
            return now
        low, high = weather.low, weather.high
        arrival = now + (low if high == low else low + (high - low) * self.random.random())
        if weather.loss and self.random.random() < weather.loss:
            arrival += RETRANSMISSION
        if weather.bandwidth is not None:
            pipe.free_at = max(now, pipe.free_at) + size / weather.bandwidth
            arrival += pipe.free_at - now
        return arrival

    def send_datagram(
        self, sender: "MemoryHost", source: tuple[str, int], target: tuple[str, int], data: bytes
    ) -> None:
        """Carry a datagram from *sender*, which may lie about its address (*source*); each delay is drawn alone, so a
        later one may overtake it.
        """
        self.datagrams += 1
        self.datagram_bytes += len(data)
        host = self.find(target[0])
        if target[0] in _LOOPBACK:
            host = sender
        if host is None or (self._side and not self.passes(sender, host)) or target[0] in self.unreachable:
            return
        weather = self._between.get((sender.name, host.name), self.weather) if self._between else self.weather
        copies = 1
        if sender is not host:
            if weather.loss and self.random.random() < weather.loss:
                return
            if weather.duplication and self.random.random() < weather.duplication:
                copies = 2
        for _ in range(copies):
            self.clock.plan(host.owner, self.delay(sender, host), self._deliver, (host, source, target, data), {})

    @staticmethod
    def _deliver(host: "MemoryHost", source: tuple[str, int], target: tuple[str, int], data: bytes) -> None:
        receiver = host.udp(target[1], target[0])
        if receiver is not None:
            receiver.arrived(data, source)

    def delay(self, source: "MemoryHost", target: "MemoryHost") -> float:
        """One drawn delay without loss."""
        if source.name == target.name:
            return 0.0
        weather = self._between.get((source.name, target.name), self.weather)
        return weather.low + (weather.high - weather.low) * self.random.random()

    def connection(
        self, near: "MemoryHost", near_port: int, far: "MemoryHost", far_port: int, dialled: str
    ) -> "tuple[MemoryTransport, MemoryTransport]":
        """Make both ends of a connection to the address *dialled*."""
        out, back = Pipe(self, near, far), Pipe(self, far, near)
        here = tcp_address(near.toward(dialled) or near.ip, near_port)
        there = tcp_address(far.toward(dialled) or far.ip, far_port)
        ours, theirs = MemoryTransport(here, there, out, back), MemoryTransport(there, here, back, out)
        near.transports[ours] = None
        far.transports[theirs] = None
        return ours, theirs
