"""The loss-free stream, ``chain_subscribe``: each subscriber reads on from its own place, then all are led together.

1. Whoever is behind follows by itself: it reads the chain while its socket takes what was written, and no further.
2. Whoever has reached the head is led: one follower reads each new block once, for all. A move that does not begin
   where the subscriber is makes it follow by itself again: whatever overtakes whatever, nothing is lost or told twice.
3. A subscriber whose ring is full gets nothing more until its socket is drained, then one ``gap slow`` for each topic
   that missed something; what waited in the ring is sent before that. Nobody waits for it.
4. ``finalized`` is told where a subscriber stands on the head, so never before its block.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from attrs import frozen
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
from chainp2p.rpc.cursor import Cursor
from chainp2p.rpc.follower import Follower, Move, find_cursor, head_place, oldest_body
from chainp2p.rpc.streamtext import HEAD, BlockTexts, Event, Place, gap, heads_gap, point, ready
from chainp2p.rpc.values import hex_bytes

__all__ = ["HEADS", "PEERS", "TOPICS", "TRANSACTIONS", "Outlet", "Streams"]

HEADS, TRANSACTIONS, PEERS = TOPICS = ("heads", "transactions", "peers")


class Outlet(Protocol):
    """The way to one subscriber."""

    @property
    def idle(self) -> bool:
        """Whether its socket has taken all that was written."""
        ...

    def send(self, head: bytes, tail: bytes) -> bool:
        """Send a notification, the id between both parts; False: there is no room, it is dropped. Never blocks."""
        ...

    def fail(self) -> None:
        """End the connection: the subscription cannot go on."""
        ...


@frozen
class _Opening:
    """Where a stream begins.

    :param first: the rollback with which it does; *resumed*: at the client's cursor.
    """

    head: HeaderInfo
    oldest: int
    cursor: bytes
    place: Place
    first: Move | None
    resumed: bool
    finalized: bytes


class Streams:
    """All subscribers of a node; it reads and listens only while there are some.

    :param chain: an ``IChain``.
    :param events: the bus on which peers come and go.
    """

    log = Logger()

    def __init__(self, chain: Any, events: EventBus | None = None) -> None:
        self.chain = chain
        self.texts = BlockTexts(chain)
        self._events = events
        self._subscribers: dict[_Subscriber, None] = {}
        self._listening: list[Callable[[], None]] = []
        self._leader: Follower | None = None
        self._leading = self._again = False
        self._final: tuple[bytes, Event] | None = None

    def __len__(self) -> int:
        return len(self._subscribers)

    async def prepare(self, topics: Sequence[str], cursor: str | None) -> "Callable[[Outlet], _Subscriber]":
        """Find where a subscription begins; the answer begins it. RpcError: the cursor is unknown here."""
        chain = self.chain
        finalized = chain.finalized.hash
        if cursor is None:
            place, first = await head_place(chain), None
            text = place.cursor
        else:
            text = cursor.encode("ascii")
            place, first = await find_cursor(chain, text, Cursor.decode(cursor))
        oldest = await oldest_body(chain)
        head: Any = place if cursor is None else chain.head
        opening = _Opening(head, oldest, text, place, first, cursor is not None, finalized)
        return lambda outlet: _Subscriber(self, outlet, topics, opening)

    # -- who is there

    def join(self, subscriber: "_Subscriber") -> None:
        """Let a subscriber have what happens from now on."""
        if not self._subscribers:
            self._listen()
        self._subscribers[subscriber] = None

    def leave(self, subscriber: "_Subscriber") -> None:
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

    def leader(self, place: Place) -> Place:
        """Where those who are led are; *place* if nobody is yet."""
        if self._leader is None:
            self._leader = Follower(self.chain, self.texts, place)
        return self._leader.place

    def _lead(self, _: object) -> None:
        self._again = True
        if not self._leading:
            self._leading = True
            Deferred.fromCoroutine(self._leads()).addErrback(self._failed)

    def _failed(self, failure: Any) -> None:
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


class _Subscriber:
    """One subscription: where it is, and what it missed.

    :ivar cursor: the last one sent.
    """

    def __init__(self, streams: Streams, outlet: Outlet, topics: Sequence[str], opening: _Opening) -> None:
        self._streams = streams
        self._outlet = outlet
        self._topics = frozenset(topics)
        self._opening = opening
        self.cursor = opening.cursor
        self._place = opening.place if opening.first is None else opening.first.before
        self._next = opening.first  #: a move that could not be sent yet
        self._finalized = None if opening.resumed else opening.finalized
        self._follower: Follower | None = None  #: None: it is led
        self._running = False
        self._closed = False
        #: What comes before anything else.
        self._waiting: deque[bytes] = deque()
        self._behind = False
        #: Of heads, the lowest height that was missed; of other topics, the number of events.
        self._low: int | None = None
        self._lost: Counter[str] = Counter()

    # -- as the connection sees it

    def start(self) -> None:
        """The answer with the id is on its way."""
        opening = self._opening
        self._waiting.append(ready(opening.cursor, opening.head, opening.oldest))
        for topic in (TRANSACTIONS, PEERS):
            if opening.resumed and topic in self._topics:
                self._waiting.append(gap(topic, "live", self.cursor, None, self.cursor))
        if HEADS in self._topics:
            self._follower = Follower(self._streams.chain, self._streams.texts, opening.place)
        self._streams.join(self)
        self.drained()

    def drained(self) -> None:
        """The socket has taken what was written."""
        while self._outlet.idle:
            if self._waiting:
                self._outlet.send(HEAD, self._waiting.popleft())
            elif self._behind:
                self._tell_gaps()
            else:
                self._go_on()
                return

    def close(self) -> None:
        """The subscription, or its connection, has ended."""
        self._closed = True
        self._streams.leave(self)

    # -- heads

    def _go_on(self) -> None:
        if self._follower is None:
            self._tell_finalized()
        elif not self._running and not self._closed:
            self._running = True
            Deferred.fromCoroutine(self._follow(self._follower)).addErrback(self._failed)

    def _failed(self, failure: Any) -> None:
        self._streams.log.failure("following the chain failed", failure)
        self.close()
        self._outlet.fail()

    async def _follow(self, follower: Follower) -> None:
        try:
            while self._may_follow():
                self._next = self._next or await follower.advance()
                if self._closed:
                    return
                if self._next is None:
                    self._follower = None
                    self._streams.leader(self._place)
                    self._tell_finalized()
                    return
                if self._may_follow():
                    move, self._next = self._next, None
                    self._take(move)
        finally:
            self._running = False

    def _may_follow(self) -> bool:
        return self._outlet.idle and not self._waiting and not self._closed

    def _take(self, move: Move) -> None:
        if self._send(move.tail):
            self._place, self.cursor = move.after, move.after.cursor
        else:
            self._low = move.low

    def led(self, move: Move) -> None:
        """Those who are led are led on."""
        if HEADS not in self._topics or self._follower is not None:
            return
        if self._is_behind():
            self._low = move.low if self._low is None else min(self._low, move.low)
        elif self._place == move.before:
            self._take(move)
        elif self._place != move.after:
            self._follow_alone()

    def rested(self, place: Place) -> None:
        """Those who are led have arrived at *place*, the head."""
        if HEADS not in self._topics or self._follower is not None or self._is_behind():
            return
        if self._place == place:
            self._tell_finalized()
        else:
            self._follow_alone()

    def _follow_alone(self) -> None:
        self._follower = Follower(self._streams.chain, self._streams.texts, self._place)
        self._go_on()

    def _tell_finalized(self) -> None:
        chain = self._streams.chain
        final = chain.finalized
        if HEADS not in self._topics or self._closed or final.hash == self._finalized:
            return
        if self._place.hash == chain.head.hash and final.height <= self._place.height and not self._is_behind():
            event = self._streams.finalized(final)
            if self._send(event.tail(self.cursor)):
                self._finalized = final.hash

    # -- other topics

    def wants(self, topic: str) -> bool:
        """Whether it has subscribed to *topic*."""
        return topic in self._topics

    def tell(self, topic: str, event: Event) -> None:
        """Something happened."""
        if topic in self._topics and (self._is_behind() or not self._send(event.tail(self.cursor))):
            self._lost[topic] += 1

    # -- what is missed

    def _is_behind(self) -> bool:
        """Whether what happens now is missed: something before it could not be sent, or waits."""
        self._behind = self._behind or bool(self._waiting)
        return self._behind

    def _send(self, text: bytes) -> bool:
        if not self._outlet.send(HEAD, text):
            self._behind = True
        return not self._behind

    def _tell_gaps(self) -> None:
        self._behind = False
        resume = self.cursor
        if self._low is not None:
            to = self._streams.leader(self._place)
            self._waiting.append(heads_gap("slow", self._low, to, resume))
            self._place, self.cursor, self._low = to, to.cursor, None
        for topic, lost in self._lost.items():
            self._waiting.append(gap(topic, "slow", self.cursor, lost, resume))
        self._lost.clear()
