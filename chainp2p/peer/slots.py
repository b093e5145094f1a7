"""How the inbound slots of a node are shared out, and who gets one."""

from collections.abc import Sequence

from attrs import frozen

from chainp2p.peer.eviction import Candidate, Verdict, choose_victim

__all__ = ["Seat", "Slots"]

#: Links that we open to peers from the book, apart from held ones (interface design: 80 = 64 in + 16 out).
OUTBOUND_SLOTS = 16
#: One inbound slot in 16, so 4 of 64, is kept for peers that are behind us, and as many for ones never seen before: a
#: full network must let in who comes to catch up, and who comes for the first time.
RESERVED_SHARE = 16
#: For so long a peer counts as new (seconds): time to learn other addresses, and the slot is free for the next one.
FRESH_TIME = 300.0


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
    is free, :func:`choose_victim` decides among all that hold a general one. Who is new no more needs a general one
    too: if they are too many when somebody comes for a reserved slot, one of them goes.

    :param inbound: all of them, reserved ones included.
    :param behind: reserved for peers behind us.
    :param fresh: reserved for peers never seen; the first that come hold them, each for :data:`FRESH_TIME`.
    """

    inbound: int
    behind: int
    fresh: int

    @classmethod
    def of(cls, max_peers: int, outbound: int) -> "Slots":
        """Return the slots of a node that may have *max_peers* in all and has so many outbound ones."""
        inbound = max(max_peers - OUTBOUND_SLOTS, min(max_peers, OUTBOUND_SLOTS))
        inbound = max(0, min(inbound, max_peers - outbound))
        return cls(inbound, inbound // RESERVED_SHARE, inbound // RESERVED_SHARE)

    @property
    def general(self) -> int:
        """Slots for anybody."""
        return self.inbound - self.behind - self.fresh

    def _general_ones(self, seats: Sequence[Seat], now: float) -> list[Seat]:
        """Return who of *seats*, oldest first, holds a general slot."""
        young = [seat for seat in seats if seat.fresh and now < seat.candidate.since + FRESH_TIME]
        reserved = {id(seat) for seat in young[: self.fresh]}
        behind = [seat for seat in seats if seat.behind and id(seat) not in reserved]
        reserved |= {id(seat) for seat in behind[: self.behind]}
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
