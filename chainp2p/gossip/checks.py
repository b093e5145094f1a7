"""Expensive checks of what peers send, in fair turns."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from chainp2p.errors import PeerGone, Reason
from chainp2p.gossip.turns import Turns
from chainp2p.peer.tasks import Postponed, begin

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from chainp2p.peer.link import Link

__all__ = ["BLOCK_TURNS", "HEADER", "TRANSACTION_TURNS", "Checks", "block_cost", "body_cost", "transaction_cost"]

#: What checks cost, in microseconds of a core. They are estimates: only how they compare decides whose turn it is.
#: A header: a seal, and a way to the chain's lane and back.
HEADER = 200.0
#: The quantum of a peer's turn, and how many checks are under way at a time. Transactions: ten of them, and five
#: milliseconds with all that an admission brings with it. Blocks: one of 40 KB, and enough that the lane, and the
#: threads that recover what its next block needs, are never idle.
TRANSACTION_TURNS, BLOCK_TURNS = (1_000.0, 32), (20_000.0, 8)
#: Nobody wants to know any more what has waited so long; and how often what waits is looked at. Seconds.
LONGEST, LOOKED_AT = 60.0, 5.0


def transaction_cost(size: int) -> float:
    """A transaction of so many bytes: its signature, its place in the pool, its hash."""
    return 100.0 + size / 200


def body_cost(size: int) -> float:
    """Whether a block of so many bytes is the one that its header speaks of: the hashes of its transactions."""
    return 50.0 + size / 16


def block_cost(size: int) -> float:
    """A block of so many bytes: its header, and 50 for each transfer of 110 bytes."""
    return HEADER + size / 2


class Checks:
    """Checks that begin in the order of :class:`~chainp2p.gossip.turns.Turns`.

    Of checks that are over at once, as those of a pool are, no more than *room* begin in one turn of the reactor: all
    else has its turns between.

    A check whose peer has gone before its turn came does not take place, and one that has waited for
    :data:`LONGEST` neither: ``PeerGone``, in both cases.

    Cost: one Deferred for a check that begins at once, two for one that waits, and one timer for all that wait:
    transactions come by the thousand.

    :param quantum: see :class:`~chainp2p.gossip.turns.Turns`; *room* likewise.
    """

    def __init__(self, reactor: "IReactorTime", quantum: float, room: int) -> None:
        self._reactor = reactor
        self._turns: Turns[Link, Postponed] = Turns(quantum, room)
        self._beginning = False
        self._timer: IDelayedCall | None = None
        #: Checks that were over at once, and when they make room.
        self._over = 0
        self._room: IDelayedCall | None = None

    def waiting(self, link: "Link") -> int:
        """How many checks of a peer have not begun."""
        return self._turns.waiting(link)

    def run(self, link: "Link", cost: float, check: Callable[[], Any]) -> "Deferred[Any]":
        """Call *check* when it is the turn of *link*, and answer what that answers."""

        if self._turns.free():
            outer, self._beginning = self._beginning, True
            done = begin(check, self._ended)
            self._beginning = outer
            return done

        def withdrawn(piece: Postponed) -> None:
            self._turns.withdraw(link, lambda other: other is piece)

        piece = Postponed(check, self._reactor.seconds(), withdrawn)
        self._turns.ask(link, cost, piece)
        self._begin()
        return piece.done

    def left(self, link: "Link") -> None:
        """A peer is gone: what waits of it does not take place."""
        self._missed(self._turns.left(link))

    def stop(self) -> None:
        """Look at what waits no more: all peers are gone."""
        for call in (self._timer, self._room):
            if call is not None:
                call.cancel()
        self._timer = self._room = None

    def _begin(self) -> None:
        """Begin what may."""
        if self._beginning:
            return
        self._beginning = True
        for piece in self._turns.next():
            piece.begin(self._ended)
        self._beginning = False
        self._watch()

    def _ended(self) -> None:
        if not self._beginning:
            self._turns.ended()
            self._begin()
            return
        self._over += 1
        if self._room is None:
            self._room = self._reactor.callLater(0, self._make_room)

    def _make_room(self) -> None:
        """What was over at once makes room for others."""
        self._room, over, self._over = None, self._over, 0
        self._turns.ended(over)
        self._begin()

    def _watch(self) -> None:
        """Look again later if something waits."""
        if self._timer is None and self._turns:
            self._timer = self._reactor.callLater(LOOKED_AT, self._look)

    def _look(self) -> None:
        self._timer = None
        begun = self._reactor.seconds() - LONGEST
        for link in self._turns.peers():
            self._missed(self._turns.withdraw(link, lambda piece: piece.since <= begun))
        self._watch()

    def _missed(self, pieces: Iterable[Postponed]) -> None:
        for piece in pieces:
            piece.miss(PeerGone(Reason.CONNECTION_LOST, "its turn did not come"))
