"""The block window: which block is asked of whom since when, and of whom it is asked next."""

from collections.abc import Iterator, Sequence
from math import inf
from typing import Generic, TypeVar

from attrs import define, field

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.sync.blocks.row import Row
from chainp2p.sync.blocks.sources import LEAVE_AFTER, LEFT_FOR, Ask, Servers, Source

__all__ = ["BYTES_MAX", "NEAR_TIP", "WINDOW", "Window"]

#: Blocks and bytes ahead of the validated tip (chain design, "Sync").
WINDOW, BYTES_MAX = 1_024, 64 * 1024 * 1024
#: So many blocks below the best header are asked of two peers: there is little left that others could do meanwhile.
NEAR_TIP = 50
#: An overdue block is asked of so many at most at the same time.
ASKED_MAX = 8

K = TypeVar("K")


@define(eq=False)
class Window(Generic[K]):
    """The requests for the blocks of a :class:`~chainp2p.sync.blocks.row.Row`, from the validated tip on.

    1. The lowest block that nobody is asked for is asked for next. The last :data:`NEAR_TIP` are asked of two.
    2. Whoever keeps the edge for longer than its patience, and until it is overdue, *while others
       could serve it*, stalls: all that it was asked for is asked of others. What it sends is taken still. It is left
       for a while after :data:`LEAVE_AFTER` in a row. Nothing else is ever a stall: there is no least rate.
    3. Before that, another one is asked as well for what is overdue; and for the edge if it would come much sooner from
       there, by somebody who has nothing to do, or by anybody when the window is half full of what waits for it; not
       while the chain has blocks to go on with: whoever is slower than the lines is not helped by asking twice.
    4. Nobody is asked twice for one block at the same time.
    5. No more is asked for, kept, or handed to the chain and not yet judged, than :data:`WINDOW` blocks and
       :data:`BYTES_MAX` bytes; but the block after the validated tip may always be asked for, and of what is too much
       the highest are let go.

    Cost: O(WINDOW) a choice, O(peers) besides.
    """

    servers: Servers[K] = field(factory=Servers)
    row: Row[K] = field(factory=Row)
    _unasked: int = 0
    _tip: int = 0
    _asks: dict[bytes, list[Ask[K]]] = field(factory=dict)

    # what there is to do

    def plan(self, blocks: Sequence[HeaderInfo], tip: int, now: float) -> None:
        """These are the blocks that the chain lacks, oldest first, on the way to a header of height *tip*."""
        follows = self.row.plan(blocks, now)
        self._tip, self._unasked = tip, 0
        for _, server in self.servers.all():
            if server.lacks is not None and server.lacks.hash not in self.row.places:
                if follows:  # who lacked a block that has come from elsewhere lacks those after it
                    server.lacks = blocks[0]
                else:
                    server.claimed()

    def asks(self) -> Iterator[Ask[K]]:
        """All open requests."""
        for _, server in self.servers.all():
            yield from server.asks

    def holders(self, block: HeaderInfo) -> list[Ask[K]]:
        """The requests that *block* is awaited from; those that kept others waiting do not count."""
        return [ask for ask in self._asks.get(block.hash, ()) if not ask.loose]

    def lacks(self, ask: Ask[K]) -> HeaderInfo | None:
        """The first block of a request that is still wanted; None: all have come from others, or are wanted no more."""
        return next(filter(self.row.wanted, ask.run), None)

    # asking

    def choose(self, now: float, sources: Sequence[Source[K]]) -> Ask[K] | None:
        """Return the next request to send, and count it as open; None: there is none to send now."""
        end = min(len(self.row.blocks), self.row.start + WINDOW)
        if (asked := self._again_elsewhere(end, now, sources)) is not None:
            return asked
        at = self._unasked = self._first(max(self.row.edge_at, self._unasked), end, held=0)
        if at < end:
            asked = self._ask(at, end, 0, now, sources)
        else:
            near = self._first(max(self.row.edge_at, end - NEAR_TIP), end, held=1)
            asked = self._ask(near, end, 1, now, sources) if near < end else None
        return asked or self._sooner(end, now, [one for one in sources if not self.servers[one.key].asks], sources)

    def _first(self, at: int, end: int, held: int) -> int:
        """The place from *at* on of the first block that is wanted and asked of so many; *end* if there is none."""
        blocks, has = self.row.blocks, self.row.has
        for place in range(at, end):
            info = blocks[place]
            if held and info.height <= self._tip - NEAR_TIP:
                continue
            if not has(info) and len(self.holders(info)) == held:
                return place
        return end

    def _again(self, run: Sequence[HeaderInfo]) -> None:
        """Those of these that are not here may have to be asked for again."""
        places = [self.row.places.get(info.hash, len(self.row.blocks)) for info in run if not self.row.has(info)]
        self._unasked = min([self._unasked, *places])

    def _ask(self, at: int, end: int, held: int, now: float, sources: Sequence[Source[K]]) -> Ask[K] | None:
        """Ask for the run from place *at* on, of which each block is asked of *held* peers so far."""
        servers, first = self.servers, self.row.blocks[at]
        able = servers.able(first, sources, now)
        asked = {ask.peer for ask in self._asks.get(first.hash, ())}
        some = [one for one in able if one.key not in asked and servers.free(one, now)]
        if not some and not asked and at == self.row.edge_at:
            some = servers.last_resort(able, now)
        source = servers.quickest(servers.in_time(some, able, at - self.row.start, now), urgent=at == self.row.edge_at)
        if source is None:
            return None
        wanted = end - self.row.start if not held else end - at
        count = servers.size(source, able, wanted)
        reserved = sum(server.open_blocks for _, server in servers.all()) * servers.typical
        room = (BYTES_MAX - self.row.size - reserved) / servers.typical
        if room < 1 and (at != self.row.edge_at or self.row.edge_at > self.row.start):
            return None
        run = self._run(at, min(end, at + min(count, max(1, int(room)))), held, source.key)
        return self._open(source.key, run, now)

    def _run(self, at: int, end: int, held: int, key: K) -> tuple[HeaderInfo, ...]:
        run, first = [self.row.blocks[at]], self.holders(self.row.blocks[at])
        for info in self.row.blocks[at + 1 : end]:
            asks = self._asks.get(info.hash, ())
            if info.parent != run[-1].hash or self.row.has(info) or any(ask.peer == key for ask in asks):
                break
            holders = self.holders(info)
            if len(holders) != held or (info.height <= self._tip - NEAR_TIP and holders != first):
                break
            run.append(info)
        return tuple(run)

    def _open(self, key: K, run: tuple[HeaderInfo, ...], now: float) -> Ask[K]:
        ask = Ask(key, run, now, self.servers.expected(key, len(run)))
        self.servers[key].asks.append(ask)
        for info in run:
            self._asks.setdefault(info.hash, []).append(ask)
        return ask

    def _rest(self, info: HeaderInfo, now: float) -> float:
        """In how many seconds it should come from those who are asked for it; infinity: it is overdue from all."""
        holders = self.holders(info)
        if not 0 < len(holders) < ASKED_MAX:
            return 0.0
        rests = [self.servers.rest(ask, now) for ask in holders]
        return min(rests, default=inf)

    def _again_elsewhere(self, end: int, now: float, sources: Sequence[Source[K]]) -> Ask[K] | None:
        """Ask another one for the lowest block that is overdue, or for the edge when much waits for it."""
        servers = self.servers
        late = [ask for ask in self.asks() if not ask.loose and servers.due(ask) <= now]
        at = min((place for ask in late for place in self._overdue(ask, late) if place < end), default=end)
        if at < end:
            some = [one for one in sources if servers.free(one, now, urgent=at == self.row.edge_at)]
            return self._second(at, end, some, now, sources)
        if 2 * (self.row.waiting - self.row.ready) > end - self.row.start:
            some = [one for one in sources if servers.free(one, now, urgent=True)]
            return self._sooner(end, now, some, sources)
        return None

    def _overdue(self, ask: Ask[K], late: Sequence[Ask[K]]) -> Iterator[int]:
        """The places of its blocks that are overdue from all who are asked for them; *late*: all overdue requests."""
        for info in ask.run:
            if self.row.wanted(info) and self.row.places[info.hash] >= self.row.edge_at:
                holders = self.holders(info)
                if len(holders) < ASKED_MAX and all(one in late for one in holders):
                    yield self.row.places[info.hash]

    def _sooner(self, end: int, now: float, some: Sequence[Source[K]], sources: Sequence[Source[K]]) -> Ask[K] | None:
        """Ask one of *some* for the edge, too, if it would come much sooner from there."""
        edge = self.row.edge
        if edge is None or self.row.edge_at >= end or not some or self.row.ready:
            return None
        rest = self._rest(edge, now)
        able = [one for one in some if 2 * (self.servers.expected(one.key, 1) or inf) < rest]
        return self._second(self.row.edge_at, end, able, now, sources)

    def _second(
        self, at: int, end: int, some: Sequence[Source[K]], now: float, sources: Sequence[Source[K]]
    ) -> Ask[K] | None:
        """Ask one of *some* for what another is asked for already."""
        info, servers = self.row.blocks[at], self.servers
        asked = {ask.peer for ask in self._asks.get(info.hash, ())}
        keys = {one.key for one in some} - asked
        able = [one for one in servers.able(info, sources, now) if one.key in keys and not one.failed]
        source = servers.quickest(able, urgent=True)
        if source is None:
            return None
        count = servers.most(source.key)
        run = self._run(at, min(end, at + count), len(self.holders(info)), source.key)
        return self._open(source.key, run, now)

    def stalled(self, now: float, sources: Sequence[Source[K]]) -> list[K]:
        """Return who has just been found to stall: what it was asked for is asked of others from now on."""
        edge = self.row.edge
        if edge is None:
            return []
        found = [ask.peer for ask in self.holders(edge) if self.gives_up(ask, sources, now) <= now]
        for key in found:
            server = self.servers[key]
            server.stalls += 1
            server.rate.slower()
            if server.stalls >= LEAVE_AFTER:
                server.left_until = now + LEFT_FOR
            for ask in server.asks:
                ask.loose = True
                self._again(ask.run)
        return found

    def gives_up(self, ask: Ask[K], sources: Sequence[Source[K]], now: float) -> float:
        """When whoever holds the edge counts as stalling; infinity: nobody else could serve it."""
        edge = self.row.edge
        if edge is None or ask.loose or edge not in ask.run:
            return inf
        asked = {one.peer for one in self._asks.get(edge.hash, ())}
        if not any(one.key not in asked and not one.failed for one in self.servers.able(edge, sources, now)):
            return inf
        patience = next((one.patience for one in sources if one.key == ask.peer), 0.0)
        held = max(ask.since, self.row.edge_since)
        due = self.servers.due(ask) if ask.expected is not None else held
        return max(held + patience, due)

    def nobody(self, now: float, sources: Sequence[Source[K]]) -> bool:
        """Whether the edge is asked of nobody, and nobody comes in question."""
        edge = self.row.edge
        return edge is not None and not self._asks.get(edge.hash) and not self.servers.able(edge, sources, now)

    def wakes(self, now: float, sources: Sequence[Source[K]]) -> float:
        """When something may have to be done though nothing came."""
        edge, times = self.row.edge, [inf]
        if edge is not None:
            times += [self.gives_up(ask, sources, now) for ask in self.holders(edge)]
            times += [self.servers.due(ask) for ask in self.asks() if not ask.loose]
            times += [server.lacks_until for _, server in self.servers.all() if server.has_not(edge, now)]
        return min(time for time in times if time > now)

    # answers

    def arrived(self, ask: Ask[K], raws: Sequence[bytes], now: float) -> None:
        """The first blocks of a request came; more may be had from others."""
        server, size = self.servers[ask.peer], sum(map(len, raws))
        self._end(ask)
        server.rate.measured(size, ask.since, now)
        server.stalls, server.left_until = 0, -inf
        server.claimed()
        self.servers.came(size / len(raws))
        self.row.came(ask.run, raws, ask.peer, now)
        self._again(ask.run)
        self._again(self.row.shed(BYTES_MAX))

    def lacked(self, ask: Ask[K], now: float) -> None:
        """It has not even the first."""
        self.closed(ask)
        self.servers[ask.peer].lacked(ask.run[0], now)

    def closed(self, ask: Ask[K]) -> None:
        """A request has ended, and brought nothing."""
        self._end(ask)
        self._again(ask.run)

    def _end(self, ask: Ask[K]) -> None:
        server = self.servers.get(ask.peer)
        if server is not None and ask in server.asks:
            server.asks.remove(ask)
        for info in ask.run:
            asks = self._asks.get(info.hash)
            if asks is not None and ask in asks:
                asks.remove(ask)
                if not asks:
                    del self._asks[info.hash]

    def timed_out(self, ask: Ask[K]) -> None:
        """It was not answered at all: less is asked of this peer."""
        self.closed(ask)
        server = self.servers[ask.peer]
        server.stalls += 1
        server.rate.slower()

    def forget(self, key: K) -> None:
        """A peer is gone: what it sent is kept, and nobody is to blame for it any more."""
        server = self.servers.get(key)
        for ask in tuple(server.asks) if server is not None else ():
            self.closed(ask)
        self.servers.forget(key)
        self.row.forget(key)

    def judged(self, hash: bytes, stored: bool, now: float) -> K | None:
        """The chain has judged a block; answer who sent it. One that is not *stored* is wanted again."""
        edge = self.row.edge_at
        sender = self.row.judged(hash, stored, now)
        if self.row.edge_at < edge:
            self._unasked = min(self._unasked, self.row.edge_at)
        return sender
