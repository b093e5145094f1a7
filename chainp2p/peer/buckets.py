"""Where addresses stand in the book: slots that nobody outside can aim at, and drawers from which one is drawn."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING

from attrs import Factory, define, frozen

if TYPE_CHECKING:
    import random

__all__ = ["BUCKET_SIZE", "PUBLIC_BUCKETS", "SMALL_BUCKETS", "Buckets", "Places", "Table"]

#: Addresses in a bucket (Bitcoin Core, ``ADDRMAN_BUCKET_SIZE_LOG2``).
BUCKET_SIZE = 64
#: Buckets that addresses told by one source group, and tried addresses of one group, can reach (Bitcoin Core,
#: ``ADDRMAN_NEW_BUCKETS_PER_SOURCE_GROUP`` and ``ADDRMAN_TRIED_BUCKETS_PER_GROUP``).
NEW_PER_SOURCE, TRIED_PER_GROUP = 64, 8
#: Addresses that one draw looks at, and groups among them: 2 ms when none of them will do.
LOOK_LIMIT, GROUP_LIMIT = 1_024, 256


@frozen
class Buckets:
    """How many buckets each of the two tables has."""

    new: int
    tried: int


#: Bitcoin Core's addrman: 65,536 new and 16,384 tried addresses.
PUBLIC_BUCKETS = Buckets(1_024, 256)
#: A quarter of it, for networks whose nodes are counted in hundreds.
SMALL_BUCKETS = Buckets(256, 64)


class Places:
    """Which slot an address has, by a secret: who tells addresses cannot choose whom they displace.

    An address is an endpoint and not a key: keys cost nothing. A source group reaches 64 of the new buckets and an
    address group 8 of the tried ones, however many addresses it has.
    """

    def __init__(self, secret: bytes, buckets: Buckets) -> None:
        self._secret = secret
        self._buckets = buckets

    def _hash(self, *parts: str) -> int:
        digest = blake2b("\0".join(parts).encode(), digest_size=8, key=self._secret).digest()
        return int.from_bytes(digest, "big")

    def _slot(self, table: str, bucket: int, endpoint: str) -> int:
        return bucket * BUCKET_SIZE + self._hash(table, "slot", str(bucket), endpoint) % BUCKET_SIZE

    def new(self, endpoint: str, group: str, source: str) -> int:
        """Return the slot among the new addresses of *endpoint*, whose group is *group*, told by *source*."""
        within = self._hash("new", group, source) % NEW_PER_SOURCE
        return self._slot("new", self._hash("new", source, str(within)) % self._buckets.new, endpoint)

    def tried(self, endpoint: str, group: str) -> int:
        """Return the slot of *endpoint* among the tried addresses."""
        within = self._hash("tried", endpoint) % TRIED_PER_GROUP
        return self._slot("tried", self._hash("tried", group, str(within)) % self._buckets.tried, endpoint)


@define
class Table:
    """One of the two tables: ids by slot, and the same ids in a drawer for each group."""

    _slots: dict[int, bytes] = Factory(dict)
    _drawers: dict[str, list[bytes]] = Factory(dict)

    def __len__(self) -> int:
        return len(self._slots)

    def at(self, slot: int) -> bytes | None:
        """Return who stands at *slot*."""
        return self._slots.get(slot)

    def put(self, slot: int, group: str, peer_id: bytes) -> None:
        """Let *peer_id* stand at a free slot and lie in the drawer of *group*."""
        self._slots[slot] = peer_id
        self._drawers.setdefault(group, []).append(peer_id)

    def take(self, slot: int, group: str, peer_id: bytes) -> None:
        """Free a slot at which *peer_id* stands."""
        del self._slots[slot]
        drawer = self._drawers[group]
        drawer.remove(peer_id)
        if not drawer:
            del self._drawers[group]

    def shuffled(self, chance: "random.Random") -> Iterator[bytes]:
        """Draw ids by chance, the group first, so that a group has one say however many addresses it has.

        All of a small table; of a large one :data:`LOOK_LIMIT` ids.
        """
        groups = list(self._drawers)
        each = max(LOOK_LIMIT // GROUP_LIMIT, LOOK_LIMIT // max(1, len(groups)))
        for group in chance.sample(groups, min(GROUP_LIMIT, len(groups))):
            drawer = self._drawers.get(group, [])
            yield from chance.sample(drawer, min(each, len(drawer)))
