"""JSON-RPC over WebSocket by Autobahn: the only file that imports it, and only when a server starts.

Autobahn reads frames and does the handshakes; frames are written here, because a notification's text is shared by all
who get it and because Autobahn refuses to send what it would refuse to receive.
"""

from collections import deque
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chainp2p.errors import StartupError
from chainp2p.rpc.calls import Answering, Service
from chainp2p.rpc.fairuse import Allowance
from chainp2p.rpc.subscriptions.hub import Hub, Session
from chainp2p.rpc.web.frames import fragments, opening
from chainp2p.rpc.web.lean import MESSAGE_SLOTS, settle, share_settings
from chainp2p.rpc.web.memory import Share
from chainp2p.rpc.web.outbox import Outbox
from chainp2p.rpc.web.pings import Pings
from chainp2p.rpc.web.volley import Volley, sends_at_once

__all__ = ["bind_loop", "make_factory", "release_loop"]

#: Close codes (RFC 6455, 7.4.1 and the registry that it founded): the server restarts; it met what it did not expect.
#: A node that stops may come again, and after 1001, "going away", web3.js would never look for it.
SERVICE_RESTART, INTERNAL_ERROR = 1012, 1011
#: A message that is never whole; one that is larger than may be; and one for which there is no room now.
POLICY_VIOLATION, TOO_BIG, TRY_AGAIN_LATER = 1008, 1009, 1013

_log = Logger()


class _FailuresOnly:
    """Autobahn's log: it tells each frame, at a cost; what matters here is logged here, but its failures are ours."""

    def __init__(self, log: Logger) -> None:
        self.error = log.error
        self.failure = log.failure

    def debug(self, *args: Any, **more: Any) -> None:
        """Say nothing."""

    trace = info = warn = debug


#: The reactor once per server that runs on it; and the last one whose server has stopped.
_bound: "list[IReactorTime]" = []
_released: "list[IReactorTime]" = []


def bind_loop(reactor: IReactorTime) -> None:
    """Make Autobahn's timers use *reactor*; called for each server that starts.

    txaio knows one loop per process: a second reactor is refused by name while the first has servers, or if it is the
    host's choice.
    """
    import txaio

    txaio.use_twisted()
    loop = txaio.config.loop
    if loop is not None and loop is not reactor and (_bound or loop not in _released):
        raise StartupError(f"rpc: WebSocket timers belong to {loop!r} in this process, {reactor!r} cannot have them")
    txaio.config.loop = reactor
    _bound.append(reactor)


def release_loop(reactor: IReactorTime) -> None:
    """The counterpart of :func:`bind_loop`; after the last one another reactor may have the timers.

    Until it asks, they stay: connections that are ending set some more, and txaio would look for a reactor by itself.
    """
    _bound.remove(reactor)
    _released[:] = [reactor]


