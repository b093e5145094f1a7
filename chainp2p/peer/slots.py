"""How the inbound slots of a node are shared out, and who gets one."""

from collections.abc import Sequence

from attrs import frozen

from chainp2p.peer.eviction import Candidate, Verdict, choose_victim

__all__ = ["Seat", "Slots", "outbound_slots"]

#: Links that we open to peers from the book, apart from held ones (interface design: 80 = 64 in + 16 out).
OUTBOUND_SLOTS = 16
#: Of few peers no more than a third are outbound (go-ethereum, ``defaultDialRatio``): every outbound link takes an
#: inbound slot of somebody, and a network in which all want as many as all have takes in nobody else.
OUTBOUND_SHARE = 3
#: One inbound slot in 16, so 4 of 64, is kept for peers that are behind us, and as many for ones never seen before: a
#: full network must let in who comes to catch up, and who comes for the first time. Of so few as 4 one is kept for who
#: is behind, of 8 one more for who comes for the first time.
RESERVED_SHARE, BEHIND_FROM, FRESH_FROM = 16, 4, 8
#: For so long a peer counts as new (seconds): time to learn other addresses, and the slot is free for the next one.
FRESH_TIME = 300.0
#: For so long a peer counts as behind (seconds): by then it has learnt whom else to ask, and most have caught up.
BEHIND_TIME = 60.0


def outbound_slots(max_peers: int) -> int:
    """Return how many links a node that may have *max_peers* in all opens to peers of the book."""
    return min(OUTBOUND_SLOTS, -(-max_peers // OUTBOUND_SHARE))


@frozen
class Seat:
    """An inbound peer that needs a slot, here or at the door.

    :param behind: its rank was below ours when it came.
    :param fresh: we had never had a link with its key.
    """

    candidate: Candidate
    behind: bool = False
    fresh: bool = False


@frozen
class Slots:
    """The inbound slots: general ones, some for peers that are behind us, some for peers never seen.

    A peer takes a reserved slot if it may and if one is free, else a general one. When it needs a general one and none
    is free, :func:`choose_victim` decides among all that hold a general one. Who is new or behind no more needs a
    general one too: if they are too many when somebody comes for a reserved slot, one of them goes.

    :param inbound: all of them, reserved ones included.
    :param behind: reserved for peers behind us; the first that come hold them, each for :data:`BEHIND_TIME`.
    :param fresh: reserved for peers never seen, likewise for :data:`FRESH_TIME`.
    """

    inbound: int
    behind: int
    fresh: int

    @classmethod
    def of(cls, max_peers: int, outbound: int) -> "Slots":
        """Return the slots of a node that may have *max_peers* in all and has so many outbound ones."""
        inbound = max(max_peers - OUTBOUND_SLOTS, min(max_peers, OUTBOUND_SLOTS))
        inbound = max(0, min(inbound, max_peers - outbound))
        share = inbound // RESERVED_SHARE
        return cls(inbound, max(share, int(inbound >= BEHIND_FROM)), max(share, int(inbound >= FRESH_FROM)))

    @property
    def general(self) -> int:
        """Slots for anybody."""
        return self.inbound - self.behind - self.fresh

    def _general_ones(self, seats: Sequence[Seat], now: float) -> list[Seat]:
        """Return who of *seats*, oldest first, holds a general slot."""
        fresh = [seat for seat in seats if seat.fresh and now < seat.candidate.since + FRESH_TIME]
        reserved = {id(seat) for seat in fresh[: self.fresh]}
        behind = [seat for seat in seats if seat.behind and now < seat.candidate.since + BEHIND_TIME]
        unreserved = [id(seat) for seat in behind if id(seat) not in reserved]
        reserved.update(unreserved[: self.behind])
        return [seat for seat in seats if id(seat) not in reserved]

    def judge(self, seats: Sequence[Seat], newcomer: Seat, now: float, secret: bytes) -> Verdict | None:
        """Say who goes for *newcomer* to stay, or that it does; None: there is a slot for all.

        :param seats: the inbound peers that need slots.
        """
        everyone = [*sorted(seats, key=lambda seat: seat.candidate.since), newcomer]
        general = self._general_ones(everyone, now)
        if len(general) <= self.general:
            return None
        peers = [seat.candidate for seat in general if seat is not newcomer]
        rival = newcomer.candidate if len(peers) < len(general) else None
        return choose_victim(peers, rival, self.inbound, secret)
