"""When to look for more nodes than there are to dial."""

__all__ = ["ENOUGH", "PAUSE_MAX", "PAUSE_MIN", "LookupPace"]

#: So many peers of different netgroups that could be dialled at once are enough: as many as there are outbound slots,
#: so that all of them can be filled again.
ENOUGH = 16
#: Seconds between two lookups while there are fewer: a lookup takes some two seconds, and who answered it has to be
#: dialled before it is known what it was worth. (go-ethereum's dial scheduler asks for nodes without a pause while it
#: has free slots.)
PAUSE_MIN = 10.0
#: The longest pause while there are fewer, as long as that of a table that has all it wants.
PAUSE_MAX = 300.0


class LookupPace:
    """Decides whether a lookup for a random target is worth its datagrams.

    1. None while there are :data:`ENOUGH` candidates.
    2. Each one since which no address was new doubles the pause from :data:`PAUSE_MIN` to :data:`PAUSE_MAX`: a network
       all of whose nodes are known has no more to give.
    3. A new address, or a link that ended, begins again with the shortest pause.
    """

    def __init__(self) -> None:
        self._pause = PAUSE_MIN
        self._at: float | None = None
        self._links = self._news = 0

    def wants(self, now: float, candidates: int, links: int, news: int) -> bool:
        """Tell whether to look now, and count it as done.

        :param candidates: peers that could be dialled at once, of different netgroups.
        :param links: peers that have a link.
        :param news: addresses that have been new since the start.
        """
        lost, self._links = links < self._links, links
        found, self._news = news > self._news, news
        if lost or found or candidates >= ENOUGH:
            self._pause = PAUSE_MIN
        if candidates >= ENOUGH or (self._at is not None and now < self._at + self._pause):
            return False
        if self._at is not None and not (lost or found):
            self._pause = min(2 * self._pause, PAUSE_MAX)
        self._at = now
        return True
