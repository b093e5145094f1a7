"""How much of what peers sent a process keeps at once, and which link pays when it is too much."""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from attrs import frozen

__all__ = ["PROCESS_LIMIT", "Holding", "ReceiveBudget", "who_pays"]

#: Received and unhandled bytes of all links together (wire design, "Receiving").
PROCESS_LIMIT = 256_000_000

T = TypeVar("T")


@frozen
class Holding:
    """What one link keeps.

    :param held: bytes.
    :param since: when the oldest message that is not whole began, in seconds on any one clock; None without one.
    """

    held: int
    since: float | None


def who_pays(holdings: Mapping[T, Holding], limit: int) -> T:
    """Return the link that ends when *holdings* are more than *limit* together.

    Each link has an equal share of the limit, and only who holds more than that pays: a peer that sends a block in the
    ordinary way is never ended for the sake of others that fill the memory. Among those, the one whose message has
    been on its way for the longest; without such, the one that holds most.
    """
    share = limit / len(holdings)
    above = [(link, one) for link, one in holdings.items() if one.held > share]
    partial = [(one.since, link) for link, one in above if one.since is not None]
    if partial:
        return min(partial, key=lambda pair: pair[0])[1]
    return max(above, key=lambda pair: pair[1].held)[0]


class ReceiveBudget(Generic[T]):
    """Counts the bytes that links hold; while they are above the limit it calls *short* with the link that has to end.

    *short* ends the link, which then holds nothing. A link that holds nothing is forgotten. Cost: O(1) a change,
    O(links) when memory is short.
    """

    def __init__(self, short: Callable[[T], None], limit: int = PROCESS_LIMIT) -> None:
        self.total = 0
        self.limit = limit
        self._short = short
        self._holdings: dict[T, Holding] = {}

    def __len__(self) -> int:
        return len(self._holdings)

    def holds(self, link: T, held: int, since: float | None) -> None:
        """*link* holds so many bytes now; see :class:`Holding`."""
        before = self._holdings.get(link)
        self.total += held - (before.held if before else 0)
        if held:
            self._holdings[link] = Holding(held, since)
        else:
            self._holdings.pop(link, None)
        while self.total > self.limit:
            payer = who_pays(self._holdings, self.limit)
            self._short(payer)
            if payer in self._holdings:
                return
