"""Requests with Deferred replies over TLS, 64 in flight, against a bare echo on the same transport.

Both ends of each connection live in this process, on loopback, so CPU time counts both. The yardstick is a protocol
that sends 64 bytes for each 64 bytes that it gets back, from an end that writes back what it reads: no frames, no
messages, no ids, no deadlines, no classes. With 64 in flight on one link nearly all of TLS and the reactor is shared by
64 messages on both sides; with one in flight on each of 64 links nothing is.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from measure import Measured, show
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import react

from chainp2p.net.factory import PeerFactory
from chainp2p.net.security import TlsSecurity
from chainp2p.net.serving import bulk_requests
from chainp2p.peer.budget import ReceiveBudget
from chainp2p.peer.key import NodeKey
from chainp2p.wire import CODEC, GetHeaders, Headers, Hello, Status

#: A request frame has 50 bytes and its reply 74.
REQUEST = GetHeaders(bytes(32), 1)
REPLY = Headers((bytes(44),))
#: Bytes of one bare message.
SIZE = 64
IN_FLIGHT = 64
#: Exchanges in one sample, and samples.
EXCHANGES = 4_096
ROUNDS = 15
GENESIS = bytes(32)

#: (number of exchanges, in flight at once) -> fires when they are done
Exchange: TypeAlias = Callable[[int, int], "Deferred[None]"]


class Host:
    """What a link needs of a network."""

    def __init__(self, reactor: Any, key: NodeKey) -> None:
        self.reactor = reactor
        self.codec = CODEC
        self.security = TlsSecurity(key, time.time, 1, reactor)  # noqa: TID251
        self.own_id = key.peer_id
        self.handlers = {GetHeaders: lambda link, request: REPLY}
        self.bulk = bulk_requests(CODEC)
        self.quotas: dict[Any, Any] = {}
        self.budget = ReceiveBudget(lambda link: None)
        self.ready: Deferred[Any] = Deferred()

    def now(self) -> float:
        return time.time()  # noqa: TID251

    def hello(self) -> Hello:
        return Hello(1, GENESIS, 0)

    def status(self, observed: tuple[bytes, int]) -> Status:
        return Status("bench", 0, 0, 0, GENESIS, 0, bytes(32), b"", ((0, GENESIS),), observed, ())

    def enr_seq(self) -> int:
        return 1

    def welcome(self, peer_id: bytes) -> None: ...

    def admit(self, link: Any) -> None: ...

    def link_ready(self, link: Any) -> None:
        ready, self.ready = self.ready, Deferred()
        ready.callback(link)

    def link_ended(self, link: Any, end: Any) -> None: ...

    def link_gone(self, link: Any) -> None: ...


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class Counting(Protocol):
    """Keeps messages under way until so many exchanges are done."""

    def __init__(self) -> None:
        self.rest = 0
        self.ready: Deferred[Any] = Deferred()

    def connectionMade(self) -> None:
        self.ready.callback(self)

    def exchange(self, count: int, in_flight: int) -> "Deferred[None]":
        self.left = self.unsent = count
        self.done: Deferred[None] = Deferred()
        self.send(in_flight)
        return self.done

    def dataReceived(self, data: bytes) -> None:
        count, self.rest = divmod(self.rest + len(data), SIZE)
        self.left -= count
        self.send(min(count, self.unsent))
        if not self.left:
            self.done.callback(None)

    def send(self, count: int) -> None:
        self.unsent -= count
        for _ in range(count):
            self.transport.write(bytes(SIZE))


class Gathering(Counting):
    """Writes all answers of one read at once."""

    def send(self, count: int) -> None:
        self.unsent -= count
        if count:
            self.transport.write(bytes(SIZE * count))


def requests(link: Any) -> Exchange:
    """Each reply starts the next request."""

    def exchange(count: int, in_flight: int) -> "Deferred[None]":
        done: Deferred[None] = Deferred()
        left, unsent = count, count - in_flight

        def replied(reply: object) -> None:
            nonlocal left, unsent
            assert type(reply) is Headers
            left -= 1
            if unsent:
                unsent -= 1
                link.request(REQUEST).addCallback(replied)
            elif not left:
                done.callback(None)

        for _ in range(in_flight):
            link.request(REQUEST).addCallback(replied)
        return done

    return exchange


async def dial(reactor: Any, server: Host, client: Host, served: Any, dialled: Any) -> None:
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(server.security.server(served))
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    await endpoint.connect(client.security.client(dialled))


async def own(reactor: Any, server: Host, client: Host) -> Exchange:
    ready = client.ready
    await dial(reactor, server, client, PeerFactory(server), PeerFactory(client, server.own_id))
    return requests(await ready)


async def bare(reactor: Any, server: Host, client: Host, protocol: type[Counting] = Counting) -> Exchange:
    made = protocol()
    dialled = Factory()
    dialled.buildProtocol = lambda addr: made  # type: ignore[method-assign]
    await dial(reactor, server, client, Factory.forProtocol(Echo), dialled)
    await made.ready
    return made.exchange


def on_all(links: list[Exchange]) -> Exchange:
    """Spread exchanges and those in flight over *links*."""
    return lambda count, in_flight: gatherResults(
        [exchange(count // len(links), in_flight // len(links)) for exchange in links]
    )


async def measure(title: str, rows: list[Exchange], names: list[tuple[str, float | None]]) -> list[Measured]:
    """Run the rows in turn; the first is ours."""
    samples: list[list[float]] = [[] for _ in rows]
    for number in range(ROUNDS + 1):
        for exchange, taken in zip(rows, samples, strict=True):
            start = time.process_time()
            await exchange(EXCHANGES, IN_FLIGHT)
            if number:  # the first is for warming up
                taken.append((time.process_time() - start) / EXCHANGES * 1e6)
    mine = samples[0]
    return [
        Measured(
            title,
            statistics.median(mine),
            name,
            statistics.median(taken),
            statistics.median(other / one for one, other in zip(mine, taken, strict=True)),
            aim,
        )
        for (name, aim), taken in zip(names, samples[1:], strict=True)
    ]


async def run(reactor: Any) -> None:
    pair = Host(reactor, NodeKey(b"\x01" * 32)), Host(reactor, NodeKey(b"\x02" * 32))
    one_link = [await own(reactor, *pair), await bare(reactor, *pair), await bare(reactor, *pair, Gathering)]
    own_links = [await own(reactor, *pair) for _ in range(IN_FLIGHT)]
    bare_links = [await bare(reactor, *pair) for _ in range(IN_FLIGHT)]
    show(
        [
            *await measure(
                "request and reply over TLS, one link, 64 in flight",
                one_link,
                [("echo, each message", 0.3), ("echo, 64 at once", None)],
            ),
            *await measure(
                "request and reply over TLS, 64 links, one in flight",
                [on_all(own_links), on_all(bare_links)],
                [("echo, each message", 0.3)],
            ),
        ],
        ["twisted", "pyopenssl", "cryptography"],
    )


def main() -> None:
    react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


if __name__ == "__main__":
    main()
