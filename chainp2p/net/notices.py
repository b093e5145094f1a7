"""Notifications of one peer: handed to their handlers, and counted until those have finished."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from chainp2p.errors import PeerFault
from chainp2p.net.serving import as_deferred
from chainp2p.wire.messages import Message

if TYPE_CHECKING:
    from chainp2p.peer.link import Handler

__all__ = ["Notices"]


class Notices:
    """Bytes whose handlers have not finished are the only ones that may pause reading (wire design, "Sending").

    A handler's PeerFault ends the link; any other exception is ours and logged here.

    :param blame: ends the link.
    :param changed: called when :attr:`unhandled` has.
    """

    _log = Logger()

    def __init__(
        self,
        link: Any,
        handlers: "Mapping[type[Any], Handler]",
        blame: Callable[[PeerFault], None],
        changed: Callable[[], None],
    ) -> None:
        self._link = link
        self._handlers = handlers
        self._blame = blame
        self._changed = changed
        #: Bytes of messages whose handlers are at work.
        self.unhandled = 0

    def take(self, message: Message, size: int) -> None:
        """Hand *message* over; nobody has to be interested in it."""
        handler = self._handlers.get(type(message))
        if handler is None:
            return
        try:
            waiting = as_deferred(handler(self._link, message))
        except PeerFault:
            raise
        except Exception:
            self._log.failure("handling {message} failed", message=type(message).__name__)
            return
        if waiting is None:
            return
        waiting.addErrback(self._failed, type(message).__name__)
        if not waiting.called:
            self.unhandled += size
            self._changed()
            waiting.addBoth(self._handled, size)

    def _failed(self, failure: Failure, name: str) -> None:
        if isinstance(failure.value, PeerFault):
            self._blame(failure.value)
        else:
            self._log.failure("handling {message} failed", failure=failure, message=name)

    def _handled(self, _: object, size: int) -> None:
        self.unhandled -= size
        self._changed()
