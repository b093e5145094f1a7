"""State sync: the state of a final block, in parts from many peers, in place of all blocks below it."""

from collections.abc import Callable
from typing import Any

from attrs import define, evolve

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.chain.states import ChunkTaken, IStateTarget, StateBegun, StateGoal
from chainp2p.errors import PeerFault, Reason, RefusalReason, RequestRefused, RequestTimedOut
from chainp2p.peer.link import Link
from chainp2p.sync.asking import UNANSWERED
from chainp2p.sync.blocks.sources import Source
from chainp2p.sync.claims import PATIENCE_MAX
from chainp2p.sync.requests import Requests
from chainp2p.sync.shared import TICK, Shared
from chainp2p.sync.state import StateProgress, SyncState, Waiting, short
from chainp2p.sync.states.plan import StatePlan
from chainp2p.sync.states.servers import PartAsk
from chainp2p.wire.messages import GetBlocks, GetStateChunk, NotFound

__all__ = ["StateFetch"]

#: Headers are all known when no peer claims more, or when none has come for so long. Seconds.
HEADERS_REST = 5.0
#: When nobody serves the state that is aimed at, so long after the last chunk blocks are the way. Seconds.
GIVE_UP = 300.0
#: The chain is given so many chunks at a time, in one commit: they take a seventh of a second, in which nothing is seen
#: of how far it is.
TAKE = 2


@define(eq=False)
class _Come:
    """A chunk that waits for the chain."""

    link: Link
    prefix: bytes
    chunk: bytes


