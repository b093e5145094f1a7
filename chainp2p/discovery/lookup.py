"""An iterative lookup as a value that is polled: whom to ask next, and when it is over."""

from collections.abc import Iterable
from enum import Enum

from attrs import define

from chainp2p.discovery.crowding import IN_BUCKET, Crowding
from chainp2p.discovery.table import BUCKET_SIZE, log_distance
from chainp2p.peer.enr import Enr

__all__ = ["ALPHA", "Lookup", "distances_towards"]

#: Nodes that are asked at once (specification: alpha = 3).
ALPHA = 3
#: Distances that one question names (specification, "Lookup": nodes near the target know its neighbourhood).
DISTANCES = 3
#: Candidates that are kept: more than can ever be asked before the closest have answered.
CANDIDATES_MAX = 256


def distances_towards(target: bytes, node_id: bytes) -> tuple[int, ...]:
    """Return which buckets of a node hold what is near *target*: the one that it falls into, and its neighbours."""
    distance = log_distance(target, node_id)
    around = [distance]
    step = 1
    while len(around) < DISTANCES:
        around += [one for one in (distance + step, distance - step) if 1 <= one <= 256]
        step += 1
    return tuple(around[:DISTANCES])


class _State(Enum):
    HEARD = "heard"
    ASKED = "asked"
    ANSWERED = "answered"
    FAILED = "failed"


@define
class _Candidate:
    enr: Enr
    distance: int  #: exclusive or of id and target, as a number
    depth: int  #: questions from our table to here
    ip: str  #: empty if the record names none
    failures: int = 0
    state: _State = _State.HEARD


def _ip(enr: Enr) -> str:
    endpoint = enr.udp_endpoint
    return endpoint[0] if endpoint is not None else ""


class Lookup:
    """The closest nodes to a target.

    1. The closest that have not been asked are asked, :data:`ALPHA` at a time.
    2. It is over when the sixteen closest that have not failed have all answered: one that is further away knows less
       of the target's neighbourhood than they do.
    3. A node that does not answer is passed over and, if it is still among the closest at the end, asked once more:
       datagrams get lost, and the closest of all may be the one.
    4. Few of one address, one subnet and one netgroup are asked in all, as few as may stand in a bucket, whether they
       answer or not: who makes up ids near the target at a few addresses gets no more of the result than that.

    Cost: O(n log n) in the candidates heard of, which are bounded.

    :param seeds: what our own table knows closest to the target.
    """

    def __init__(self, target: bytes, own_id: bytes, seeds: Iterable[Enr]) -> None:
        self.target = target
        self._target = int.from_bytes(target, "big")
        self._own_id = own_id
        self._candidates: dict[bytes, _Candidate] = {}
        self._asked = Crowding(IN_BUCKET)
        #: Longest chain of questions so far.
        self.rounds = 0
        self._hear(seeds, 1)

    def _hear(self, records: Iterable[Enr], depth: int) -> None:
        for enr in records:
            known = self._candidates.get(enr.peer_id)
            if enr.peer_id == self._own_id:
                continue
            if known is None:
                distance = int.from_bytes(enr.peer_id, "big") ^ self._target
                self._candidates[enr.peer_id] = _Candidate(enr, distance, depth, _ip(enr))
            elif known.state is _State.HEARD and enr.seq > known.enr.seq:
                known.enr, known.ip = enr, _ip(enr)
        if len(self._candidates) > CANDIDATES_MAX:
            heard = [one for one in self._candidates.values() if one.state is _State.HEARD]
            heard.sort(key=lambda one: one.distance)
            kept = 0
            kin = Crowding(IN_BUCKET)
            for one in heard:
                if kept < CANDIDATES_MAX // 2 and kin.fits(one.ip):
                    kept += 1
                    kin.add(one.ip)
                else:
                    del self._candidates[one.enr.peer_id]

    def _nearest(self, failures: int = 0) -> list[_Candidate]:
        """The closest that have not failed and may be asked; with *failures* 1 those with one failure count, too."""
        some = [
            one
            for one in self._candidates.values()
            if (one.state is not _State.FAILED or one.failures <= failures)
            and (one.state is not _State.HEARD or self._asked.fits(one.ip))
        ]
        return sorted(some, key=lambda one: one.distance)[:BUCKET_SIZE]

    def poll(self) -> list[Enr]:
        """Return whom to ask now; they count as asked."""
        asked = sum(one.state is _State.ASKED for one in self._candidates.values())
        open = [one for one in self._nearest() if one.state is _State.HEARD]
        if not open and not asked:
            open = [one for one in self._nearest(1) if one.state is _State.FAILED]
        chosen: list[Enr] = []
        for one in open:
            if len(chosen) + asked >= ALPHA:
                break
            if one.state is _State.HEARD:
                if not self._asked.fits(one.ip):
                    continue  # another one has just taken the room of its kin
                self._asked.add(one.ip)
            one.state = _State.ASKED
            self.rounds = max(self.rounds, one.depth)
            chosen.append(one.enr)
        return chosen

    @property
    def done(self) -> bool:
        """Whether nothing closer can be found any more."""
        return all(one.state is _State.ANSWERED for one in self._nearest(1))

    def answered(self, node_id: bytes, records: Iterable[Enr]) -> None:
        """A node that was asked has answered."""
        candidate = self._candidates.get(node_id)
        if candidate is not None and candidate.state is _State.ASKED:
            candidate.state = _State.ANSWERED
            self._hear(records, candidate.depth + 1)

    def failed(self, node_id: bytes) -> None:
        """A node that was asked has not answered."""
        candidate = self._candidates.get(node_id)
        if candidate is not None and candidate.state is _State.ASKED:
            candidate.state = _State.FAILED
            candidate.failures += 1

    def result(self) -> list[Enr]:
        """Return the closest that have answered, the closest first."""
        return [one.enr for one in self._nearest() if one.state is _State.ANSWERED]
