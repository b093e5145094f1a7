"""Transactions of peers that wait in the pool for others, with a part of the room for each peer."""

from collections.abc import Collection
from typing import Any

from chainp2p.chain.interfaces import IGaps
from chainp2p.gossip.reserved import Reserved
from chainp2p.peer.link import Link

__all__ = ["Gaps"]

#: Transactions in all; with the blocks that wait the 3,000 of the chain design, half of what a pool holds.
TRANSACTIONS = 2_500


class Gaps:
    """Keeps the pool from being filled with what no block can take.

    1. Who may have how many waiting, and whose go when there are too many: see :class:`Reserved`. A pool alone can only
       compare what they offer to pay, which costs nothing as long as they wait.
    2. What came from peers that are gone shares one part: it stays, for its senders have done nothing, but nobody gets
       a new part by connecting again.
    3. Own transactions, and what has no gap before it any more, do not count.

    A pool that is no ``IGaps`` has none. Cost: beyond that of :class:`Reserved`, a look at each of them with each head.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._has_gaps = IGaps.providedBy(pool)
        self._kept: Reserved[Link | None] = Reserved(TRANSACTIONS)
        self._kept.joined(None)
        self._ids: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def joined(self, link: Link) -> None:
        self._kept.joined(link)

    def left(self, link: Link) -> None:
        for id, size in self._kept.left(link):
            self._add(None, id, size)

    def admitted(self, link: Link | None, id: bytes, size: int) -> None:
        """A transaction that *link* sent is in the pool now; None: it has gone meanwhile."""
        if self._has_gaps and self._pool.waits(id):
            self._add(link, id, size)

    def dropped(self, id: bytes) -> None:
        """It is not in the pool any more."""
        if self._ids.pop(id, self) is None:
            self._kept.forget(id)

    def on_head(self) -> None:
        """Look which of them wait still."""
        for id in tuple(self._ids):
            if not self._pool.waits(id):
                self.dropped(id)

    def _add(self, link: Link | None, id: bytes, size: int) -> None:
        self._ids[id] = None
        lost: Collection[bytes] = self._kept.add(link, id, size)
        for other in lost:
            self._ids.pop(other, None)
            self._pool.give_up(other)  # if it waits still
