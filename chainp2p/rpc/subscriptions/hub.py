"""Subscriptions of connections: one opening serves all that want the same, one rendering serves all that get it.

A wallet's page asks for ``newHeads`` a hundred times over: the source of events is opened once for all subscribers of
the same namespace, name and parameters, and an event becomes JSON once; per subscriber only its id, whose width is
fixed, is spliced in. Measured: 3 times the fan-out of a rendering per subscriber (``speed.md``).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from attrs import define, field, frozen

from chainp2p.namespaces import SERVER_ERROR, RpcError
from chainp2p.primitives.keccak import keccak256
from chainp2p.rpc.core import dumps, render_notification_frame
from chainp2p.rpc.registry import Begin, Subscribe, Unsubscribe
from chainp2p.rpc.tally import Metric

__all__ = ["Connection", "Flow", "Hub", "Outlet", "Session"]


class Connection(Protocol):
    """Where notifications go."""

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be written; when that becomes true again, :meth:`Session.drained` is called."""
        ...

    @property
    def waiting(self) -> int:
        """Bytes of events that wait to be written."""
        ...

    def notify(self, head: bytes, id: bytes, tail: bytes) -> bool:
        """Send one notification whose text is ``head + id + tail``; False: no room, it is dropped. Never blocks."""
        ...

    def fail(self) -> None:
        """End the connection, for a failure of ours."""
        ...


