"""How a process that is measured knows when to end."""

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO

__all__ = ["input_ended"]


def input_ended() -> "Deferred[None]":
    """Fire when the other end of standard input is closed: whoever started this process has no more to ask."""
    ended: Deferred[None] = Deferred()

    class Input(Protocol):
        def connectionLost(self, reason: object = None) -> None:
            ended.callback(None)

    StandardIO(Input())
    return ended
