"""Requests of other protocols by datagram (TALKREQ): who in this process answers them, and in what time."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chainp2p.discovery.outputs import TalkAsked

__all__ = ["TalkHandler", "Talking"]

#: Answers (node id, request) with the response, at once or soon.
TalkHandler: TypeAlias = Callable[[bytes, bytes], bytes | Deferred[bytes]]

#: A response has so long (seconds): who asked waits no longer for it (wire design).
ANSWER_TIME = 0.7
#: Responses that are waited for at the same time; beyond, requests are answered with nothing at once.
ANSWERS_MAX = 256


class Talking:
    """Lets the handlers answer.

    1. A protocol without a handler, and one whose handler fails, is late or says something that is no bytes, is
       answered with nothing, as the specification has it for an unknown one; what failed is logged.
    2. A request that comes again, since its answer got lost, is handed to its handler again.

    :param handlers: by protocol; whoever owns them may change them.
    :param reply: sends the response to a request.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, handlers: Mapping[bytes, TalkHandler], reply: Callable[[TalkAsked, bytes], None]
    ) -> None:
        self._reactor = reactor
        self._handlers = handlers
        self._reply = reply
        self._waiting: set[Deferred[Any]] = set()

    def stop(self) -> None:
        """Wait for nothing any more."""
        waiting, self._waiting = self._waiting, set()
        for done in waiting:
            done.cancel()

    def asked(self, asked: TalkAsked) -> None:
        """Answer a request."""
        handler = self._handlers.get(asked.protocol)
        if handler is None or len(self._waiting) >= ANSWERS_MAX:
            self._reply(asked, b"")
            return
        done: Deferred[Any] = maybeDeferred(handler, asked.peer[0], asked.request)
        done.addTimeout(ANSWER_TIME, self._reactor)
        self._waiting.add(done)
        done.addCallback(self._checked)
        done.addErrback(self._failed, asked)
        done.addCallback(self._answered, done, asked)

    @staticmethod
    def _checked(response: Any) -> bytes:
        if not isinstance(response, bytes):
            raise TypeError(f"a response is bytes, not {type(response).__name__}")
        return response

    def _failed(self, failure: Failure, asked: TalkAsked) -> bytes:
        if isinstance(failure.value, TimeoutError):
            self._log.warn(
                "TALKREQ {protocol!r}: no answer in {seconds:g} s", protocol=asked.protocol, seconds=ANSWER_TIME
            )
        elif not isinstance(failure.value, CancelledError):
            self._log.failure("TALKREQ {protocol!r}: its handler failed", failure, protocol=asked.protocol)
        return b""

    def _answered(self, response: bytes, done: "Deferred[Any]", asked: TalkAsked) -> None:
        if done in self._waiting:
            self._waiting.discard(done)
            self._reply(asked, response)
