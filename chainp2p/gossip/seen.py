"""What was seen lately, in bounded memory; and a choice of peers that outsiders cannot foresee."""

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from math import ceil, sqrt
from struct import Struct
from typing import TypeVar

__all__ = ["Heights", "Lots", "RollingSeen", "chosen", "halved", "push_count"]

#: Blocks relayed at one height: an honest network has one or two, a producer gone wrong can make any number.
RELAYED_PER_HEIGHT, HEIGHTS_REMEMBERED = 4, 256

#: What is drawn at a time.
_LOTS = Struct("<256Q")

T = TypeVar("T")


class RollingSeen:
    """Remembers at least the last *limit* ids and at most twice as many: two generations, the older thrown away whole.

    Exact for what it remembers (a Bloom filter would now and then withhold a block). Cost: O(1), about 100 bytes an id.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._new: set[bytes] = set()
        self._old: set[bytes] = set()

    def __contains__(self, id: bytes) -> bool:
        return id in self._new or id in self._old

    def __len__(self) -> int:
        return len(self._new | self._old)

    def add(self, id: bytes) -> bool:
        """Remember *id*; answers whether it was new."""
        new = id not in self
        if id not in self._new:
            if len(self._new) >= self._limit:
                self._old, self._new = self._new, set()
            self._new.add(id)
        return new

    def update(self, ids: Iterable[bytes]) -> None:
        """Remember all of *ids*."""
        ids = tuple(ids)
        if len(self._new) + len(ids) <= self._limit:
            self._new.update(ids)
        else:
            for id in ids:
                self.add(id)

    def without(self, ids: Iterable[bytes]) -> list[bytes]:
        """Return those of *ids* that are not remembered."""
        new, old = self._new, self._old
        return [id for id in ids if id not in new and id not in old]

    def clear(self) -> None:
        """Forget everything."""
        self._new.clear()
        self._old.clear()


class Lots:
    """Numbers from 0 to 1 by chance, drawn many at a time: each call of the system's source is one of the kernel.

    :param randbytes: answers so many bytes by chance.
    """

    def __init__(self, randbytes: Callable[[int], bytes]) -> None:
        self._randbytes = randbytes
        self._drawn: list[int] = []

    def __call__(self) -> float:
        if not self._drawn:
            self._drawn.extend(_LOTS.unpack(self._randbytes(_LOTS.size)))
        return self._drawn.pop() / 2**64


class Heights:
    """Counts the blocks of each of the last heights, so that only a few are relayed."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def room(self, height: int) -> bool:
        """Count one more block of that height; answers whether it is among the first."""
        count = self._counts.pop(height, 0)
        self._counts[height] = count + 1
        if len(self._counts) > HEIGHTS_REMEMBERED:
            del self._counts[next(iter(self._counts))]
        return count < RELAYED_PER_HEIGHT


def push_count(peers: int, least: int = 1) -> int:
    """How many of *peers* get a thing whole: the square root, so that a flood costs each node little, and *least*."""
    return min(peers, max(least, ceil(sqrt(peers))))


def chosen(key: bytes, id: bytes, peers: Sequence[tuple[bytes, T]], count: int) -> list[T]:
    """Choose *count* of (peer id, peer) for thing *id*: the same for one key, unforeseeable without it."""

    def place(peer: tuple[bytes, T]) -> bytes:
        return blake2b(id + peer[0], key=key, digest_size=8).digest()

    return [peer for _, peer in sorted(peers, key=place)[:count]]


def halved(key: bytes, id: bytes, count: int) -> int:
    """Half of *count*; of an odd one either the more or the less for thing *id*, as unforeseeable as what is chosen."""
    return (count + (blake2b(id, key=key, digest_size=1).digest()[0] & 1)) // 2
