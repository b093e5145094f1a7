"""The open requests of a fetch: each ends once, and nobody who failed is held on to."""

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from chainp2p.errors import PeerFault, PeerGone, Reason
from chainp2p.peer.link import Link
from chainp2p.sync.asking import UNANSWERED
from chainp2p.sync.shared import Shared
from chainp2p.wire.messages import Message

__all__ = ["Requests"]


class _Asked(Protocol):
    @property
    def peer(self) -> Link: ...


A = TypeVar("A", bound=_Asked)


class Requests(Generic[A]):
    """See the module. What is asked, and what an answer is good for, is the fetch's own.

    1. A request ends once: answered, unanswered, or closed from here. What comes after that is passed over.
    2. What an end means for the peer is known to :class:`~chainp2p.sync.asking.Asking`; a peer that is gone by that is
       forgotten here at once, for its link may take a while to end.
    3. What is no peer's matter is ours: it is logged.

    :param answered: takes what came for a request; PeerFault, if that is not what was asked for.
    :param unanswered: takes why nothing came, and says with :meth:`failed` whether the peer is to be judged by that.
    :param left: a peer is gone.
    :param ring: wakes who asks, whatever the end.
    """

    def __init__(
        self,
        shared: Shared,
        answered: Callable[[A, Any], None],
        unanswered: Callable[[A, Exception], None],
        left: Callable[[Link], None],
        ring: Callable[[], None],
    ) -> None:
        self._shared = shared
        self._answered = answered
        self._unanswered = unanswered
        self._left = left
        self._ring = ring
        self._open: dict[A, Any] = {}

    def send(self, ask: A, message: Message, seconds: float) -> None:
        """Ask for it; it counts as open until it has ended."""
        deferred = ask.peer.request(message, seconds)
        self._open[ask] = deferred
        deferred.addCallbacks(self._came, self._ended, (ask,), {}, (ask,), {})
        deferred.addErrback(lambda failure: self._shared.log.failure("an answer could not be taken", failure=failure))
        deferred.addBoth(lambda _: self._ring())

    def close(self, ask: A) -> None:
        """Nothing is expected of it any more."""
        deferred = self._open.pop(ask, None)
        if deferred is not None:
            deferred.cancel()

    def stop(self) -> None:
        """Close all."""
        for ask in tuple(self._open):
            self.close(ask)

    def failed(self, link: Link, error: Exception) -> None:
        """Something that was asked of *link* ended with *error*: judge it; what is ours is raised."""
        if not isinstance(error, UNANSWERED):
            raise error
        self._shared.asking.failed(link, error)
        if self._shared.claims.get(link) is None:
            self._left(link)

    def _came(self, reply: Any, ask: A) -> None:
        if self._open.pop(ask, None) is None:
            return
        if self._shared.claims.get(ask.peer) is None:
            self._unanswered(ask, PeerGone(Reason.CONNECTION_LOST, "left while it was asked"))
            return
        try:
            self._answered(ask, reply)
        except PeerFault as error:
            self.failed(ask.peer, error)

    def _ended(self, failure: Any, ask: A) -> None:
        if self._open.pop(ask, None) is None:
            return
        self._unanswered(ask, failure.value)
