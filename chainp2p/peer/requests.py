"""Open requests of one link: what may answer, until when, and what a late answer may still cost."""

import heapq
from typing import Any, Generic, TypeVar

from attrs import define

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

__all__ = ["OPEN_LIMIT", "OpenRequests"]

#: Requests open in one direction (control messages are outside of that count).
OPEN_LIMIT = 64
#: Replies to requests closed within this many seconds are dropped, not punished.
CLOSED_MEMORY = 600.0

T = TypeVar("T")


@define
class _Open(Generic[T]):
    request: Message
    waiter: T
    deadline: float


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

    1. A reply to an id never issued, of a type that does not answer the request, or with more items than were asked for
       is the peer's fault (``unexpected_reply``).
    2. A reply to a request that was closed here (time-out, cancel) is dropped: the peer could not know. The bytes of such
       replies are bounded by the sum of the maxima of the requests closed in the last ten minutes.
    3. Deadlines live in one heap that one timer sweeps: a callLater per request costs half as much again.

    Cost: O(log n) a request.
    """

    def __init__(self) -> None:
        self._open: dict[int, _Open[T]] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._closed: dict[int, tuple[float, int]] = {}
        self._counted = 0

    def __len__(self) -> int:
        return self._counted

    @property
    def room(self) -> bool:
        """Whether another request may be sent now."""
        return self._counted < OPEN_LIMIT

    @property
    def next_deadline(self) -> float | None:
        """When :meth:`expire` has something to do."""
        while self._deadlines and self._deadlines[0][1] not in self._open:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def opened(self, request_id: int, request: Message, waiter: T, deadline: float) -> None:
        """The first frame of *request* leaves now."""
        self._open[request_id] = _Open(request, waiter, deadline)
        heapq.heappush(self._deadlines, (deadline, request_id))
        self._counted += request.spec.channel is not Channel.CONTROL

    def _remove(self, request_id: int) -> _Open[T]:
        entry = self._open.pop(request_id)
        self._counted -= entry.request.spec.channel is not Channel.CONTROL
        return entry

    def close(self, request_id: int, now: float) -> T | None:
        """Forget a request that nobody waits for any more; a late reply will be dropped."""
        if request_id not in self._open:
            return None
        entry = self._remove(request_id)
        maximum = max(entry.request.spec.maximum, 4 * 1024 * 1024)
        self._closed[request_id] = (now + CLOSED_MEMORY, maximum)
        return entry.waiter

    def expire(self, now: float) -> list[T]:
        """Close the requests whose deadline has passed and return their waiters."""
        expired = []
        while (deadline := self.next_deadline) is not None and deadline <= now:
            waiter = self.close(heapq.heappop(self._deadlines)[1], now)
            assert waiter is not None
            expired.append(waiter)
        for request_id in [key for key, (until, _) in self._closed.items() if until <= now]:
            del self._closed[request_id]
        return expired

    def replied(self, request_id: int, reply: Message | None, size: int) -> T | None:
        """Match a reply (None: of an unknown tag); returns its waiter, None to drop it, or raises PeerFault."""
        entry = self._open.get(request_id)
        if entry is None:
            if request_id in self._closed:
                del self._closed[request_id]
                return None
            raise PeerFault(Reason.UNEXPECTED_REPLY, f"reply to request {request_id}, which was never sent")
        name = type(reply).__name__ if reply is not None else "unknown message"
        if reply is None or name not in entry.request.spec.replies:
            raise PeerFault(Reason.UNEXPECTED_REPLY, f"{name} does not answer {type(entry.request).__name__}")
        if _too_many(entry.request, reply):
            raise PeerFault(Reason.UNEXPECTED_REPLY, f"{name} with more items than {type(entry.request).__name__} asks")
        return self._remove(request_id).waiter

    def fail_all(self) -> list[T]:
        """The link is gone: forget everything and return all waiters."""
        waiters: list[Any] = [entry.waiter for entry in self._open.values()]
        self._open.clear()
        self._closed.clear()
        self._deadlines.clear()
        self._counted = 0
        return waiters
