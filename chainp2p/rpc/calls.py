"""Answers one message, single or batch, under its deadline: entries in order, others let in between.

A batch answers what it has when its time is over; the rest gets errors, as go-ethereum does it.
"""

from inspect import iscoroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chainp2p.namespaces import INTERNAL_ERROR, INVALID_REQUEST, RpcError
from chainp2p.rpc.core import (
    Batch,
    Invalid,
    Request,
    dumps,
    parse,
    render_batch,
    render_error,
    render_result,
)
from chainp2p.rpc.hub import Session
from chainp2p.rpc.limits import Limits
from chainp2p.rpc.registry import Begin, Registry, Subscribe, Unsubscribe

__all__ = ["Answering"]

#: go-ethereum ``rpc/errors.go``.
TIMED_OUT, TOO_LARGE = -32002, -32003


def _timed_out() -> RpcError:
    return RpcError(TIMED_OUT, "request timed out")


class Answering:
    """The work on one message.

    :param session: the connection's subscriptions, None over HTTP.
    """

    log = Logger()

    def __init__(self, registry: Registry, limits: Limits, clock: IReactorTime, session: Session | None) -> None:
        self._registry = registry
        self._limits = limits
        self._clock = clock
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
        message = parse(text)
        if isinstance(message, Batch):
            return await self._batch(message.entries)
        return await self._entry(message)

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

    async def _breathe(self) -> None:
        """Let the reactor serve others."""
        if self._expired:
            return
        pause: Deferred[None] = Deferred()
        call = self._clock.callLater(0, pause.callback, None)
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
        if isinstance(entry, Invalid):
            return render_error(entry.id, entry.code, entry.message)
        try:
            result = dumps(await self._result(entry))
        except RpcError as error:
            return None if entry.id is None else render_error(entry.id, error.code, error.message, error.data)
        except Exception:
            self.log.failure("{method} failed", method=entry.method)
            return None if entry.id is None else render_error(entry.id, INTERNAL_ERROR, "internal error")
        return None if entry.id is None else render_result(entry.id, result)

    async def _result(self, request: Request) -> Any:
        if self._expired:
            raise _timed_out()
        result = self._registry.invoke(request.method, request.params, self._session is not None)
        if iscoroutine(result):
            result = Deferred.fromCoroutine(result)
        if isinstance(result, Deferred):
            try:
                result = await self._wait(result)
            except CancelledError:
                if self._expired:
                    raise _timed_out() from None
                raise
        if isinstance(result, Subscribe | Begin):
            assert self._session is not None
            id = self._session.subscribe(result) if isinstance(result, Subscribe) else self._session.begin(result)
            self.opened.append(id)
            return id
        if isinstance(result, Unsubscribe):
            assert self._session is not None
            return self._session.unsubscribe(result)
        return result
