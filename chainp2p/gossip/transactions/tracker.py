"""Who announced what, and whom to ask for it."""

from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
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
    :param patience: how long (seconds) the word of a peer that we did not dial waits while one is here that we did.
    """

    announced: int
    in_flight: int
    ids: int
    bytes: int
    seconds: float
    patience: float = 0.0


@define(eq=False)
class _Word:
    """One announcement: of one thing by one peer.

    :param lot: the lowest of equals is asked.
    :param waits: its time to be asked has not come.
    :param failed: it was asked, and did not deliver.
    """

    size: int
    lot: float
    waits: bool
    failed: bool = False


@define(eq=False)
class _Thing(Generic[K]):
    words: dict[K, _Word] = Factory(dict)
    asked: K | None = None
    deadline: float = 0.0


@define(eq=False)
class _Peer:
    """
    :param open: what it could be asked for now: it is asked of nobody, and neither failed nor waits here.
    """

    preferred: bool
    announced: dict[bytes, None] = Factory(dict)
    open: dict[bytes, None] = Factory(dict)
    in_flight: dict[bytes, None] = Factory(dict)


class FetchTracker(Generic[K]):
    """Fetches each announced thing once, from one announcer at a time (the rules are those of bitcoin's
    ``txrequest.h``, but for the fifth).

    1. A thing is asked of one peer at a time: more would only cost bandwidth.
    2. An announcer that does not deliver within ``seconds``, or has it not, has *failed* for this thing, and the next
       is asked: one silent peer delays a thing by that much, once.
    3. Who has failed is not asked again, however often it announces, while somebody is left who has not. Else a silent
       peer that is preferred would announce again each time, and keep the thing from us for good. When all have failed
       they are forgotten, and may announce anew. Until then what failed keeps its place among ``announced``.
    4. Who leaves is forgotten with all that it announced; so is a thing, with all its announcements, that arrived by
       whatever way or is not wanted any more.
    5. A peer has at most ``announced`` announcements and ``in_flight`` open fetches: a flood fills its own place only.
       With its place full it is passed over and somebody else is asked, so that nobody keeps things by being slow.
    6. Of those that could be asked, the ones that have been useless of late come last; before them preferred ones (we
       chose to dial them; an attacker chooses to dial us) come before others; among equals lots decide, drawn when each
       announced: who announces first gains nothing by that, nor who opens many links and announces over all of them
       later.
    7. While a preferred peer is here, the word of another waits for ``patience``. So preferred peers may speak first;
       and who announces a thing to us to see whether we ask for it learns little of when we got it.
    8. Things are asked of a peer in the order in which it announced them, for what needs another is announced after it;
       those that others failed to deliver come last.

    Cost: what happens to a thing costs O(its announcers); :meth:`next` looks at peers, and at what has come since the
    last time: never at what only waits for a peer whose place is full.

    :param useless: tells who has been of little use of late.
    :param lot: answers a number between 0 and 1, by chance.
    """

    def __init__(
        self, limits: FetchLimits, useless: Callable[[K], bool] = lambda _: False, *, lot: Callable[[], float]
    ) -> None:
        self._limits = limits
        self._useless = useless
        self._lot = lot
        self._things: dict[bytes, _Thing[K]] = {}
        self._peers: dict[K, _Peer] = {}
        self._preferred = 0
        self._asked: dict[bytes, None] = {}  # in order of deadline: all are waited for equally long
        self._waiting: deque[tuple[float, K, bytes, _Word]] = deque()  # in order of time likewise

    def __contains__(self, id: bytes) -> bool:
        return id in self._things

    def __len__(self) -> int:
        return len(self._things)

    def joined(self, peer: K, preferred: bool) -> None:
        """A peer that may announce."""
        self._peers[peer] = _Peer(preferred)
        self._preferred += preferred

    def left(self, peer: K) -> None:
        """It is gone: its announcements with it."""
        entry = self._peers.get(peer)
        if entry is None:
            return
        for id in tuple(entry.announced):
            self._forget_word(peer, id)
        del self._peers[peer]
        self._preferred -= entry.preferred
        self._waiting = deque(item for item in self._waiting if item[1] != peer)

    def announced(self, peer: K, id: bytes, size: int, now: float) -> bool:
        """Note that *peer* has *id*; False: its place is full."""
        entry = self._peers.get(peer)
        if entry is None:
            return False
        if id in entry.announced:
            return True
        if len(entry.announced) >= self._limits.announced:
            return False
        entry.announced[id] = None
        waits = self._limits.patience > 0 and not entry.preferred and self._preferred > 0
        word = _Word(size, self._lot(), waits)
        thing = self._things.get(id)
        if thing is None:
            thing = self._things[id] = _Thing()
        thing.words[peer] = word
        if waits:
            self._waiting.append((now + self._limits.patience, peer, id, word))
        elif thing.asked is None:
            entry.open[id] = None
        return True

    def size(self, peer: K, id: bytes) -> int | None:
        """The size that *peer* announced, if it did."""
        word = self._word(peer, id)
        return None if word is None else word.size

    def asked(self, id: bytes) -> K | None:
        """Whom *id* is asked of."""
        thing = self._things.get(id)
        return None if thing is None else thing.asked

    def announcers(self, id: bytes) -> list[K]:
        """Who announced *id*, whether they failed or not."""
        thing = self._things.get(id)
        return [] if thing is None else list(thing.words)

    def failed(self, peer: K, ids: Sequence[bytes]) -> None:
        """*peer* did not deliver *ids*."""
        for id in ids:
            self._fail(peer, id)

    def again(self, peer: K, ids: Sequence[bytes]) -> None:
        """*peer* may be asked for *ids* again: it delivered others, and there was no room for these."""
        for id in ids:
            if self.asked(id) == peer:
                self._unask(id)

    def forget(self, id: bytes) -> None:
        """It is here, or not wanted any more."""
        if id in self._things:
            self._forget_thing(id)

    @property
    def next_time(self) -> float | None:
        """When an announcement may be acted upon that waits now."""
        while self._waiting and not self._waits(self._waiting[0]):
            self._waiting.popleft()
        return self._waiting[0][0] if self._waiting else None

    def next(self, now: float) -> list[tuple[K, tuple[bytes, ...]]]:
        """Return the requests to send now, and count them as sent."""
        self._expire(now)
        self._mature(now)
        if not any(peer.open for peer in self._peers.values()):
            return []
        last = cache(self._useless)
        chosen: dict[K, list[bytes]] = {}
        moving = True
        while moving:  # one that had room when things were left to it may have none when its turn comes
            moving = False
            for peer, entry in self._peers.items():
                for id in tuple(entry.open) if self._able(peer) else ():
                    if self._best(self._things[id], last) == peer:
                        self._ask(peer, id, now)
                        chosen.setdefault(peer, []).append(id)
                        moving = True
                        if not self._able(peer):
                            break
        return [(peer, request) for peer, ids in chosen.items() for request in self._requests(peer, ids)]

    def _expire(self, now: float) -> None:
        while self._asked:
            id = next(iter(self._asked))
            thing = self._things[id]
            if thing.deadline > now or thing.asked is None:
                return
            self._fail(thing.asked, id)

    def _mature(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            item = self._waiting.popleft()
            if self._waits(item):
                _, peer, id, word = item
                word.waits = False
                if self._things[id].asked is None:
                    self._peers[peer].open[id] = None

    def _waits(self, item: tuple[float, K, bytes, _Word]) -> bool:
        """Whether an announcement is there still, and waits."""
        _, peer, id, word = item
        return word.waits and self._word(peer, id) is word

    def _word(self, peer: K, id: bytes) -> _Word | None:
        thing = self._things.get(id)
        return None if thing is None else thing.words.get(peer)

    def _able(self, peer: K) -> bool:
        return len(self._peers[peer].in_flight) < self._limits.in_flight

    def _best(self, thing: _Thing[K], last: Callable[[K], bool]) -> K:
        words = thing.words
        able = [peer for peer, word in words.items() if not word.waits and not word.failed and self._able(peer)]
        if len(able) == 1:
            return able[0]
        return min(able, key=lambda peer: (last(peer), not self._peers[peer].preferred, words[peer].lot))

    def _ask(self, peer: K, id: bytes, now: float) -> None:
        thing = self._things[id]
        thing.asked, thing.deadline = peer, now + self._limits.seconds
        self._peers[peer].in_flight[id] = None
        self._asked[id] = None
        for other in thing.words:
            self._peers[other].open.pop(id, None)

    def _unask(self, id: bytes) -> None:
        thing = self._things[id]
        assert thing.asked is not None
        del self._peers[thing.asked].in_flight[id], self._asked[id]
        thing.asked = None
        for peer, word in thing.words.items():
            if not word.waits and not word.failed:
                self._peers[peer].open[id] = None

    def _requests(self, peer: K, ids: Sequence[bytes]) -> list[tuple[bytes, ...]]:
        requests: list[tuple[bytes, ...]] = []
        batch: list[bytes] = []
        total = 0
        for id in ids:
            size = self._things[id].words[peer].size
            if batch and (len(batch) >= self._limits.ids or total + size > self._limits.bytes):
                requests.append(tuple(batch))
                batch, total = [], 0
            batch.append(id)
            total += size
        return [*requests, tuple(batch)]

    def _fail(self, peer: K, id: bytes) -> None:
        word = self._word(peer, id)
        if word is None:
            return
        thing = self._things[id]
        word.failed, word.waits = True, False
        self._peers[peer].open.pop(id, None)
        if thing.asked == peer:
            self._unask(id)
        self._clean(id)

    def _forget_word(self, peer: K, id: bytes) -> None:
        thing = self._things[id]
        if thing.asked == peer:
            self._unask(id)
        entry = self._peers[peer]
        del thing.words[peer], entry.announced[id]
        entry.open.pop(id, None)
        self._clean(id)

    def _clean(self, id: bytes) -> None:
        """Forget a thing that nobody is left to be asked for."""
        if all(word.failed for word in self._things[id].words.values()):
            self._forget_thing(id)

    def _forget_thing(self, id: bytes) -> None:
        thing = self._things.pop(id)
        if thing.asked is not None:
            del self._peers[thing.asked].in_flight[id], self._asked[id]
        for peer in thing.words:
            entry = self._peers[peer]
            del entry.announced[id]
            entry.open.pop(id, None)
