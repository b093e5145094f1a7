"""The blocks of known headers: from many peers at once, handed to the chain in order while others are on their way."""

from collections.abc import Callable, Sequence
from typing import Any

from chainp2p.chain.interfaces import (
    AlreadyKnown,
    Connected,
    Fault,
    HeaderInfo,
    Invalid,
    NotYet,
    Stored,
    Verdict,
)
from chainp2p.errors import PeerFault, Reason, RequestTimedOut, StorageError
from chainp2p.peer.link import Credit, Link
from chainp2p.sync.blocks.branch import other_branch
from chainp2p.sync.blocks.sources import OVERDUE, Ask, Source
from chainp2p.sync.blocks.window import WINDOW, Window
from chainp2p.sync.claims import PATIENCE_MAX
from chainp2p.sync.requests import Requests
from chainp2p.sync.shared import TICK, Shared
from chainp2p.wire.messages import GetBlocks, NotFound

__all__ = ["BlockFetch"]

#: When the disk did not take what had to be stored, the chain is given nothing for so long: a try may cost it a second.
#: Seconds.
STORAGE_REST = 3.0
#: Blocks that are known to be missing ahead of time, so that the chain is asked seldom.
PLAN = 2 * WINDOW
#: The chain is given so many blocks, or bytes of them, at a time, and so many times before it has judged the first: it
#: reads some while it connects another.
SUBMIT_BLOCKS, SUBMIT_BYTES, SUBMITS = 64, 8 * 1024 * 1024, 4
#: A single missing block that gossip is bringing is not asked for before this (seconds): gossip needs a round trip or
#: two, and a twentieth of the bytes.
GOSSIP_FIRST = 1.0

_STORED = (Connected, Stored, AlreadyKnown)


