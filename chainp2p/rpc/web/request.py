"""One JSON-RPC request over HTTP: a leaf of twisted.web, answered without resources in between."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request

from chainp2p.rpc.atonce import at_once
from chainp2p.rpc.calls import Answering
from chainp2p.rpc.web.body import Body
from chainp2p.rpc.web.door import Asked, Go, Reply, Route
from chainp2p.rpc.web.heads import KnownHead

if TYPE_CHECKING:
    from chainp2p.rpc.web.http import RpcChannel

__all__ = ["LARGE_REQUESTS", "RpcRequest", "json_response", "response"]

#: Why a request has no room.
LARGE_REQUESTS = "too many large requests at once, try again later\n"


def fields(headers: Iterable[tuple[str, str]]) -> bytes:
    """Return header lines."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers).encode("latin-1", "replace")


def json_response(body: bytes, fields: bytes) -> bytes:
    """Return the response to a call, after which the connection stays."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n%b" % (
        len(body),
        fields,
        body,
    )


def response(status: int, body: bytes, content_type: str, headers: Iterable[tuple[str, str]], close: bool) -> bytes:
    """Return a whole HTTP response."""
    lines: list[tuple[str, str]] = []
    if status != HTTPStatus.NO_CONTENT:
        lines += [("Content-Type", content_type), ("Content-Length", str(len(body)))]
    lines += headers
    if close:
        lines.append(("Connection", "close"))
    return b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, HTTPStatus(status).phrase.encode(), fields(lines), body)


class RpcRequest(Request):
    """One request: its body collected in memory, answered by the door or by a call."""

    log = Logger()
    channel: Any
    content: Any  #: a :class:`Body`

    def __init__(self, channel: "RpcChannel", queued: object = None) -> None:
        super().__init__(channel, parsePOSTFormSubmission=False)
        self.size = 0
        self._answering: Answering | None = None

    @property
    def _channel(self) -> "RpcChannel":
        return cast("RpcChannel", self.channel)

    def gotLength(self, length: int | None) -> None:
        self.content = Body()
        if length is not None and length > self._channel.factory.limits.body:
            self._channel.refuse(413, "request body too large\n")

    def handleContentChunk(self, data: bytes) -> None:
        if self._channel.refused:
            return
        self.size += len(data)
        if self.size > self._channel.factory.limits.body:
            self._channel.refuse(413, "request body too large\n")
        elif not self._channel.share.take(len(data)):
            self._channel.refuse(503, LARGE_REQUESTS)
        else:
            self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self._channel.refused:
            return
        self.method, self.uri, self.clientproto = command, path, version
        piece = self._channel.take_piece()
        try:
            decision = self._channel.factory.admit(self._asked())
            if isinstance(decision, Reply):
                self._reply(decision)
            elif decision.route is Route.WEBSOCKET:
                self._channel.upgrade(self)
            else:
                self._learn(piece, decision)
                self._call(decision)
        except Exception:
            self.log.failure("a request could not be served")
            if self._channel.upgraded:
                self._channel.transport.abortConnection()
            else:
                self._reply(Reply(500, "internal error\n"))

    def _learn(self, piece: bytes, go: Go) -> None:
        """Remember the head with which *piece* begins, if it says the same whenever it comes."""
        length = self._header(b"content-length")
        if (
            piece.startswith(b"POST ")
            and self._channel.persistent
            and length is not None
            and self._header(b"transfer-encoding") is None
            and self._header(b"expect") is None
            and self._header(b"authorization") is None
        ):
            self._channel.factory.heads.learn(piece, KnownHead(int(length), go, fields(go.headers)))

    def _asked(self) -> Asked:
        path, _, query = self.uri.decode("latin-1").partition("?")
        return Asked(
            method=self.method.decode("latin-1"),
            path=path,
            query=query,
            version=self.clientproto.decode("latin-1"),
            hosts=tuple(value.decode("latin-1") for value in self.requestHeaders.getRawHeaders(b"host", ())),
            origin=self._header(b"origin"),
            content_type=self._header(b"content-type"),
            authorization=self._header(b"authorization"),
            upgrade="websocket" in (self._header(b"upgrade") or "").lower(),
            private_network=self._header(b"access-control-request-private-network") == "true",
        )

    def _header(self, name: bytes) -> str | None:
        values = self.requestHeaders.getRawHeaders(name)
        return b",".join(values).decode("latin-1") if values else None

    def _call(self, go: Go) -> None:
        answering = self._channel.answering()
        try:
            self.take(answering, at_once(answering.answer(self.content.getvalue())), go)
        except Exception:
            self._failed(Failure())  # type: ignore[no-untyped-call]

    def take(self, answering: Answering, answer: "bytes | Deferred[bytes | None] | None", go: Go) -> None:
        """Send an answer, when it is there."""
        if isinstance(answer, Deferred):
            self._answering = answering
            answer.addCallback(self._answered, go)
            answer.addErrback(self._failed)
        else:
            self._answered(answer, go)

    def _answered(self, answer: bytes | None, go: Go) -> None:
        self._answering = None
        if self._disconnected:
            return
        if answer is None:
            self._send(204, b"", "", go.headers)
        elif not self._channel.keep(len(answer)):
            self._reply(Reply(503, "too many large answers at once, try again later\n", go.headers))
        else:
            self._send(200, answer, "application/json", go.headers)

    def _failed(self, failure: Failure) -> None:
        self.log.failure("an answer could not be sent", failure)
        self._channel.transport.abortConnection()

    def _reply(self, reply: Reply) -> None:
        if reply.status >= 400:
            self._channel.factory.tally.replies[reply.status] += 1
        self._send(reply.status, reply.body.encode(), reply.content_type, reply.headers)

    def _send(self, status: int, body: bytes, content_type: str, headers: Iterable[tuple[str, str]]) -> None:
        if self._disconnected:
            return
        data = response(status, body, content_type, headers, close=not self._channel.persistent)
        if self.method == b"HEAD" and body:
            data = data[: -len(body)]
        self.startedWriting = 1
        self._channel.write(data)
        self.finish()  # type: ignore[no-untyped-call]

    def discard(self) -> None:
        """It is refused: what came of it is not kept while the refusal is on its way."""
        self.content = Body()

    def expire(self) -> None:
        """Its time is over."""
        if self._answering is not None:
            self._answering.expire()

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self.expire()
