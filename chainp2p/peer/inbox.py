"""What has arrived on a link and waits for its turn."""

from collections import deque

from chainp2p.wire.codec import Codec
from chainp2p.wire.frames import FrameReader, Incoming, Received

__all__ = ["TURN", "Inbox"]

#: Messages of one link that are handled in one go, then other links and timers have theirs: some milliseconds. All open
#: requests of an honest peer fit in.
TURN = 64


class Inbox:
    """Turns received bytes into messages, a turn at a time.

    1. A turn gives at most :data:`TURN` messages, in the order in which they were completed; bytes that came while
       messages wait are not looked at before those have been given.
    2. Messages that wait for their turn, and those bytes, are received and unhandled: while there are any, the owner
       does not read. A transport that was told to stop may still hand over what it has (64 KiB).

    Cost: nothing beyond the reader's while all that comes fits into a turn.
    """

    __slots__ = ("_ahead", "_reader", "_unread", "waiting")

    def __init__(self, codec: Codec) -> None:
        self._reader = FrameReader(codec)
        self._ahead: deque[Received] = deque()
        self._unread: deque[bytes] = deque()
        #: Bytes that wait for a turn.
        self.waiting = 0

    @property
    def partial(self) -> int:
        """Bytes that are kept for messages not yet whole."""
        return self._reader.buffered

    def __bool__(self) -> bool:
        """Whether something waits for a turn."""
        return bool(self._ahead or self._unread)

    def add(self, data: bytes) -> None:
        """Take the next bytes of the stream; they are looked at in the next turn."""
        self._unread.append(data)
        self.waiting += len(data)

    def turn(self) -> list[Received]:
        """Return the messages of one turn; a fault is the last that comes."""
        given: list[Received] = []
        while len(given) < TURN and self:
            if not self._ahead:
                data = self._unread.popleft()
                self.waiting -= len(data)
                received = self._reader.feed(data)
                if len(given) + len(received) <= TURN:
                    given += received
                    continue
                self._ahead.extend(received)
                self.waiting += sum(map(_size, received))
            first = self._ahead.popleft()
            self.waiting -= _size(first)
            given.append(first)
        return given

    def clear(self) -> None:
        """The link has ended: nothing is given any more."""
        self._ahead.clear()
        self._unread.clear()
        self.waiting = 0


def _size(received: Received) -> int:
    return received.size if isinstance(received, Incoming) else 0
