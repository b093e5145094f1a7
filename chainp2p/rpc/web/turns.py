"""A chain that is read by many at once, a few reads at a time.

Hundreds of clients may come back in the same second and want the blocks of an hour. All reads of some chains are on the
lane that connects blocks: so a new block waits for a few of them, not for one of each client, and so do other calls.
"""

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore

from chainp2p.chain.interfaces import HeaderInfo

__all__ = ["ChainInTurns"]

#: Reads at a time: with fewer, lanes would wait between two of them.
READS = 4


class ChainInTurns:
    """What following a chain needs of an ``IChain``; reads come to it in the order in which they were asked for."""

    def __init__(self, chain: Any) -> None:
        self._chain = chain
        self._turns = DeferredSemaphore(READS)
        self.split = chain.split

    @property
    def head(self) -> HeaderInfo:
        head: HeaderInfo = self._chain.head
        return head

    @property
    def genesis_hash(self) -> bytes:
        hash: bytes = self._chain.genesis_hash
        return hash

    def _read(self, read: Callable[..., Any], *args: Any) -> "Deferred[Any]":
        reading: Deferred[Any] = self._turns.run(read, *args)
        return reading

    def block(self, hash: bytes) -> "Deferred[bytes | None]":
        return self._read(self._chain.block, hash)

    def locate(self, hash: bytes) -> "Deferred[HeaderInfo | None]":
        return self._read(self._chain.locate, hash)

    def hash_at(self, height: int) -> "Deferred[bytes | None]":
        return self._read(self._chain.hash_at, height)

    def hashes_at(self, hash: bytes, heights: Iterable[int]) -> "Deferred[dict[int, bytes] | None]":
        return self._read(self._chain.hashes_at, hash, heights)
