"""Blocks that came before their time."""

import heapq
from typing import Generic, TypeVar

from attrs import define, frozen

__all__ = ["Parked", "ParkedBlocks"]

#: Parked of one peer, and in all (chain design, "Early blocks").
PER_PEER, IN_ALL = 64, 1_024
#: And never more bytes than this of one peer, and in all: blocks may be 2 MiB.
PER_PEER_BYTES, IN_ALL_BYTES = 4 * 1024 * 1024, 64 * 1024 * 1024

K = TypeVar("K")


@frozen
class Parked(Generic[K]):
    """A block to be tried again at *when* (Unix time in seconds)."""

    peer: K
    hash: bytes
    raw: bytes
    when: float


@define
class _Share:
    count: int = 0
    bytes: int = 0


class ParkedBlocks(Generic[K]):
    """A waiting room: each block once, bounded by peer and in all; what finds no room is dropped, nothing is evicted,
    so that nobody can push out what others sent. Cost: O(log n).
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, bytes]] = []
        self._blocks: dict[bytes, Parked[K]] = {}
        self._shares: dict[K, _Share] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._blocks)

    def park(self, block: Parked[K]) -> bool:
        """Keep *block* until its time; False: no room, or here already."""
        share = self._shares.get(block.peer) or _Share()
        size = len(block.raw)
        if (
            block.hash in self._blocks
            or share.count >= PER_PEER
            or share.bytes + size > PER_PEER_BYTES
            or len(self._blocks) >= IN_ALL
            or self._bytes + size > IN_ALL_BYTES
        ):
            return False
        self._shares[block.peer] = share
        self._blocks[block.hash] = block
        heapq.heappush(self._heap, (block.when, block.hash))
        share.count += 1
        share.bytes += size
        self._bytes += size
        return True

    def due(self, now: float) -> list[Parked[K]]:
        """Take out what may be tried at *now*."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            when, hash = heapq.heappop(self._heap)
            block = self._blocks.get(hash)
            if block is not None and block.when == when:
                self._remove(block)
                due.append(block)
        return due

    def left(self, peer: K) -> None:
        """A peer is gone: what it sent early is not worth keeping."""
        for block in [block for block in self._blocks.values() if block.peer == peer]:
            self._remove(block)

    @property
    def next_time(self) -> float | None:
        """When something is due."""
        while self._heap and self._heap[0][1] not in self._blocks:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _remove(self, block: Parked[K]) -> None:
        del self._blocks[block.hash]
        share = self._shares[block.peer]
        share.count -= 1
        share.bytes -= len(block.raw)
        self._bytes -= len(block.raw)
        if not share.count:
            del self._shares[block.peer]
