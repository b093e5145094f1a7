"""Whose work comes next, where peers make us work."""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from attrs import define, field

__all__ = ["Turns"]

K = TypeVar("K")
T = TypeVar("T")


@define
class _Queue(Generic[T]):
    """What waits of one peer, oldest first: (cost, work).

    :param credit: what it may still spend of its turn, and what was too little for its next work in turns before.
    """

    waiting: deque[tuple[float, T]] = field(factory=deque)
    credit: float = 0.0
    on: bool = False


class Turns(Generic[K, T]):
    """Deficit round robin (Shreedhar and Varghese): each peer gets the same share of work, measured by what it costs.

    1. Who has work waiting has a place in a ring. In its turn a peer is credited *quantum*, and its work begins, oldest
       first, for as long as its credit pays for it. What was too little is kept for its next turn: so dear work comes
       too, and nobody gains by making it dear or cheap.
    2. Who has nothing waiting leaves the ring, and its credit is lost: nobody saves up for a flood.
    3. Who comes with work takes the last place of the ring. So it waits for *room* that is under way, and for one
       quantum and one piece of work of each other peer, however much of theirs waits.
    4. At most *room* pieces are under way: what has begun cannot be overtaken.
    5. What waits of a peer that is gone is given back, unbegun; what has begun goes on, and has its room until it ends.

    How much waits of a peer is bounded by who asks. Cost: O(1) for a piece of work that costs at most a quantum; else
    a walk round the ring for each quantum.
    """

    def __init__(self, quantum: float, room: int) -> None:
        self._quantum = quantum
        self._room = room
        self._queues: dict[K, _Queue[T]] = {}
        self._ring: deque[K] = deque()
        #: Pieces that have begun and not ended.
        self.under_way = 0

    def __bool__(self) -> bool:
        """Whether something waits."""
        return bool(self._ring)

    def peers(self) -> list[K]:
        """Whose work waits."""
        return list(self._ring)

    def waiting(self, peer: K) -> int:
        """How many pieces of a peer's work have not begun."""
        queue = self._queues.get(peer)
        return 0 if queue is None else len(queue.waiting)

    def free(self) -> bool:
        """Answer whether a piece of work may begin that is not asked for: nobody waits, and there is room. It has begun
        then."""
        free = not self._ring and self.under_way < self._room
        self.under_way += free
        return free

    def ask(self, peer: K, cost: float, work: T) -> None:
        """*peer* makes us work."""
        queue = self._queues.get(peer)
        if queue is None:
            queue = self._queues[peer] = _Queue()
            self._ring.append(peer)
        queue.waiting.append((cost, work))

    def next(self) -> list[T]:
        """Return what begins now."""
        begun: list[T] = []
        while self._ring and self.under_way < self._room:
            peer = self._ring[0]
            queue = self._queues[peer]
            if not queue.on:
                queue.on = True
                queue.credit += self._quantum
            cost, work = queue.waiting[0]
            if cost > queue.credit:
                queue.on = False
                self._ring.rotate(-1)
                continue
            queue.credit -= cost
            queue.waiting.popleft()
            self.under_way += 1
            begun.append(work)
            if not queue.waiting:
                self._leave(peer)
        return begun

    def ended(self, pieces: int = 1) -> None:
        """So many pieces of work that had begun are over."""
        self.under_way -= pieces

    def withdraw(self, peer: K, unwanted: Callable[[T], bool]) -> list[T]:
        """Forget what is *unwanted* of a peer's work that has not begun, and return it."""
        queue = self._queues.get(peer)
        if queue is None:
            return []
        gone: list[T] = []
        kept: deque[tuple[float, T]] = deque()
        for cost, work in queue.waiting:
            if unwanted(work):
                gone.append(work)
            else:
                kept.append((cost, work))
        queue.waiting = kept
        if not kept:
            self._leave(peer)
        return gone

    def left(self, peer: K) -> list[T]:
        """A peer is gone: return its work that has not begun, and now never does."""
        queue = self._queues.get(peer)
        if queue is None:
            return []
        self._leave(peer)
        return [work for _, work in queue.waiting]

    def _leave(self, peer: K) -> None:
        del self._queues[peer]
        self._ring.remove(peer)
