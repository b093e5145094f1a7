"""The loss-free stream without sockets: a connection that takes what its reader reads, and a naive client."""

import json
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import directlyProvides

from chainp2p.chain.interfaces import (
    FinalizedChanged,
    HeadChanged,
    HeaderInfo,
    ITransactionPool,
    TransactionAdded,
    TransactionDropped,
)
from chainp2p.events import EventBus
from chainp2p.namespaces import RpcError
from chainp2p.rpc.methods.chain import chain_namespace
from chainp2p.rpc.registry import Begin, Registry, Unsubscribe
from chainp2p.rpc.subscriptions.cursor import Cursor
from chainp2p.rpc.subscriptions.hub import Hub, Session
from chainp2p.rpc.subscriptions.stream import Streams
from chainp2p.rpc.web.outbox import Outbox
from chainp2p.testing.toychain import ToyChain


class LateChain:
    """A chain whose attributes and events lag behind what is read of it, as those of a chain on a thread of its own."""

    def __init__(self, chain: ToyChain, clock: Clock, lag: float) -> None:
        directlyProvides(self, ITransactionPool)
        self._chain = chain
        self._clock = clock
        self._lag = lag
        self.events = EventBus()
        self.head, self.finalized = chain.head, chain.finalized
        for kind in (HeadChanged, FinalizedChanged, TransactionAdded, TransactionDropped):
            chain.events.subscribe(kind, self._happened)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)

    def _happened(self, event: Any) -> None:
        facts = self._chain.head, self._chain.finalized
        if self._lag:
            self._clock.callLater(self._lag, self._tell, event, *facts)
        else:
            self._tell(event, *facts)

    def _tell(self, event: Any, head: HeaderInfo, finalized: HeaderInfo) -> None:
        self.head, self.finalized = head, finalized
        self.events.publish(event)


class Server:
    """What a node serves of the stream; made anew, it is the node after a restart."""

    def __init__(self, chain: Any, events: EventBus | None = None) -> None:
        self.chain = chain
        self.streams = Streams(chain, events)
        self.hub = Hub(b"seed")
        self.registry = Registry([chain_namespace(chain, self.streams, admin=events is not None)])


class Socket:
    """One connection; its transport holds *room* bytes that were not read, what is more waits in the ring."""

    def __init__(self, server: Server, room: int = 1 << 20, ring_events: int = 256, ring_bytes: int = 1 << 20) -> None:
        self.server = server
        self.session = Session(server.hub, self, 64)
        self.outbox = Outbox(ring_events, ring_bytes)
        self.unread: deque[bytes] = deque()
        self.room = room
        self.failed = False

    @property
    def idle(self) -> bool:
        return not self.outbox and not self.outbox.paused

    @property
    def waiting(self) -> int:
        return self.outbox.size

    def fail(self) -> None:
        self.failed = True

    def notify(self, head: bytes, id: bytes, tail: bytes) -> bool:
        data = head + id + tail + b"\n"
        if self.idle:
            self._write(data)
            return True
        return self.outbox.event(data)

    def _write(self, data: bytes) -> None:
        self.unread.extend(data.splitlines())
        self._measure()

    def _measure(self) -> None:
        self.outbox.paused = sum(map(len, self.unread)) > self.room

    def ask(self, method: str, *params: Any) -> "Deferred[Any]":
        """Fires with the result, or the RpcError."""
        done = Deferred.fromCoroutine(self._ask(method, params))
        return done.addErrback(lambda failure: failure.value if failure.check(RpcError) else failure)

    async def _ask(self, method: str, params: Any) -> Any:
        result = self.server.registry.invoke(method, params, True)
        if isinstance(result, Unsubscribe):
            return self.session.unsubscribe(result)
        result = await result
        if isinstance(result, Begin):
            id = self.session.begin(result)
            self.session.release([id])
            return id
        return result

    def read(self, count: int = 1 << 30) -> list[dict[str, Any]]:
        """Take so many notifications, as far as there are any: their ``params``."""
        found = []
        while self.unread and len(found) < count:
            message = json.loads(self.unread.popleft())
            assert (message["jsonrpc"], message["method"]) == ("2.0", "chain_subscription"), message
            found.append(message["params"])
            self._measure()
            while self.outbox and not self.outbox.paused:
                self._write(self.outbox.take())
            if self.idle:
                self.session.drained()
        return found

    def results(self, count: int = 1 << 30) -> list[dict[str, Any]]:
        """The results of what was read."""
        return [one["result"] for one in self.read(count)]

    def close(self) -> None:
        self.session.close()


class NaiveClient:
    """Does what the contract says with each event, and complains when one does not fit.

    It keeps the whole chain from genesis on, and with it the cursor of what it has processed.

    :param parent: asks for the parent of a block, both by hash.
    """

    def __init__(self, genesis: bytes, parent: Callable[[str], str]) -> None:
        self.parent = parent
        self.chain = ["0x" + genesis.hex()]
        self.cursor = Cursor.of(0, genesis, {}).encode().decode()

    def take(self, event: dict[str, Any]) -> None:
        """Process one event about heads."""
        kind = event["type"]
        if kind == "rollback":
            to, left = event["to"], event["left"]
            assert self.chain[to["height"]] == to["hash"], event
            assert left is None or left == self.chain[: to["height"] : -1], (event, self.chain)
            del self.chain[to["height"] + 1 :]
        elif kind == "block":
            assert event["height"] == len(self.chain), event
            assert event["parent"] == self.chain[-1], event
            self.chain.append(event["hash"])
        elif kind == "finalized":
            assert self.chain[event["height"]] == event["hash"], event
        elif kind == "gap":
            first, to = event["from"], event["to"]
            assert event["lost"] == to["height"] - first + 1 and first <= len(self.chain), event
            assert event["resume"] == self.cursor, event
            del self.chain[first:]
            self.chain += [""] * (to["height"] - first) + [to["hash"]] * (to["height"] >= first)
            assert self.chain[-1] == to["hash"], event
            for height in range(to["height"], first, -1):
                self.chain[height - 1] = self.parent(self.chain[height])
            assert self.parent(self.chain[first]) == self.chain[first - 1] if event["lost"] else True, event
        else:
            assert kind == "ready", event
        self.cursor = event["cursor"]


def raised(result: Any) -> Any:
    """The error that a call was answered with."""
    assert isinstance(result, RpcError), result
    return result.code, result.message
