"""The peers as sources of blocks: who may be asked for a block, who is preferred, and for how many at once."""

from collections.abc import Iterable, Sequence
from math import ceil, inf
from typing import Generic, TypeVar

from attrs import define, field, frozen

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.sync.blocks.rates import FIRST_BLOCKS, FIRST_BYTES, PeerRate, middle_seconds, target_seconds

__all__ = ["Ask", "LEAVE_AFTER", "REQUESTS_MAX", "Server", "Servers", "Source"]

#: Requests open at one peer (chain design, "Sync").
REQUESTS_MAX = 16
#: What a peer may have open is asked for in so many parts: while one is answered the others keep its line busy.
PARTS = 4
#: Served at most for one request (wire design, tag 3): blocks, and bytes of them.
RUN_BLOCKS, RUN_BYTES = 128, 2 * 1024 * 1024
#: Who did not answer in time is asked for half as much, so often at most.
HALVINGS = 7
#: "I don't have it" holds for so long, doubling with each time in a row: blocks travel. Seconds.
LACKS_MIN, LACKS_MAX = 2.0, 64.0
#: Who stalled so often in a row is asked for no blocks for this long, while somebody else has them. Seconds.
LEAVE_AFTER, LEFT_FOR = 3, 600.0
#: Nothing that is open may be taken for overdue later than this, however much was asked for. Seconds.
DUE_MAX = 64.0
#: Nor earlier than this: a batch that is connected, or the garbage collector, keeps us from reading for as long, and on
#: a local link half of all blocks were asked for twice. Seconds.
DUE_MIN = 0.1
#: An answer is overdue after this many times what it should take.
OVERDUE = 1.5
#: Who answers later than this many times as late as the quickest is asked only for what is not needed before.
LATER = 2.0

#: Bytes that a block is taken to have before one has come; and at least: a request is never for nothing.
UNKNOWN_SIZE, SIZE_MIN = 64 * 1024.0, 64.0
#: An answer weighs in the size of blocks with one part in so many.
SIZE_PARTS = 8

K = TypeVar("K")


@frozen
class Source(Generic[K]):
    """A peer that may be asked now.

    :param height: how high it says its chain is.
    :param standing: the smaller the better; who lied or was of little use comes later.
    :param failed: it failed a short while ago.
    :param patience: how long it may keep others waiting. Seconds.
    """

    key: K
    height: int
    standing: tuple[bool, bool] = (False, False)
    failed: bool = False
    patience: float = 2.0


@define(eq=False)
class Ask(Generic[K]):
    """An open request for the consecutive blocks of *run*.

    :param expected: how long it should take; None: the peer was never measured.
    :param loose: it kept others waiting: what comes is taken, but others are asked for the same.
    :param until: when it is given up.
    """

    peer: K
    run: tuple[HeaderInfo, ...]
    since: float
    expected: float | None
    loose: bool = False
    until: float = inf


@define(eq=False)
class Server(Generic[K]):
    """What the window remembers of one peer."""

    rate: PeerRate = field(factory=PeerRate)
    asks: list[Ask[K]] = field(factory=list)
    stalls: int = 0
    left_until: float = -inf
    lacks: HeaderInfo | None = None
    lacks_until: float = -inf
    lacks_pause: float = LACKS_MIN

    def has_not(self, block: HeaderInfo, now: float) -> bool:
        """Whether it said of late that it lacks this block, or one before it."""
        return self.lacks is not None and now < self.lacks_until and self.lacks.height <= block.height

    def lacked(self, block: HeaderInfo, now: float) -> None:
        """It has not this block."""
        self.lacks, self.lacks_until = block, now + self.lacks_pause
        self.lacks_pause = min(LACKS_MAX, 2 * self.lacks_pause)

    def claimed(self) -> None:
        """It says that it has something else now."""
        self.lacks, self.lacks_pause = None, LACKS_MIN

    @property
    def open_blocks(self) -> int:
        """Blocks that it is asked for."""
        return sum(len(ask.run) for ask in self.asks)


