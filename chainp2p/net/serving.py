"""Requests of one peer: when each is handed to its handler, and how the reply goes back."""

from collections import deque
from collections.abc import Callable, Mapping
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chainp2p.errors import PeerFault, RefusalReason
from chainp2p.peer.requests import OPEN_LIMIT
from chainp2p.wire.codec import Codec
from chainp2p.wire.messages import Message, Refused

if TYPE_CHECKING:
    from chainp2p.peer.link import Handler

__all__ = ["Serving", "as_deferred", "bulk_requests"]

#: Requests whose handlers run at once for one peer, one of them with a large reply: more would only fill memory.
AT_ONCE = 4
#: A reply that may be longer is large (bytes).
LARGE = 64 * 1024
#: Bytes of requests that wait for their turn; 64 of our own have at most 528 KB.
WAITING_LIMIT = 1_000_000
#: When a peer with too much open should try again (milliseconds).
BUSY_RETRY_MS = 1_000


def as_deferred(result: Any) -> "Deferred[Any] | None":
    """Return the Deferred of a handler's answer, None if it is a plain value."""
    if isinstance(result, Deferred):
        return result
    if iscoroutine(result):
        return Deferred.fromCoroutine(result)
    return None


def bulk_requests(codec: Codec) -> frozenset[type[Message]]:
    """Return the requests that a large message may answer."""
    specs = codec.registry.by_tag.values()
    large = {spec.name for spec in specs if spec.maximum > LARGE}
    return frozenset(spec.cls for spec in specs if large.intersection(spec.replies))


class Serving:
    """One link's incoming requests.

    1. A request is served when its turn comes and the send queue has room: replies are not produced for a peer that
       does not read. At most :data:`AT_ONCE` handlers run, one of them for a large reply: what is queued for a peer is
       at most the limit of the send queue and one reply.
    2. :data:`OPEN_LIMIT` are open in all, and :data:`WAITING_LIMIT` bytes of them wait; more are ``Refused(busy)``, for
       an honest peer never has more.
    3. A request nobody serves is ``Refused(unsupported)``.
    4. A handler's PeerFault ends the link. Any other exception is ours: logged here, and ``Refused(busy)`` to the peer.

    :param reply: sends the reply to a request id.
    :param full: whether the send queue holds too much.
    :param blame: ends the link.
    """

    _log = Logger()

    def __init__(
        self,
        link: Any,
        handlers: "Mapping[type[Any], Handler]",
        bulk: frozenset[type[Message]],
        reply: Callable[[int, Message], None],
        full: Callable[[], bool],
        blame: Callable[[PeerFault], None],
    ) -> None:
        self._link = link
        self._handlers = handlers
        self._bulk = bulk
        self._reply = reply
        self._full = full
        self._blame = blame
        self._waiting: deque[tuple[int, Message, int]] = deque()
        #: Bytes of requests that wait for their turn.
        self.waiting = 0
        self._running = 0
        self._bulk_running = False
        self._closed = False
        self._turning = False

    def asked(self, request_id: int, request: Message, size: int = 0) -> None:
        """Take a request of so many bytes."""
        if type(request) not in self._handlers:
            self.unsupported(request_id)
        elif len(self._waiting) + self._running >= OPEN_LIMIT or self.waiting + size > WAITING_LIMIT:
            self._reply(request_id, Refused(RefusalReason.BUSY, BUSY_RETRY_MS))
        elif self._waiting or self._running or self._turning or self._full():
            self._waiting.append((request_id, request, size))
            self.waiting += size
            self.turn()
        else:  # the common case, without a detour through the queue
            self._serve(request_id, request)

    def unsupported(self, request_id: int) -> None:
        """Refuse what is not known here."""
        self._reply(request_id, Refused(RefusalReason.UNSUPPORTED, 0))

    def turn(self) -> None:
        """Serve what may be served now; called again when a reply is done and when the send queue has drained."""
        if self._turning:
            return
        self._turning = True
        while self._waiting and self._running < AT_ONCE and not self._closed and not self._full():
            if self._bulk_running and type(self._waiting[0][1]) in self._bulk:
                break
            request_id, request, size = self._waiting.popleft()
            self.waiting -= size
            self._serve(request_id, request)
        self._turning = False

    def _serve(self, request_id: int, request: Message) -> None:
        bulk = type(request) in self._bulk
        try:
            result = self._handlers[type(request)](self._link, request)
        except Exception:
            self._failed(Failure(), request_id, request)  # type: ignore[no-untyped-call]
            return
        waiting = as_deferred(result)
        if waiting is None:
            self._answer(result, request_id, request)
            return
        self._running += 1
        self._bulk_running = self._bulk_running or bulk

        def done(_: Any) -> None:
            self._running -= 1
            if bulk:
                self._bulk_running = False
            self.turn()

        waiting.addCallback(self._answer, request_id, request)
        waiting.addErrback(self._failed, request_id, request)
        waiting.addCallback(done)

    def _answer(self, reply: Any, request_id: int, request: Message) -> None:
        if self._closed:
            return
        try:
            if type(reply).__name__ not in request.spec.replies:
                raise TypeError(f"{reply!r} does not answer {type(request).__name__}")
            self._reply(request_id, reply)
        except (TypeError, ValueError):
            self._failed(Failure(), request_id, request)  # type: ignore[no-untyped-call]

    def _failed(self, failure: Failure, request_id: int, request: Message) -> None:
        if isinstance(failure.value, PeerFault):
            if not self._closed:
                self._blame(failure.value)
            return
        self._log.failure("serving {request} failed", failure=failure, request=type(request).__name__)
        if not self._closed:
            self._reply(request_id, Refused(RefusalReason.BUSY, BUSY_RETRY_MS))

    def close(self) -> None:
        """The link has ended: nothing is served or answered any more."""
        self._closed = True
        self._waiting.clear()
        self.waiting = 0
