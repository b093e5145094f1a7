"""Looks for more nodes by datagram while there are too few to dial."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from chainp2p.discovery.pace import ENOUGH, PAUSE_MIN, LookupPace
from chainp2p.net.alarm import Alarm

__all__ = ["Seeker"]


class Seeker:
    """One timer around :class:`~chainp2p.discovery.pace.LookupPace`.

    :param lookup: looks for nodes near a random target; whoever answers it is told to the address book.
    :param candidates: answers how many peers could be dialled at once, counted up to its argument.
    :param links: answers how many peers have a link.
    :param news: answers how many addresses have been new since the start.
    """

    def __init__(
        self,
        reactor: Any,
        lookup: Callable[[], "Deferred[Any]"],
        candidates: Callable[[int], int],
        links: Callable[[], int],
        news: Callable[[], int],
    ) -> None:
        self._reactor = reactor
        self._lookup = lookup
        self._candidates = candidates
        self._links = links
        self._news = news
        self._pace = LookupPace()
        self._alarm = Alarm(reactor, self._look)
        #: Lookups since the start.
        self.lookups = 0

    def start(self) -> None:
        """Look from now on; what there is at the start has its first chance."""
        self._pace = LookupPace()
        self._alarm = Alarm(self._reactor, self._look)
        self._alarm.by(self._reactor.seconds() + PAUSE_MIN)

    def stop(self) -> None:
        """Look no more."""
        self._alarm.stop()

    def _look(self) -> None:
        now = self._reactor.seconds()
        if self._pace.wants(now, self._candidates(ENOUGH), self._links(), self._news()):
            self.lookups += 1
            self._lookup()
        self._alarm.by(now + PAUSE_MIN)