@define(eq=False)
class Servers(Generic[K]):
    """All peers that were ever asked, and the choice among them.

    1. Nobody who said that it lacks a block is asked for it, or for those after it, until a pause is over.
    2. Who failed, or was left, comes in question only where nobody else does; so does whose chain is said to end below.
    3. Then standing decides; then, who was never measured is given a little to do, but not what all wait for; then,
       who will have answered first, with all that it has to answer before.
    4. A peer has no more open than it delivers in the target time, in :data:`PARTS` requests, and gets nothing more
       while an answer is overdue; but what all wait for, if nobody else could be asked for it. Where little is wanted
       each is asked for its share, so that the fast do not wait for what the slow were asked for; and the slow are
       asked only for what is far enough ahead.

    :param typical: bytes of a block of late.
    """

    typical: float = UNKNOWN_SIZE
    _known: dict[K, Server[K]] = field(factory=dict)

    def __getitem__(self, key: K) -> Server[K]:
        return self._known.setdefault(key, Server())

    def get(self, key: K) -> Server[K] | None:
        """What is known of a peer."""
        return self._known.get(key)

    def forget(self, key: K) -> None:
        """It is gone."""
        self._known.pop(key, None)

    def all(self) -> Iterable[tuple[K, Server[K]]]:
        """Everybody who was ever asked."""
        return self._known.items()

    def came(self, size: float) -> None:
        """Blocks of so many bytes in the mean came."""
        size = max(SIZE_MIN, size)
        self.typical = size if self.typical == UNKNOWN_SIZE else self.typical + (size - self.typical) / SIZE_PARTS

    def target(self) -> float:
        """How long what is open at one peer may take. Seconds."""
        return target_seconds(server.rate for server in self._known.values())

    def able(self, block: HeaderInfo, sources: Sequence[Source[K]], now: float) -> list[Source[K]]:
        """Return who comes in question for *block*, busy or not."""
        able = [source for source in sources if not self[source.key].has_not(block, now)]
        fit = [source for source in able if not source.failed and self[source.key].left_until <= now]
        for some in (fit, able):
            high = [source for source in some if source.height >= block.height]
            if high:
                return high
            if some:
                return some
        return []

    def free(self, source: Source[K], now: float, urgent: bool = False) -> bool:
        """Whether it may have one more request; an *urgent* one may be more than it should have open."""
        server = self[source.key]
        if not server.asks:
            return True
        if self.overdue(source, now):
            return False
        busy = 1 if server.stalls else REQUESTS_MAX
        if urgent:
            return len(server.asks) < busy
        room = server.rate.allowance(self.target()) - (server.open_blocks + 1) * self.typical
        return len(server.asks) < busy and room >= 0

    def overdue(self, source: Source[K], now: float) -> bool:
        """Whether it should have answered something by now."""
        return any(self.due(ask) <= now for ask in self[source.key].asks)

    def last_resort(self, able: Sequence[Source[K]], now: float) -> list[Source[K]]:
        """Return who may be asked though its answers are overdue, where that is true of all who are *able*."""
        if not all(self.overdue(source, now) for source in able):
            return []
        return [source for source in able if len(self[source.key].asks) < REQUESTS_MAX]

    def in_time(self, some: Sequence[Source[K]], able: Sequence[Source[K]], before: int, now: float) -> list[Source[K]]:
        """Return those of *some* who will have sent one more block when the *before* it have come from all who are
        *able*, and those who will not be much later than the quickest: others would keep everybody waiting.
        """
        prompt = [one.key for one in able if all(now < self.due(ask) for ask in self[one.key].asks)]
        seconds = {key: taken for key in prompt if (taken := self.expected(key, 1)) is not None}
        if not seconds:
            return list(some)
        rate = sum(self[key].rate.per_second or 0.0 for key in seconds)
        limit = max(before * self.typical / rate / OVERDUE, LATER * min(seconds.values()))
        return [one for one in some if seconds.get(one.key, 0.0) <= limit]

    def quickest(self, sources: Sequence[Source[K]], urgent: bool) -> Source[K] | None:
        """Return the one to ask next."""

        def order(source: Source[K]) -> tuple[tuple[bool, bool], bool, float]:
            server = self[source.key]
            seconds = server.rate.seconds((server.open_blocks + 1) * self.typical)
            return source.standing, (seconds is None) == urgent, seconds or 0.0

        return min(sources, key=order, default=None)

    def size(self, source: Source[K], sources: Sequence[Source[K]], wanted: int) -> int:
        """Return how many of *wanted* blocks to ask of *source* in one request, where *sources* could be asked."""
        server = self[source.key]
        rates = [rate for one in sources if (rate := self[one.key].rate.per_second) is not None]
        rate = server.rate.per_second
        if rate is None:
            least = min(FIRST_BLOCKS, FIRST_BYTES / self.typical, ceil(wanted / len(sources)))
        else:
            share = ceil(wanted * rate / (PARTS * sum(rates, 0.0 if rates else rate)))
            least = min(server.rate.allowance(self.target()) / PARTS / self.typical, share)
        blocks = min(RUN_BLOCKS, RUN_BYTES / self.typical, least) / (1 << min(server.stalls, HALVINGS))
        return max(1, int(blocks))

    def most(self, key: K) -> int:
        """Return how many blocks to ask of it at most in place of another."""
        blocks = min(RUN_BLOCKS, RUN_BYTES / self.typical, self[key].rate.allowance(self.target()) / self.typical)
        return max(1, int(blocks))

    def expected(self, key: K, blocks: int) -> float | None:
        """How long so many more blocks should take this peer; None: it was never measured."""
        server = self[key]
        return server.rate.seconds((server.open_blocks + blocks) * self.typical)

    def due(self, ask: Ask[K]) -> float:
        """When an answer is overdue, by what it should take, or would take the middle one of the others."""
        expected = ask.expected
        if expected is None:
            expected = middle_seconds((one.rate for one in self._known.values()), len(ask.run) * self.typical)
        return ask.since + min(DUE_MAX, max(DUE_MIN, OVERDUE * expected))

    def rest(self, ask: Ask[K], now: float) -> float:
        """In how many seconds an answer should come: then, or when it is overdue if that is past; infinity: it is."""
        due = self.due(ask)
        if due <= now:
            return inf
        if ask.expected is None:
            return 0.0
        rest = ask.since + ask.expected - now
        return rest if rest > 0 else due - now
