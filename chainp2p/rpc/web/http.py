"""JSON-RPC over HTTP: twisted.web's parser with a leaf request that is answered without resources in between.

The channel adds what twisted.web lacks: a limit while a body is read, one absolute deadline from the first byte of a
request to its answer, and the hand-over to WebSocket. Skipping resources and form parsing makes a call 2.7 times as
fast (``speed.md``). And a head that was read before (:mod:`~chainp2p.rpc.web.heads`) is not read again, a call that
does not wait has no timer and no Deferred, and its answer is sent at once.
"""

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from chainp2p.rpc.atonce import at_once
from chainp2p.rpc.calls import Answering
from chainp2p.rpc.fairuse import Allowance
from chainp2p.rpc.web.heads import KnownHead
from chainp2p.rpc.web.lean import keep_only
from chainp2p.rpc.web.memory import Share
from chainp2p.rpc.web.request import LARGE_REQUESTS, RpcRequest, json_response, response
from chainp2p.rpc.web.volley import sends_at_once, unsent

__all__ = ["RpcChannel"]

#: Bytes of the largest answer that is sent at once: the buffer of a socket has room for it, of a client that reads.
AT_ONCE = 65_536


class RpcChannel(HTTPChannel):
    """One HTTP connection, until it becomes a WebSocket."""

    log = Logger()
    requestFactory = RpcRequest  # type: ignore[assignment]
    transport: Any
    _networkProducer: Any
    factory: Any  #: the :class:`~chainp2p.rpc.server.RpcFactory`

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.refused = False
        self.address: str | None = None  #: of the client, None on loopback and Unix sockets
        self.allowance: Allowance | None = None  #: what it may spend
        self.share: Share
        self._unsent = 0  #: bytes of answers that the transport has not sent
        self._piece = b""  #: what came last, if a request began with it
        self._send_some: Callable[[bytes], Any] | None = None  #: what sends at once, if nothing waits to be sent
        self._websocket: Protocol | None = None
        self._deadline: IDelayedCall | None = None
        self._lingering: IDelayedCall | None = None

    def connectionMade(self) -> None:
        limits = self.factory.limits
        self.totalHeadersSize = self.MAX_LENGTH = limits.header_block
        self.maxHeaders = limits.headers
        self.timeOut = limits.idle
        self.callLater = self.factory.reactor.callLater  # type: ignore[method-assign]
        self.factory.waiting[self] = None
        self._send_at_once()
        super().connectionMade()  # type: ignore[no-untyped-call]

    # -- receiving --------------------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        if self._websocket is not None:
            self._websocket.dataReceived(data)
            return
        if self.refused:
            return
        self._piece = b""
        if not self.requests and not self._buffer and self.persistent:
            found = self.factory.heads.find(data)
            if found is not None:
                start, known = found
                self._call(known, data[start:])
                return
            self._piece = data
        self._start_deadline()
        super().dataReceived(data)  # type: ignore[no-untyped-call]
        if self._websocket is not None:
            if not self._busyReceiving:
                keep_only(self, _UPGRADED)
        elif self.requests and not self.refused:
            # a request that followed the last one in the same piece
            self._start_deadline()

    def take_piece(self) -> bytes:
        """What came last, for the first request in it; nothing if that began before."""
        piece, self._piece = self._piece, b""
        return piece

    def answering(self) -> Answering:
        """The work on one message."""
        return Answering(self.factory.service, self.allowance, None)

    def _call(self, known: KnownHead, body: bytes) -> None:
        """Serve a whole request whose head is known; what is more than an answer at once is left to a request."""
        begun = self.factory.reactor.seconds()
        self.resetTimeout()  # type: ignore[no-untyped-call]
        if not self.share.take(len(body)):
            self.refuse(503, LARGE_REQUESTS)
            return
        answering = self.answering()
        try:
            answer = at_once(answering.answer(body))
            if isinstance(answer, bytes) and self.keep(len(answer)):
                self.write(json_response(answer, known.fields))
                self.share.give(len(body))
                if not self._waitingForTransport:
                    self._sent()
                self.factory.waits_anew(self)
            else:
                self._begin(len(body)).take(answering, answer, known.go)
                if self.requests:
                    self._start_deadline(begun)
        except Exception:
            self.log.failure("an answer could not be sent")
            self.transport.abortConnection()

    def _begin(self, size: int) -> RpcRequest:
        """Do what twisted.web does when a request is whole."""
        request = RpcRequest(self)
        request.method, request.size = b"POST", size
        self.requests.append(request)
        self._handlingRequest = True
        self.setRawMode()  # type: ignore[no-untyped-call]
        self._savedTimeOut = self.setTimeout(None)  # type: ignore[no-untyped-call]
        self.factory.waiting.pop(self, None)
        return request

    # -- sending ----------------------------------------------------------------------------------------------------

    def _send_at_once(self) -> None:
        """From now on answers need not wait for the reactor's next turn: nothing is before them."""
        if sends_at_once(self.transport):
            self._send_some = self.transport.writeSomeData

    def write(self, data: bytes) -> None:
        if self._send_some is not None and len(data) <= AT_ONCE:
            data = unsent(self._send_some, data)
            if not data:
                return
        self._send_some = None  # what follows waits until the transport has sent what it has
        self.transport.write(data)

    def _send100Continue(self) -> None:
        if not self.refused:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def rawDataReceived(self, data: bytes) -> None:
        if self._websocket is not None:
            self._websocket.dataReceived(data)
        elif not self.refused:
            super().rawDataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        if not self.refused:
            super().lineReceived(line)  # type: ignore[no-untyped-call]

    def _respondToBadRequestAndDisconnect(self) -> None:
        # twisted.web would read on, and stumble over what it left undone
        self.refuse(400, "bad request\n")

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(431, "header block too large\n")

    def allContentReceived(self) -> None:
        self.factory.waiting.pop(self, None)
        super().allContentReceived()  # type: ignore[no-untyped-call]

    def requestDone(self, request: Request) -> None:
        self._end_deadline()
        self.share.give(cast(RpcRequest, request).size)
        if not self._waitingForTransport:
            self._sent()
        self.factory.waiting[self] = None
        super().requestDone(request)  # type: ignore[no-untyped-call]

    def keep(self, size: int) -> bool:
        """Tell whether an answer of so many bytes may wait to be sent."""
        kept = self.share.take(size)
        if kept:
            self._unsent += size
        return kept

    def _sent(self) -> None:
        self.share.give(self._unsent)
        self._unsent = 0

    def resumeProducing(self) -> None:
        """The transport has sent what it had."""
        self._sent()
        self._send_at_once()
        super().resumeProducing()  # type: ignore[no-untyped-call]

    # -- deadlines --------------------------------------------------------------------------------------------------

    def _start_deadline(self, begun: float | None = None) -> None:
        """:param begun: when the request did; default: now."""
        if self._deadline is None:
            reactor, seconds = self.factory.reactor, self.factory.limits.deadline
            if begun is not None:
                seconds += begun - reactor.seconds()
            if seconds <= 0:
                self._expired()
            else:
                self._deadline = reactor.callLater(seconds, self._expired)

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expired(self) -> None:
        self._deadline = None
        if self._handlingRequest:
            self.requests[0].expire()
        else:
            self.refuse(408, "the request was not complete in time\n")

    def refuse(self, status: int, text: str) -> None:
        """Answer in the middle of a request, and read what follows only so long that the client sees the answer."""
        if self.refused:
            return
        self.refused = True
        self.factory.tally.replies[status] += 1
        for request in self.requests:
            cast(RpcRequest, request).discard()
        self.share.close()
        self._end_deadline()
        self.setTimeout(None)  # type: ignore[no-untyped-call]
        self.transport.write(response(status, text.encode(), "text/plain; charset=utf-8", (), close=True))
        self._networkProducer.unregisterProducer()
        getattr(self.transport, "loseWriteConnection", self.transport.loseConnection)()
        self._lingering = self.factory.reactor.callLater(self.factory.limits.linger, self._lingered)

    def _lingered(self) -> None:
        self._lingering = None
        self.transport.abortConnection()

    # -- the other protocol -----------------------------------------------------------------------------------------

    @property
    def upgraded(self) -> bool:
        return self._websocket is not None

    def upgrade(self, request: RpcRequest) -> None:
        """Hand the connection over: HTTP's deadlines end, and the transport gets another producer."""
        self._end_deadline()
        self.setTimeout(None)  # type: ignore[no-untyped-call]
        self._networkProducer.unregisterProducer()
        rest, self._dataBuffer = b"".join(self._dataBuffer), []
        protocol = self._websocket = self.factory.websocket(request, self)
        protocol.makeConnection(self.transport)
        protocol.dataReceived(_handshake(request) + rest)
        if not self._waitingForTransport:
            self._networkProducer.resumeProducing()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.share.close()
        if self._websocket is not None:
            self._websocket.connectionLost(reason)
        else:
            self._end_deadline()
            self.factory.waiting.pop(self, None)
            if self._lingering is not None:
                self._lingering.cancel()
                self._lingering = None
            super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self.factory.lost(self)

    def close(self) -> None:
        """End the connection politely: what is written is still sent."""
        if self._websocket is not None:
            cast(Any, self._websocket).go_away()
        else:
            self.loseConnection()  # type: ignore[no-untyped-call]


#: What is left of a channel that has become a WebSocket.
_UPGRADED = frozenset({"_websocket", "address", "factory", "share", "transport"})
#: What the WebSocket handshake is about; everything else was judged already.
_HANDSHAKE_HEADERS = (b"Host", b"Upgrade", b"Connection", b"Sec-WebSocket-Key", b"Sec-WebSocket-Version")


def _handshake(request: RpcRequest) -> bytes:
    lines = [b"GET / HTTP/1.1"]
    for name in _HANDSHAKE_HEADERS:
        lines += [name + b": " + value for value in request.requestHeaders.getRawHeaders(name, ())]
    return b"\r\n".join((*lines, b"", b""))
