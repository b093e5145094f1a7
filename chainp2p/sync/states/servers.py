"""The peers as sources of a state: who may be asked for a part, who comes first, and when an answer is late."""

from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import Generic, TypeVar

from attrs import define, field

from chainp2p.chain.states import StatePart
from chainp2p.sync.blocks.rates import TARGET_MAX, PeerRate, middle_seconds
from chainp2p.sync.blocks.sources import DUE_MAX, LACKS_MAX, LACKS_MIN, OVERDUE, Source

__all__ = ["OPEN_MAX", "PartAsk", "StateServer", "StateServers"]

#: Requests open at one peer (chain design, "State sync").
OPEN_MAX = 4
#: A chunk is taken to have so many bytes before one has come; each weighs in the mean with one part in so many.
UNKNOWN_SIZE, SIZE_PARTS = 256 * 1024.0, 8

K = TypeVar("K")


@define(eq=False)
class PartAsk(Generic[K]):
    """An open request for one part.

    :param expected: how long it should take; None: the peer was never measured.
    :param loose: another peer is asked for the same.
    :param until: when it is given up.
    :param stale: another goal is aimed at meanwhile: what comes is of no use, but fills the line until then.
    """

    peer: K
    part: StatePart
    since: float
    expected: float | None
    loose: bool = False
    until: float = inf
    stale: bool = False


@define(eq=False)
class StateServer(Generic[K]):
    """What is remembered of one peer."""

    rate: PeerRate = field(factory=PeerRate)
    asks: list[PartAsk[K]] = field(factory=list)
    lacks_until: float = -inf
    lacks_pause: float = LACKS_MIN

    def lacked(self, now: float) -> None:
        """It does not serve the state that is aimed at."""
        self.lacks_until = now + self.lacks_pause
        self.lacks_pause = min(LACKS_MAX, 2 * self.lacks_pause)


class StateServers(Generic[K]):
    """All peers that were ever asked, and the choice among them.

    1. "I don't have that state" holds for a pause, doubling. It is no offence.
    2. A peer has no more open than its line needs, :data:`OPEN_MAX` at most, and one if it was never measured; nothing
       more while an answer is overdue.
    3. Of those who may be asked the best in standing comes first, then who will have answered first.
    """

    def __init__(self) -> None:
        self._known: dict[K, StateServer[K]] = {}
        #: Bytes of a chunk of late.
        self.typical = UNKNOWN_SIZE

    def __getitem__(self, key: K) -> StateServer[K]:
        return self._known.setdefault(key, StateServer())

    def all(self) -> Iterable[tuple[K, StateServer[K]]]:
        """Each with what is remembered of it."""
        return self._known.items()

    def asks(self) -> Iterator[PartAsk[K]]:
        """All that is open."""
        for server in self._known.values():
            yield from server.asks

    def aimed(self) -> None:
        """Another goal is aimed at: what is open is of no use, and who lacked the old one may have this."""
        for server in self._known.values():
            server.lacks_until, server.lacks_pause = -inf, LACKS_MIN
            for ask in server.asks:
                ask.stale = True

    def came(self, ask: PartAsk[K], size: int, now: float) -> None:
        """A chunk of so many bytes came."""
        server = self[ask.peer]
        server.rate.measured(size, ask.since, now)
        server.lacks_pause = LACKS_MIN
        self.typical += (size - self.typical) / SIZE_PARTS

    def forget(self, key: K) -> None:
        """The peer is gone; its requests have been closed, or will be."""
        if key in self._known and not self._known[key].asks:
            del self._known[key]

    def able(self, sources: Sequence[Source[K]], now: float) -> list[Source[K]]:
        """Those that may have it; who just failed is among them only where there is no other."""
        able = [one for one in sources if self[one.key].lacks_until <= now]
        return [one for one in able if not one.failed] or able

    def nobody(self, sources: Sequence[Source[K]], now: float) -> bool:
        """Whether there are peers, and all of them lack this state."""
        return bool(sources) and all(self[one.key].lacks_until > now for one in sources)

    def free(self, key: K, now: float) -> bool:
        """Whether one more may be asked of it."""
        server = self[key]
        if not server.asks:
            return True
        if server.rate.per_second is None or any(self.due(ask) <= now for ask in server.asks):
            return False
        room = server.rate.allowance(TARGET_MAX) - (len(server.asks) + 1) * self.typical
        return len(server.asks) < OPEN_MAX and room >= 0

    def order(self, source: Source[K]) -> tuple[tuple[bool, bool], float]:
        """Sort key: who is asked first."""
        return source.standing, self.seconds(source.key) or 0.0

    def seconds(self, key: K) -> float | None:
        """How long one more chunk should take this peer, after those that it is asked for."""
        server = self[key]
        return server.rate.seconds((len(server.asks) + 1) * self.typical)

    def due(self, ask: PartAsk[K]) -> float:
        """When a request is overdue: by the peer's measured rate, or the middle one's."""
        expected = ask.expected
        if expected is None:
            expected = middle_seconds((one.rate for one in self._known.values()), self.typical)
        return ask.since + min(DUE_MAX, OVERDUE * expected)