class BlockFetch:
    """Carries out what the :class:`~chainp2p.sync.blocks.window.Window` says.

    1. Asking, and handing over what has come, go on side by side; a chain that is slow holds the window back.
    2. A body that does not match its header costs its sender the link and is fetched elsewhere; a block that fails when
       it is connected costs nobody on the wire: its producer made it, and the chain leaves that branch. Not having a
       block, and keeping others waiting, are no offence.
    3. If nobody has the blocks of the best header (who had them is gone), the blocks of the best branch that somebody
       serves are taken, if it wins over our head: a branch without bodies must not keep us from one with bodies.
    4. The next block alone is left to gossip for :data:`GOSSIP_FIRST`, if that is bringing it: who asks for headers
       just then would fetch the whole of what comes in compact form.

    :param ring: lets :meth:`step` be called soon.
    :param coming: whether gossip is bringing a block.
    """

    def __init__(self, shared: Shared, ring: Callable[[], None], coming: Callable[[bytes], bool]) -> None:
        self._shared = shared
        self._ring = ring
        self._coming = coming
        self._requests: Requests[Ask[Link]] = Requests(shared, self._answered, self._unanswered, self.left, ring)
        self.window: Window[Link] = Window()
        #: The next block is from the future, or something of ours failed: not before this, in the reactor's seconds.
        self._not_before = 0.0
        self._hold = ""
        #: When the chain was given the first of the blocks that it has not judged.
        self.submitted_at = 0.0
        self._submits = 0
        self._planned: tuple[bytes, bytes] | None = None
        self._planned_at = 0.0
        self._more = False
        self._looking = False
        self._detour = False
        self._searching = False
        self._elsewhere_after = 0.0

    @property
    def busy(self) -> bool:
        """Whether blocks are missing, or being checked, or the chain was not yet asked which are."""
        if self.window.row.left > 0 or self.window.row.submitted > 0:
            return True
        best, head = self._shared.chain.best_header.hash, self._shared.chain.head.hash
        return best != head and (self._planned is None or self._planned[1] != best)

    @property
    def holding(self) -> tuple[str, float]:
        """Why the next block is not asked for, and until when (the reactor's seconds)."""
        edge, until = self.window.row.edge, self.window.row.edge_since + GOSSIP_FIRST
        alone = edge is not None and self.window.row.left == 1
        if edge is not None and alone and until > self._not_before and self._coming(edge.hash):
            return f"gossip is bringing block {edge.height}", until
        return self._hold, self._not_before

    def sources(self) -> list[Source[Link]]:
        """Who may be asked now."""
        return self._shared.claims.sources(self._shared.seconds())

    def claimed(self, link: Link) -> None:
        """It says that it has another block."""
        server = self.window.servers.get(link)
        if server is not None:
            server.claimed()

    def left(self, link: Link) -> None:
        """It is gone."""
        self.window.forget(link)

    def stop(self) -> None:
        """Close all requests."""
        self._requests.stop()

    async def step(self) -> float:
        """Do what can be done now; answer after how many seconds to look again though nothing has come."""
        now = self._shared.seconds()
        if now < self._not_before:
            return min(TICK, self._not_before - now)
        await self._look()
        window, now = self.window, self._shared.seconds()
        _, until = self.holding
        if now < until:
            return min(TICK, until - now)
        self._judge(now)
        while (ask := window.choose(now, self.sources())) is not None:
            self._send(ask)
        self._submit()
        if now >= self._elsewhere_after and not self._searching and self._nobody():
            self._searching = True
            self._shared.spawn(self._elsewhere())
        now = self._shared.seconds()
        return min(TICK, window.wakes(now, self.sources()) - now)

    # which blocks

    async def _look(self) -> None:
        """Learn from the chain what it lacks, where that may have changed."""
        chain, window = self._shared.chain, self.window
        marks = chain.head.hash, chain.best_header.hash
        if self._detour:
            if self.busy and self._planned is not None and marks[1] == self._planned[1]:
                return
            self._detour, self._planned = False, None
        known = self._planned
        short = self._more and window.row.left < WINDOW
        as_planned = marks == known or marks[0] == window.row.validated or window.row.submitted
        if known is not None and marks[1] == known[1] and not short and as_planned and not self._stale():
            return
        if self._looking:
            return
        self._looking = True
        if window.row.submitted:  # the chain answers when it has judged those: nothing else need wait for that
            self._shared.spawn(self._plan(marks))
        else:
            await self._plan(marks)

    def _stale(self) -> bool:
        """Whether nothing has come for a while: what is awaited may be here by gossip, without moving the head."""
        since = max(self.window.row.edge_since, self._planned_at)
        return self.window.row.edge is not None and self._shared.seconds() - since >= TICK

    async def _plan(self, marks: tuple[bytes, bytes]) -> None:
        try:
            missing: Sequence[HeaderInfo] = await self._shared.chain.missing(PLAN)
            if not self._detour:
                self._planned, self._more = marks, len(missing) >= PLAN
                self.window.plan(missing, self._shared.chain.best_header.height, self._shared.seconds())
        finally:
            self._looking = False
            self._planned_at = self._shared.seconds()
            self._ring()

    def _nobody(self) -> bool:
        """Whether the next block is with nobody who could be asked, and nothing of it is under way."""
        return not self.window.row.submitted and self.window.nobody(self._shared.seconds(), self.sources())

    async def _elsewhere(self) -> None:
        """Nobody has the blocks of the best header: look for others that are better than ours."""
        try:
            self._elsewhere_after = self._shared.seconds() + TICK
            if self._detour:
                self._detour, self._planned = False, None
                return
            best, edge = self._shared.chain.best_header.hash, self.window.row.edge
            for link in self._shared.claims.for_fallback(self._shared.chain.head, self._shared.seconds()):
                peer = self._shared.claims.get(link)
                if peer is None or peer.tip is None:
                    continue
                plan = (await other_branch(self._shared.chain, self._shared.asking, link, peer.tip))[:PLAN]
                if self.window.row.edge != edge:  # somebody who has it came meanwhile
                    return
                if plan:
                    self._detour, self._planned = True, (b"", best)
                    self.window.plan(plan, plan[-1].height, self._shared.seconds())
                    self._elsewhere_after = 0.0
                    return
        finally:
            self._searching = False
            self._ring()

    # asking

    def _judge(self, now: float) -> None:
        """Leave those who keep the window waiting."""
        for link in self.window.stalled(now, self.sources()):
            self._shared.claims.failed(link, now)
            if self.window.servers[link].left_until > now:
                for ask in tuple(self.window.servers[link].asks):
                    self._requests.close(ask)
                    self.window.closed(ask)

    def _send(self, ask: Ask[Link]) -> None:
        now, link = self._shared.seconds(), ask.peer
        seconds = PATIENCE_MAX
        if len(self._shared.claims) == 1:
            seconds = min(seconds, max(self._shared.claims.patience(link), OVERDUE * (ask.expected or 0.0)))
        ask.until = now + seconds
        self._requests.send(ask, GetBlocks(ask.run[0].hash, len(ask.run)), seconds)

    def _answered(self, ask: Ask[Link], reply: Any) -> None:
        now = self._shared.seconds()
        self._shared.claims.answered(ask.peer, now - ask.since)
        if isinstance(reply, NotFound) or not reply.blocks:
            self.window.lacked(ask, now)
            return
        try:
            raws = self._good(ask, reply.blocks)
        except PeerFault:
            self.window.closed(ask)
            raise
        self.window.arrived(ask, raws, now)

    def _good(self, ask: Ask[Link], raws: Sequence[bytes]) -> Sequence[bytes]:
        """Return the blocks that were asked for: what follows on the peer's best chain may leave the plan."""
        hashes = self._shared.asking.hashes(raws)
        if hashes[0] != ask.run[0].hash:
            raise PeerFault(Reason.MISBEHAVED, "another block than the one asked for")
        good = 1
        while good < min(len(hashes), len(ask.run)) and hashes[good] == ask.run[good].hash:
            good += 1
        return raws[:good]

    def _unanswered(self, ask: Ask[Link], error: Exception) -> None:
        if isinstance(error, RequestTimedOut):
            self.window.timed_out(ask)
        else:
            self.window.closed(ask)
        self._requests.failed(ask.peer, error)

    # to the chain

    def _submit(self) -> None:
        while self._submits < SUBMITS:
            taken = self.window.row.take(SUBMIT_BLOCKS, SUBMIT_BYTES)
            if not taken:
                return
            if not self._submits:
                self.submitted_at = self._shared.seconds()
            self._submits += 1
            self._shared.spawn(self._hand_over(taken))

    async def _hand_over(self, taken: Sequence[tuple[HeaderInfo, bytes]]) -> None:
        chain = self._shared.chain
        verdicts: Sequence[Verdict] = ()
        rest, why = TICK, "the chain failed to check blocks"
        try:
            verdicts = await chain.submit_blocks([raw for _, raw in taken], chain.best_header.hash)
        except StorageError as error:
            rest, why = STORAGE_REST, str(error)
            raise
        finally:
            self._submits -= 1
            now = self.submitted_at = self._shared.seconds()
            for (info, _), verdict in zip(taken, verdicts, strict=False):
                self._verdict(info, verdict, now)
            for info, _ in taken[len(verdicts) :]:  # ours failed
                self.window.judged(info.hash, False, now)
                self._rest(now + rest, why)
            self._ring()

    def _verdict(self, info: HeaderInfo, verdict: Verdict, now: float) -> None:
        stored = isinstance(verdict, _STORED)
        link = self.window.judged(info.hash, stored, now)
        if not stored:
            self._planned = None
        match verdict:
            case Connected() | Stored() if link is not None:
                link.credit(Credit.BLOCK)
            case Invalid(fault=Fault.SENDER, reason=reason) if link is not None:
                self._requests.failed(link, PeerFault(Reason.MISBEHAVED, f"block: {reason}"))
            case Invalid(fault=Fault.SIGNER, hash=hash, reason=reason):
                self._shared.log.warn(
                    "block {hash} is invalid: {reason}; its branch is left", hash=hash.hex(), reason=reason
                )
            case NotYet(when=when):
                self._rest(self._shared.until(when), f"block {info.height} {info.hash.hex()[:8]} is from the future")
            case Invalid():
                pass  # its sender is gone already
            case _ if not stored:
                self._rest(now + TICK, f"block {info.height} {info.hash.hex()[:8]} could not be stored")

    def rest(self, why: str) -> None:
        """Do nothing for a while: the disk takes nothing."""
        self._rest(self._shared.seconds() + STORAGE_REST, why)

    def _rest(self, until: float, why: str) -> None:
        self._not_before, self._hold = max(self._not_before, until), why
