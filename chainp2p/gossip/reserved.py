"""What is kept here for a while because peers sent it, with a part reserved for each."""

from typing import Generic, TypeVar

from attrs import define, field

__all__ = ["RESERVED", "Reserved"]

#: What each peer may always keep here (bytes; chain design: after bitcoin's orphanage).
RESERVED = 400_000
#: So many peers' parts there are at least: one block of the largest size must have room among few peers.
PARTS_LEAST = 10

K = TypeVar("K")


@define
class _Share:
    """What a peer sent: id -> bytes, oldest first."""

    things: dict[bytes, int] = field(factory=dict)
    bytes: int = 0


class Reserved(Generic[K]):
    """Whose things are given up when there are too many.

    1. There is room for *units* things and for :data:`RESERVED` bytes of each peer. As long as that is not full in all,
       a peer may keep more than its part: most of the time few send what has to wait.
    2. When it is full, the peer that is furthest above its part loses what it sent first. Who keeps within its part
       loses nothing, whatever others do: if all did, it would not be full.
    3. What several peers sent counts for each of them, and stays while one of them keeps it: nobody pushes out what
       another sent by sending it too.

    Cost: O(1) a thing while there is room, O(peers) for each that is given up; about 200 bytes a thing.

    :param units: things in all; each peer's part of them is the same.
    """

    def __init__(self, units: int) -> None:
        self._units = units
        self._shares: dict[K, _Share] = {}
        self._keepers: dict[bytes, dict[K, None]] = {}
        self._count = 0
        self._bytes = 0

    def __contains__(self, id: bytes) -> bool:
        return id in self._keepers

    def __len__(self) -> int:
        return len(self._keepers)

    def joined(self, peer: K) -> None:
        """A peer that may send things."""
        self._shares.setdefault(peer, _Share())

    def left(self, peer: K) -> list[tuple[bytes, int]]:
        """A peer is gone, and its part with it: return (id, size) of what nobody else sent, which is given up."""
        share = self._shares.get(peer)
        if share is None:
            return []
        things = dict(share.things)
        lost = [(id, things[id]) for id in things if self._give_up(peer, id)]
        del self._shares[peer]
        return lost

    def add(self, peer: K, id: bytes, size: int) -> list[bytes]:
        """Keep a thing that *peer* sent; return the ids that are given up for it, perhaps its own."""
        share = self._shares.get(peer)
        if share is None or id in share.things:
            return []
        share.things[id] = size
        share.bytes += size
        self._count += 1
        self._bytes += size
        self._keepers.setdefault(id, {})[peer] = None
        lost = []
        while self._count > self._units or self._bytes > RESERVED * max(len(self._shares), PARTS_LEAST):
            worst = max(self._shares, key=self._excess)
            oldest = next(iter(self._shares[worst].things))
            if self._give_up(worst, oldest):
                lost.append(oldest)
        return lost

    def keepers(self, id: bytes) -> list[K]:
        """Who sent a thing that is kept, the first in front."""
        return list(self._keepers.get(id, ()))

    def forget(self, id: bytes) -> None:
        """It is not kept any more."""
        for peer in tuple(self._keepers.get(id, ())):
            self._give_up(peer, id)

    def _excess(self, peer: K) -> float:
        """How many times its part a peer keeps."""
        share = self._shares[peer]
        return max(len(share.things) * len(self._shares) / self._units, share.bytes / RESERVED)

    def _give_up(self, peer: K, id: bytes) -> bool:
        """Let go of a peer's thing; answers whether nobody keeps it any more."""
        share = self._shares[peer]
        size = share.things.pop(id)
        share.bytes -= size
        self._count -= 1
        self._bytes -= size
        keepers = self._keepers[id]
        del keepers[peer]
        if keepers:
            return False
        del self._keepers[id]
        return True