@frozen
class Outlet:
    """The way of one subscription to its connection."""

    connection: Connection
    id: bytes

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be written."""
        return self.connection.idle

    def send(self, head: bytes, tail: bytes) -> bool:
        """Send a notification, the id between both parts; False: there is no room, it is dropped."""
        return self.connection.notify(head, self.id, tail)

    def fail(self) -> None:
        """End the connection, for a failure of ours."""
        self.connection.fail()


class Flow(Protocol):
    """A subscription that chooses its own pace (:class:`chainp2p.namespaces.Stream`)."""

    cursor: bytes  #: of the last event that was sent

    @property
    def lag(self) -> int:
        """Blocks by which it is behind the head."""
        ...

    def start(self) -> None:
        """The answer with the id has been sent: events may follow."""
        ...

    def drained(self) -> None:
        """The connection is idle again."""
        ...

    def close(self) -> None:
        """The subscription has ended."""
        ...


@define(eq=False)
class _Topic:
    """One open source of events and who listens to it."""

    key: str
    namespace: str
    name: str
    close: Callable[[], None] | None = None
    subscribers: dict[bytes, "Session"] = field(factory=dict)


class Hub:
    """All subscriptions of a server.

    :param seed: makes ids differ between two runs of a server, so that a client cannot take an old one for its own.
    :ivar together: in it one event is handed to all connections; set by what knows how they send.
    """

    def __init__(self, seed: bytes) -> None:
        self.together: AbstractContextManager[None] = nullcontext()
        self._seed = seed
        self._count = 0
        self._topics: dict[str, _Topic] = {}
        self._sessions: set[Session] = set()

    def __len__(self) -> int:
        return sum(len(topic.subscribers) for topic in self._topics.values())

    def new_id(self) -> str:
        """Return an id of fixed width: 32 hex digits, the first not 0."""
        self._count += 1
        digits = keccak256(self._seed + self._count.to_bytes(8, "big"))[:16].hex()
        return "0x" + ("1" if digits[0] == "0" else digits[0]) + digits[1:]

    def opened(self, session: "Session") -> None:
        """A connection that may subscribe is there."""
        self._sessions.add(session)

    def closed(self, session: "Session") -> None:
        """It has gone."""
        self._sessions.discard(session)

    def metrics(self) -> Iterator[Metric]:
        """Subscriptions by kind, how far the last of the streams is behind, and what waits for readers."""
        kinds = Counter(name for session in self._sessions for name in session.streams)
        for topic in self._topics.values():
            kinds[topic.name] += len(topic.subscribers)
        for name, count in sorted(kinds.items()):
            yield "chainp2p_rpc_subscriptions", {"kind": name}, count
        yield "chainp2p_rpc_stream_lag_highest_blocks", {}, max((one.lag for one in self._sessions), default=0)
        waiting = [one.waiting for one in self._sessions]
        yield "chainp2p_rpc_waiting_bytes", {}, sum(waiting)
        yield "chainp2p_rpc_waiting_highest_bytes", {}, max(waiting, default=0)

    def join(self, wanted: Subscribe, id: bytes, session: "Session") -> _Topic:
        """Add a subscriber, opening the source for the first."""
        topic = self._topics.get(wanted.key)
        if topic is not None:
            topic.subscribers[id] = session
            return topic
        namespace = wanted.namespace
        topic = source = _Topic(wanted.key, namespace, f"{namespace}_{wanted.subscription.name}")
        topic.subscribers[id] = session
        self._topics[wanted.key] = topic

        def emit(value: Any) -> None:
            head, tail = render_notification_frame(namespace, dumps(value))
            with self.together:
                for one, subscriber in tuple(source.subscribers.items()):
                    subscriber.deliver(head, one, tail)

        try:
            topic.close = wanted.subscription.open(emit, *wanted.arguments)
        except BaseException:
            del self._topics[wanted.key]
            raise
        return topic

    def leave(self, topic: _Topic, id: bytes) -> None:
        """Remove a subscriber, closing the source after the last."""
        del topic.subscribers[id]
        if not topic.subscribers:
            del self._topics[topic.key]
            if topic.close is not None:
                topic.close()


class Session:
    """The subscriptions of one connection: those that share a source of events, and flows with a pace of their own.

    Events of a new subscription are held until :meth:`release`, so that none overtakes the answer with its id.
    """

    __slots__ = ("_connection", "_flows", "_held", "_hub", "_limit", "_topics")

    def __init__(self, hub: Hub, connection: Connection, limit: int) -> None:
        self._hub = hub
        self._connection = connection
        self._limit = limit
        self._topics: dict[bytes, _Topic] = {}
        self._held: dict[bytes, list[tuple[bytes, bytes]]] = {}
        self._flows: dict[bytes, tuple[str, Flow]] = {}
        hub.opened(self)

    def __len__(self) -> int:
        return len(self._topics) + len(self._flows)

    @property
    def cursors(self) -> list[str]:
        """The last cursor that each flow sent."""
        return [flow.cursor.decode("ascii") for _, flow in self._flows.values()]

    @property
    def streams(self) -> list[str]:
        """The namespace of each flow."""
        return [namespace for namespace, _ in self._flows.values()]

    @property
    def lag(self) -> int:
        """Blocks by which the last of its flows is behind."""
        return max((flow.lag for _, flow in self._flows.values()), default=0)

    @property
    def waiting(self) -> int:
        """Bytes of events that wait for the connection."""
        return self._connection.waiting

    def _new_id(self) -> tuple[str, bytes]:
        if len(self) >= self._limit:
            raise RpcError(SERVER_ERROR, f"too many subscriptions: at most {self._limit} a connection")
        text = self._hub.new_id()
        return text, text.encode("ascii")

    def begin(self, wanted: Begin) -> str:
        """Begin a flow and answer its id; it starts when that is released. :exc:`RpcError` past the limit."""
        text, id = self._new_id()
        self._flows[id] = wanted.namespace, wanted.flow(Outlet(self._connection, id))
        return text

    def subscribe(self, wanted: Subscribe) -> str:
        """Open a subscription and answer its id; :exc:`RpcError` past the limit."""
        text, id = self._new_id()
        self._held[id] = []
        try:
            self._topics[id] = self._hub.join(wanted, id, self)
        except BaseException:
            del self._held[id]
            raise
        return text

    def unsubscribe(self, wanted: Unsubscribe) -> bool:
        """End a subscription of this connection; :exc:`RpcError` if there is none of that id."""
        id = wanted.id.encode("ascii", "replace")
        if id in self._flows and self._flows[id][0] == wanted.namespace:
            self._flows.pop(id)[1].close()
            return True
        topic = self._topics.get(id)
        if topic is None or topic.namespace != wanted.namespace:
            raise RpcError(SERVER_ERROR, "subscription not found")
        del self._topics[id]
        self._held.pop(id, None)
        self._hub.leave(topic, id)
        return True

    def deliver(self, head: bytes, id: bytes, tail: bytes) -> None:
        """An event for subscription *id*."""
        held = self._held.get(id)
        if held is None:
            self._connection.notify(head, id, tail)
        else:
            held.append((head, tail))

    def release(self, ids: Iterable[str]) -> None:
        """The answer with these new ids is on its way: let their events follow."""
        for text in ids:
            id = text.encode("ascii")
            for head, tail in self._held.pop(id, ()):
                self._connection.notify(head, id, tail)
            if id in self._flows:
                self._flows[id][1].start()
        if not self._held:
            self._held = {}  # one that was used is four times as large

    def drained(self) -> None:
        """The connection is idle again: flows go on, each time another one first, for one alone can fill it."""
        for id, (_, flow) in tuple(self._flows.items()):
            if not self._connection.idle:
                break
            if id in self._flows:
                self._flows[id] = self._flows.pop(id)
                flow.drained()

    def close(self) -> None:
        """The connection is gone."""
        self._hub.closed(self)
        topics, self._topics = self._topics, {}
        self._held = {}
        for id, topic in topics.items():
            self._hub.leave(topic, id)
        flows, self._flows = self._flows, {}
        for _, flow in flows.values():
            flow.close()
