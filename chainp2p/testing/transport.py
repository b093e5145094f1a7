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

from chainp2p.testing.pipe import Mark, Pipe

if TYPE_CHECKING:
    pass

__all__ = ["Address", "MemoryTransport", "tcp_address"]

Address: TypeAlias = IPv4Address | IPv6Address

#: Bytes that one direction holds between two applications, as the socket buffers of both kernels do.
WINDOW = 256 * 1024
#: Above so many unsent bytes the producer is paused (``twisted.internet.abstract.FileDescriptor.bufferSize``).
BUFFER = 64 * 1024


def tcp_address(host: str, port: int) -> Address:
    """Twisted's address of an IP address and port."""
    return IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)


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
            self._outgoing.send(Mark.HALF)

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
            if self._vanished and item is not Mark.RESET and self.host.network.runs(self.host.name):
                # the machine runs again and knows nothing of this connection
                self._outgoing.send(Mark.RESET)
            return
        if item is Mark.TAKEN:
            self._taken()
            return
        if item is Mark.RESET:
            # a reset overtakes what was not read
            self._lost(ConnectionLost())
            return
        self._unread.append(item)
        if self.connected:
            self._read()

    def _read(self) -> None:
        while self._unread and self.connected and not self._paused:
            item = self._unread.popleft()
            if item is Mark.END:
                self._lost(ConnectionDone())
            elif item is Mark.HALF:
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
                    self._outgoing.send(Mark.TAKEN)
                if not self.disconnecting:
                    self._guard(self.protocol.dataReceived, item)

    def _guard(self, f: Callable[..., object], *args: object) -> None:
        """An exception of the protocol ends its connection, as in Twisted."""
        try:
            f(*args)
        except Exception as error:
            self.log.failure("a protocol on a simulated connection failed")
            self._outgoing.send(Mark.RESET)
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
            self._outgoing.send(Mark.RESET)
            self.host.callLater(0, self._lost, ConnectionAborted())

    def _finish(self) -> None:
        if not self.disconnected:
            self._outgoing.send(Mark.END)
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
        self._outgoing.send(Mark.RESET)

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
