"""What headers, blocks and states are fetched with: one of each for all of sync."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from attrs import frozen

from chainp2p.peer.link import Link
from chainp2p.sync.asking import Asking
from chainp2p.sync.claims import Claims

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime
    from twisted.logger import Logger

__all__ = ["EARLY_REST_MAX", "Shared", "TICK"]

#: Nothing waits longer than this before it is looked again at what could be done. Seconds.
TICK = 1.0
#: A header or block from the future is asked for again at its time, but after this at the latest. Seconds.
EARLY_REST_MAX = 60.0


@frozen
class Shared:
    """See the module.

    :param now: Unix time in seconds; deadlines go by the reactor's clock.
    :param spawn: runs what nobody waits for.
    """

    chain: Any
    reactor: "IReactorTime"
    now: Callable[[], float]
    claims: Claims[Link]
    asking: Asking
    log: "Logger"
    spawn: Callable[[Coroutine[Any, Any, None]], None]

    def seconds(self) -> float:
        """The reactor's clock."""
        return self.reactor.seconds()

    def until(self, when: float) -> float:
        """When to try again what is from the future, *when* in Unix time; the answer in the reactor's seconds."""
        return self.seconds() + min(max(when - self.now(), 0.01), EARLY_REST_MAX)
