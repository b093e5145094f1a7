"""When parked blocks are tried again."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from chainp2p.gossip.blocks.parked import Parked, ParkedBlocks
from chainp2p.peer.link import Link

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Later"]


class Later:
    """The timer of :class:`ParkedBlocks`.

    :param now: Unix time in seconds.
    :param again: takes a block whose time has come, or whose parent is here; in a turn of the reactor of its own, for a
        line of orphans may be long.
    """

    def __init__(
        self, reactor: "IReactorTime", now: Callable[[], float], again: Callable[[Parked[Link]], None]
    ) -> None:
        self._reactor = reactor
        self._now = now
        self._again = again
        self._parked: ParkedBlocks[Link] = ParkedBlocks()
        self._timer: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._parked)

    def joined(self, link: Link) -> None:
        self._parked.joined(link)

    def left(self, link: Link) -> None:
        self._parked.left(link)

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def early(self, link: Link, hash: bytes, raw: bytes, when: float) -> None:
        """Try a block again at *when* (Unix time in seconds)."""
        self._parked.early(link, hash, raw, when)
        self._set_timer()

    def orphan(self, link: Link, hash: bytes, raw: bytes, parent: bytes) -> None:
        """Try a block again when its *parent* is here."""
        self._parked.orphan(link, hash, raw, parent)

    def here(self, hash: bytes) -> None:
        """A block is here."""
        if self._parked.here(hash):
            self._set_timer()

    def _set_timer(self) -> None:
        self.stop()
        when = self._parked.next_time
        if when is not None:
            self._timer = self._reactor.callLater(max(0.0, when - self._now()), self._wake)

    def _wake(self) -> None:
        self._timer = None
        for block in self._parked.due(self._now()):
            self._again(block)
        self._set_timer()