def make_factory(reactor: Any, service: Service, hub: Hub) -> Any:
    """Return a factory of WebSocket protocols; :func:`bind_loop` comes first."""
    from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol

    limits, tally = service.limits, service.tally
    hub.together = volley = Volley(reactor)
    pings = Pings(reactor, limits.ping, lambda one: one.ping())
    quiet = _FailuresOnly(_log)

    @implementer(IPushProducer)
    class RpcWebSocket(WebSocketServerProtocol):  # type: ignore[misc]
        """One client. Reading stops while it has too many calls in flight or does not take its answers."""

        __slots__ = (
            *MESSAGE_SLOTS,
            "_at_once",
            "_calls",
            "_frames",
            "_heard",
            "_open",
            "_outbox",
            "_reading",
            "_session",
            "_since",
            "_stalled",
            "_unsent",
            "_waiting",
            "allowance",
            "connected",
            "share",
        )
        log = quiet

        def __init__(self) -> None:
            super().__init__()
            self.allowance: Allowance | None = None
            self.share: Share
            self._frames = 0
            self._unsent = 0  #: bytes of answers that wait here or in the transport
            self._since: float | None = None  #: when the message began that is not whole yet
            self._session = Session(hub, self, limits.subscriptions)
            self._outbox = Outbox(limits.ring_events, limits.ring_bytes)
            self._calls: dict[Answering, None] = {}
            self._waiting: deque[bytes] | None = None
            self._reading = True
            self._open = self._at_once = False
            self._stalled: IDelayedCall | None = None
            self._heard = 0.0

        # -- receiving ----------------------------------------------------------------------------------------------

        def onOpen(self) -> None:
            self._open = True
            self._at_once = sends_at_once(self.transport)
            self.transport.registerProducer(self, True)
            pings.add(self)

        def dataReceived(self, data: bytes) -> None:
            self._heard = reactor.seconds()
            opens = not self._open
            super().dataReceived(data)
            if opens and self._may_send():
                settle(self)

        def onMessageBegin(self, isBinary: bool) -> None:
            self._frames = 0
            self._since = reactor.seconds()
            super().onMessageBegin(isBinary)

        def onMessageFrameBegin(self, length: int) -> None:
            super().onMessageFrameBegin(length)
            self._frames += 1
            if self._frames > limits.frames and not self.failedByMe:
                self._fail_connection(TOO_BIG, f"a message has {limits.frames} frames at most")

        def onMessageFrameData(self, payload: bytes) -> None:
            if not self.failedByMe and not self.share.take(len(payload)):
                self._fail_connection(TRY_AGAIN_LATER, "too many large requests at once")
            super().onMessageFrameData(payload)

        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self._since = None
            # web3.py sends binary frames, geth takes them; the answer is text in any case
            if self._may_run() and not self._waiting:
                self._run(payload)
            else:
                self._waiting = self._waiting or deque()
                self._waiting.append(payload)
            self._choose_reading()

        def _may_run(self) -> bool:
            return self._open and len(self._calls) < limits.calls_in_flight and not self._outbox

        def _run_waiting(self) -> None:
            while self._waiting and self._may_run():
                self._run(self._waiting.popleft())
            if not self._waiting:
                self._waiting = None
            self._choose_reading()

        def _choose_reading(self) -> None:
            reading = not self._waiting and not self._outbox and not self._outbox.paused
            if reading is not self._reading and self._open:
                self._reading = reading
                if reading:
                    self.transport.resumeProducing()
                else:
                    self.transport.pauseProducing()

        def _run(self, text: bytes) -> None:
            call = Answering(service, self.allowance, self._session)
            self._calls[call] = None
            deadline = reactor.callLater(limits.deadline, call.expire)
            done = Deferred.fromCoroutine(call.answer(text))

            def ended(answer: Any) -> None:
                self._calls.pop(call, None)
                self.share.give(len(text))
                if deadline.active():
                    deadline.cancel()
                if isinstance(answer, Failure):
                    _log.failure("an answer could not be made", answer)
                elif answer is not None and self._may_send():
                    self._answer(answer)
                if self._open:
                    self._session.release(call.opened)

            done.addBoth(ended)
            if not done.called:
                done.addCallback(lambda _: self._run_waiting())

        def _answer(self, answer: bytes) -> None:
            if not self.share.take(len(answer)):
                self._fail_connection(TRY_AGAIN_LATER, "too many large answers at once")
                return
            self._unsent += len(answer)
            for one in fragments(answer):
                self._outbox.answer(one)
            self._flush()

        # -- sending ------------------------------------------------------------------------------------------------

        def _may_send(self) -> bool:
            """Nothing may follow a close frame, ours or theirs."""
            return self._open and self.state == self.STATE_OPEN

        @property
        def idle(self) -> bool:
            return self._outbox.idle

        @property
        def waiting(self) -> int:
            return self._outbox.size

        def notify(self, head: bytes, id: bytes, tail: bytes) -> bool:
            if not self._may_send():
                return True
            data = b"".join((opening(head, len(head) + len(id) + len(tail)), id, tail))
            if self._outbox.idle:
                if self._at_once:
                    volley.write(self.transport, data)
                else:
                    self.transport.write(data)
            elif not self._outbox.event(data):
                tally.dropped += 1
                return False
            else:
                self._flush()
            tally.events += 1
            tally.sent["websocket"] += len(data)
            return True

        def fail(self) -> None:
            if self._may_send():
                self.sendCloseFrame(code=INTERNAL_ERROR, reasonUtf8=b"a subscription failed", isReply=False)

        def _flush(self) -> None:
            while self._outbox and not self._outbox.paused and self._may_send():
                self.transport.write(self._outbox.take())
            if self.idle:
                self.share.give(self._unsent)
                self._unsent = 0

        def pauseProducing(self) -> None:
            self._outbox.paused = True
            if self._stalled is None:
                self._stalled = reactor.callLater(limits.not_reading, self._give_up)
            # what it sends would be answered, pings too, and nobody would take the answers
            self._choose_reading()

        def resumeProducing(self) -> None:
            self._outbox.paused = False
            if self._stalled is not None:
                self._stalled.cancel()
                self._stalled = None
            self._flush()
            if self._open and self.idle:
                self._session.drained()
            self._run_waiting()

        def stopProducing(self) -> None:
            """The transport is about to close; :meth:`onClose` follows."""

        def _give_up(self) -> None:
            self._stalled = None
            tally.stalled += 1
            _log.info(
                "aborting a WebSocket of {peer}: it took nothing for {seconds:.0f} s, {dropped} events were dropped; "
                "cursors: {cursors}",
                peer=self.transport.getPeer(),
                seconds=limits.not_reading,
                dropped=self._outbox.dropped,
                cursors=", ".join(self._session.cursors) or "none",
            )
            self.transport.abortConnection()

        def ping(self) -> bool:
            """Ask for a sign of life, False: it is given up. Autobahn's own pings do not know when we do not listen."""
            now = reactor.seconds()
            if not self._reading:
                self._heard = now  # whoever does not take its answers is judged by :meth:`_give_up`
                self._since = None if self._since is None else now
            if self._since is not None and now - self._since > limits.deadline and not self.failedByMe:
                self._fail_connection(POLICY_VIOLATION, "the message was not complete in time")
            if now - self._heard > limits.ping + limits.pong:
                self.transport.abortConnection()
                return False
            self.sendPing()
            return True

        # -- ending -------------------------------------------------------------------------------------------------

        def go_away(self) -> None:
            """The server stops."""
            if self._may_send():
                # Autobahn's sendClose() takes the codes of applications only
                self.sendCloseFrame(code=SERVICE_RESTART, reasonUtf8=b"the node stops", isReply=False)
            else:
                self.transport.loseConnection()

        def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
            self._end()

        def connectionLost(self, reason: Any = None) -> None:
            super().connectionLost(reason)
            self._end()

        def _end(self) -> None:
            self._open = False
            self._waiting = None
            pings.remove(self)
            if self._stalled is not None:
                self._stalled.cancel()
                self._stalled = None
            self._session.close()
            for call in tuple(self._calls):
                call.expire()

    factory = WebSocketServerFactory(reactor=reactor)
    factory.protocol = RpcWebSocket
    factory.log = quiet
    factory.setProtocolOptions(
        webStatus=False,
        maxFramePayloadSize=limits.body,
        maxMessagePayloadSize=limits.body,
        failByDrop=False,
        allowedOrigins=["*"],
        allowNullOrigin=True,
        openHandshakeTimeout=0,  # it is whole when it comes here
    )
    share_settings(RpcWebSocket, factory)
    return cast(Any, factory)
