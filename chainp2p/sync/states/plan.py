"""Which parts of a state are asked of whom, which have come, how much is left: state sync without clock and wire."""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush, heapreplace
from math import inf
from typing import Generic, TypeVar

from attrs import define, field

from chainp2p.chain.states import ChunkTaken, StateBegun, StatePart
from chainp2p.sync.blocks.sources import Source
from chainp2p.sync.states.left import StateLeft, share_of
from chainp2p.sync.states.race import GOALS_LOST, Outrun, StateRace
from chainp2p.sync.states.servers import PartAsk, StateServer, StateServers
from chainp2p.sync.states.time import Rest, StateTime

__all__ = ["StatePlan"]

#: Chunks that are asked for, or here and not yet kept: at most so much memory, 1 MiB each.
CHUNKS_MAX = 64
#: Who would bring a part in so much of the time that is left of it is asked as well, where nothing else is to be done.
SOONER = 0.5
#: A request is given up after so long, twice as long each time that its part did not come, and not before so many times
#: what it should take: a slow link may need minutes for a chunk. Who is gone is found out by other means. Seconds.
PATIENCE, PATIENCE_MAX, EXPECTED_TIMES = 64.0, 1024.0, 4.0
#: So many parts are shared out among the lines, to tell how long they take; of more it is said by the bytes.
LAST_PARTS = 256

K = TypeVar("K")


@define(eq=False)
class _Item(Generic[K]):
    """A part that is not kept yet, one of so many into which another was split.

    :param asked: when the oldest open request for it was sent, by :meth:`StateTime.counted`.
    """

    part: StatePart
    siblings: int
    asks: list[PartAsk[K]] = field(factory=list)
    avoid: set[K] = field(factory=set)
    here: bool = False
    asked: float = 0.0
    late: int = 0


