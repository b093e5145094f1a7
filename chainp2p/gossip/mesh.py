"""Which of many peers get new blocks at once: a mesh, in which each link is one for both of its ends."""

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Generic, TypeVar

from attrs import define, frozen

if TYPE_CHECKING:
    import random

__all__ = ["BACKOFF", "MESHED_ABOVE", "Asked", "Beat", "Mesh"]

#: With at most so many peers all are told at once: a mesh would save little (chain design, "Gossip").
MESHED_ABOVE = 20
#: Members: as many as are aimed at, and at least and at most so many, between which nothing is done (chain design).
#: Random graphs in which each has 5 neighbours hold together; each member more costs the uplink one more copy.
DEGREE, LOW, HIGH = 6, 5, 12
#: Of those that stay when some are put out: dialled ones, and those that brought a block first.
DIALLED, FIRST = 2, 4
#: Who was put out, or has left, is not asked in for so long, and may not ask (seconds; gossipsub v1.1: a minute).
BACKOFF = 60.0
#: Both ends count from another moment, since messages travel and wait: the other may ask so much sooner (seconds).
GRACE = 10.0
#: A peer may ask to be left alone for longer, up to this (seconds).
LONGEST_BACKOFF = 3_600.0
#: Times that a peer asks in when it may not, after each time that it was told so, before it is taken for an attacker.
#: The first may have crossed our word on its way.
CROSSED, FORGIVEN = 1, 4

K = TypeVar("K")


class Asked(Enum):
    """What becomes of one that asks in."""

    TAKEN = "taken"
    REFUSED = "refused"  #: there is no room, or its question crossed our word
    EARLY = "early"  #: it was told when it may ask, and did not wait
    HOSTILE = "hostile"  #: time and again


@frozen
class Beat(Generic[K]):
    """Whom to tell that it is a member now, and whom that it is none any more."""

    asked: tuple[K, ...] = ()
    put_out: tuple[K, ...] = ()


@define(eq=False)
class _Peer:
    """
    :param dialled: we chose it.
    :param first_at: when it last brought a block before all others.
    :param closed_until: we do not ask it in before that.
    :param told_at: when either end put the other out; from then on it may not ask for a while.
    :param early: how often it asked nevertheless.
    """

    dialled: bool
    first_at: float = float("-inf")
    closed_until: float = float("-inf")
    told_at: float = float("-inf")
    early: int = 0


