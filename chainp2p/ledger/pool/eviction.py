"""Which pooled transaction is worth least: a heap that is corrected lazily.

What a transaction is worth changes when a transaction before it comes or goes. A record that is too low is corrected
when it is met; whoever makes an entry worth less must :meth:`~LeastWorthy.push` it again. Records of what has left
the pool, and second records of one entry, are skipped when met.
"""

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import TypeAlias

from chainp2p.ledger.pool.pooled import Pooled

__all__ = ["LeastWorthy", "Worth"]

#: (whether a block could take it now, tip at the current base fee, fee cap): compared in this order, less is dropped.
Worth: TypeAlias = tuple[bool, int, int]


class LeastWorthy:
    """The entries of a pool, least worthy first."""

    def __init__(self, entries: Iterable[Pooled], worth: Callable[[Pooled], Worth]) -> None:
        self._worth = worth
        self._heap = [(worth(entry), entry.hash) for entry in entries]
        heapify(self._heap)

    def push(self, entry: Pooled) -> None:
        """Record an entry that is new or worth less than before."""
        heappush(self._heap, (self._worth(entry), entry.hash))

    def pop(self, find: Callable[[bytes], Pooled | None]) -> tuple[Worth, Pooled] | None:
        """Take the least worthy off the heap.

        :param find: answers ``None`` for the hash of an entry that is not to be considered.
        """
        while self._heap:
            recorded, hash = heappop(self._heap)
            entry = find(hash)
            if entry is None:
                continue
            worth = self._worth(entry)
            if worth <= recorded:
                return worth, entry
            heappush(self._heap, (worth, hash))
        return None