class StatePlan(Generic[K]):
    """See the module.

    1. Prefixes that are shorter than any part that came whole are asked for first, so that soon is known what there is
       to ask for; then the order of the keys counts, in which they are stored best. At most
       :data:`CHUNKS_MAX` are open in all; what one peer may have open is known to
       :class:`~chainp2p.sync.states.servers.StateServers`.
    2. A part is not asked again of a peer that just failed with it, while another one serves.
    3. What is overdue, by the measured rate of the peer or the middle one's, is asked of another one too; so is, when
       nothing else is to be asked for, what another one would bring in half the time. Who comes first has it.
    4. What was asked for before the goal changed still comes, and fills its peer's line: it counts as open there, and
       for the rate. No peer can be told to stop.

    Cost: O(peers) a choice, O(log parts) a part.
    """

    def __init__(self) -> None:
        self._items: dict[bytes, _Item[K]] = {}
        self._queue: list[tuple[int, bytes]] = []
        self._here = 0
        self._missing = 0.0
        self._depth = 64
        self.servers: StateServers[K] = StateServers()
        self._left, self._time, self._race = StateLeft(), StateTime(), StateRace()
        self._goal = 0
        #: Chunks that were kept, and their bytes.
        self.chunks, self.bytes = 0, 0
        #: The share of the keys below which all is here, whatever root it was proved for; it never goes back.
        self.share = 0.0

    # -- what

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self._items

    def begin(self, begun: StateBegun, now: float, goal: int, best: int) -> None:
        """Plan anew, for the state of height *goal* where the best header is at height *best*."""
        if 0 < self._goal < goal:
            rest = self._rest(now)
            self._race.passed(None if rest is None else rest.new + rest.changed, self.bytes, now)
        if not self._goal:
            self.share = self._left.found(begun.here)
        self._goal = goal
        self._time.aimed(now, goal, best)
        self.servers.aimed()
        self._items, self._queue, self._here = {}, [], 0
        self._missing = 0.0
        self._add(begun.open)

    def asks(self) -> list[PartAsk[K]]:
        """All open requests that are of use, oldest first."""
        return sorted((ask for ask in self.servers.asks() if not ask.stale), key=lambda ask: ask.since)

    def _add(self, parts: Sequence[StatePart]) -> None:
        for part in parts:
            self._items[part.prefix] = _Item(part, len(parts))
            self._missing += _unseen(part)
            self._enqueue(part.prefix)

    def _enqueue(self, prefix: bytes) -> None:
        heappush(self._queue, (min(len(prefix), self._depth), prefix))

    # -- whom

    def choose(self, now: float, sources: Sequence[Source[K]]) -> PartAsk[K] | None:
        """Return the next request to send, if there is one."""
        servers = self.servers
        if self._here + sum(len(server.asks) for _, server in servers.all()) >= CHUNKS_MAX:
            return None
        able = servers.able(sources, now)
        free = sorted((one for one in able if servers.free(one.key, now)), key=servers.order)
        if not free:
            return None
        skipped: list[tuple[int, bytes]] = []
        try:
            while self._queue:
                item = self._items.get(self._queue[0][1])
                if item is None or item.asks or item.here:
                    heappop(self._queue)
                    continue
                others = any(one.key not in item.avoid for one in able)
                for source in free:
                    if source.key not in item.avoid or not others:
                        heappop(self._queue)
                        return self._ask(source.key, item, now)
                skipped.append(heappop(self._queue))
        finally:
            for entry in skipped:
                heappush(self._queue, entry)
        return self._again(now, free)

    def _again(self, now: float, free: Sequence[Source[K]]) -> PartAsk[K] | None:
        """Ask another one for what is late, or would come sooner from there."""
        for ask in self.asks():
            item = self._items.get(ask.part.prefix)
            if item is None or ask.loose or item.here:
                continue
            for source in free:
                seconds = self.servers.seconds(source.key)
                left = inf if ask.expected is None else ask.since + ask.expected - now
                sooner = ask.expected is not None and seconds is not None and seconds < SOONER * left
                if source.key != ask.peer and (self.servers.due(ask) <= now or sooner):
                    ask.loose = True
                    return self._ask(source.key, item, now)
        return None

    def _ask(self, key: K, item: _Item[K], now: float) -> PartAsk[K]:
        expected = self.servers.seconds(key)
        patience = max(PATIENCE * 2.0**item.late, EXPECTED_TIMES * (expected or 0.0))
        ask = PartAsk(key, item.part, now, expected, until=now + min(PATIENCE_MAX, patience))
        self.servers[key].asks.append(ask)
        if not item.asks:
            item.asked = self._time.counted(now)
        item.asks.append(ask)
        return ask

    def nobody(self, now: float, sources: Sequence[Source[K]]) -> bool:
        """Whether there are peers, and all of them lack this state."""
        return self.servers.nobody(sources, now)

    # -- answers

    def arrived(self, ask: PartAsk[K], size: int, now: float) -> bool:
        """A chunk came; answer whether it is of use."""
        self.servers.came(ask, size, now)
        item = self._item(ask)
        self._drop(ask)
        if item is None or item.here:
            self._time.came(size, self._coming(now), now)
            return False
        item.here = True
        self._here += 1
        return True

    def closed(self, ask: PartAsk[K], failed: bool = True) -> None:
        """Nothing came of a request: the same is asked of another peer, if there is one; *failed*: it took too long."""
        item = self._item(ask)
        if failed:
            self.servers[ask.peer].rate.slower()
        self._drop(ask)
        if item is not None:
            item.late += failed
            item.avoid.add(ask.peer)
            self._reopen(item)

    def lacked(self, ask: PartAsk[K], now: float) -> None:
        """The peer does not serve this state."""
        item = self._item(ask)
        self._drop(ask)
        if ask.stale:
            return
        self.servers[ask.peer].lacked(now)
        if item is not None:
            self._reopen(item)

    def _item(self, ask: PartAsk[K]) -> _Item[K] | None:
        """What a request is of use for still."""
        return None if ask.stale else self._items.get(ask.part.prefix)

    def _drop(self, ask: PartAsk[K]) -> None:
        asks = self.servers[ask.peer].asks
        if ask in asks:
            asks.remove(ask)
        item = self._item(ask)
        if item is not None and ask in item.asks:
            item.asks.remove(ask)

    def _reopen(self, item: _Item[K]) -> None:
        if not item.asks and not item.here:
            self._enqueue(item.part.prefix)
        for ask in item.asks:
            ask.loose = False

    def forget(self, key: K) -> None:
        """The peer is gone; its requests have been closed, or will be."""
        self.servers.forget(key)

    # -- what the chain says

    def kept(self, prefix: bytes, taken: ChunkTaken, size: int, now: float, took: float) -> None:
        """The chunk of *prefix* was good, and *took* the chain so long."""
        item = self._items.pop(prefix, None)
        if item is None:
            return
        self._here -= item.here
        if not taken.whole:
            self._time.apart(took)
        elif not self._left.largest:
            self._time.began(item.asked)
        self._time.came(size, self._coming(now), now)
        self.chunks += 1
        self.bytes += size
        if not taken.whole:
            self._left.opened(prefix, [(part.prefix, any(part.base)) for part in taken.open])
        elif any(item.part.base):
            self._left.renewed(prefix, item.siblings, size)
        else:
            self._left.whole(prefix, size)
            self._depth = min(self._depth, len(prefix))
        self._missing -= _unseen(item.part)
        self._add(taken.open)
        self.share = max(self.share, 1.0 - self._missing if self._items else 1.0)

    def refused(self, prefix: bytes, peer: K) -> None:
        """The chunk of *prefix* was not good, or could not be kept."""
        item = self._items.get(prefix)
        if item is not None:
            self._here -= item.here
            item.here = False
            item.avoid.add(peer)
            self._reopen(item)

    # -- how long

    def eta(self, now: float) -> float | None:
        """Seconds until all is here, as far as can be told; not on the way down to what has to be asked for."""
        if not self._items:
            return 0.0
        rest = self._rest(now)
        if rest is None:
            return None
        seconds = self._time.seconds(rest, now)
        return None if seconds is None else max(seconds, self._lines(now))

    def outrun(self, entries: int, now: float) -> Outrun | None:
        """Whether changes outrun the lines, where so many accounts are here; None: they do not, as far as is known."""
        whole, changes, life = self._left.total, self._left.changes, self._time.life
        if self._race.lost < GOALS_LOST or not whole or not changes or not self.share or not 0 < life < inf:
            return None
        accounts = entries / self.share
        changed = accounts * changes / life
        fetched = accounts * self._race.rate(self.bytes, now) / whole
        return Outrun(self._race.lost, changed, fetched) if changed > fetched else None

    def _rest(self, now: float) -> Rest | None:
        """What is to come; None: nobody can tell."""
        total, left = self._left.total, self._known()
        if total is None or left is None:
            return None
        asks = list(self.servers.asks())
        return Rest(
            new=sum(new for new, _ in left),
            changed=sum(changed for _, changed in left) + sum(self._size(ask) for ask in asks if ask.stale),
            open=sum(map(self._size, asks)),
            coming=self._coming(now),
            whole=total,
            changes=self._left.changes or 0.0,
        )

    def _known(self) -> list[tuple[float, float]] | None:
        """(bytes of which nothing is here, of changes) of each part; None: nobody can tell."""
        left = [self._left.part(prefix, item.siblings, any(item.part.base)) for prefix, item in self._items.items()]
        known = [bytes for bytes in left if bytes is not None]
        return known if len(known) == len(left) else None

    def _lines(self, now: float) -> float:
        """How long the last parts take: each comes on one line, however much all lines carry together."""
        free: dict[K, tuple[float, float]] = {}
        for key, server in self.servers.all():
            rate = server.rate.per_second
            if server.asks and rate is not None:
                open = sum(map(self._size, server.asks)) - self._carried(server, now)
                free[key] = open / rate, rate
        ends, waiting = 0.0, []
        for left, item in zip(self._known() or (), self._items.values(), strict=False):
            if not item.asks and not item.here:
                waiting.append(min(sum(left), self._left.largest))
            elif not item.here:
                ends = max(ends, min((free[ask.peer][0] for ask in item.asks if ask.peer in free), default=0.0))
        if len(waiting) > LAST_PARTS or not free:
            return ends
        lines = list(free.values())
        heapify(lines)
        for size in waiting:
            at, rate = lines[0]
            heapreplace(lines, (at + size / rate, rate))
            ends = max(ends, at + size / rate)
        return ends

    def _carried(self, server: StateServer[K], now: float) -> float:
        """Bytes that should be on their way from there by now."""
        if not server.asks:
            return 0.0
        return min(server.rate.coming(server.asks[0].since, now), sum(map(self._size, server.asks)))

    def _coming(self, now: float) -> float:
        return sum(self._carried(server, now) for _, server in self.servers.all())

    def _size(self, ask: PartAsk[K]) -> float:
        left = self._left.part(ask.part.prefix, 16, any(ask.part.base))
        return self.servers.typical if left is None else min(sum(left), self._left.largest)


def _unseen(part: StatePart) -> float:
    """The share of the keys of which nothing is here until this part comes."""
    return 0.0 if any(part.base) else share_of(part.prefix)
