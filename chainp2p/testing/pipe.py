"""One direction of a simulated TCP connection: what was sent arrives in order, each segment with its delay."""

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainp2p.testing.hosts import MemoryHost
    from chainp2p.testing.network import MemoryNetwork
    from chainp2p.testing.transport import MemoryTransport

__all__ = ["SEGMENT", "Mark", "Pipe"]

#: Bytes of one segment at most.
SEGMENT = 64 * 1024


class Mark(Enum):
    """What travels beside bytes, in order with them."""

    END = "end"  #: the connection ends
    HALF = "half"  #: no more bytes come this way
    RESET = "reset"  #: nobody is here any more
    TAKEN = "taken"  #: the other direction's bytes have been read


class Pipe:
    """One direction of a connection: segments travel in order, each with its delay; a cut holds them back."""

    __slots__ = (
        "_last",
        "_network",
        "_segment",
        "_sent_at",
        "_waiting",
        "free_at",
        "reader",
        "source",
        "target",
        "travelling",
    )

    def __init__(self, network: "MemoryNetwork", source: "MemoryHost", target: "MemoryHost") -> None:
        self._network = network
        self.source = source
        self.target = target
        self.reader: MemoryTransport | None = None
        #: Bytes that the reader has not taken yet.
        self.travelling = 0
        #: When the line has sent all that it was given (kept by the network).
        self.free_at = 0.0
        self._last = 0.0
        self._segment: bytearray = bytearray()
        self._sent_at = -1.0
        self._waiting: deque[Any] = deque()

    def send(self, item: Any) -> None:
        """Send a bytes object or a mark."""
        if type(item) is not bytes:
            self._pass(item)
            return
        self.travelling += len(item)
        segment, now = self._segment, self._network.clock.seconds()
        if self._sent_at == now and segment and len(segment) + len(item) <= SEGMENT and not self._network.metered:
            # the kernel too sends in one segment what is written in one go
            segment += item
            return
        for start in range(0, len(item), SEGMENT):
            self._segment = bytearray(item[start : start + SEGMENT])
            self._sent_at = now
            self._pass(self._segment)

    def release(self) -> None:
        """The way is free again."""
        items, self._waiting = self._waiting, deque()
        for item in items:
            self._pass(item)

    def _pass(self, item: Any) -> None:
        arrival = None
        if not self._waiting:
            arrival = self._network.depart(self, len(item) if type(item) is bytearray else 0)
        if arrival is None:
            self._waiting.append(item)
            return
        # in order, however the delay changes
        self._last = arrival = max(arrival, self._last)
        clock = self._network.clock
        clock.callLater(max(0.0, arrival - clock.seconds()), self._arrive, item)

    def _arrive(self, item: Any) -> None:
        if type(item) is bytearray:
            data = bytes(item)
            # whoever would extend the segment sees that it has gone
            item.clear()
            item = data
        if self.reader is not None:
            self.reader.received(item)
