"""What waits for one slow reader: a queue of bytes with a place for answers and a bounded ring for events. Pure.

- Nothing on the block path waits for a socket: an event that finds the ring full is dropped and counted. An empty ring
  takes one event of any size, so that no event is too large for everybody.
- Answers are never dropped: what bounds them is that reading stops while anything waits (see the shell).
- Entries are whole frames and leave about 64 KiB at a time, one lot per sign of life of the reader: so a client that
  reads slowly is told from one that does not read, and control frames find their place between two lots.
"""

from collections import deque

from attrs import define, field

__all__ = ["Outbox"]

#: Bytes after which no further frame is handed to the transport at once: its own buffer is as large.
LOT = 65_536


@define(eq=False)
class Outbox:
    """See the module's text. *ring_events* and *ring_bytes* bound the ring."""

    ring_events: int
    ring_bytes: int
    dropped: int = field(default=0, init=False)
    paused: bool = field(default=False, init=False)  #: the transport wants no more for now
    _queue: deque[tuple[bytes, bool]] | None = field(default=None, init=False)  #: most readers never need one
    _events: int = field(default=0, init=False)
    _bytes: int = field(default=0, init=False)

    def __bool__(self) -> bool:
        return bool(self._queue)

    @property
    def idle(self) -> bool:
        """Whether nothing waits, here or in the transport."""
        return not self._queue and not self.paused

    @property
    def size(self) -> int:
        """Bytes of events that wait."""
        return self._bytes

    def answer(self, data: bytes) -> None:
        """Queue a frame of an answer."""
        self._put(data, False)

    def event(self, data: bytes) -> bool:
        """Queue an event; False: the ring is full, it is dropped."""
        full = self._events >= self.ring_events or self._bytes + len(data) > self.ring_bytes
        if full and self._events:
            self.dropped += 1
            return False
        self._events += 1
        self._bytes += len(data)
        self._put(data, True)
        return True

    def _put(self, data: bytes, is_event: bool) -> None:
        if self._queue is None:
            self._queue = deque()
        self._queue.append((data, is_event))

    def take(self) -> bytes:
        """Return what to hand to the transport now; empty if nothing waits."""
        parts: list[bytes] = []
        size = 0
        while self._queue and size < LOT:
            data, is_event = self._queue.popleft()
            if is_event:
                self._events -= 1
                self._bytes -= len(data)
            parts.append(data)
            size += len(data)
        if not self._queue:
            self._queue = None
        return b"".join(parts)
