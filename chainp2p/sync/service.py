"""Sync: two loops that always do the next useful thing, and can always say what they wait for."""

import random as random_module
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chainp2p.chain.interfaces import FailedBlock
from chainp2p.chain.states import IStateSource
from chainp2p.errors import Reason, StorageError
from chainp2p.events import EventBus
from chainp2p.peer.link import Handler, Link
from chainp2p.peer.tasks import Bell, Tasks
from chainp2p.sync.asking import Asking
from chainp2p.sync.blocks.backfill import Backfill
from chainp2p.sync.blocks.fetch import BlockFetch
from chainp2p.sync.claims import Claim, Claims
from chainp2p.sync.explain import BlockView, block_waits, refusals, refused_by, sentence
from chainp2p.sync.headers.fetch import HeaderFetch
from chainp2p.sync.headers.quests import Quests
from chainp2p.sync.pace import Pace
from chainp2p.sync.serving import serve_blocks, serve_headers, serve_state
from chainp2p.sync.shared import TICK, Shared
from chainp2p.sync.state import Phase, SyncChanged, SyncState
from chainp2p.sync.states.fetch import StateFetch
from chainp2p.wire.messages import GetBlocks, GetHeaders, GetStateChunk

__all__ = ["SyncService"]

#: A peer that announced nothing is asked now and then whether it has something: an announcement may be lost.
#: Seconds, on average.
POLL_INTERVAL = 10.0
#: Blocks that failed when they were connected that are told of, the last ones.
FAILED_TOLD = 16


