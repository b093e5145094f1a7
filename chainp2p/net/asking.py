"""Our requests on one link, as Deferreds over :class:`chainp2p.peer.requests.OpenRequests`."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from chainp2p.errors import PeerGone, Reason, RefusalReason, RequestRefused, RequestTimedOut
from chainp2p.peer.requests import Asked, OpenRequests
from chainp2p.wire.messages import Message, Refused

__all__ = ["Asking", "SendRequest"]

#: Queues (request, its bytes, who is told the id when the first frame leaves); answers how to take it back.
SendRequest = Callable[[Message, bytes, Callable[[int], None]], Callable[[], bool]]
#: Bytes of requests that wait for a place among the open ones: more than a peer that answers ever needs.
WAITING_LIMIT = 1_000_000


class _Waiter:
    """Who waits for a reply, and how to take the request back while it has not left."""

    __slots__ = ("asked", "deferred", "payload", "take_back")

    def __init__(self, deferred: "Deferred[Any]", payload: bytes) -> None:
        self.deferred = deferred
        self.payload = payload
        self.asked: Asked[_Waiter]
        self.take_back: Callable[[], bool] | None = None


class Asking:
    """Every Deferred that is handed out fires once: reply, refusal, deadline, cancel or the end of the link.

    :param seconds: answers the time of the deadlines.
    :param send: hands a request to the send queue.
    """

    def __init__(self, seconds: Callable[[], float], send: SendRequest) -> None:
        self._seconds = seconds
        self._send = send
        self._requests: OpenRequests[_Waiter] = OpenRequests()
        #: Bytes of requests that wait for a place.
        self.waiting = 0

    @property
    def next_deadline(self) -> float | None:
        """When :meth:`expire` has something to do."""
        return self._requests.next_deadline

    def ask(self, message: Message, payload: bytes, deadline: float) -> "Deferred[Any]":
        """Send a request now, or when there is a place for it; RequestRefused if too much waits for one."""
        deferred: Deferred[Any] = Deferred(lambda _: self._close(waiter))
        waiter = _Waiter(deferred, payload)
        waiter.asked = self._requests.add(message, waiter, deadline)
        if waiter.asked.leaving:
            self._leave(waiter)
        elif self.waiting + len(payload) > WAITING_LIMIT:
            self._requests.close(waiter.asked, self._seconds())
            deferred.errback(RequestRefused(RefusalReason.BUSY, 0))
        else:
            self.waiting += len(payload)
        return deferred

    def _leave(self, waiter: _Waiter) -> None:
        asked = waiter.asked
        waiter.take_back = self._send(
            asked.request, waiter.payload, lambda request_id: self._requests.sent(asked, request_id)
        )

    def _send_waiting(self) -> None:
        for asked in self._requests.admit():
            self.waiting -= len(asked.waiter.payload)
            self._leave(asked.waiter)

    def _gives_up(self, waiter: _Waiter) -> None:
        """A request that was closed is taken back where it waits."""
        if waiter.take_back is not None:
            waiter.take_back()
        else:
            self.waiting -= len(waiter.payload)

    def _close(self, waiter: _Waiter) -> None:
        if self._requests.close(waiter.asked, self._seconds()):
            self._gives_up(waiter)
            self._send_waiting()

    def replied(self, request_id: int, reply: Message | None) -> None:
        """A reply came (None: of an unknown tag); raises PeerFault for one that answers nothing."""
        waiter = self._requests.replied(request_id, reply)
        if waiter is None:
            return
        self._send_waiting()
        if isinstance(reply, Refused):
            waiter.deferred.errback(RequestRefused(reply.reason, reply.retry_ms))
        else:
            waiter.deferred.callback(reply)

    def expire(self, now: float) -> bool:
        """Fail what has waited long enough, and let others take the places; False if there was none."""
        expired = self._requests.expire(now)
        for asked in expired:
            self._gives_up(asked.waiter)
            _fail(asked.waiter, RequestTimedOut(f"no answer to {type(asked.request).__name__}"))
        self._send_waiting()
        return bool(expired)

    def fail_all(self, reason: Reason, detail: str) -> None:
        """The link has ended."""
        self.waiting = 0
        for waiter in self._requests.fail_all():
            _fail(waiter, PeerGone(reason, detail))


def _fail(waiter: _Waiter, error: Exception) -> None:
    """Fail one of several; whoever is told of the first may have cancelled the next."""
    if not waiter.deferred.called:
        waiter.deferred.errback(error)
