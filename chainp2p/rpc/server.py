"""One port: JSON-RPC over HTTP and WebSocket, health, and how many may connect."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import Logger

from chainp2p.errors import StartupError
from chainp2p.namespaces import Namespace
from chainp2p.peer.netgroup import source_address
from chainp2p.rpc.calls import Service
from chainp2p.rpc.fairuse import FairUse
from chainp2p.rpc.limits import ADMIN_CONNECTIONS, Limits
from chainp2p.rpc.registry import Registry
from chainp2p.rpc.subscriptions.hub import Hub
from chainp2p.rpc.tally import Metric, Tally
from chainp2p.rpc.web.door import Asked, Door, Go, Reply, Route
from chainp2p.rpc.web.heads import Heads
from chainp2p.rpc.web.http import RpcChannel
from chainp2p.rpc.web.memory import RequestMemory, Share
from chainp2p.rpc.web.request import RpcRequest

__all__ = ["RpcFactory", "RpcServer"]

#: Callers that may wait to be accepted. With Twisted's 50 every further one of a burst (a proxy that comes back, or a
#: crowd) loses its SYN, and tries again a second later.
BACKLOG = 1_024

#: Seconds that connections have to take what is written when the server stops.
FLUSH = 1.0


class RpcFactory(ServerFactory):
    """Makes channels while there is room, and is where they find what they serve."""

    noisy = False

    def __init__(
        self,
        *,
        reactor: Any,
        service: Service,
        hub: Hub,
        door: Door,
        now: Any,
        fair: FairUse | None = None,
        exempt: bool = True,
    ) -> None:
        """:param fair: what clients may cost, None: what they like. *exempt*: this machine's callers know no limits."""
        self.reactor = reactor
        self.service = service
        self.limits = service.limits
        self.tally = service.tally
        self.channels: set[RpcChannel] = set()
        #: Connections from which a whole request is awaited, the longest first: the first goes if there is no room.
        self.waiting: dict[RpcChannel, None] = {}
        self.heads = Heads()
        self._memory = RequestMemory(self.limits.held)
        self._hub = hub
        self._door = door
        self._now = now
        self._fair = fair
        self._exempt_loopback = exempt
        self._per_address: Counter[str] = Counter()
        self._upgraded = 0  #: channels that have become WebSockets
        self._websockets: Any = None
        self._emptied: Deferred[None] | None = None

    def admit(self, asked: Asked) -> Reply | Go:
        decision = self._door.admit(asked, self._now())
        if isinstance(decision, Go) and decision.route is Route.WEBSOCKET and self._upgraded >= self._most_upgraded:
            return Reply(503, "too many WebSockets\n", decision.headers)
        return decision

    @property
    def _most_upgraded(self) -> int:
        """A sixteenth of the connections is left to those that come and go, probes among them."""
        return self.limits.connections - self.limits.connections // 16

    def waits_anew(self, channel: RpcChannel) -> None:
        """A channel has answered, and awaits the next request from now on."""
        self.waiting.pop(channel, None)
        self.waiting[channel] = None

    def metrics(self) -> Iterator[Metric]:
        """What the port has done and holds."""
        port = {"port": self.tally.port}
        upgraded = self._upgraded
        yield from self.tally.metrics()
        for transport, count in (("http", len(self.channels) - upgraded), ("websocket", upgraded)):
            yield "chainp2p_rpc_connections", {**port, "transport": transport}, count
        yield "chainp2p_rpc_held_bytes", port, self._memory.total
        for name, labels, value in self._hub.metrics():
            yield name, {**port, **labels}, value

    def open_websockets(self) -> None:
        """Load Autobahn and be ready to hand connections to it."""
        from chainp2p.rpc.web.websocket import bind_loop, make_factory

        bind_loop(self.reactor)
        self._websockets = make_factory(self.reactor, self.service, self._hub)

    def close_websockets(self) -> None:
        from chainp2p.rpc.web.websocket import release_loop

        if self._websockets is not None:
            self._websockets = None
            release_loop(self.reactor)

    def websocket(self, request: RpcRequest, channel: RpcChannel) -> Protocol:
        protocol: Any = self._websockets.buildProtocol(request.client)
        protocol.allowance, protocol.share = channel.allowance, channel.share
        self._upgraded += 1
        return cast(Protocol, protocol)

    def buildProtocol(self, addr: IAddress | None) -> RpcChannel | None:
        host = _far_address(addr, self._exempt_loopback)
        # who has one address of IPv6 has a /64
        address = None if host is None else source_address(host)
        if not self._has_room(address):
            self.tally.turned_away += 1
            return None
        channel = RpcChannel()
        channel.factory = self
        channel.share = Share(self._memory)
        channel.address = address
        if self._fair is not None and host is not None:
            channel.allowance = self._fair.allowance(host)
        self.channels.add(channel)
        if address is not None:
            self._per_address[address] += 1
        return channel

    def _has_room(self, address: str | None) -> bool:
        if address is not None and self._per_address[address] >= self.limits.connections_per_address:
            return False
        if len(self.channels) >= self.limits.connections:
            # idle sockets and slow ones cost a crowd nothing: they keep nobody out, least of all probes of health
            longest = next(iter(self.waiting), None)
            if longest is None:
                return False
            self.tally.turned_away += 1
            self.lost(longest)
            del self.waiting[longest]
            longest.transport.abortConnection()
        return True

    def lost(self, channel: RpcChannel) -> None:
        """A channel's connection ended."""
        if channel not in self.channels:
            return
        self.channels.discard(channel)
        self._upgraded -= channel.upgraded
        if channel.address is not None:
            self._per_address[channel.address] -= 1
            if not self._per_address[channel.address]:
                del self._per_address[channel.address]
        if not self.channels and self._emptied is not None:
            self._emptied.callback(None)

    async def drain(self) -> None:
        """End all connections: politely for a second, then at once."""
        for channel in tuple(self.channels):
            channel.close()
        if not self.channels:
            return
        emptied: Deferred[None] = Deferred()
        self._emptied = emptied
        emptied.addTimeout(FLUSH, self.reactor, lambda *_: None)
        await emptied
        self._emptied = None
        for channel in tuple(self.channels):
            channel.transport.abortConnection()

    def log(self, request: object) -> None:
        """Requests are not logged one by one (called by twisted.web)."""


