"""Which peers are asked to push new blocks to us."""

from collections.abc import Iterator
from typing import Generic, TypeAlias, TypeVar

from attrs import define, frozen

__all__ = ["Changes", "Pushers"]

#: Peers that push to us (chain design, "Gossip"; as many as in BIP 152): one may be silent and one far away.
PUSHERS = 3
#: Who announces a block so long (seconds) before it is pushed would have pushed it before: less is chance.
LEAD = 0.02
#: Blocks of which it is remembered who had them first, until they are judged: at most one in 50 ms comes.
REMEMBERED = 64

K = TypeVar("K")
#: Whom to tell that it should push, or should not any more.
Changes: TypeAlias = list[tuple[K, bool]]


@define
class _Peer:
    """
    :param dialled: we chose it.
    :param pushed: it has pushed since it was asked to.
    :param idle: it lost its place without having pushed anything.
    """

    dialled: bool
    pushed: bool = False
    idle: bool = False


@frozen
class _First(Generic[K]):
    """Who had a block first; *announced*: since when, if it was not pushed yet."""

    peer: K
    announced: float | None


class Pushers(Generic[K]):
    """Chooses them by who was first.

    1. There are three, if there are as many peers: in the beginning those that came first, dialled ones before others.
    2. Who pushed a good block first keeps its place. Who announced one so long before the first push that its own would
       have come first takes the place of whoever was first longest ago.
    3. One place is always a dialled peer's, if there is one: an attacker that is near can be first everywhere, but does
       not choose whom we dial.
    4. Who lost its place and had pushed nothing gets none again while others are there: it was first with words only,
       or is so far away that we always knew before. Or it was told each time that it need not push; so it is forgiven
       as soon as it gives a block that it announced to us who ask for it.

    Each change is answered as whom to tell what. Cost: O(peers).
    """

    def __init__(self) -> None:
        self._peers: dict[K, _Peer] = {}
        self._chosen: list[K] = []  # who was first longest ago at the beginning
        self._first: dict[bytes, _First[K]] = {}

    def __contains__(self, peer: K) -> bool:
        return peer in self._chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __iter__(self) -> Iterator[K]:
        return iter(self._chosen)

    def joined(self, peer: K, dialled: bool) -> "Changes[K]":
        """A peer that can push."""
        self._peers[peer] = _Peer(dialled)
        if len(self._chosen) < PUSHERS:
            return self._choose(peer)
        if dialled and not self._dialled():
            return self._replace(peer)
        return []

    def left(self, peer: K) -> "Changes[K]":
        """It is gone."""
        if self._peers.pop(peer, None) is None:
            return []
        self._first = {hash: first for hash, first in self._first.items() if first.peer != peer}
        if peer not in self._chosen:
            return []
        self._chosen.remove(peer)
        others = [one for one in self._peers if one not in self._chosen]
        if not others:
            return []
        return self._choose(min(others, key=self._rank))

    def _rank(self, peer: K) -> tuple[bool, bool, bool]:
        entry = self._peers[peer]
        return not (entry.dialled or self._dialled()), entry.idle, not entry.dialled

    def _dialled(self) -> list[K]:
        return [one for one in self._chosen if self._peers[one].dialled]

    def announced(self, peer: K, hash: bytes, now: float) -> None:
        """*peer* has block *hash*, and did not push it."""
        if peer in self._peers and peer not in self._chosen:
            self._note(hash, _First(peer, now))

    def pushed(self, peer: K, hash: bytes, now: float) -> None:
        """*peer* pushed block *hash*."""
        entry = self._peers.get(peer)
        if entry is None:
            return
        entry.pushed = True
        first = self._first.get(hash)
        if first is not None and first.announced is not None:
            # who announced it stays the first, or is not; later pushes change nothing
            lead = now - first.announced >= LEAD
            self._first[hash] = _First(first.peer if lead else peer, None)
        self._note(hash, _First(peer, None))

    def brought(self, peer: K) -> None:
        """*peer* announced a block and, when it was asked, gave it."""
        if peer in self._peers:
            self._peers[peer].idle = False

    def _note(self, hash: bytes, first: "_First[K]") -> None:
        if hash not in self._first:
            self._first[hash] = first
            if len(self._first) > REMEMBERED:
                del self._first[next(iter(self._first))]

    def good(self, hash: bytes) -> "Changes[K]":
        """Block *hash* was judged and is good."""
        first = self._first.pop(hash, None)
        if first is None:
            return []
        peer = first.peer
        if peer in self._chosen:
            self._chosen.remove(peer)
            self._chosen.append(peer)
            return []
        return [] if self._peers[peer].idle else self._replace(peer)

    def _choose(self, peer: K) -> "Changes[K]":
        self._chosen.append(peer)
        self._peers[peer].pushed = False
        return [(peer, True)]

    def _replace(self, peer: K) -> "Changes[K]":
        """Give *peer* the place of whoever was first longest ago."""
        dialled = self._dialled()
        kept = dialled if len(dialled) == 1 and not self._peers[peer].dialled else []
        last = next(one for one in self._chosen if one not in kept)
        self._chosen.remove(last)
        entry = self._peers[last]
        entry.idle = not entry.pushed
        return [(last, False), *self._choose(peer)]