class Mesh(Generic[K]):
    """Keeps some of the peers as members (after gossipsub v1.1).

    1. On each beat: with fewer than :data:`LOW` members others are asked in, with more than :data:`HIGH` some are put
       out, both until there are :data:`DEGREE`. In between nothing is done: each change costs the other end a place.
    2. Who is asked in is drawn by lot: the nearest would make a network of clumps. Those that have been useless of
       late come last.
    3. Who asks in is taken while there are fewer than :data:`HIGH`, and always if we dialled it: an attacker can
       connect to us and fill the mesh, but does not choose whom we dial. For the same reason there are always
       :data:`DIALLED` dialled ones, if there are as many peers.
    4. When some are put out, dialled ones and those that were first with a block most lately stay; the rest is lot.
    5. Who brought a block first without being a member is asked in at the next beat: outsiders are told late, so a mesh
       that they overtake is slow, or keeps silent.
    6. After one end has put out the other neither asks for :data:`BACKOFF`: else both would do so on each beat. A peer
       that does is refused; a question that crossed our word is no fault, the next are, and more than
       :data:`FORGIVEN` are an attack. Each refusal begins the time anew.
    7. Up to :data:`MESHED_ABOVE` peers the mesh sleeps: all are treated as members, whoever asks is taken, nobody is
       asked in or put out. Members are kept, so that a peer more or less changes nothing.

    What a peer did is forgotten when it leaves: to come again costs it a handshake, and wins it one question.
    Cost: O(peers) a beat.

    :param chance: draws the lots.
    :param useless: tells who has been of little use of late.
    """

    def __init__(self, chance: "random.Random", useless: Callable[[K], bool] = lambda _: False) -> None:
        self._chance = chance
        self._useless = useless
        self._peers: dict[K, _Peer] = {}
        self._members: dict[K, None] = {}
        self._wanted: dict[K, None] = {}

    @property
    def awake(self) -> bool:
        """Whether there are so many peers that only members are told at once."""
        return len(self._peers) > MESHED_ABOVE

    @property
    def members(self) -> tuple[K, ...]:
        """Those in it, oldest first."""
        return tuple(self._members)

    def __contains__(self, peer: K) -> bool:
        return peer in self._members

    def joined(self, peer: K, dialled: bool) -> None:
        """A peer that knows what a mesh is."""
        self._peers[peer] = _Peer(dialled)

    def left(self, peer: K) -> None:
        """It is gone."""
        self._peers.pop(peer, None)
        self._members.pop(peer, None)
        self._wanted.pop(peer, None)

    def first(self, peer: K, now: float) -> None:
        """*peer* brought a good block before all others."""
        entry = self._peers.get(peer)
        if entry is not None:
            entry.first_at = now
            if self.awake and peer not in self._members:
                self._wanted[peer] = None

    def asked(self, peer: K, now: float) -> Asked:
        """*peer* asks in, and takes itself for a member unless it is told otherwise."""
        entry = self._peers.get(peer)
        if entry is None or peer in self._members:
            return Asked.TAKEN
        if now < entry.told_at + BACKOFF - GRACE:
            entry.early += 1
            self._close(entry, BACKOFF, now)
            if entry.early <= CROSSED:
                return Asked.REFUSED
            return Asked.EARLY if entry.early <= FORGIVEN else Asked.HOSTILE
        if self.awake and len(self._members) >= HIGH and not entry.dialled:
            self._refuse(entry, now)
            return Asked.REFUSED
        self._members[peer] = None
        self._wanted.pop(peer, None)
        return Asked.TAKEN

    def put_out(self, peer: K, seconds: float, now: float) -> None:
        """*peer* does not want to be a member, for so long."""
        entry = self._peers.get(peer)
        if entry is None:
            return
        self._members.pop(peer, None)
        if now >= entry.told_at + BACKOFF - GRACE:
            entry.early = CROSSED  # its own word, which no question of its own can cross
        self._close(entry, min(max(seconds, BACKOFF), LONGEST_BACKOFF), now)

    def _refuse(self, entry: _Peer, now: float) -> None:
        entry.early = 0
        self._close(entry, BACKOFF, now)

    def _close(self, entry: _Peer, seconds: float, now: float) -> None:
        entry.told_at = now
        entry.closed_until = max(entry.closed_until, now + seconds)

    # beats

    def beat(self, now: float) -> "Beat[K]":
        """Return what is to be changed now, as changed: once a second."""
        if not self.awake:
            return Beat()
        put_out = self._put_some_out(now) if len(self._members) > HIGH else []
        asked = [peer for peer in self._wanted if self._open(peer, now)][: HIGH - len(self._members)]
        self._wanted.clear()
        free = self._drawn(now, asked)
        dialled = [peer for peer in free if self._peers[peer].dialled]
        here = sum(self._peers[peer].dialled for peer in (*self._members, *asked))
        asked += dialled[: max(0, DIALLED - here)]
        total = len(self._members) + len(asked)
        if total < LOW:
            asked += [peer for peer in free if peer not in asked][: DEGREE - total]
        self._members.update(dict.fromkeys(asked))
        return Beat(tuple(asked), tuple(put_out))

    def _open(self, peer: K, now: float) -> bool:
        return peer not in self._members and now >= self._peers[peer].closed_until

    def _drawn(self, now: float, without: list[K]) -> list[K]:
        """All that may be asked, in order of lot, useless ones last."""
        free = [peer for peer in self._peers if self._open(peer, now) and peer not in without]
        self._chance.shuffle(free)
        return sorted(free, key=self._useless)

    def _put_some_out(self, now: float) -> list[K]:
        members = list(self._members)
        self._chance.shuffle(members)
        members.sort(key=lambda peer: (self._useless(peer), -self._peers[peer].first_at))
        first = [peer for peer in members[:FIRST] if self._peers[peer].first_at > float("-inf")]
        dialled = [peer for peer in members if self._peers[peer].dialled][:DIALLED]
        kept = list(dict.fromkeys([*dialled, *first]))[:DEGREE]
        rest = [peer for peer in members if peer not in kept]
        out = rest[DEGREE - len(kept) :]
        for peer in out:
            del self._members[peer]
            self._refuse(self._peers[peer], now)
        return out
