"""What the network asks of a chain whose state can be downloaded: its parts are proved one by one, and opaque here."""

from typing import TYPE_CHECKING

from attrs import frozen
from zope.interface import Interface

from chainp2p.chain.interfaces import HeaderInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.defer import Deferred

__all__ = ["ChunkRefused", "ChunkTaken", "IStateSource", "IStateTarget", "StateBegun", "StateGoal", "StatePart"]


@frozen
class StateGoal:
    """A final block whose state is downloaded; *root* is what every part of that is proved against."""

    block: HeaderInfo
    root: bytes


@frozen
class StatePart:
    """A part of a state to ask for: all entries whose keys begin with *prefix*, one nibble an octet.

    :param base: the root of a state of which that part is here, so that the changes would do; zeros: there is none.
    """

    prefix: bytes
    base: bytes


@frozen
class StateBegun:
    """From where a download goes on.

    :param open: what has to be asked for first.
    :param entries: how many are here in all.
    :param here: prefixes of which all is here, of whatever root it was proved for; none is below another.
    """

    open: tuple[StatePart, ...]
    entries: int
    here: tuple[bytes, ...]


@frozen
class ChunkTaken:
    """A chunk was good and is kept.

    :param open: what has to be asked for in its place, where it does not hold all of its part.
    :param entries: how many are here in all.
    :param whole: it held all of its part. One that did not may open nothing, for what it names can be here.
    """

    open: tuple[StatePart, ...]
    entries: int
    whole: bool


@frozen
class ChunkRefused:
    """A chunk does not prove what was asked for: whoever sent it is at fault."""

    reason: str


class IStateSource(Interface):
    """Optional: a chain whose state can be downloaded in parts. Chunks are opaque to everybody but the chain."""

    def state_chunk(root: bytes, base: bytes, prefix: bytes) -> "Deferred[bytes | None]":
        """The chunk of a :class:`StatePart` of the state of *root*; None: that is not served (any more)."""


class IStateTarget(Interface):
    """Optional: a chain that can begin at the state of a final block instead of running all blocks below it."""

    def state_goal(current: "StateGoal | None") -> "Deferred[StateGoal | None]":
        """What to aim at: *current* as long as it will do, else the newest; None: nothing, blocks are the way."""

    def begin_state(goal: "StateGoal") -> "Deferred[StateBegun]":
        """Aim at *goal* from now on; what was kept before, by an earlier run too, is made use of."""

    def take_chunks(chunks: "Sequence[tuple[bytes, bytes]]") -> "Deferred[list[ChunkTaken | ChunkRefused]]":
        """Check (prefix, chunk) pairs against the goal and keep the good ones, so that no crash loses them."""

    def adopt_state(goal: "StateGoal", block: bytes) -> "Deferred[str]":
        """All parts are here: let the chain go on from *goal*, whose block is *block*. Fires with the reason if that
        cannot be (everything is forgotten then), or with an empty text; HeadChanged enters that block alone."""

    def drop_state() -> "Deferred[None]":
        """Forget all that was kept for a goal."""

    def missing_bodies(limit: int) -> "Deferred[list[HeaderInfo]]":
        """Blocks below where the chain began at a state whose bodies are not stored, oldest first."""

    def add_bodies(raws: "Sequence[bytes]") -> "Deferred[list[bool]]":
        """Store bodies of such blocks; tells of each whether it is one, and has what its header commits to."""
