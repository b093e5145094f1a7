"""Requests with Deferred replies over TLS, 64 in flight, against a bare echo on the same transport.

Both ends of each connection live in this process, on loopback, so CPU time counts both. The yardstick is a protocol
that sends 64 bytes for each 64 bytes that it gets back, from an end that writes back what it reads: no frames, no
messages, no ids, no deadlines. The second yardstick does not even count: it writes back whatever was read at once.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

from measure import Measured, show
from twisted.internet.defer import Deferred
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
IN_FLIGHT = 64
#: Bytes of one bare message.
SIZE = 64
#: Exchanges in one sample, and samples.
EXCHANGES = 4_096
ROUNDS = 15
GENESIS = bytes(32)


class Host:
    """What a link needs of a network."""

    def __init__(self, reactor: Any, key: NodeKey) -> None:
        self.reactor = reactor
        self.codec = CODEC
        self.security = TlsSecurity(key, time.time, 1, reactor)  # noqa: TID251
        self.own_id = key.peer_id
        self.handlers = {GetHeaders: lambda link, request: REPLY}
        self.bulk = bulk_requests(CODEC)
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

    def admit(self, link: Any) -> None: ...

    def link_ready(self, link: Any) -> None:
        self.ready.callback(link)

    def link_ended(self, link: Any, end: Any) -> None:
        if not self.ready.called:
            self.ready.errback(RuntimeError(str(end)))

    def link_gone(self, link: Any) -> None: ...


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class Counting(Protocol):
    """Keeps 64 messages under way until *left* exchanges are done."""

    def __init__(self) -> None:
        self.left = 0
        self.rest = 0
        self.done: Deferred[None] = Deferred()
        self.ready: Deferred[Any] = Deferred()

    def connectionMade(self) -> None:
        self.ready.callback(self)

    def exchange(self, count: int) -> "Deferred[None]":
        self.left, self.unsent, self.done = count, count - IN_FLIGHT, Deferred()
        for _ in range(IN_FLIGHT):
            self.transport.write(bytes(SIZE))
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
    def send(self, count: int) -> None:
        self.unsent -= count
        if count:
            self.transport.write(bytes(SIZE * count))


def requests(link: Any) -> Callable[[int], "Deferred[None]"]:
    """Keep 64 requests open; each reply starts the next request."""

    def exchange(count: int) -> "Deferred[None]":
        done: Deferred[None] = Deferred()
        left, unsent = count, count - IN_FLIGHT

        def replied(reply: object) -> None:
            nonlocal left, unsent
            assert type(reply) is Headers
            left -= 1
            if unsent:
                unsent -= 1
                link.request(REQUEST).addCallback(replied)
            elif not left:
                done.callback(None)

        for _ in range(IN_FLIGHT):
            link.request(REQUEST).addCallback(replied)
        return done

    return exchange


async def dial(reactor: Any, server: Host, client: Host, served: Any, dialled: Any) -> None:
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(server.security.server(served))
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    await endpoint.connect(client.security.client(dialled))


async def bare(reactor: Any, server: Host, client: Host, protocol: type[Counting]) -> Callable[[int], "Deferred[None]"]:
    made = protocol()
    dialled = Factory()
    dialled.buildProtocol = lambda addr: made  # type: ignore[method-assign]
    await dial(reactor, server, client, Factory.forProtocol(Echo), dialled)
    await made.ready
    return made.exchange


async def run(reactor: Any) -> None:
    server = Host(reactor, NodeKey(b"\x01" * 32))
    client = Host(reactor, NodeKey(b"\x02" * 32))
    await dial(reactor, server, client, PeerFactory(server), PeerFactory(client, server.own_id))
    rows = [
        requests(await client.ready),
        await bare(reactor, server, client, Counting),
        await bare(reactor, server, client, Gathering),
    ]
    samples: list[list[float]] = [[] for _ in rows]
    for number in range(ROUNDS + 1):
        for exchange, taken in zip(rows, samples, strict=True):
            start = time.process_time()
            await exchange(EXCHANGES)
            if number:  # the first is for warming up
                taken.append((time.process_time() - start) / EXCHANGES * 1e6)
    own = samples[0]
    show(
        [
            Measured(
                "request and reply over TLS, 64 in flight",
                statistics.median(own),
                name,
                statistics.median(taken),
                statistics.median(other / mine for mine, other in zip(own, taken, strict=True)),
                aim,
            )
            for name, taken, aim in (
                ("echo, each message", samples[1], 0.3),
                ("echo, 64 at once", samples[2], None),
            )
        ],
        ["twisted", "pyopenssl", "cryptography"],
    )


def main() -> None:
    react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


if __name__ == "__main__":
    main()
