"""How much of what peers sent a process keeps at once, and which link pays when it is too much."""

from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["PROCESS_LIMIT", "ReceiveBudget"]

#: Received and unhandled bytes of all links together (wire design, "Receiving").
PROCESS_LIMIT = 256_000_000

T = TypeVar("T")


class ReceiveBudget(Generic[T]):
    """Counts the bytes that links hold; above the limit it calls *short* with the link that has just taken more.

    Cost: one addition a change.
    """

    def __init__(self, short: Callable[[T], None], limit: int = PROCESS_LIMIT) -> None:
        self.total = 0
        self._short = short
        self._limit = limit

    def change(self, link: T, by: int) -> None:
        """*link* holds so many bytes more (or, negative, fewer)."""
        self.total += by
        if by > 0 and self.total > self._limit:
            self._short(link)
