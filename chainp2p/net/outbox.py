"""The send queue of a link on a Twisted transport: the transport says when there is room."""

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from chainp2p.wire.schema import Channel, Kind
from chainp2p.wire.sending import Pushed, SendQueue

__all__ = ["Outbox"]

#: Bytes handed over in one write. Transports ask for a pause above 64 KiB, TLS gathers as much: with a frame that
#: overshoots, at most 256 KiB lie below us (wire design, "Sending").
WRITE_BYTES = 64 * 1024


@implementer(IPushProducer)
class Outbox:
    """Writes frames while the transport takes them.

    1. Messages of one turn leave in one write: :meth:`cork` while handling what was read, :meth:`uncork` after it.
    2. The transport's pause and resume are the only back-pressure; nothing is polled.

    :param paused: called when the transport takes no more.
    :param drained: called when it takes bytes again and the queue has been written as far as it goes.
    """

    def __init__(self, transport: Any, paused: Callable[[], None], drained: Callable[[], None]) -> None:
        self.queue = SendQueue()
        self._transport = transport
        self._paused = False
        self._corked = False
        self._closed = False
        self._on_pause = paused
        self._on_drain = drained
        transport.registerProducer(self, True)

    def push(
        self,
        payload: bytes,
        kind: Kind,
        channel: Channel,
        message_id: int = 0,
        on_id: Callable[[int], None] | None = None,
    ) -> tuple[Pushed, Callable[[], bool]]:
        """Queue a message and write what may leave; see :meth:`SendQueue.push`."""
        outcome = self.queue.push(payload, kind, channel, message_id, on_id)
        if not (self._corked or self._paused):
            self._write()
        return outcome

    def cork(self) -> None:
        """Only queue until :meth:`uncork`."""
        self._corked = True

    def uncork(self) -> None:
        """Write what has gathered."""
        self._corked = False
        self._write()

    def _write(self) -> None:
        queue = self.queue
        while queue.queued and not (self._paused or self._closed):
            self._transport.write(queue.next(WRITE_BYTES))

    def last_word(self, payload: bytes) -> None:
        """Write one control message after what the transport has already, give up all else and let go of it."""
        if self._closed:
            return
        self._closed = True
        self.queue.push(payload, Kind.NOTIFICATION, Channel.CONTROL)
        while self.queue.queued_in(Channel.CONTROL):
            self._transport.write(self.queue.next(1))
        self._transport.unregisterProducer()

    def close(self) -> None:
        """Write no more."""
        if not self._closed:
            self._closed = True
            self._transport.unregisterProducer()

    def pauseProducing(self) -> None:
        """The transport is full."""
        if not self._paused:
            self._paused = True
            self._on_pause()

    def resumeProducing(self) -> None:
        """The transport has room again."""
        self._paused = False
        if not self._closed:
            self._write()
            self._on_drain()

    def stopProducing(self) -> None:
        """The transport is gone."""
        self._closed = True
