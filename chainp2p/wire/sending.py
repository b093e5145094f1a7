"""The send queue of one link: what leaves next, and what is given up when the other side does not read."""

from collections import deque
from collections.abc import Callable
from enum import Enum

from attrs import define, field

from chainp2p.wire.frames import BODY_LIMIT, HEADER, MORE
from chainp2p.wire.schema import Channel, Kind

__all__ = ["Pushed", "SendQueue"]

#: Above this much queued, announcements and block pushes are given up (wire design, "Frames").
QUEUE_LIMIT = 1_000_000
#: Announcements that are kept even then, the newest: they are cheap, and a block that is not pushed must be announced.
ANNOUNCEMENTS_KEPT = 64 * 1024
#: This much control traffic queued means that the other side does not read.
CONTROL_LIMIT = 64 * 1024
#: One bulk frame goes out after at most this many others, so that bulk never starves.
OTHERS_PER_BULK = 8


class Pushed(Enum):
    """What became of a message that was handed in."""

    QUEUED = "queued"
    DROPPED = "dropped"  #: a block push that does not fit: announce it instead
    NOT_READING = "not_reading"  #: control over its limit: end the link


@define(eq=False)
class _Entry:
    payload: bytes
    kind: Kind
    channel: Channel
    id: int  #: 0: taken from the counter when the first frame leaves
    on_id: Callable[[int], None] | None
    sent: int = 0
    cancelled: bool = field(default=False)


class SendQueue:
    """One queue per class, highest class first, one message of a class in progress.

    1. One bulk frame leaves after at most eight others: a download goes on under any traffic.
    2. Ids of requests and notifications come from one counter, taken when the first frame leaves, so that they ascend
       on the wire. Replies carry the id of their request.
    3. Above :data:`QUEUE_LIMIT` the oldest announcements are dropped, for they are stale, down to
       :data:`ANNOUNCEMENTS_KEPT`; a block push is refused: the caller announces. Replies are never refused here: the
       caller does not produce them above the limit.
    4. Control is never dropped; more than :data:`CONTROL_LIMIT` of it means that nobody reads.

    Cost: O(1) a frame.
    """

    def __init__(self) -> None:
        self._queues: tuple[deque[_Entry], ...] = tuple(deque() for _ in Channel)
        self._bytes = [0] * len(Channel)
        self._next_id = 1
        self._others = 0
        #: Announcements given up so far.
        self.dropped = 0

    @property
    def queued(self) -> int:
        """Bytes of all classes that wait."""
        return sum(self._bytes)

    @property
    def full(self) -> bool:
        """Whether replies should wait."""
        return sum(self._bytes) > QUEUE_LIMIT

    def queued_in(self, channel: Channel) -> int:
        """Bytes of one class that wait."""
        return self._bytes[channel]

    def push(
        self,
        payload: bytes,
        kind: Kind,
        channel: Channel,
        message_id: int = 0,
        on_id: Callable[[int], None] | None = None,
    ) -> tuple[Pushed, Callable[[], bool]]:
        """Queue one message.

        :param message_id: for a reply, the id of its request.
        :param on_id: told the id when the first frame leaves.
        :return: what became of it, and a function that takes it back (True if nothing of it had left).
        """
        if channel is Channel.BLOCK_PUSH and self.full:
            return Pushed.DROPPED, lambda: False
        entry = _Entry(payload, kind, channel, message_id, on_id)
        self._queues[channel].append(entry)
        self._bytes[channel] += len(payload)
        if channel is Channel.CONTROL and self._bytes[channel] > CONTROL_LIMIT:
            return Pushed.NOT_READING, lambda: self._cancel(entry)
        if self.full:
            self._drop_announcements()
        return Pushed.QUEUED, lambda: self._cancel(entry)

    def _drop_announcements(self) -> None:
        queue = self._queues[Channel.ANNOUNCEMENTS]
        in_progress = queue.popleft() if queue and queue[0].sent else None
        while queue and self.full and self._bytes[Channel.ANNOUNCEMENTS] > ANNOUNCEMENTS_KEPT:
            self._bytes[Channel.ANNOUNCEMENTS] -= len(queue.popleft().payload)
            self.dropped += 1
        if in_progress is not None:
            queue.appendleft(in_progress)

    def _cancel(self, entry: _Entry) -> bool:
        if entry.sent or entry.cancelled:
            return False
        entry.cancelled = True
        try:
            self._queues[entry.channel].remove(entry)
        except ValueError:
            return False
        self._bytes[entry.channel] -= len(entry.payload)
        return True

    def next(self, budget: int) -> bytes:
        """Return whole frames of about *budget* bytes in the order in which they leave; empty when nothing waits."""
        out: list[bytes] = []
        while budget > 0:
            channel = self._choose()
            if channel is None:
                break
            budget -= self._take(channel, out)
        return b"".join(out)

    def _choose(self) -> Channel | None:
        if self._others >= OTHERS_PER_BULK and self._queues[Channel.BULK]:
            return Channel.BULK
        for channel in Channel:
            if self._queues[channel]:
                return channel
        return None

    def _take(self, channel: Channel, out: list[bytes]) -> int:
        queue = self._queues[channel]
        entry = queue[0]
        if not entry.sent and not entry.id:
            entry.id = self._next_id
            self._next_id = self._next_id % 0xFFFFFFFF + 1
            if entry.on_id is not None:
                entry.on_id(entry.id)
        body = entry.payload[entry.sent : entry.sent + BODY_LIMIT] if len(entry.payload) > BODY_LIMIT else entry.payload
        entry.sent += len(body)
        self._bytes[channel] -= len(body)
        last = entry.sent == len(entry.payload)
        out.append(HEADER.pack(6 + len(body), entry.id, entry.kind, 0 if last else MORE))
        out.append(body)
        if last:
            queue.popleft()
        self._others = 0 if channel is Channel.BULK else self._others + 1
        return 10 + len(body)
