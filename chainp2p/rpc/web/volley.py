"""The frames of one event, sent to all who get it one right after another.

Twisted's ``write`` leaves a frame for a later turn of the reactor: one call of the system so that it looks whether the
socket can take it, one to send it, one so that it looks no more. That is 18 us a socket where sending takes 6.

1. All frames are made before the first is sent, so that the last reader has its one soon after the first.
2. What waits for a socket goes before what is new: a transport that still writes gets the frame by ``write``, and so
   does the rest of one that a socket did not take as a whole. So nothing overtakes anything, and Twisted alone decides
   when a reader is too slow.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import FileDescriptor

__all__ = ["Volley", "sends_at_once", "unsent"]


def sends_at_once(transport: Any) -> bool:
    """Whether what it is given is what goes to its socket.

    Whatever wraps a transport, TLS above all, may answer for it: only a socket of our own will do.
    """
    return isinstance(transport, FileDescriptor) and not getattr(transport, "TLS", False)


def unsent(send_some: Callable[[bytes], Any], data: bytes) -> bytes:
    """Let a socket take what it can of *data*; return the rest, for the transport to write.

    An error (no number above 0) comes again then, and the transport knows what to do.

    :param send_some: ``writeSomeData`` of a transport that :func:`sends_at_once` and has nothing waiting.
    """
    sent = send_some(data)
    return data[sent:] if isinstance(sent, int) and sent > 0 else data


class Volley:
    """A context in which :meth:`write` gathers frames, and at whose end they are sent."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._frames: list[tuple[Any, bytes]] | None = None

    def __enter__(self) -> None:
        if self._frames is None:
            self._frames = []

    def __exit__(self, *_: object) -> None:
        frames, self._frames = self._frames, None
        if frames:
            self._send(frames)

    def write(self, transport: Any, data: bytes) -> None:
        """Send *data*, now or with all others; *transport* is one that :func:`sends_at_once`."""
        if self._frames is None:
            transport.write(data)
        else:
            self._frames.append((transport, data))

    def _send(self, frames: list[tuple[Any, bytes]]) -> None:
        busy = set(self._reactor.getWriters())
        for transport, data in frames:
            rest = data if transport in busy else unsent(transport.writeSomeData, data)
            if rest:
                transport.write(rest)
                busy.add(transport)