def _far_address(addr: IAddress | None, exempt_loopback: bool) -> str | None:
    """Return the client's address; None of a Unix socket, and of this machine where that is exempt from limits."""
    host = getattr(addr, "host", None)
    if not isinstance(host, str):
        return None
    try:
        parsed = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return None if parsed.is_loopback and exempt_loopback else str(parsed)


class RpcServer:
    """Serves *namespaces* on one endpoint.

    :param endpoint: a Twisted server endpoint string.
    :param hosts: names that ``Host`` may have; *origins*: of web pages that may call.
    :param token: the secret of the tokens that open the port (an admin port then); None: none is needed.
    :param admin: few connections, only pages of its own origin, and no limits of cost, for its callers are the
        operator's; default: whether there is a token.
    :param metrics: what ``/metrics`` answers, if that is served here.
    :param loopback_exempt: callers of this machine know no limits of connections and cost.
    :param now: Unix seconds, for the age of tokens; default: the reactor's.
    """

    log = Logger()

    def __init__(
        self,
        *,
        reactor: Any,
        endpoint: str,
        namespaces: Sequence[Namespace],
        hosts: Sequence[str] = ("localhost",),
        origins: Sequence[str] = (),
        token: bytes | None = None,
        livez: Callable[[], list[str]] = list,
        readyz: Callable[[], list[str]] = list,
        version: str = "",
        metrics: Callable[[], str] | None = None,
        admin: bool | None = None,
        loopback_exempt: bool = True,
        now: Callable[[], float] | None = None,
        limits: Limits | None = None,
    ) -> None:
        admin = token is not None if admin is None else admin
        if limits is None:
            limits = Limits(connections=ADMIN_CONNECTIONS) if admin else Limits()
        self._reactor = reactor
        self._endpoint = endpoint
        self._port: IListeningPort | None = None
        self.hub = Hub(f"{endpoint} {reactor.seconds()!r}".encode())
        self.factory = RpcFactory(
            reactor=reactor,
            service=Service(Registry(namespaces), limits, reactor, Tally("admin" if admin else "rpc")),
            hub=self.hub,
            door=Door(
                hosts=hosts,
                origins=origins,
                token=token,
                admin=admin,
                livez=livez,
                readyz=readyz,
                metrics=metrics,
                version=version,
            ),
            now=now or reactor.seconds,
            fair=None if admin else FairUse(limits),
            exempt=loopback_exempt,
        )

    def start(self) -> "Deferred[list[tuple[str, int]]]":
        """Listen; answers the bound (host, port), for a Unix socket (path, 0). StartupError on a busy port."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> list[tuple[str, int]]:
        self.factory.open_websockets()
        try:
            self._port = await self._listen()
        except CannotListenError as error:
            self.factory.close_websockets()
            raise StartupError(f"rpc: cannot listen on {self._endpoint}: {error.socketError}") from None
        except BaseException:
            self.factory.close_websockets()
            raise
        bound: Any = self._port.getHost()
        if hasattr(bound, "port"):
            return [(bound.host, bound.port)]
        name = bound.name
        return [(name.decode() if isinstance(name, bytes) else str(name), 0)]

    def _listen(self) -> "Deferred[IListeningPort]":
        endpoint: Any = serverFromString(self._reactor, _with_backlog(self._endpoint))  # type: ignore[no-untyped-call]
        listening: Deferred[IListeningPort] = endpoint.listen(self.factory)
        return listening

    def stop(self) -> "Deferred[None]":
        """Stop listening and end all connections: politely for a second, then at once."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._port is None:
            return
        port, self._port = self._port, None
        await _deferred(port.stopListening())
        await self.factory.drain()
        self.factory.close_websockets()


def _with_backlog(endpoint: str) -> str:
    """Return an endpoint's string with a queue for callers, where it says nothing of one."""
    plain = endpoint.startswith(("tcp:", "tcp6:", "unix:")) and "backlog=" not in endpoint
    return f"{endpoint}:backlog={BACKLOG}" if plain else endpoint


async def _deferred(result: Any) -> None:
    if isinstance(result, Deferred):
        await result
