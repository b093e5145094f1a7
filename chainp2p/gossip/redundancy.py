"""How often the same thing comes, by which way first, and how long it takes from the first word of it."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Mapping
from enum import Enum

from attrs import Factory, define

__all__ = ["DELAYS", "Redundancy", "Way"]

#: Upper bounds of what delays are counted in (seconds), the last one without.
DELAYS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, float("inf"))
#: Things heard of that are not here yet, whose first word is remembered; the oldest give way.
AWAITED = 10_000


class Way(Enum):
    """How a thing came here."""

    OWN = "own"  #: handed in or made here
    PUSHED = "pushed"
    FETCHED = "fetched"
    COMPACT = "compact"  #: put together here

    #: By identity, as each is there once: that of ``Enum`` is a function in Python, called for each count.
    __hash__ = object.__hash__


@define(eq=False)
class Redundancy:
    """Counts for one kind of things, since the start; what sync fetches is not among them. Only totals are kept:
    nothing here tells of a single thing, so that anybody may be told.

    :ivar first: things that are here, by the way of the copy that was taken.
    :ivar dialled: those of them that came from peers that we dialled.
    :ivar copies: whole things that came from peers, by way, those that were here already included.
    :ivar refused: those of them that were not taken.
    :ivar heard: announcements that came; :ivar repeated: those of them of what was here already.
    :ivar told: announcements that left, in so many *messages*.
    :ivar sent: copies that left, by way: pushed, or on request.
    :ivar delays: things by seconds from the first word of them until they were here, as :data:`DELAYS` bounds them.
    """

    first: Counter[Way] = Factory(Counter)
    dialled: int = 0
    copies: Counter[Way] = Factory(Counter)
    refused: int = 0
    heard: int = 0
    repeated: int = 0
    told: int = 0
    messages: int = 0
    sent: Counter[Way] = Factory(Counter)
    delays: list[int] = Factory(lambda: [0] * len(DELAYS))
    delay_sum: float = 0.0
    _awaited: dict[bytes, float] = Factory(dict)

    def announced(self, count: int, new: Collection[bytes], now: float) -> None:
        """A peer told of so many, those that are *new* here among them."""
        self.heard += count
        self.repeated += count - len(new)
        for id in new:
            self._await(id, now)

    def copied(self, id: bytes, way: Way, here: bool, now: float) -> None:
        """A peer sent all of it."""
        self.copies[way] += 1
        if not here:
            self._await(id, now)

    def turned_down(self, id: bytes) -> None:
        """A copy was not taken."""
        self.refused += 1
        self._awaited.pop(id, None)

    def taken(self, id: bytes, way: Way, now: float, dialled: bool = False) -> None:
        """It is here; *dialled*: from a peer that we dialled."""
        self.first[way] += 1
        self.dialled += dialled
        since = self._awaited.pop(id, None)
        if since is not None:
            self.delays[bisect_left(DELAYS, now - since)] += 1
            self.delay_sum += now - since

    def _await(self, id: bytes, now: float) -> None:
        if id not in self._awaited:
            if len(self._awaited) >= AWAITED:
                del self._awaited[next(iter(self._awaited))]
            self._awaited[id] = now

    @property
    def came(self) -> int:
        """Things that came from peers."""
        return sum(self.first.values()) - self.first[Way.OWN]

    @property
    def redundancy(self) -> float | None:
        """Copies for each thing that came; None: nothing did."""
        return (sum(self.copies.values()) - self.refused) / self.came if self.came else None

    def delay(self, share: float) -> float | None:
        """What that share of delays is not above, as a bound of :data:`DELAYS`; None: there are none."""
        total, seen = sum(self.delays), 0
        for bound, count in zip(DELAYS, self.delays, strict=True):
            seen += count
            if total and seen >= share * total:
                return bound
        return None

    def figures(self) -> dict[str, int | float | None | Mapping[str, int]]:
        """All of it, for people and programs; delays without bound as None."""
        delays = sum(self.delays)
        return {
            "came": self.came,
            "first": _by_way(self.first),
            "fromDialled": self.dialled,
            "copies": _by_way(self.copies),
            "refused": self.refused,
            "redundancy": None if self.redundancy is None else round(self.redundancy, 3),
            "announcementsHeard": self.heard,
            "announcementsRepeated": self.repeated,
            "announcementsTold": self.told,
            "announcementMessages": self.messages,
            "sent": _by_way(self.sent),
            "delayMean": round(self.delay_sum / delays, 4) if delays else None,
            "delay50": _bounded(self.delay(0.5)),
            "delay95": _bounded(self.delay(0.95)),
        }

    def metrics(self, kind: str) -> list[tuple[str, Mapping[str, str], float]]:
        """The same as name, labels and value; *kind*: what is counted."""
        of = {"kind": kind}
        seen, buckets = 0, []
        for bound, count in zip(DELAYS, self.delays, strict=True):
            seen += count
            le = "+Inf" if bound == DELAYS[-1] else f"{bound:g}"
            buckets.append(("chainp2p_gossip_delay_seconds_bucket", {**of, "le": le}, float(seen)))
        by_way = (("first", self.first), ("copies", self.copies), ("sent", self.sent))
        totals = {
            "from_dialled": self.dialled,
            "refused": self.refused,
            "announcements_heard": self.heard,
            "announcements_repeated": self.repeated,
            "announcements_told": self.told,
            "announcement_messages": self.messages,
        }
        return [
            *(
                (f"chainp2p_gossip_{name}_total", {**of, "way": way}, float(count))
                for name, counts in by_way
                for way, count in ((way.value, counts[way]) for way in Way)
            ),
            *((f"chainp2p_gossip_{name}_total", of, float(count)) for name, count in totals.items()),
            *buckets,
            ("chainp2p_gossip_delay_seconds_sum", of, self.delay_sum),
            ("chainp2p_gossip_delay_seconds_count", of, float(seen)),
        ]


def _by_way(counts: Mapping[Way, int]) -> dict[str, int]:
    return {way.value: counts[way] for way in Way if counts.get(way)}


def _bounded(delay: float | None) -> float | None:
    return None if delay is None or delay == DELAYS[-1] else delay
