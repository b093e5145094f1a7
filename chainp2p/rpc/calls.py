"""Answers one message, single or batch, under its deadline: entries in order, others let in between.

A batch answers what it has when its time is over; the rest gets errors, as go-ethereum does it.
"""

from types import CoroutineType
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chainp2p.namespaces import INTERNAL_ERROR, INVALID_REQUEST, LIMIT_EXCEEDED, RpcError
from chainp2p.rpc.atonce import at_once
from chainp2p.rpc.core import (
    Batch,
    Invalid,
    Request,
    dumps,
    render_batch,
    render_error,
    render_result,
)
from chainp2p.rpc.fairuse import BYTES_PER_UNIT, Allowance, Refusal
from chainp2p.rpc.limits import Limits
from chainp2p.rpc.registry import Begin, Registry, Subscribe, Unsubscribe
from chainp2p.rpc.subscriptions.hub import Session
from chainp2p.rpc.tally import Tally
from chainp2p.rpc.usual import read

__all__ = ["Answering", "Service"]

#: go-ethereum ``rpc/errors.go``.
TIMED_OUT, TOO_LARGE = -32002, -32003

#: Results that only the connection's session can carry out.
_OF_SESSIONS = (Subscribe, Begin, Unsubscribe)


def _timed_out() -> RpcError:
    return RpcError(TIMED_OUT, "request timed out")


def _too_much(refusal: Refusal) -> RpcError:
    """As HTTP's 429: the client is told when to come back."""
    seconds = max(0.1, round(refusal.seconds, 1))
    return RpcError(
        LIMIT_EXCEEDED,
        f"limit exceeded: this {refusal.payer} asks for too much, come back in {seconds:g} s",
        {"retryAfter": seconds, "limit": refusal.payer},
    )


@frozen
class Service:
    """What all connections of a port share."""

    registry: Registry
    limits: Limits
    clock: IReactorTime
    tally: Tally


class Answering:
    """The work on one message.

    :param allowance: what the connection may spend, None: as much as it likes.
    :param session: the connection's subscriptions, None over HTTP.
    """

    log = Logger()

    def __init__(self, service: Service, allowance: Allowance | None, session: Session | None) -> None:
        self._registry = service.registry
        self._limits = service.limits
        self._clock = service.clock
        self._tally = service.tally
        self._allowance = allowance
        self._session = session
        self._waiting: Deferred[Any] | None = None
        self._expired = False
        self.opened: list[str] = []  #: ids of subscriptions: their events wait until the answer is sent

    def expire(self) -> None:
        """The time is over (or the caller is gone): the call that runs and those to come answer ``timed out``."""
        self._expired = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def answer(self, text: bytes) -> bytes | None:
        """Return the response, None if there is none to send (notifications)."""
        transport = "http" if self._session is None else "websocket"
        tally = self._tally
        tally.received[transport] += len(text)
        tally.in_flight += 1
        try:
            await self._pay(text)
            message = read(text)
            if isinstance(message, Batch):
                response = await self._batch(message.entries)
            else:
                response = await self._entry(message)
        finally:
            tally.in_flight -= 1
        if response is not None:
            tally.sent[transport] += len(response)
        return response

    async def _pay(self, text: bytes) -> None:
        """Pay for the bytes, and wait as long as former calls make it."""
        if self._allowance is None:
            return
        now = self._clock.seconds()
        pause = self._allowance.pause(now)
        self._allowance.spend(len(text) / BYTES_PER_UNIT, now)
        if pause:
            self._tally.paused += 1
            await self._breathe(pause)

    async def _batch(self, entries: tuple[Request | Invalid, ...]) -> bytes | None:
        if len(entries) > self._limits.batch:
            id = next((entry.id for entry in entries if isinstance(entry, Request) and entry.id), "null")
            return render_batch([render_error(id, INVALID_REQUEST, "batch too large")])
        responses: list[bytes] = []
        size = 0
        until = self._clock.seconds() + self._limits.slice
        for entry in entries:
            if size > self._limits.batch_answers:
                if entry.id is not None:
                    responses.append(render_error(entry.id, TOO_LARGE, "response too large"))
                continue
            response = await self._entry(entry)
            if response is not None:
                responses.append(response)
                size += len(response)
            if self._clock.seconds() >= until:
                await self._breathe()
                until = self._clock.seconds() + self._limits.slice
        return render_batch(responses) if responses else None

    async def _breathe(self, seconds: float = 0.0) -> None:
        """Let the reactor serve others."""
        if self._expired:
            return
        pause: Deferred[None] = Deferred()
        call = self._clock.callLater(seconds, pause.callback, None)
        try:
            await self._wait(pause)
        except CancelledError:
            call.cancel()

    async def _wait(self, result: "Deferred[Any]") -> Any:
        self._waiting = result
        try:
            return await result
        finally:
            self._waiting = None

    async def _entry(self, entry: Request | Invalid) -> bytes | None:
        """The response, None to a notification."""
        begun = self._clock.seconds()
        if isinstance(entry, Invalid):
            self._spend(1, begun)
            self._tally.called("invalid", 0.0, entry.code)
            return render_error(entry.id, entry.code, entry.message)
        id, code, response = entry.id, None, None
        try:
            result = self._begin(entry)
            if isinstance(result, Deferred):
                result = await self._last(result)
            if isinstance(result, _OF_SESSIONS):
                result = self._carry_out(result)
            text = dumps(result)
            if id is not None:
                response = render_result(id, text)
        except RpcError as error:
            code = error.code
            if id is not None:
                response = render_error(id, code, error.message, error.data)
        except Exception:
            self.log.failure("{method} failed", method=entry.method)
            code = INTERNAL_ERROR
            if id is not None:
                response = render_error(id, code, "internal error")
        now = self._clock.seconds()
        name = entry.method if self._registry.knows(entry.method) else "unknown"
        self._tally.called(name, now - begun, code)
        if response is not None:
            self._spend(len(response) / BYTES_PER_UNIT, now)
        return response

    def _spend(self, units: float, now: float) -> None:
        if self._allowance is not None:
            self._allowance.spend(units, now)

    def _begin(self, request: Request) -> Any:
        """Call; answers the result, or a Deferred of it."""
        if self._allowance is not None:
            now = self._clock.seconds()
            refusal = self._allowance.refusal(now)
            if refusal is not None:
                raise _too_much(refusal)
            self._allowance.spend(self._registry.cost(request.method, request.params), now)
        if self._expired:
            raise _timed_out()
        result = self._registry.invoke(request.method, request.params, self._session is not None)
        return at_once(result) if isinstance(result, CoroutineType) else result

    async def _last(self, result: "Deferred[Any]") -> Any:
        """Wait as long as there is time."""
        try:
            return await self._wait(result)
        except CancelledError:
            if self._expired:
                raise _timed_out() from None
            raise

    def _carry_out(self, wish: Subscribe | Begin | Unsubscribe) -> Any:
        assert self._session is not None
        if isinstance(wish, Unsubscribe):
            return self._session.unsubscribe(wish)
        id = self._session.subscribe(wish) if isinstance(wish, Subscribe) else self._session.begin(wish)
        self.opened.append(id)
        return id
