"""The ledger as a source and a target of state sync: Deferreds around :class:`StateSync` and the states kept for it."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from chainp2p.chain.executor import Executor
from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.chain.states import ChunkRefused, ChunkTaken, IStateSource, IStateTarget, StateBegun, StateGoal
from chainp2p.ledger.core import LedgerCore
from chainp2p.ledger.news import News
from chainp2p.ledger.state.accounts import State
from chainp2p.ledger.state.chunks import make_chunk
from chainp2p.ledger.statesync import StateSync, digits_of

__all__ = ["StateDoor"]


@implementer(IStateSource, IStateTarget)
class StateDoor:
    """What :class:`~chainp2p.ledger.chain.Ledger` is besides: chunks are made on the pool's threads, and kept on the
    lane that owns the database."""

    _executor: Executor
    _lane: Executor
    _states: StateSync | None = None

    def _core(self) -> LedgerCore:
        raise NotImplementedError

    def _apply(self, news: News) -> None:
        raise NotImplementedError

    # -- source

    def state_chunk(self, root: bytes, base: bytes, prefix: bytes) -> "Deferred[bytes | None]":
        return Deferred.fromCoroutine(self._state_chunk(root, base, prefix))

    async def _state_chunk(self, root: bytes, base: bytes, prefix: bytes) -> bytes | None:
        core = self._core()
        state: State | None = core.snapshots.get(root)
        if state is None:
            state = await self._lane.run(core.snapshots.make, root, core.chain, core.store)
        if state is None:
            return None
        before = core.snapshots.get(base)
        digits = digits_of(prefix)
        return await self._executor.run(make_chunk, state.trie, digits, None if before is None else before.trie)

    # -- target

    def _run(self, name: str, *args: Any) -> "Deferred[Any]":
        if self._states is None:
            self._states = StateSync(self._core())
        return self._lane.run(getattr(self._states, name), *args)

    def state_goal(self, current: StateGoal | None) -> "Deferred[StateGoal | None]":
        return self._run("goal", current)

    def begin_state(self, goal: StateGoal) -> "Deferred[StateBegun]":
        return self._run("begin", goal)

    def take_chunks(self, chunks: Sequence[tuple[bytes, bytes]]) -> "Deferred[list[ChunkTaken | ChunkRefused]]":
        return self._run("take", chunks)

    def adopt_state(self, goal: StateGoal, block: bytes) -> "Deferred[str]":
        return Deferred.fromCoroutine(self._adopt_state(goal, block))

    async def _adopt_state(self, goal: StateGoal, block: bytes) -> str:
        reason, news = await self._run("adopt", goal, block)
        if news is not None:
            self._apply(news)
        return str(reason)

    def drop_state(self) -> "Deferred[None]":
        return self._run("drop")

    def missing_bodies(self, limit: int) -> "Deferred[list[HeaderInfo]]":
        return self._run("missing", limit)

    def add_bodies(self, raws: Sequence[bytes]) -> "Deferred[list[bool]]":
        return self._run("add_bodies", raws)
