"""Who announced what, and whom to ask for it."""

from collections.abc import Callable, Collection, Sequence
from typing import Generic, TypeVar

from attrs import Factory, define, frozen

__all__ = ["FetchLimits", "FetchTracker"]

K = TypeVar("K")


@frozen
class FetchLimits:
    """What one peer may take of our memory and we of its attention.

    :param announced: announcements remembered of a peer; more are passed over, so that a flood costs its sender's
        place.
    :param in_flight: things asked of a peer at a time.
    :param ids: things in one request; :param bytes: their announced size together, in bytes (one thing may pass it).
    :param seconds: how long one announcer is waited for before the next is asked.
    """

    announced: int
    in_flight: int
    ids: int
    bytes: int
    seconds: float


@define
class _Thing(Generic[K]):
    sizes: dict[K, int] = Factory(dict)
    asked: K | None = None
    deadline: float = 0.0


@define
class _Peer:
    preferred: bool
    announced: dict[bytes, None] = Factory(dict)
    in_flight: dict[bytes, None] = Factory(dict)


class FetchTracker(Generic[K]):
    """Fetches each announced thing once, from one announcer at a time (after bitcoin's `txrequest.h`).

    1. A thing is asked of one peer at a time: more would only cost bandwidth.
    2. An announcer that does not deliver within ``seconds``, has it not, or leaves, is forgotten for this thing and the
       next is asked: one silent peer delays a thing by that much, once.
    3. Preferred peers (those we chose to dial) come first, then who announced first: an attacker can connect to us, but
       does not choose whom we dial. Who has been useless of late comes after all others.
    4. A peer has at most ``announced`` announcements and ``in_flight`` open fetches: a flood fills its own place only.
       With its place full it is passed over, and somebody else is asked.
    5. Nobody is asked twice for one announcement, but a peer may announce again.
    6. What arrived, by whatever way, or is not wanted any more, is forgotten with all its announcements.

    Cost: O(announcers) for each thing that is ready whenever :meth:`next` is called; a dictionary entry an
    announcement.

    :param useless: tells who has been of little use of late.
    """

    def __init__(self, limits: FetchLimits, useless: Callable[[K], bool] = lambda _: False) -> None:
        self._limits = limits
        self._useless = useless
        self._things: dict[bytes, _Thing[K]] = {}
        self._peers: dict[K, _Peer] = {}
        self._ready: dict[bytes, None] = {}
        self._asked: dict[bytes, None] = {}  # in order of deadline: all wait equally long

    def __contains__(self, id: bytes) -> bool:
        return id in self._things

    def __len__(self) -> int:
        return len(self._things)

    def joined(self, peer: K, preferred: bool) -> None:
        """A peer that may announce."""
        self._peers[peer] = _Peer(preferred)

    def left(self, peer: K) -> None:
        """It is gone: its announcements with it."""
        entry = self._peers.get(peer)
        if entry is not None:
            for id in tuple(entry.announced):
                self._drop(peer, id)
            del self._peers[peer]

    def announced(self, peer: K, id: bytes, size: int) -> bool:
        """Note that *peer* has *id*; False: its place is full."""
        entry = self._peers.get(peer)
        if entry is None or (id not in entry.announced and len(entry.announced) >= self._limits.announced):
            return False
        if id not in entry.announced:
            entry.announced[id] = None
            thing = self._things.setdefault(id, _Thing())
            thing.sizes[peer] = size
            if thing.asked is None:
                self._ready[id] = None
        return True

    def size(self, peer: K, id: bytes) -> int | None:
        """The size that *peer* announced, if it did."""
        thing = self._things.get(id)
        return None if thing is None else thing.sizes.get(peer)

    def failed(self, peer: K, ids: Sequence[bytes]) -> None:
        """*peer* did not deliver *ids*."""
        for id in ids:
            self._drop(peer, id)

    def forget(self, id: bytes) -> None:
        """It is here, or not wanted any more."""
        thing = self._things.get(id)
        if thing is not None:
            for peer in tuple(thing.sizes):
                self._drop(peer, id)

    def next(self, now: float) -> list[tuple[K, tuple[bytes, ...]]]:
        """Return the requests to send now, and count them as sent."""
        self._expire(now)
        free = sum(len(peer.in_flight) < self._limits.in_flight for peer in self._peers.values())
        last = {peer for peer in self._peers if self._useless(peer)} if self._ready else set()
        chosen: dict[K, list[bytes]] = {}
        for id in tuple(self._ready):
            if not free:
                break
            peer = self._choose(self._things[id], last)
            if peer is not None:
                self._ask(peer, id, now)
                chosen.setdefault(peer, []).append(id)
                free -= len(self._peers[peer].in_flight) >= self._limits.in_flight
        return [(peer, request) for peer, ids in chosen.items() for request in self._requests(peer, ids)]

    def _expire(self, now: float) -> None:
        while self._asked:
            id = next(iter(self._asked))
            thing = self._things[id]
            if thing.deadline > now or thing.asked is None:
                return
            self._drop(thing.asked, id)

    def _choose(self, thing: _Thing[K], last: Collection[K]) -> K | None:
        able = [peer for peer in thing.sizes if len(self._peers[peer].in_flight) < self._limits.in_flight]
        if last:
            able = [peer for peer in able if peer not in last] or able
        return next((peer for peer in able if self._peers[peer].preferred), able[0] if able else None)

    def _ask(self, peer: K, id: bytes, now: float) -> None:
        thing = self._things[id]
        thing.asked, thing.deadline = peer, now + self._limits.seconds
        self._peers[peer].in_flight[id] = None
        del self._ready[id]
        self._asked[id] = None

    def _requests(self, peer: K, ids: Sequence[bytes]) -> list[tuple[bytes, ...]]:
        requests: list[tuple[bytes, ...]] = []
        batch: list[bytes] = []
        total = 0
        for id in ids:
            size = self._things[id].sizes[peer]
            if batch and (len(batch) >= self._limits.ids or total + size > self._limits.bytes):
                requests.append(tuple(batch))
                batch, total = [], 0
            batch.append(id)
            total += size
        return [*requests, tuple(batch)]

    def _drop(self, peer: K, id: bytes) -> None:
        """Forget one announcement, and the thing with its last."""
        thing, entry = self._things.get(id), self._peers.get(peer)
        if thing is None or entry is None or peer not in thing.sizes:
            return
        del thing.sizes[peer], entry.announced[id]
        if thing.asked == peer:
            thing.asked = None
            del entry.in_flight[id], self._asked[id]
            self._ready[id] = None
        if not thing.sizes:
            del self._things[id]
            self._ready.pop(id, None)
