"""Subscriptions of connections: one opening serves all that want the same, one rendering serves all that get it.

A wallet's page asks for ``newHeads`` a hundred times over: the source of events is opened once for all subscribers of
the same namespace, name and parameters, and an event becomes JSON once; per subscriber only its id, whose width is
fixed, is spliced in. Measured: 3 times the fan-out of a rendering per subscriber (``speed.md``).
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from attrs import define, field

from chainp2p.namespaces import SERVER_ERROR, RpcError
from chainp2p.primitives.keccak import keccak256
from chainp2p.rpc.core import dumps, render_notification_frame
from chainp2p.rpc.registry import Subscribe, Unsubscribe

__all__ = ["Connection", "Hub", "Session"]


class Connection(Protocol):
    """Where notifications go."""

    def notify(self, head: bytes, id: bytes, tail: bytes) -> None:
        """Send one notification whose text is ``head + id + tail``; never blocks."""
        ...


@define(eq=False)
class _Topic:
    """One open source of events and who listens to it."""

    close: Callable[[], None] | None = None
    subscribers: dict[bytes, "Session"] = field(factory=dict)


class Hub:
    """All subscriptions of a server.

    :param seed: makes ids differ between two runs of a server, so that a client cannot take an old one for its own.
    """

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._count = 0
        self._topics: dict[str, _Topic] = {}

    def __len__(self) -> int:
        return sum(len(topic.subscribers) for topic in self._topics.values())

    def new_id(self) -> str:
        """Return an id of fixed width: 32 hex digits, the first not 0."""
        self._count += 1
        digits = keccak256(self._seed + self._count.to_bytes(8, "big"))[:16].hex()
        return "0x" + ("1" if digits[0] == "0" else digits[0]) + digits[1:]

    def join(self, wanted: Subscribe, id: bytes, session: "Session") -> None:
        """Add a subscriber, opening the source for the first."""
        topic = self._topics.get(wanted.key)
        if topic is not None:
            topic.subscribers[id] = session
            return
        topic = self._topics[wanted.key] = _Topic(subscribers={id: session})
        namespace = wanted.namespace
        source = topic

        def emit(value: Any) -> None:
            head, tail = render_notification_frame(namespace, dumps(value))
            for one, subscriber in tuple(source.subscribers.items()):
                subscriber.deliver(head, one, tail)

        try:
            topic.close = wanted.subscription.open(emit, *wanted.arguments)
        except BaseException:
            del self._topics[wanted.key]
            raise

    def leave(self, key: str, id: bytes) -> None:
        """Remove a subscriber, closing the source after the last."""
        topic = self._topics[key]
        del topic.subscribers[id]
        if not topic.subscribers:
            del self._topics[key]
            if topic.close is not None:
                topic.close()


class Session:
    """The subscriptions of one connection.

    Events of a new subscription are held until :meth:`release`, so that none overtakes the answer with its id.
    """

    def __init__(self, hub: Hub, connection: Connection, limit: int) -> None:
        self._hub = hub
        self._connection = connection
        self._limit = limit
        self._keys: dict[bytes, tuple[str, str]] = {}
        self._held: dict[bytes, list[tuple[bytes, bytes]]] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def subscribe(self, wanted: Subscribe) -> str:
        """Open a subscription and answer its id; :exc:`RpcError` past the limit."""
        if len(self._keys) >= self._limit:
            raise RpcError(SERVER_ERROR, f"too many subscriptions: at most {self._limit} a connection")
        text = self._hub.new_id()
        id = text.encode("ascii")
        self._held[id] = []
        try:
            self._hub.join(wanted, id, self)
        except BaseException:
            del self._held[id]
            raise
        self._keys[id] = (wanted.namespace, wanted.key)
        return text

    def unsubscribe(self, wanted: Unsubscribe) -> bool:
        """End a subscription of this connection; :exc:`RpcError` if there is none of that id."""
        id = wanted.id.encode("ascii", "replace")
        namespace, key = self._keys.get(id, ("", ""))
        if namespace != wanted.namespace:
            raise RpcError(SERVER_ERROR, "subscription not found")
        del self._keys[id]
        self._held.pop(id, None)
        self._hub.leave(key, id)
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

    def close(self) -> None:
        """The connection is gone."""
        keys, self._keys = self._keys, {}
        self._held = {}
        for id, (_, key) in keys.items():
            self._hub.leave(key, id)
