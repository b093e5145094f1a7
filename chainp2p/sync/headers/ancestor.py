"""Where a peer's chain leaves ours: the order of questions that finds it."""

from attrs import define, field

__all__ = ["AncestorSearch"]

#: A floor no further back than this many blocks is asked about at once: its headers are some 300 KB at most.
NEAR = 512


@define
class AncestorSearch:
    """The highest height of our branch that the peer has on its best chain.

    1. Ask at *top* first: nearly always the peer is ahead of us on our own chain, and one question does.
    2. Then at *floor*, if that is near: the answer holds all that follows it, whatever the fork, in one round trip.
    3. Else step back 1, 2, 4, ... blocks: forks are short, and a long one costs logarithmically many questions.
    4. Then bisect between what it has and what it lacks, so that a long step does not fetch what is known.
    5. Never ask below *floor* (the finalized block): a chain that leaves ours there cannot become ours, and a peer that
       lacks the floor itself is not followed.

    :param top: height of our best header.
    :param floor: height of our finalized block, at most *top*.
    Cost: O(log(top - floor)) questions.
    """

    top: int
    floor: int
    _step: int = field(init=False, default=1)
    _has: int | None = field(init=False, default=None)
    _lacks: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._lacks = self.top + 1

    @property
    def found(self) -> int | None:
        """The highest height that the peer is known to have; None: none down to the floor, or not known yet."""
        return self._has

    def ask(self) -> int | None:
        """Return the height to ask about next; None: the search is over."""
        if self._has is not None:
            return None if self._lacks == self._has + 1 else (self._has + self._lacks) // 2
        if self._lacks > self.top:
            return self.top
        if self._lacks <= self.floor:
            return None
        if self._lacks - self.floor <= NEAR:
            return self.floor
        return max(self.floor, self._lacks - self._step)

    def has(self, height: int) -> None:
        """The peer has our block at *height* on its best chain."""
        self._has = height

    def lacks(self, height: int) -> None:
        """It does not, or we have no block at *height* any more."""
        if self._has is None and height <= self.top and self._lacks <= self.top:
            self._step *= 2
        self._lacks = height
