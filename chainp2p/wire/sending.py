"""The send queue of one link: what leaves next, and what is given up when the other side does not read."""

from collections import deque
from collections.abc import Callable
from enum import Enum

from chainp2p.wire.frames import BODY_LIMIT, HEADER, MORE
from chainp2p.wire.schema import Channel, Kind

__all__ = ["Pushed", "SendQueue"]

#: Above this much queued, announcements and block pushes are given up. With what lies in the transport it is the 1 MB
#: of the wire design ("Frames"): more a peer that does not read must not cost. Bytes.
QUEUE_LIMIT = 1_000_000 - 256 * 1024
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


#: Of the hot path: an attribute of an enum class is a slow look-up.
_QUEUED = Pushed.QUEUED
_CONTROL, _BLOCK_PUSH = Channel.CONTROL, Channel.BLOCK_PUSH


class _Entry:
    """A message that waits; called, it takes itself back (True if nothing of it had left)."""

    __slots__ = ("channel", "id", "kind", "on_id", "payload", "queue", "sent")

    def __init__(
        self,
        queue: "SendQueue",
        payload: bytes,
        kind: Kind,
        channel: Channel,
        message_id: int,
        on_id: Callable[[int], None] | None,
    ) -> None:
        self.queue = queue
        self.payload = payload
        self.kind = kind
        self.channel = channel
        self.id = message_id  #: 0: taken from the counter when the first frame leaves
        self.on_id = on_id
        self.sent = 0

    def __call__(self) -> bool:
        return self.queue.take_back(self)


def _nothing_to_take_back() -> bool:
    return False


class SendQueue:
    """One queue per class, highest class first, one message of a class in progress.

    1. While bulk waits, one bulk frame leaves after at most eight others: a download goes on under any traffic.
    2. Ids of requests and notifications come from one counter, taken when the first frame leaves, so that they ascend
       on the wire. Replies carry the id of their request.
    3. Above :data:`QUEUE_LIMIT` the oldest announcements are dropped, for they are stale, down to
       :data:`ANNOUNCEMENTS_KEPT`. A block push that would pass it is refused, unless nothing else waits: the caller
       announces. Replies are never refused here: the caller does not produce them above the limit.
    4. Control is never dropped; more than :data:`CONTROL_LIMIT` of it means that nobody reads.

    Cost: O(1) a frame.
    """

    def __init__(self) -> None:
        self._queues: tuple[deque[_Entry], ...] = tuple(deque() for _ in Channel)
        self._bulk = self._queues[Channel.BULK]
        self._bytes = [0] * len(Channel)
        self._next_id = 1
        #: Frames of other classes that left since the last bulk frame while bulk waited.
        self._others = 0
        #: Bytes of all classes that wait.
        self.queued = 0
        #: Announcements and block pushes given up so far.
        self.dropped = 0

    @property
    def full(self) -> bool:
        """Whether replies should wait."""
        return self.queued > QUEUE_LIMIT

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
        size = len(payload)
        if channel is _BLOCK_PUSH and self.queued and self.queued + size > QUEUE_LIMIT:
            self.dropped += 1
            return Pushed.DROPPED, _nothing_to_take_back
        entry = _Entry(self, payload, kind, channel, message_id, on_id)
        self._queues[channel].append(entry)
        self._bytes[channel] += size
        self.queued += size
        if channel is _CONTROL and self._bytes[channel] > CONTROL_LIMIT:
            return Pushed.NOT_READING, entry
        if self.queued > QUEUE_LIMIT:
            self._drop_announcements()
        return _QUEUED, entry

    def _count(self, channel: Channel, change: int) -> None:
        self._bytes[channel] += change
        self.queued += change

    def _drop_announcements(self) -> None:
        queue = self._queues[Channel.ANNOUNCEMENTS]
        in_progress = queue.popleft() if queue and queue[0].sent else None
        while queue and self.full and self._bytes[Channel.ANNOUNCEMENTS] > ANNOUNCEMENTS_KEPT:
            self._count(Channel.ANNOUNCEMENTS, -len(queue.popleft().payload))
            self.dropped += 1
        if in_progress is not None:
            queue.appendleft(in_progress)

    def take_back(self, entry: _Entry) -> bool:
        """Forget a message nothing of which has left; False if it is too late or was done already."""
        if entry.sent:
            return False
        try:
            self._queues[entry.channel].remove(entry)
        except ValueError:
            return False
        self._count(entry.channel, -len(entry.payload))
        return True

    def next(self, budget: int) -> bytes:
        """Return whole frames of about *budget* bytes in the order in which they leave; empty when nothing waits."""
        out: list[bytes] = []
        pack, counts = HEADER.pack, self._bytes
        while budget > 0 and self.queued:
            queue = self._choose()
            entry = queue[0]
            body, sent, more = entry.payload, entry.sent, 0
            if not sent:
                self._leaves(entry)
            size = len(body) - sent
            if size > BODY_LIMIT:
                size, more = BODY_LIMIT, MORE
            else:
                queue.popleft()
            entry.sent = sent + size
            counts[entry.channel] -= size
            self.queued -= size
            out.append(pack(6 + size, entry.id, entry.kind, more))
            out.append(body[sent : sent + size])
            budget -= 10 + size
        return b"".join(out)

    def _leaves(self, entry: _Entry) -> None:
        """The first frame of *entry* leaves: it gets its id."""
        if not entry.id:
            entry.id = self._next_id
            self._next_id = self._next_id % 0xFFFFFFFF + 1
        if entry.on_id is not None:
            entry.on_id(entry.id)

    def _choose(self) -> "deque[_Entry]":
        """The queue of the next frame; something waits."""
        bulk = self._bulk
        if bulk:
            if self._others >= OTHERS_PER_BULK:
                self._others = 0
                return bulk
            self._others += 1
        for queue in self._queues:
            if queue:
                break
        if queue is bulk:
            self._others = 0
        return queue
