"""One subscription to the loss-free stream: where it is, and what it missed.

1. It follows the chain by itself while it is behind, as its socket drains, and is led with the others from the head on.
2. What could not be sent is never tried again out of turn: until the socket is drained everything is counted as missed.
   Then a ``gap`` for each topic that missed something comes before anything else.
3. ``finalized`` is told where it stands on the head, so never before its block; it is missed by nobody, for it is told
   when that becomes true again.
"""

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.rpc.subscriptions.follower import Follower, Move
from chainp2p.rpc.subscriptions.hub import Outlet
from chainp2p.rpc.subscriptions.text import HEAD, Event, Place, gap, heads_gap, ready

__all__ = ["HEADS", "PEERS", "TRANSACTIONS", "Guide", "Opening", "Subscriber"]

HEADS, TRANSACTIONS, PEERS = "heads", "transactions", "peers"


class Guide(Protocol):
    """What all subscribers of a node share."""

    chain: Any  #: an ``IChain``

    def follower(self, place: Place) -> Follower:
        """One that reads the chain for a single subscriber."""
        ...

    def leader(self, place: Place) -> Place:
        """Where those who are led are; *place* if nobody is yet."""
        ...

    def finalized(self, info: HeaderInfo) -> Event:
        """The event about the finalized block."""
        ...

    def join(self, subscriber: "Subscriber") -> None:
        """Let a subscriber have what happens from now on."""
        ...

    def leave(self, subscriber: "Subscriber") -> None:
        """It has gone."""
        ...


@frozen
class Opening:
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


class Subscriber:
    """See the module.

    :ivar cursor: the last one sent.
    """

    log = Logger()

    def __init__(self, guide: Guide, outlet: Outlet, topics: Sequence[str], opening: Opening) -> None:
        self._guide = guide
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

    @property
    def lag(self) -> int:
        """Blocks by which it is behind the head; 0 if it does not ask for heads."""
        behind: int = self._guide.chain.head.height - self._place.height
        return max(0, behind) if HEADS in self._topics else 0

    def start(self) -> None:
        """The answer with the id is on its way."""
        opening = self._opening
        self._waiting.append(ready(opening.cursor, opening.head, opening.oldest))
        for topic in (TRANSACTIONS, PEERS):
            if opening.resumed and topic in self._topics:
                self._waiting.append(gap(topic, "live", self.cursor, None, self.cursor))
        if HEADS in self._topics:
            self._follower = self._guide.follower(opening.place)
        self._guide.join(self)
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
        self._guide.leave(self)

    # -- heads

    def _go_on(self) -> None:
        if self._follower is None:
            self._tell_finalized()
        elif not self._running and not self._closed:
            self._running = True
            Deferred.fromCoroutine(self._follow(self._follower)).addErrback(self._failed)

    def _failed(self, failure: Any) -> None:
        if not self._closed:  # else the chain may be closed as well
            self.log.failure("following the chain failed", failure)
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
                    self._guide.leader(self._place)
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
        """Those who are led are led on; who is elsewhere waits until the others have arrived."""
        if HEADS not in self._topics or self._follower is not None:
            return
        if self._is_behind():
            self._low = move.low if self._low is None else min(self._low, move.low)
        elif self._place == move.before:
            self._take(move)

    def rested(self, place: Place) -> None:
        """Those who are led have arrived at *place*, the head."""
        if HEADS not in self._topics or self._follower is not None or self._is_behind():
            return
        if self._place == place:
            self._tell_finalized()
        else:
            self._follow_alone()

    def _follow_alone(self) -> None:
        self._follower = self._guide.follower(self._place)
        self._go_on()

    def _tell_finalized(self) -> None:
        chain = self._guide.chain
        final = chain.finalized
        if HEADS not in self._topics or self._closed or final.hash == self._finalized:
            return
        if self._place.hash == chain.head.hash and final.height <= self._place.height and not self._is_behind():
            event = self._guide.finalized(final)
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
            to = self._guide.leader(self._place)
            self._waiting.append(heads_gap("slow", self._low, to, resume))
            self._place, self.cursor, self._low = to, to.cursor, None
        for topic, lost in self._lost.items():
            self._waiting.append(gap(topic, "slow", self.cursor, lost, resume))
        self._lost.clear()
