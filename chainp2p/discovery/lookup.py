"""An iterative lookup as a value that is polled: whom to ask next, and when it is over."""

from bisect import insort
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
#: Questions of one lookup. Where 30 % of 1,000 nodes have just left it takes 60 or so; whoever makes up ever closer ids
#: gets no more than these. Each has its time, so the lookup has one, too: five minutes at most.
QUESTIONS_MAX = 128


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


def _distance(candidate: _Candidate) -> int:
    return candidate.distance


class Lookup:
    """The closest nodes to a target.

    1. The closest that have not been asked are asked, :data:`ALPHA` at a time.
    2. It is over when the sixteen closest that have not failed have all answered: one that is further away knows less
       of the target's neighbourhood than they do.
    3. A node that does not answer is passed over and, if it is still among the closest at the end, asked once more:
       datagrams get lost, and the closest of all may be the one.
    4. Few of one address, one subnet and one netgroup are asked in all, as few as may stand in a bucket, whether they
       answer or not: who makes up ids near the target at a few addresses gets no more of the result than that.

    5. It is over after :data:`QUESTIONS_MAX` questions, whatever has been found.

    Cost: a look at the closest twenty or so for each answer, and O(log n) for each record heard of.

    :param seeds: what our own table knows closest to the target.
    """

    def __init__(self, target: bytes, own_id: bytes, seeds: Iterable[Enr]) -> None:
        self.target = target
        self._target = int.from_bytes(target, "big")
        self._own_id = own_id
        self._candidates: dict[bytes, _Candidate] = {}
        #: The same, the closest first.
        self._order: list[_Candidate] = []
        self._asked = Crowding(IN_BUCKET)
        self._open = 0
        self._questions = 0
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
                known = self._candidates[enr.peer_id] = _Candidate(enr, distance, depth, _ip(enr))
                insort(self._order, known, key=_distance)
            elif known.state is _State.HEARD and enr.seq > known.enr.seq:
                known.enr, known.ip = enr, _ip(enr)
        if len(self._candidates) > CANDIDATES_MAX:
            self._thin()

    def _thin(self) -> None:
        """Keep the closest of those that nobody has asked."""
        kept: list[_Candidate] = []
        heard, kin = 0, Crowding(IN_BUCKET)
        for one in self._order:
            if one.state is _State.HEARD:
                if heard == CANDIDATES_MAX // 2 or not kin.fits(one.ip):
                    del self._candidates[one.enr.peer_id]
                    continue
                heard += 1
                kin.add(one.ip)
            kept.append(one)
        self._order = kept

    def _nearest(self, failures: int = 0) -> list[_Candidate]:
        """The closest that have not failed and may be asked; with *failures* 1 those with one failure count, too."""
        near: list[_Candidate] = []
        for one in self._order:
            if one.state is _State.FAILED and one.failures > failures:
                continue
            if one.state is _State.HEARD and not self._asked.fits(one.ip):
                continue
            near.append(one)
            if len(near) == BUCKET_SIZE:
                break
        return near

    def poll(self) -> list[Enr]:
        """Return whom to ask now; they count as asked."""
        room = min(ALPHA - self._open, QUESTIONS_MAX - self._questions)
        if room <= 0:
            return []
        open = [one for one in self._nearest() if one.state is _State.HEARD]
        if not open and not self._open:
            open = [one for one in self._nearest(1) if one.state is _State.FAILED]
        chosen: list[Enr] = []
        for one in open:
            if len(chosen) == room:
                break
            if one.state is _State.HEARD:
                if not self._asked.fits(one.ip):
                    continue  # another one has just taken the room of its kin
                self._asked.add(one.ip)
            one.state = _State.ASKED
            self.rounds = max(self.rounds, one.depth)
            chosen.append(one.enr)
        self._open += len(chosen)
        self._questions += len(chosen)
        return chosen

    @property
    def done(self) -> bool:
        """Whether nothing closer can be found any more, or enough have been asked."""
        if self._questions == QUESTIONS_MAX and not self._open:
            return True
        return all(one.state is _State.ANSWERED for one in self._nearest(1))

    def answered(self, node_id: bytes, records: Iterable[Enr]) -> None:
        """A node that was asked has answered."""
        candidate = self._candidates.get(node_id)
        if candidate is not None and candidate.state is _State.ASKED:
            candidate.state = _State.ANSWERED
            self._open -= 1
            self._hear(records, candidate.depth + 1)

    def failed(self, node_id: bytes) -> None:
        """A node that was asked has not answered."""
        candidate = self._candidates.get(node_id)
        if candidate is not None and candidate.state is _State.ASKED:
            candidate.state = _State.FAILED
            self._open -= 1
            candidate.failures += 1

    def result(self) -> list[Enr]:
        """Return the closest that have answered, the closest first."""
        return [one.enr for one in self._nearest() if one.state is _State.ANSWERED]
