"""What has arrived on a link and waits for its turn."""

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

    Cost: two microseconds a read beyond the reader's.
    """

    __slots__ = ("_ahead", "_reader", "_unread", "waiting")

    def __init__(self, codec: Codec) -> None:
        self._reader = FrameReader(codec)
        self._ahead: list[Received] = []
        self._unread: list[bytes] = []
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
        ahead, unread = self._ahead, self._unread
        while unread and len(ahead) < TURN:
            data = unread.pop(0)
            received = self._reader.feed(data)
            ahead = ahead + received if ahead else received
            self.waiting += _size(received) - len(data)
        if len(ahead) <= TURN:
            self._ahead = []
        else:
            ahead, self._ahead = ahead[:TURN], ahead[TURN:]
        self.waiting -= _size(ahead)
        return ahead

    def clear(self) -> None:
        """The link has ended: nothing is given any more."""
        self._ahead.clear()
        self._unread.clear()
        self.waiting = 0


def _size(messages: list[Received]) -> int:
    return sum([one.size for one in messages if isinstance(one, Incoming)])
