"""One end of a simulated TCP connection, with the semantics of Twisted's own transports."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IHalfCloseableProtocol, IPushProducer, ITCPTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from chainp2p.testing.network import MemoryHost, MemoryNetwork

__all__ = ["Address", "MemoryTransport", "Pipe"]

Address: TypeAlias = IPv4Address | IPv6Address

#: Bytes that one direction holds between two applications, as the socket buffers of both kernels do.
WINDOW = 256 * 1024
#: Above so many unsent bytes the producer is paused (``twisted.internet.abstract.FileDescriptor.bufferSize``).
BUFFER = 64 * 1024
#: A segment is not extended beyond that.
SEGMENT = 64 * 1024

#: What travels beside bytes, in order with them: ends of the stream, and "I have read".
_FIN, _HALF, _RESET, _TAKEN = object(), object(), object(), object()


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


@implementer(ITCPTransport, IConsumer, IPushProducer)
class MemoryTransport:
    """See ``ITCPTransport``; made by the network.

    Writes leave at once until :data:`WINDOW` bytes are under way, then they are buffered and a registered producer is
    paused above :data:`BUFFER`. ``loseConnection`` sends what is buffered first and waits for the producer.
    """

    log = Logger()

    def __init__(self, here: Address, there: Address, outgoing: Pipe, incoming: Pipe) -> None:
        self.host = outgoing.source
        self.far = outgoing.target
        self._here = here
        self._there = there
        self._outgoing = outgoing
        self._incoming = incoming
        incoming.reader = self
        self.protocol: Any = None
        self.connected = False
        self.disconnecting = False
        self.disconnected = False
        self.producer: Any = None
        self.streamingProducer = False
        self.producerPaused = False
        self._buffer: deque[bytes] = deque()
        self._buffered = 0
        self._unread: deque[Any] = deque()
        self._paused = False
        self._write_closing = False
        self._write_closed = False
        self._vanished = False
        #: Told when the connection has ended here.
        self.on_lost: Callable[[Failure], None] | None = None

    def start(self, protocol: Any) -> None:
        """Attach *protocol*; from now on the connection carries bytes."""
        self.protocol = protocol
        self.connected = True
        self._guard(protocol.makeConnection, self)
        self._read()

    # -- addresses and options

    def getHost(self) -> Address:
        return self._here

    def getPeer(self) -> Address:
        return self._there

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing waits here."""

    def getTcpKeepAlive(self) -> bool:
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """A dead host is found out by whoever sends."""

    # -- writing

    def write(self, data: bytes) -> None:
        if not isinstance(data, bytes):
            if isinstance(data, bytearray | memoryview):
                data = bytes(data)
            else:
                raise TypeError(f"only bytes can be written, not {type(data).__name__}")
        if not self.connected or self._write_closed or not data:
            return
        room = 0 if self._buffered else WINDOW - self._outgoing.travelling
        if room > 0:
            self._outgoing.send(data if len(data) <= room else data[:room])
        if len(data) > room:
            self._buffer.append(data[room:] if room > 0 else data)
            self._buffered += len(data) - max(room, 0)
            if self._buffered > BUFFER and self.producer is not None and not self.producerPaused:
                self.producerPaused = True
                self.producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def _taken(self) -> None:
        """The other end has read: more may leave."""
        while self._buffer and (room := WINDOW - self._outgoing.travelling) > 0:
            data = self._buffer.popleft()
            if len(data) > room:
                self._buffer.appendleft(data[room:])
                data = data[:room]
            self._buffered -= len(data)
            self._outgoing.send(data)
        if not self._buffered:
            self._drained()

    def _drained(self) -> None:
        """Nothing is buffered any more."""
        if self.producer is not None:
            if self.producerPaused or not self.streamingProducer:
                self.producerPaused = False
                self.producer.resumeProducing()
        elif self.disconnecting:
            self._finish()
        elif self._write_closing:
            self._write_closed = True
            self._outgoing.send(_HALF)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self.producer is not None:
            raise RuntimeError(f"cannot register {producer!r}: {self.producer!r} is registered")
        if self.disconnected or not self.connected:
            producer.stopProducing()
            return
        self.producer = producer
        self.streamingProducer = streaming
        self.producerPaused = False
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self.producer = None
        if self.connected and (self.disconnecting or self._write_closing) and not self._buffered:
            self.host.callLater(0, self._flush_end)

    def _flush_end(self) -> None:
        if self.connected and not self._buffered and self.producer is None:
            self._drained()

    # -- reading

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        if self.connected and self._paused and not self.disconnecting:
            self._paused = False
            self.host.callLater(0, self._read)

    def stopProducing(self) -> None:
        self.loseConnection()

    def received(self, item: Any) -> None:
        """Something arrived."""
        if self.disconnected:
            if self._vanished and self.host.up and item is not _RESET:
                # the machine runs again and knows nothing of this connection
                self._outgoing.send(_RESET)
            return
        if item is _TAKEN:
            self._taken()
            return
        if item is _RESET:
            # a reset overtakes what was not read
            self._lost(ConnectionLost())
            return
        self._unread.append(item)
        if self.connected:
            self._read()

    def _read(self) -> None:
        while self._unread and self.connected and not self._paused:
            item = self._unread.popleft()
            if item is _FIN:
                self._lost(ConnectionDone())
            elif item is _HALF:
                half = IHalfCloseableProtocol(self.protocol, None)
                if half is None:
                    self.loseConnection()
                else:
                    self._guard(half.readConnectionLost)
            else:
                incoming = self._incoming
                before = incoming.travelling
                incoming.travelling = before - len(item)
                if before >= WINDOW:
                    self._outgoing.send(_TAKEN)
                if not self.disconnecting:
                    self._guard(self.protocol.dataReceived, item)

    def _guard(self, f: Callable[..., object], *args: object) -> None:
        """An exception of the protocol ends its connection, as in Twisted."""
        try:
            f(*args)
        except Exception as error:
            self.log.failure("a protocol on a simulated connection failed")
            self._outgoing.send(_RESET)
            self._lost(error)

    # -- ends

    def loseConnection(self) -> None:
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            if not self._buffered and self.producer is None:
                self.host.callLater(0, self._flush_end)

    def loseWriteConnection(self) -> None:
        self._write_closing = True
        if not self._buffered and self.producer is None:
            self.host.callLater(0, self._flush_end)

    def abortConnection(self) -> None:
        if self.connected and not self.disconnected:
            self.disconnecting = True
            self._buffer.clear()
            self._buffered = 0
            self.producer = None
            self._write_closed = True
            self._outgoing.send(_RESET)
            self.host.callLater(0, self._lost, ConnectionAborted())

    def _finish(self) -> None:
        if not self.disconnected:
            self._outgoing.send(_FIN)
            self._lost(ConnectionDone())

    def drop(self) -> None:
        """The network cuts the connection; this end notices."""
        self._lost(ConnectionLost())

    def vanish(self) -> None:
        """The program is gone: nobody here notices anything any more."""
        self.connected = False
        self.disconnected = True
        self._vanished = True

    def reset_other(self) -> None:
        """The operating system tells the other end that nobody is here."""
        self._outgoing.send(_RESET)

    def _lost(self, error: Exception) -> None:
        if self.disconnected:
            return
        self.connected = False
        self.disconnected = True
        self._buffer.clear()
        self._buffered = 0
        self._unread.clear()
        self.host.forget(self)
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.stopProducing()
        reason = Failure(error)  # type: ignore[no-untyped-call]
        if self.protocol is not None:
            try:
                self.protocol.connectionLost(reason)
            except Exception:
                self.log.failure("connectionLost failed on a simulated connection")
        if self.on_lost is not None:
            self.on_lost(reason)