class SyncService:
    """A :class:`~chainp2p.peer.link.LinkUser` that keeps the chain up with the best of its peers.

    Two loops, so that neither waits for the other. What a round of the one for headers does; after a round without
    progress it sleeps until it is woken, at most TICK:

    ====================================  =======================================  ==========================
    there is                              it does                                  and on failure
    ====================================  =======================================  ==========================
    a claim that may win, not looked at   a look at it, beside all else            next peer; rank lies: asked last
    a chain that was looked at            more of it, one peer at a time           next peer; rank lies: asked last
    no block missing, and nothing for     a look at the next peer in turn          nothing is lost
    POLL_INTERVAL
    ====================================  =======================================  ==========================

    :class:`~chainp2p.sync.headers.fetch.HeaderFetch` carries that out. The other loop brings the blocks of known
    headers: :class:`~chainp2p.sync.blocks.fetch.BlockFetch`.

    Every request has a deadline, so a round always ends; the chain is trusted to answer.

    :param now: Unix time in seconds (for blocks from the future); deadlines go by the reactor's clock.
    :param minimum_rank: headers that do not reach it are not stored.
    :param states: a fresh node downloads the state of a final block in place of all blocks below.
    :param backfill: these are fetched afterwards.
    :param coming: whether gossip is bringing a block.
    """

    log = Logger()

    def __init__(
        self,
        *,
        chain: Any,
        reactor: IReactorTime,
        now: Callable[[], float],
        random: random_module.Random,
        events: EventBus,
        minimum_rank: bytes = b"",
        states: bool = False,
        backfill: bool = False,
        coming: Callable[[bytes], bool] = lambda hash: False,
    ) -> None:
        self._chain = chain
        self._reactor = reactor
        self._random = random
        self._events = events
        self._quests: Quests[Link] = Quests(minimum_rank)
        self._claims: Claims[Link] = Claims(lambda link: link.useless, self._quests.order)
        self._asking = Asking(chain, reactor, self._claims, random)
        self._tasks = Tasks(self.log)
        self._headers_bell, self._blocks_bell = Bell(reactor), Bell(reactor)
        shared = Shared(chain, reactor, now, self._claims, self._asking, self.log, self._tasks.spawn)
        self._headers = HeaderFetch(shared, self._quests, self._wake, self._blocks_bell.ring)
        self._blocks = BlockFetch(shared, self._blocks_bell.ring, coming)
        self._states = StateFetch(shared, self._blocks_bell.ring, states)
        self._backfill = Backfill(shared, backfill)
        self._pace = Pace()
        self._starting: int | None = None
        self._poll_at = 0.0
        self._behind = False
        self._failed: deque[FailedBlock] = deque(maxlen=FAILED_TOLD)
        self._deaf: Callable[[], None] = lambda: None

    # life

    def start(self) -> None:
        """Begin; the chain has been started."""
        self._tasks.start()
        self._deaf = self._chain.events.subscribe(FailedBlock, self._failed.append)
        self._poll_at = self._next_poll()
        self._headers.start()
        self._tasks.spawn(self._learn())
        self._tasks.spawn(self._bring())
        self._tasks.spawn(self._backfill.run(lambda: self._states.over and not self._blocks.busy))

    def stop(self) -> None:
        """Cancel the loops and whatever they wait for."""
        self._headers.stop()
        self._tasks.stop()
        self._deaf()
        self._states.stop()
        self._blocks.stop()

    def handlers(self) -> Mapping[type[Any], Handler]:
        served: dict[type[Any], Handler] = {
            GetHeaders: lambda link, message: serve_headers(self._chain, message),
            GetBlocks: lambda link, message: serve_blocks(self._chain, message),
        }
        if IStateSource.providedBy(self._chain):
            served[GetStateChunk] = lambda link, message: serve_state(self._chain, message)
        return served

    def joined(self, link: Link) -> None:
        status = link.status
        self._claims.joined(link, link.peer_id, Claim(status.head, status.height, status.rank))
        self._quests.joined(link, status.rank)
        self._wake()

    def left(self, link: Link, reason: Reason) -> None:
        self._claims.left(link)
        self._quests.left(link)
        self._states.left(link)
        self._blocks.left(link)
        self._wake()

    def heard(self, link: Link, hash: bytes, height: int) -> None:
        """Note that *link* says it has a block whose ancestors we may lack; *height* 0: it did not say which."""
        self._claims.heard(link, hash, height)
        self._blocks.claimed(link)
        self._wake()

    @property
    def syncing(self) -> bool:
        """Whether this node is so far behind that wallets should know."""
        return self._summary().behind

    def explain(self) -> SyncState:
        """Say what it does now, for whom it waits, and what happens if that does not come."""
        now, blocks, asking = self._reactor.seconds(), self._blocks, self._asking
        view = BlockView(blocks.window, blocks.sources(), *blocks.holding, blocks.submitted_at)
        waits = block_waits(view, now)
        text = sentence(waits) if waits else asking.text(now)
        stuck = getattr(self._chain, "storage_error", "")
        if stuck and stuck not in text:
            text = f"{stuck}; it is tried again; {text}"
        waits += asking.waits(now)
        state = self._summary()
        rate = self._pace.rate(now, state.current)
        refused = refused_by(self._chain)
        state, text = evolve(state, refused=refused), text + refusals(refused)
        eta = (state.highest - state.current) / rate if rate else None
        target = waits[0].peer if waits else None
        return self._states.explained(evolve(state, text=text, target=target, rate=rate, eta=eta, waits=tuple(waits)))

    def _summary(self) -> SyncState:
        """The state without words."""
        chain = self._chain
        current = chain.head.height
        highest = max(current, chain.best_header.height, self._claims.highest)
        phase = Phase.of(
            state=self._states.busy,
            blocks=self._blocks.busy,
            headers=self._headers.busy,
            peers=len(self._claims) > 0,
        )
        starting = current if self._starting is None else self._starting
        headers, failed = self._headers.height, tuple(self._failed)
        return SyncState(phase, starting, current, highest, None, "", headers=headers, failed=failed)

    # the loops

    async def _learn(self) -> None:
        while True:
            progress = False
            try:
                progress = await self._round()
            except CancelledError:
                raise
            except StorageError as error:
                self._asking.doing(f"headers cannot be stored: {error}; it is tried again")
            except Exception:
                self.log.failure("a round of sync failed")
            if not progress:
                await self._headers_bell.sleep(self._pause())

    def _pause(self) -> float:
        now = self._reactor.seconds()
        until = self._claims.next_time(now)
        return TICK if until is None else min(TICK, until - now)

    async def _bring(self) -> None:
        while True:
            wait = TICK
            try:
                waits = await self._states.step()
                wait = await self._blocks.step() if waits is None else waits
                self._report()
            except CancelledError:
                raise
            except StorageError as error:
                self._blocks.rest(str(error))
            except Exception:
                self.log.failure("fetching blocks failed")
            await self._blocks_bell.sleep(wait)

    def _wake(self) -> None:
        self._headers.look()
        self._headers_bell.ring()
        self._blocks_bell.ring()

    async def _round(self) -> bool:
        """Do what there is to do; answer whether anything came of it."""
        self._report()
        self._claims.drop_losing(self._chain.best_header)
        self._headers.look()
        progress = await self._headers.turn()
        if not progress and self._reactor.seconds() >= self._poll_at and not self._blocks.busy:
            self._poll_at = self._next_poll()
            self._headers.poll()
        if not progress:
            self._asking.doing(self._headers.words())
        return progress

    def _next_poll(self) -> float:
        """When to poll: not all nodes at once."""
        return self._reactor.seconds() + POLL_INTERVAL * (0.75 + 0.5 * self._random.random())

    def _report(self) -> None:
        """Tell when this node falls behind, and when it has caught up."""
        state = self._summary()
        if state.behind and state.phase is not Phase.BLOCKS:  # how fast blocks come shows when they may
            self._pace.begin()
        self._pace.look(self._reactor.seconds(), state.current)
        if state.phase in (Phase.IDLE, Phase.FOLLOWING):
            self._starting = None
        elif self._starting is None:
            self._starting = state.current
        if state.behind != self._behind:
            self._behind = state.behind
            words = "catching up from block {current} to {highest}" if state.behind else "caught up at block {current}"
            self.log.info(words, current=state.current, highest=state.highest)
            self._events.publish(SyncChanged(self.explain()))
