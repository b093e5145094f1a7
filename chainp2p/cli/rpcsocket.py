"""A WebSocket to a node for a program that waits: calls block, notifications are told from the reactor's own thread."""

import json
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.threads import blockingCallFromThread

from chainp2p.cli.client import LOOPBACK, RpcFailure
from chainp2p.cli.unix import unix_path

__all__ = ["RpcSocket"]

#: Seconds to connect, handshake included, and for an answer: the node itself gives up after 30.
_CONNECT, _ANSWER = 20.0, 35.0


class RpcSocket:
    """Connects when the first call is made, and again with the next call after the connection has ended.

    :param url: ``ws://``, ``wss://`` or ``unix:/path``.
    :param headers: makes those of a handshake.
    :param told: is called with each notification's method and params, in the reactor's thread.
    :param lost: likewise with the reason when a connection has ended, and its subscriptions with it.
    """

    def __init__(
        self,
        url: str,
        headers: Callable[[], dict[str, str]],
        told: Callable[[str, Any], None],
        lost: Callable[[str], None],
    ) -> None:
        from twisted.internet import reactor  # noqa: TID251

        self._reactor: Any = reactor
        self._url = url
        self._headers = headers
        self._told = told
        self._lost = lost
        self._open: Deferred[Any] | None = None
        self._asked: dict[int, Deferred[Any]] = {}
        self._count = 0
        self._thread = threading.Thread(target=lambda: self._reactor.run(installSignalHandlers=False), daemon=True)
        self._thread.start()

    def call(self, method: str, params: list[Any]) -> Any:
        """Return (result, None) or (None, error object) of a call; RpcFailure if there was no answer."""
        answer: Any = blockingCallFromThread(self._reactor, Deferred.fromCoroutine, self._ask(method, params))
        return answer.get("result"), answer.get("error")

    def close(self) -> None:
        """End the connection and the reactor."""
        self._reactor.callFromThread(self._leave)
        self._thread.join()

    # -- on the reactor's thread

    def _leave(self) -> None:
        self._open = None  # nothing is lost any more
        self._reactor.stop()

    async def _ask(self, method: str, params: list[Any]) -> Any:
        connection = await self._connected()
        self._count += 1
        id = self._count
        answer = self._asked[id] = Deferred(lambda _: self._forget(id))
        answer.addTimeout(_ANSWER, self._reactor, lambda *_: fail(RpcFailure(f"{method}: no answer in {_ANSWER:g} s")))
        request = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
        connection.sendMessage(json.dumps(request).encode())
        return await answer

    async def _connected(self) -> Any:
        if self._open is None:
            self._open = Deferred()
            factory = self._factory()
            connecting = self._endpoint(factory).connect(factory)
            connecting.addErrback(lambda failure: self._ended(failure.getErrorMessage()))
        opened, shared = Deferred[Any](), self._open

        def again(result: Any) -> Any:
            opened.callback(result)
            return result

        shared.addBoth(again)
        return await opened

    def _endpoint(self, factory: Any) -> Any:
        path = unix_path(self._url)
        if path is not None:
            return UNIXClientEndpoint(self._reactor, path, timeout=_CONNECT)  # type: ignore[no-untyped-call]
        endpoint = HostnameEndpoint(self._reactor, factory.host, factory.port, timeout=_CONNECT)
        return wrapClientTLS(optionsForClientTLS(factory.host), endpoint) if factory.isSecure else endpoint

    def _factory(self) -> Any:
        import txaio
        from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol

        ours = self

        class Connection(WebSocketClientProtocol):  # type: ignore[misc]
            def onOpen(self) -> None:
                assert ours._open is not None
                ours._open.callback(self)

            def onMessage(self, payload: bytes, isBinary: bool) -> None:
                ours._heard(payload)

            def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
                ours._ended(reason or f"closed with {code}")

        txaio.config.loop = self._reactor
        url = self._url if unix_path(self._url) is None else f"ws://{LOOPBACK}"
        factory = WebSocketClientFactory(url, headers=self._headers(), reactor=self._reactor)
        factory.protocol = Connection
        factory.setProtocolOptions(openHandshakeTimeout=_CONNECT)
        return factory

    def _forget(self, id: int) -> None:
        self._asked.pop(id, None)

    def _heard(self, payload: bytes) -> None:
        message = json.loads(payload)
        if "method" in message:
            self._told(message["method"], message.get("params"))
            return
        asked = self._asked.pop(message.get("id"), None)
        if asked is not None:
            asked.callback(message)

    def _ended(self, reason: str) -> None:
        """Fail whatever waits; the next call connects again."""
        failure = RpcFailure(f"{self._url}: {reason}")
        opened, self._open = self._open, None
        if opened is not None and opened.called:
            self._lost(str(failure))
        elif opened is not None:
            opened.addErrback(lambda _: None)
            opened.errback(failure)
        asked, self._asked = self._asked, {}
        for one in asked.values():
            one.errback(failure)
