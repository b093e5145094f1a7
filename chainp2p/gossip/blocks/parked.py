"""Blocks that came before their time, or before their parents."""

import heapq
from typing import Generic, TypeVar

from attrs import define, frozen

from chainp2p.gossip.reserved import Reserved

__all__ = ["Parked", "ParkedBlocks"]

#: Blocks in all; with the transactions that wait for others the 3,000 of the chain design.
BLOCKS = 500

K = TypeVar("K")


@frozen
class Parked(Generic[K]):
    """A block to be tried again, in the name of *peer*."""

    peer: K
    hash: bytes
    raw: bytes


@define
class _Block:
    """
    :param when: Unix time (seconds) to try it again; None: when its *parent* is here.
    """

    raw: bytes
    when: float | None
    parent: bytes = b""


class ParkedBlocks(Generic[K]):
    """A waiting room for blocks that are early and for those whose parent is missing.

    1. An early one is due at its time; an orphan is due as soon as its parent is here, by whatever way that came.
    2. Each block is kept once, whoever sent it, and tried in the name of one that did: the first that is still here.
    3. Who may keep how much, and whose block goes when there are too many: see :class:`Reserved`. Sync fetches what
       finds no room: no block is lost by that.

    Cost: O(log n) a block beyond that of :class:`Reserved`.
    """

    def __init__(self) -> None:
        self._kept: Reserved[K] = Reserved(BLOCKS)
        self._heap: list[tuple[float, bytes]] = []
        self._blocks: dict[bytes, _Block] = {}
        self._children: dict[bytes, dict[bytes, None]] = {}

    def __len__(self) -> int:
        return len(self._blocks)

    def joined(self, peer: K) -> None:
        """A peer that may send blocks."""
        self._kept.joined(peer)

    def left(self, peer: K) -> None:
        """A peer is gone: what nobody else sent is not worth keeping."""
        for hash, _ in self._kept.left(peer):
            self._remove(hash)

    def early(self, peer: K, hash: bytes, raw: bytes, when: float) -> None:
        """Keep a block until *when* (Unix time in seconds)."""
        self._park(peer, hash, _Block(raw, when))

    def orphan(self, peer: K, hash: bytes, raw: bytes, parent: bytes) -> None:
        """Keep a block until its *parent* is here."""
        self._park(peer, hash, _Block(raw, None, parent))

    def _park(self, peer: K, hash: bytes, block: _Block) -> None:
        lost = self._kept.add(peer, hash, len(block.raw))
        if hash in self._kept and hash not in self._blocks:
            self._blocks[hash] = block
            if block.when is None:
                self._children.setdefault(block.parent, {})[hash] = None
            else:
                heapq.heappush(self._heap, (block.when, hash))
        for other in lost:
            if other in self._blocks:
                self._remove(other)

    def here(self, parent: bytes) -> bool:
        """A block is here: its children are due. Answers whether there are any."""
        children = self._children.pop(parent, {})
        for hash in children:
            self._blocks[hash].when = 0.0
            heapq.heappush(self._heap, (0.0, hash))
        return bool(children)

    def due(self, now: float) -> list[Parked[K]]:
        """Take out what may be tried at *now*."""
        due = []
        while (when := self.next_time) is not None and when <= now:
            _, hash = heapq.heappop(self._heap)
            due.append(Parked(self._kept.keepers(hash)[0], hash, self._blocks[hash].raw))
            self._kept.forget(hash)
            self._remove(hash)
        return due

    @property
    def next_time(self) -> float | None:
        """When something is due."""
        while self._heap and self._stale(*self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _stale(self, when: float, hash: bytes) -> bool:
        block = self._blocks.get(hash)
        return block is None or block.when != when

    def _remove(self, hash: bytes) -> None:
        """Forget a block that nobody keeps."""
        block = self._blocks.pop(hash)
        siblings = self._children.get(block.parent)
        if block.when is None and siblings is not None:
            del siblings[hash]
            if not siblings:
                del self._children[block.parent]
