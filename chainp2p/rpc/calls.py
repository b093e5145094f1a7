"""Answers one message, single or batch, under its deadline: entries in order, others let in between.

A batch answers what it has when its time is over; the rest gets errors, as go-ethereum does it. What it asks again of
methods that only read is told again, unless another method or anybody else ran meanwhile.
"""

from collections import Counter
from collections.abc import Coroutine
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
    render_batch,
    render_error,
    render_result,
    to_json,
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
        #: Of a batch: what methods that only read answered since something may have changed, by name and (identity of)
        #: parameters. None where nothing is told again: to one call, and to whoever pays, call by call.
        self._told: dict[tuple[str, int], str] | None = None
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
            response = self._batch(message.entries) if isinstance(message, Batch) else self._entry(message)
            if response is not None and not isinstance(response, str):
                response = await response
        finally:
            tally.in_flight -= 1
        if response is None:
            return None
        tally.sent[transport] += len(response)
        return response.encode("ascii")

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

    async def _batch(self, entries: tuple[Request | Invalid, ...]) -> str | None:
        if len(entries) > self._limits.batch:
            first = next((entry.id for entry in entries if isinstance(entry, Request) and entry.id), "null")
            return render_batch([render_error(first, INVALID_REQUEST, "batch too large")])
        responses: list[str] = []
        size, most = 0, self._limits.batch_answers
        again: list[str] = []
        told = self._told = {} if self._allowance is None else None
        until = self._clock.seconds() + self._limits.slice
        for entry in entries:
            if size > most:
                if entry.id is not None:
                    responses.append(render_error(entry.id, TOO_LARGE, "response too large"))
                continue
            if told and isinstance(entry, Request) and entry.id is not None:
                text = told.get((entry.method, id(entry.params)))
                if text is not None:
                    again.append(entry.method)
                    responses.append(render_result(entry.id, text))
                    size += len(responses[-1])
                    continue
            response = self._entry(entry)
            if response is not None and not isinstance(response, str):
                response = await response
            if response is not None:
                responses.append(response)
                size += len(response)
            if self._clock.seconds() >= until:
                await self._breathe()
                until = self._clock.seconds() + self._limits.slice
        for method, times in Counter(again).items():
            self._tally.called(method, 0.0, None, times)
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
            if self._told:
                self._told.clear()

    def _entry(self, entry: Request | Invalid) -> str | None | Coroutine[Any, Any, str | None]:
        """The response, None to a notification; a coroutine of it if the call has to wait."""
        begun = self._clock.seconds()
        if isinstance(entry, Invalid):
            self._spend(1, begun)
            self._tally.called("invalid", 0.0, entry.code)
            return render_error(entry.id, entry.code, entry.message)
        try:
            result = self._begin(entry)
            if not isinstance(result, str):  # first, for to ask for a Deferred, an abstract class, takes 0.3 us
                if isinstance(result, Deferred):
                    return self._later(entry, begun, result)
                result = self._carried_out(result)
            text = to_json(result)
        except Exception as error:
            return self._failed(entry, begun, error)
        if self._told is not None and entry.method in self._registry.reads:
            self._told[entry.method, id(entry.params)] = text
        return self._counted(entry, begun, None, None if entry.id is None else render_result(entry.id, text))

    async def _later(self, request: Request, begun: float, result: "Deferred[Any]") -> str | None:
        """Wait as long as there is time."""
        try:
            try:
                text = to_json(self._carried_out(await self._wait(result)))
            except CancelledError:
                if self._expired:
                    raise _timed_out() from None
                raise
        except Exception as error:
            return self._failed(request, begun, error)
        return self._counted(request, begun, None, None if request.id is None else render_result(request.id, text))

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
        if self._told and request.method not in self._registry.reads:
            self._told.clear()  # it may change what others would answer
        result = self._registry.invoke(request.method, request.params, self._session is not None)
        return at_once(result) if isinstance(result, CoroutineType) else result

    def _failed(self, request: Request, begun: float, error: Exception) -> str | None:
        if not isinstance(error, RpcError):
            self.log.failure("{method} failed", method=request.method)
            error = RpcError(INTERNAL_ERROR, "internal error")
        response = None
        if request.id is not None:
            response = render_error(request.id, error.code, error.message, error.data)
        return self._counted(request, begun, error.code, response)

    def _counted(self, request: Request, begun: float, code: int | None, response: str | None) -> str | None:
        now = self._clock.seconds()
        name = request.method if self._registry.knows(request.method) else "unknown"
        self._tally.called(name, now - begun, code)
        if response is not None:
            self._spend(len(response) / BYTES_PER_UNIT, now)
        return response

    def _spend(self, units: float, now: float) -> None:
        if self._allowance is not None:
            self._allowance.spend(units, now)

    def _carried_out(self, result: Any) -> Any:
        """A result, or what the connection's session says to the wish that it is."""
        if not isinstance(result, _OF_SESSIONS):
            return result
        assert self._session is not None
        if isinstance(result, Unsubscribe):
            return self._session.unsubscribe(result)
        id = self._session.subscribe(result) if isinstance(result, Subscribe) else self._session.begin(result)
        self.opened.append(id)
        return id
