"""Open requests of one link: what may leave, what may answer, until when, and what a late answer may still cost."""

import heapq
from collections import deque
from typing import Generic, TypeVar

from attrs import define, field

from chainp2p.errors import PeerFault, Reason
from chainp2p.wire.messages import (
    Blocks,
    GetBlocks,
    GetHeaders,
    GetTransactions,
    Headers,
    Message,
    NotFound,
    Transactions,
)
from chainp2p.wire.schema import Channel

__all__ = ["CLOSED_MEMORY", "OPEN_LIMIT", "Asked", "OpenRequests"]

#: Requests open in one direction (control messages are outside of that count).
OPEN_LIMIT = 64
#: Replies to requests closed within this many seconds are dropped, not punished.
CLOSED_MEMORY = 600.0
#: Deadlines of finished requests that may lie in the heap before it is built anew.
_STALE_LIMIT = 256

_CONTROL = Channel.CONTROL

T = TypeVar("T")


@define(eq=False)
class Asked(Generic[T]):
    """One request from the call to the answer.

    :param deadline: seconds; the wait for a place among the open ones counts.
    """

    request: Message
    waiter: T
    deadline: float
    counted: bool  #: among the :data:`OPEN_LIMIT`
    leaving: bool = False  #: has its place: waits in the send queue, or has left
    id: int = 0  #: known once the first frame has left
    done: bool = field(default=False, init=False)


def _too_many(request: Message, reply: Message) -> bool:
    match request, reply:
        case GetHeaders(count=count), Headers(headers=items):
            return len(items) > count
        case GetBlocks(count=count), Blocks(blocks=items):
            return len(items) > max(count, 1)
        case GetTransactions(hashes=hashes), Transactions(transactions=items):
            return len(items) > len(hashes)
        case GetBlocks() | GetHeaders(), NotFound(hashes=items):
            return len(items) > 1
        case GetTransactions(hashes=hashes), NotFound(hashes=items):
            return len(items) > len(hashes)
    return False


class OpenRequests(Generic[T]):
    """Ids, deadlines and waiters of the requests sent on one link.

    1. At most :data:`OPEN_LIMIT` are open; later ones wait for a place, in order.
    2. A reply to an id never issued, of a type that does not answer the request, or with more items than were asked for
       is the peer's fault (``unexpected_reply``).
    3. A reply to a request that was closed here (time-out, cancel) is dropped: the peer could not know. Each such id is
       good for one reply, within ten minutes, so the total is bounded by the maxima of the requests closed.
    4. Deadlines live in one heap that one timer sweeps: a callLater per request costs half as much again.

    Cost: O(log n) a request.
    """

    def __init__(self) -> None:
        self._by_id: dict[int, Asked[T]] = {}
        self._live: set[Asked[T]] = set()
        self._waiting: deque[Asked[T]] = deque()
        self._deadlines: list[tuple[float, int, Asked[T]]] = []
        self._serial = 0
        self._closed: dict[int, float] = {}
        self._counted = 0

    def __len__(self) -> int:
        return self._counted

    @property
    def waiting(self) -> int:
        """How many have no place yet."""
        return sum(not asked.done for asked in self._waiting)

    @property
    def next_deadline(self) -> float | None:
        """When :meth:`expire` has something to do."""
        heap = self._deadlines
        while heap and heap[0][2].done:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def add(self, request: Message, waiter: T, deadline: float) -> Asked[T]:
        """Take a new request; it may be sent now if it is ``leaving``, else when :meth:`admit` returns it."""
        asked = Asked(request, waiter, deadline, request.spec.channel is not _CONTROL)
        self._live.add(asked)
        self._serial += 1
        heapq.heappush(self._deadlines, (deadline, self._serial, asked))
        if not asked.counted:
            asked.leaving = True
        elif self._counted < OPEN_LIMIT:
            asked.leaving = True
            self._counted += 1
        else:
            self._waiting.append(asked)
        return asked

    def admit(self) -> list[Asked[T]]:
        """Return those that got a place and are to be sent now."""
        admitted = []
        while self._waiting and self._counted < OPEN_LIMIT:
            asked = self._waiting.popleft()
            if not asked.done:
                asked.leaving = True
                self._counted += 1
                admitted.append(asked)
        return admitted

    def sent(self, asked: Asked[T], request_id: int) -> None:
        """The first frame of *asked* leaves now, with this id."""
        asked.id = request_id
        self._by_id[request_id] = asked

    def _finish(self, asked: Asked[T]) -> None:
        asked.done = True
        self._live.discard(asked)
        if asked.leaving and asked.counted:
            self._counted -= 1
        if asked.id:
            del self._by_id[asked.id]
        heap = self._deadlines
        if len(heap) > _STALE_LIMIT + 2 * len(self._live):
            self._deadlines = [entry for entry in heap if not entry[2].done]
            heapq.heapify(self._deadlines)

    def close(self, asked: Asked[T], now: float) -> bool:
        """Nobody waits for *asked* any more; a late reply will be dropped. False if it was finished already."""
        if asked.done:
            return False
        self._finish(asked)
        if asked.id:
            self._closed[asked.id] = now + CLOSED_MEMORY
        return True

    def expire(self, now: float) -> list[Asked[T]]:
        """Close the requests whose deadline has passed and return them."""
        expired = []
        while (deadline := self.next_deadline) is not None and deadline <= now:
            asked = heapq.heappop(self._deadlines)[2]
            self.close(asked, now)
            expired.append(asked)
        while self._closed and (oldest := next(iter(self._closed.items())))[1] <= now:
            del self._closed[oldest[0]]
        return expired

    def replied(self, request_id: int, reply: Message | None) -> T | None:
        """Match a reply (None: of an unknown tag); returns its waiter, None to drop it, or raises PeerFault."""
        asked = self._by_id.get(request_id)
        if asked is None:
            if self._closed.pop(request_id, None) is not None:
                return None
            raise PeerFault(Reason.UNEXPECTED_REPLY, f"reply to request {request_id}, which was never sent")
        name = type(reply).__name__ if reply is not None else "unknown message"
        if reply is None or name not in asked.request.spec.replies:
            raise PeerFault(Reason.UNEXPECTED_REPLY, f"{name} does not answer {type(asked.request).__name__}")
        if _too_many(asked.request, reply):
            raise PeerFault(Reason.UNEXPECTED_REPLY, f"{name} with more items than {type(asked.request).__name__} asks")
        self._finish(asked)
        return asked.waiter

    def fail_all(self) -> list[T]:
        """The link is gone: forget everything and return all waiters, oldest first."""
        order = sorted((serial, asked) for _, serial, asked in self._deadlines if not asked.done)
        for _, asked in order:
            asked.done = True
        for holder in (self._by_id, self._live, self._waiting, self._deadlines, self._closed):
            holder.clear()
        self._counted = 0
        return [asked.waiter for _, asked in order]
