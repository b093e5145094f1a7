"""A kit by which a chain proves that its state can be downloaded, whatever peers send, in any order, and after a kill.

    StateConformance(source, fresh, wait=clock.wait, reopen=again).check()

Each check raises :exc:`~chainp2p.testing.conformance.Nonconforming`, which says what was promised and what happened.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import define, field

from chainp2p.chain.states import ChunkRefused, ChunkTaken, IStateSource, IStateTarget, StateBegun, StateGoal, StatePart
from chainp2p.testing.conformance import Nonconforming

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

__all__ = ["StateConformance"]

#: A download that takes more chunks than this does not end.
_CHUNKS_MAX = 100_000
#: Parts of a download at which false chunks are tried.
_LIES = 12
#: A root that nobody has, and a part of nothing.
_NO_ROOT, _NO_BASE = b"\xee" * 32, bytes(32)


@define
class StateConformance:
    """Checks ``IStateSource`` and ``IStateTarget`` against each other.

    1. A goal is served, and stays the goal while it is.
    2. The same question has the same answer; for a root that is not served it is None.
    3. A false chunk is refused and changes nothing: cut short, with a bit turned, of another part, empty.
    4. What is opened lies below the part it replaces, and no part is asked for twice: so a download ends.
    5. In whatever order chunks come the result is the same; two targets adopt the same head.
    6. Before all is here, or with another block, nothing is adopted, and the head stays.
    7. What was kept is not downloaded again after the chain was opened anew, which tells what that is.
    8. Bodies below the goal are named from the lowest on, taken if they are right, and refused if not.

    :param source: a started chain with a state that it serves.
    :param fresh: makes a started target that knows all headers of *source*, and no block.
    :param wait: answers what a Deferred fires with.
    :param reopen: opens a target again on what it has on its disk; None: that is not checked.
    """

    source: Any
    fresh: Callable[[], Any]
    wait: Callable[["Deferred[Any]"], Any]
    reopen: Callable[[Any], Any] | None = None
    seed: int = 0
    _chance: Random = field(init=False, factory=lambda: Random(0))

    def check(self) -> None:
        """All checks."""
        self._chance = Random(f"{self.seed}/states")
        self._promise(IStateSource.providedBy(self.source), "the source does not provide IStateSource")
        target = self.fresh()
        self._promise(IStateTarget.providedBy(target), "the target does not provide IStateTarget")
        goal = self._goal(target)
        self._check_answers(goal)
        once = self._download(target, goal, lies=_LIES)
        self._adopt(target, goal)
        self._check_bodies(target, goal)
        other = self.fresh()
        self._download(other, goal, shuffled=True)
        self._adopt(other, goal)
        self._promise(other.head == target.head, "another order of chunks leads to another head")
        self._check_refusals(goal, once)
        if self.reopen is not None:
            self._check_reopened(goal, once)

    def _promise(self, kept: object, broken: str) -> None:
        if not kept:
            raise Nonconforming(f"{broken} (seed {self.seed})")

    # -- the goal, and answers

    def _goal(self, target: Any) -> StateGoal:
        goal = self.wait(target.state_goal(None))
        self._promise(goal is not None, "state_goal: there is no goal, though the source serves a state")
        self._promise(self.wait(target.state_goal(goal)) == goal, "state_goal: it changes without a reason")
        found: StateGoal = goal
        return found

    def _ask(self, goal: StateGoal, part: StatePart) -> bytes:
        chunk = self.wait(self.source.state_chunk(goal.root, part.base, part.prefix))
        self._promise(chunk is not None, f"state_chunk: the goal's part {part.prefix.hex()} is not served")
        found: bytes = chunk
        return found

    def _check_answers(self, goal: StateGoal) -> None:
        part = StatePart(b"", _NO_BASE)
        self._promise(self._ask(goal, part) == self._ask(goal, part), "state_chunk: two answers to one question")
        unknown = self.wait(self.source.state_chunk(_NO_ROOT, _NO_BASE, b""))
        self._promise(unknown is None, "state_chunk: a root that there is not is answered for")

    # -- downloads

    def _begin(self, target: Any, goal: StateGoal, kept: int) -> list[StatePart]:
        begun = self.wait(target.begin_state(goal))
        self._promise(isinstance(begun, StateBegun), f"begin_state: {begun}")
        self._promise(
            bool(begun.here) == bool(kept),
            f"begin_state: {len(begun.here)} parts are here, though {kept} chunks were kept before it was opened anew",
        )
        return list(begun.open)

    def _download(
        self, target: Any, goal: StateGoal, stop: int = -1, lies: int = 0, shuffled: bool = False, kept: int = 0
    ) -> int:
        """Download all, or *stop* chunks, where so many were *kept* before; answer how many it took."""
        todo, asked, count = self._begin(target, goal, kept), set[bytes](), 0
        chunks: list[bytes] = []
        while todo and count != stop:
            part = todo.pop(self._chance.randrange(len(todo)) if shuffled else 0)
            self._promise(part.prefix not in asked, f"part {part.prefix.hex()} is asked for twice")
            self._promise(count < _CHUNKS_MAX, f"after {count} chunks it has not ended")
            asked.add(part.prefix)
            chunk = self._ask(goal, part)
            if count < lies:
                self._lie(target, part, chunk, chunks)
            taken = self._take(target, part, chunk)
            self._promise(isinstance(taken, ChunkTaken), f"take_chunks: a good chunk is refused: {taken}")
            self._promise(not taken.whole or not taken.open, "take_chunks: a chunk that held all opens more")
            for opened in taken.open:
                below = opened.prefix.startswith(part.prefix) and len(opened.prefix) > len(part.prefix)
                self._promise(below, f"take_chunks: {opened.prefix.hex()} is not below {part.prefix.hex()}")
            todo[:0] = taken.open
            chunks.append(chunk)
            count += 1
        return count

    def _take(self, target: Any, part: StatePart, chunk: bytes) -> Any:
        (result,) = self.wait(target.take_chunks([(part.prefix, chunk)]))
        return result

    def _lie(self, target: Any, part: StatePart, chunk: bytes, others: list[bytes]) -> None:
        at = self._chance.randrange(8 * len(chunk))
        turned = bytearray(chunk)
        turned[at // 8] ^= 1 << at % 8
        false = {"empty": b"", "cut short": chunk[:-1], "with a bit turned": bytes(turned)}
        if others and others[-1] != chunk:
            false["of another part"] = others[-1]
        for what, raw in false.items():
            result = self._take(target, part, raw)
            self._promise(isinstance(result, ChunkRefused), f"take_chunks: a chunk {what} is taken")
            self._promise(result.reason, f"take_chunks: a chunk {what} is refused without a reason")

    # -- the end of it

    def _adopt(self, target: Any, goal: StateGoal) -> None:
        reason = self.wait(target.adopt_state(goal, self._block(goal)))
        self._promise(reason == "", f"adopt_state: all is here, and it says {reason!r}")
        self._promise(target.head == goal.block, f"adopt_state: the head is {target.head}")
        self._promise(target.finalized == goal.block, f"adopt_state: final is {target.finalized}")

    def _block(self, goal: StateGoal) -> bytes:
        raw = self.wait(self.source.block(goal.block.hash))
        self._promise(raw is not None, "block: the source has not the goal's block")
        found: bytes = raw
        return found

    def _check_refusals(self, goal: StateGoal, once: int) -> None:
        parent = self.wait(self.source.block(goal.block.parent))
        for what, stop, block in (
            ("before all is here", once - 1, self._block(goal)),
            ("with another block", -1, parent),
        ):
            target = self.fresh()
            before = target.head
            self._download(target, goal, stop)
            self._promise(self.wait(target.adopt_state(goal, block)), f"adopt_state: the goal is adopted {what}")
            self._promise(target.head == before, f"adopt_state: the head moved {what}")
            self.wait(target.drop_state())
            self.wait(target.drop_state())

    def _check_reopened(self, goal: StateGoal, once: int) -> None:
        assert self.reopen is not None
        target = self.fresh()
        kept = once - once // 4
        self._download(target, goal, kept)
        target = self.reopen(target)
        more = self._download(target, goal, kept=kept)
        self._promise(kept <= 1 or more < once, f"after it was opened anew {more} of {once} chunks are asked for again")
        self._adopt(target, goal)

    def _check_bodies(self, target: Any, goal: StateGoal) -> None:
        missing = self.wait(target.missing_bodies(8))
        heights = [info.height for info in missing]
        self._promise(heights == sorted(heights) and len(heights) <= 8, f"missing_bodies: {heights}")
        self._promise(all(height <= goal.block.height for height in heights), f"missing_bodies: {heights}")
        raws = [self.wait(self.source.block(info.hash)) for info in missing]
        if not raws:
            return
        self._promise(self.wait(target.add_bodies([b"\x00"])) == [False], "add_bodies: rubbish is taken")
        self._promise(all(self.wait(target.add_bodies(raws))), "add_bodies: a right body is refused")
        again = self.wait(target.missing_bodies(8))
        self._promise(not {one.hash for one in again} & {one.hash for one in missing}, "add_bodies: it keeps none")
