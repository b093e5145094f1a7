"""The loss-free stream, ``chain_subscribe``: each subscriber reads on from its own place, then all are led together.

1. Whoever is behind follows by itself: it reads the chain while its socket takes what was written, and no further.
2. Whoever has reached the head is led: one follower reads each new block once, for all. Who is elsewhere takes no part,
   and follows by itself again if it still is when the others have arrived: whatever overtakes whatever, nothing is lost
   or told twice.
3. A subscriber whose ring is full gets nothing more until its socket is drained, then one ``gap slow`` for each topic
   that missed something; what waited in the ring is sent before that. Nobody waits for it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chainp2p.chain.interfaces import (
    FinalizedChanged,
    HeadChanged,
    HeaderInfo,
    TransactionAdded,
    TransactionDropped,
)
from chainp2p.events import EventBus
from chainp2p.peer.link import PeerJoined, PeerLeft
from chainp2p.rpc.core import dumps
from chainp2p.rpc.subscriptions.cursor import Cursor
from chainp2p.rpc.subscriptions.follower import Follower, find_cursor, head_place, oldest_body
from chainp2p.rpc.subscriptions.hub import Outlet
from chainp2p.rpc.subscriptions.subscriber import HEADS, PEERS, TRANSACTIONS, Opening, Subscriber
from chainp2p.rpc.subscriptions.text import BlockTexts, Event, Place, point
from chainp2p.rpc.values import hex_bytes
from chainp2p.rpc.web.turns import ChainInTurns

__all__ = ["Streams"]


class Streams:
    """All subscribers of a node; it reads and listens only while there are some.

    :param chain: an ``IChain``.
    :param events: the bus on which peers come and go.
    """

    log = Logger()

    def __init__(self, chain: Any, events: EventBus | None = None) -> None:
        self.chain = chain
        self._reads = ChainInTurns(chain)
        self._texts = BlockTexts()
        self._events = events
        self._subscribers: dict[Subscriber, None] = {}
        self._listening: list[Callable[[], None]] = []
        self._leader: Follower | None = None
        self._leading = self._again = False
        self._final: tuple[bytes, Event] | None = None

    def __len__(self) -> int:
        return len(self._subscribers)

    async def prepare(self, topics: Sequence[str], cursor: str | None) -> "Callable[[Outlet], Subscriber]":
        """Find where a subscription begins; the answer begins it. RpcError: the cursor is unknown here."""
        chain, finalized = self._reads, self.chain.finalized.hash
        if cursor is None:
            place, first = await head_place(chain), None
            text = place.cursor
        else:
            text = cursor.encode("ascii")
            place, first = await find_cursor(chain, text, Cursor.decode(cursor))
        oldest = await oldest_body(chain)
        head: Any = place if cursor is None else chain.head
        opening = Opening(head, oldest, text, place, first, cursor is not None, finalized)
        return lambda outlet: Subscriber(self, outlet, topics, opening)

    # -- who is there

    def join(self, subscriber: "Subscriber") -> None:
        """Let a subscriber have what happens from now on."""
        if not self._subscribers:
            self._listen()
        self._subscribers[subscriber] = None

    def leave(self, subscriber: "Subscriber") -> None:
        """It has gone."""
        self._subscribers.pop(subscriber, None)
        if not any(one.wants(HEADS) for one in self._subscribers):
            self._leader = None
        if not self._subscribers:
            while self._listening:
                self._listening.pop()()

    def _listen(self) -> None:
        chain = self.chain.events
        listening: list[tuple[EventBus, type[Any], Callable[[Any], None]]] = [
            (chain, HeadChanged, self._lead),
            (chain, FinalizedChanged, self._lead),
            (chain, TransactionAdded, self._added),
            (chain, TransactionDropped, self._dropped),
        ]
        if self._events is not None:
            listening += [(self._events, PeerJoined, self._joined), (self._events, PeerLeft, self._left)]
        self._listening = [bus.subscribe(kind, callback) for bus, kind, callback in listening]

    # -- leading those who have caught up

    def follower(self, place: Place) -> Follower:
        """One that reads the chain for a single subscriber."""
        return Follower(self._reads, self._texts, place)

    def leader(self, place: Place) -> Place:
        """Where those who are led are; *place* if nobody is yet."""
        if self._leader is None:
            # it reads for all of them, so it waits for no turn
            self._leader = Follower(self.chain, self._texts, place)
        return self._leader.place

    def _lead(self, _: object) -> None:
        self._again = True
        if not self._leading:
            self._leading = True
            Deferred.fromCoroutine(self._leads()).addErrback(self._failed)

    def _failed(self, failure: Any) -> None:
        if self._leader is not None:  # else nobody follows any more, and the chain may be closed
            self.log.failure("following the chain failed", failure)

    async def _leads(self) -> None:
        try:
            while self._again and self._leader is not None:
                self._again = False
                leader = self._leader
                while (move := await leader.advance()) is not None and self._leader is leader:
                    for subscriber in tuple(self._subscribers):
                        subscriber.led(move)
                for subscriber in tuple(self._subscribers):
                    subscriber.rested(leader.place)
        finally:
            self._leading = False

    def finalized(self, info: HeaderInfo) -> Event:
        """The event about the finalized block."""
        if self._final is None or self._final[0] != info.hash:
            self._final = info.hash, Event("finalized", dumps(point(info)))
        return self._final[1]

    # -- what else happens

    def _tell(self, topic: str, kind: str, **members: Any) -> None:
        if any(subscriber.wants(topic) for subscriber in self._subscribers):
            event = Event(kind, dumps(members))
            for subscriber in tuple(self._subscribers):
                subscriber.tell(topic, event)

    def _added(self, event: TransactionAdded) -> None:
        self._tell(TRANSACTIONS, "pending", id=hex_bytes(event.hash))

    def _dropped(self, event: TransactionDropped) -> None:
        self._tell(TRANSACTIONS, "dropped", id=hex_bytes(event.hash), reason=event.reason)

    def _joined(self, event: PeerJoined) -> None:
        self._tell(PEERS, "peer", id=hex_bytes(event.peer_id), state="joined", reason=None)

    def _left(self, event: PeerLeft) -> None:
        self._tell(PEERS, "peer", id=hex_bytes(event.peer_id), state="left", reason=event.reason.code)