class StateFetch:
    """Carries out what the :class:`~chainp2p.sync.states.plan.StatePlan` says, until the chain has its state.

    ==========================================  ==============================================================
    when                                        then
    ==========================================  ==============================================================
    headers are still coming                    wait, and fetch no blocks meanwhile
    the chain names no goal                     over: blocks are the way
    the chain names another goal (the branch    the plan begins anew at its root; what is here is compared by
    changed, the goal is old)                   hash, and only what differs is fetched
    all peers lack the goal                     the chain is asked for the newest one
    they do for :data:`GIVE_UP`                 over: blocks are the way
    a chunk is not good                         its sender loses the link; it is asked of another
    state after state passes, and no less is    it goes on, and says that changes outrun the lines, how fast both
    missing than before                         are, and what helps
    the goal's block is not here                it is fetched beside the state, so that nothing waits for it
    nothing is missing                          the chain adopts both: over
    ==========================================  ==============================================================

    Every request has a deadline, so that :meth:`step` always goes on.

    :param wanted: whether the state should be downloaded at all; if not, what an earlier run left is dropped.
    """

    def __init__(self, shared: Shared, ring: Callable[[], None], wanted: bool) -> None:
        self._shared = shared
        self._ring = ring
        self._requests: Requests[PartAsk[Link]] = Requests(shared, self._answered, self._unanswered, self.left, ring)
        self._wanted = wanted
        #: It has nothing (more) to do.
        self.over = not IStateTarget.providedBy(shared.chain)
        self.goal: StateGoal | None = None
        self.plan: StatePlan[Link] = StatePlan()
        self.entries = 0
        self._come: list[_Come] = []
        self._taking = False
        self._round = 0
        self._best: HeaderInfo | None = None
        self._best_at = 0.0
        self._useful_at = 0.0
        self._refused: set[Link] = set()
        self._block: bytes | None = None
        self._fetching = False

    @property
    def busy(self) -> bool:
        """Whether a state is on its way here."""
        return self.goal is not None and not self.over

    def left(self, link: Link) -> None:
        """It is gone."""
        self._refused.discard(link)
        self.plan.forget(link)

    def stop(self) -> None:
        """Close all requests."""
        self._requests.stop()

    async def step(self) -> float | None:
        """Do what can be done now; answer after how many seconds to look again, None: it is over, blocks may come."""
        if self.over:
            return None
        if not self._wanted:
            await self._shared.chain.drop_state()
            self.over = True
            return None
        await self._aim()
        if self.over:
            return None
        if self.goal is None:
            return TICK
        now = self._shared.seconds()
        while (ask := self.plan.choose(now, self._sources())) is not None:
            self._send(ask)
        if self._come and not self._taking:
            self._taking = True
            self._shared.spawn(self._take())
        if self._block is None and not self._fetching:
            self._fetching = True
            self._shared.spawn(self._bring_block(self.goal.block))
        if self.plan.complete and not self._taking and self._block is not None:
            await self._adopt(self.goal, self._block)
        return None if self.over else TICK

    def _sources(self) -> list[Source[Link]]:
        """Who may be asked now."""
        return [one for one in self._shared.claims.sources(self._shared.seconds()) if one.key not in self._refused]

    # the goal

    async def _aim(self) -> None:
        now, best, goal = self._shared.seconds(), self._shared.chain.best_header, self.goal
        if best != self._best:
            self._best, self._best_at = best, now
        if self._taking:
            return
        if goal is None:
            coming = self._shared.claims.highest > best.height and now - self._best_at < HEADERS_REST
            if best.height == 0 or coming:
                return
        lost = self.plan.nobody(now, self._sources())
        if lost and now - self._useful_at > GIVE_UP:
            self._shared.log.warn(
                "nobody serves the state of block {height}; blocks are fetched", height=goal and goal.block.height
            )
            await self._end()
            return
        newer = await self._shared.chain.state_goal(None if lost else goal)
        if newer is None:
            await self._end()
        elif newer != goal:
            await self._begin(newer)

    async def _begin(self, goal: StateGoal) -> None:
        block = goal.block
        self._shared.log.info(
            "downloading the state of block {height} {hash}", height=block.height, hash=block.hash.hex()
        )
        self._round += 1
        begun: StateBegun = await self._shared.chain.begin_state(goal)
        self.goal, self.entries, self._block = goal, begun.entries, None
        self._useful_at = self._shared.seconds()
        self._come.clear()
        self.plan.begin(begun, self._useful_at, block.height, self._shared.chain.best_header.height)
        outrun = self.plan.outrun(self.entries, self._useful_at)
        if outrun is not None:
            self._shared.log.warn("{why}", why=outrun.text())

    async def _end(self) -> None:
        self.over, self.goal = True, None
        self.stop()
        await self._shared.chain.drop_state()
        self._ring()

    # asking

    def _send(self, ask: PartAsk[Link]) -> None:
        assert self.goal is not None
        message = GetStateChunk(self.goal.root, ask.part.base, ask.part.prefix)
        self._requests.send(ask, message, ask.until - self._shared.seconds())

    def _answered(self, ask: PartAsk[Link], reply: Any) -> None:
        now = self._shared.seconds()
        if isinstance(reply, NotFound):
            self.plan.lacked(ask, now)
        elif self.plan.arrived(ask, len(reply.chunk), now):
            self._useful_at = now
            self._come.append(_Come(ask.peer, ask.part.prefix, reply.chunk))

    def _unanswered(self, ask: PartAsk[Link], error: Exception) -> None:
        if isinstance(error, RequestRefused) and error.reason == RefusalReason.UNSUPPORTED:
            self._refused.add(ask.peer)
            self.plan.closed(ask, failed=False)
            return
        self.plan.closed(ask, failed=isinstance(error, RequestTimedOut))
        self._requests.failed(ask.peer, error)

    # to the chain

    async def _take(self) -> None:
        come, self._come = self._come[:TAKE], self._come[TAKE:]
        current, since, results = self._round, self._shared.seconds(), []
        try:
            results = await self._shared.chain.take_chunks([(one.prefix, one.chunk) for one in come])
        finally:
            self._taking = False
            now = self._shared.seconds()
            for one, result in zip(come, results, strict=False):
                if self._round != current:
                    break
                if isinstance(result, ChunkTaken):
                    self.entries = result.entries
                    self.plan.kept(one.prefix, result, len(one.chunk), now, (now - since) / len(come))
                else:
                    self.plan.refused(one.prefix, one.link)
                    self._requests.failed(one.link, PeerFault(Reason.MISBEHAVED, f"state chunk: {result.reason}"))
            if not results:  # ours failed
                for one in come:
                    self.plan.refused(one.prefix, one.link)
            self._ring()

    async def _adopt(self, goal: StateGoal, block: bytes) -> None:
        reason = await self._shared.chain.adopt_state(goal, block)
        if reason:
            self._shared.log.warn(
                "the state of block {height} is not adopted: {reason}", height=goal.block.height, reason=reason
            )
            self.goal, self._block = None, None
            return
        self._shared.log.info(
            "the chain goes on from block {height}: {count} accounts", height=goal.block.height, count=self.entries
        )
        self.over, self.goal = True, None

    async def _bring_block(self, block: HeaderInfo) -> None:
        try:
            raw = await self._fetch_block(block)
        finally:
            self._fetching = False
        if raw is not None and self.goal is not None and self.goal.block == block:
            self._block = raw
            self._ring()

    async def _fetch_block(self, block: HeaderInfo) -> bytes | None:
        for source in self._sources():
            try:
                reply = await source.key.request(GetBlocks(block.hash, 1), PATIENCE_MAX)
                if isinstance(reply, NotFound) or not reply.blocks:
                    continue
                if self._shared.asking.hashes(reply.blocks[:1]) == [block.hash]:
                    return bytes(reply.blocks[0])
                raise PeerFault(Reason.MISBEHAVED, "another block than the one asked for")
            except UNANSWERED as error:
                self._requests.failed(source.key, error)
        return None

    # what it says

    def progress(self) -> StateProgress | None:
        """How far it is; None: no state is on its way."""
        if self.goal is None or self.over:
            return None
        plan, now = self.plan, self._shared.seconds()
        block = self.goal.block
        return StateProgress(block.height, block.hash, plan.share, plan.chunks, self.entries, plan.bytes, plan.eta(now))

    def waits(self) -> list[Waiting]:
        """What is awaited."""
        if self.goal is None or self.over:
            return []
        now, block = self._shared.seconds(), self.goal.block
        waits = [
            Waiting(
                "state",
                ask.peer.peer_id,
                block.height,
                block.hash,
                1,
                now - ask.since,
                max(0.0, ask.until - now),
                "others are asked meanwhile" if ask.loose else "another peer is asked",
            )
            for ask in self.plan.asks()
        ]
        if self._taking:
            waits.insert(
                1 if waits else 0, Waiting("chain", None, block.height, block.hash, 1, 0.0, None, "it keeps more")
            )
        if not waits:
            waits.append(
                Waiting(
                    "peers",
                    None,
                    block.height,
                    block.hash,
                    1,
                    max(0.0, now - self._useful_at),
                    None,
                    "it is asked for again",
                )
            )
        return waits

    def explained(self, state: SyncState) -> SyncState:
        """What sync says of itself, with what is to be said of this."""
        text = self._text()
        if not text:
            return state
        progress, waits = self.progress(), self.waits()
        target = waits[0].peer if waits else None
        eta = None if progress is None else progress.eta
        return evolve(state, text=text, target=target, eta=eta, waits=(*waits, *state.waits), state=progress)

    def _text(self) -> str:
        """Say it in words; empty: there is nothing to say."""
        progress = self.progress()
        if progress is None:
            coming = not self.over and self._wanted and self._shared.chain.best_header.height > 0
            return "the last headers are awaited, then the state of a final block is asked for" if coming else ""
        peers = {short(ask.peer.peer_id) for ask in self.plan.asks()}
        words = (
            f"the state of block {progress.height} {short(progress.hash)}: {100 * progress.share:.1f} % of the keys, "
            f"{progress.entries} accounts in {progress.chunks} chunks"
        )
        outrun = self.plan.outrun(self.entries, self._shared.seconds())
        if outrun is not None:
            words += f"; {outrun.text()}"
        asked = len(self.plan.asks())
        if asked:
            return f"{words}; {asked} more are asked of {len(peers)} peers"
        return f"{words}; {'the chain checks more' if self._taking else 'no peer has it now'}"
