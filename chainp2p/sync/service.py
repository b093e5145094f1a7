"""Sync: two loops that always do the next useful thing, and can always say what they wait for."""

import random as random_module
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chainp2p.chain.interfaces import FailedBlock, HeaderInfo, HeadersRejected, IStateSource
from chainp2p.errors import PeerFault, Reason, StorageError
from chainp2p.events import EventBus
from chainp2p.peer.link import Handler, Link
from chainp2p.peer.tasks import Bell, Tasks
from chainp2p.sync.asking import UNANSWERED, Asking
from chainp2p.sync.blocks import EARLY_REST_MAX, TICK, BlockFetch
from chainp2p.sync.chase import Ask, Chased, Parted, Paused, Terms, Turned, chase, probe
from chainp2p.sync.claims import ASKED_LAST, Claim, Claims
from chainp2p.sync.explain import BlockView, block_waits, sentence
from chainp2p.sync.pace import Pace
from chainp2p.sync.quests import Quests
from chainp2p.sync.serving import HEADERS_MAX, serve_blocks, serve_headers, serve_state
from chainp2p.sync.sieve import Sieve, Stage
from chainp2p.sync.state import Phase, SyncChanged, SyncState, short
from chainp2p.sync.statefetch import StateFetch
from chainp2p.wire.messages import GetBlocks, GetHeaders, GetStateChunk

__all__ = ["SyncService"]

#: A peer that announced nothing is asked now and then whether it has something: an announcement may be lost.
#: Seconds, on average.
POLL_INTERVAL = 10.0
#: A peer on a branch that left ours below the finalized block, or far behind it, is left alone this long. Seconds.
PARTED_REST = 5.0
#: Its headers are checked for a proof of conflicting finality at most this often. Seconds, and peers remembered.
PROBE_INTERVAL, PROBES_REMEMBERED = 600.0, 256
#: While others wait, a peer is asked for headers for so long and so many times in a row; at first, once. Seconds.
SLICE, SLICE_ANSWERS = 2.0, 16
#: A peer whose headers came to nothing, after more than a slice, is not asked again for so many times as long for each
#: peer that is here, so that such headers take a tenth of our time at most; at most so long. Seconds.
IDLE_SHARE, IDLE_REST_MAX = 9.0, 600.0
#: A chain of unknown worth is followed so far beyond the height that its peer claims: it may have grown meanwhile.
CEILING_SLACK = 2 * HEADERS_MAX
#: Blocks that failed when they were connected that are told of, the last ones.
FAILED_TOLD = 16


class SyncService:
    """A :class:`~chainp2p.peer.link.LinkUser` that keeps the chain up with the best of its peers.

    Two loops, so that neither waits for the other. What a round of the one for headers does, first match first; after a
    round without progress it sleeps until it is woken, at most TICK:

    ====================================  =======================================  ==========================
    there is                              it does                                  and on failure
    ====================================  =======================================  ==========================
    an open claim that may win            headers of that peer, to its end         next peer; rank lies: asked last
    no block missing, and nothing for     headers of the next peer in turn         nothing is lost
    POLL_INTERVAL
    ====================================  =======================================  ==========================

    The other one brings the blocks of known headers: :class:`~chainp2p.sync.blocks.BlockFetch`.

    Every request has a deadline, so a round always ends; the chain is trusted to answer.

    :param now: Unix time in seconds (for blocks from the future); deadlines go by the reactor's clock.
    :param minimum_rank: headers that do not reach it are not stored.
    :param states: a fresh node downloads the state of a final block in place of all blocks below.
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
    ) -> None:
        self._chain = chain
        self._reactor = reactor
        self._now = now
        self._random = random
        self._events = events
        self._quests: Quests[Link] = Quests(minimum_rank)
        self._claims: Claims[Link] = Claims(lambda link: link.useless, self._quests.order)
        self._asking = Asking(chain, reactor, self._claims, random)
        self._tasks = Tasks(self.log)
        self._headers_bell, self._blocks_bell = Bell(reactor), Bell(reactor)
        self._blocks = BlockFetch(
            chain, reactor, now, self._claims, self._asking, self.log, self._tasks.spawn, self._blocks_bell.ring
        )
        self._states = StateFetch(
            chain, reactor, self._claims, self._asking, self.log, self._tasks.spawn, self._blocks_bell.ring, states
        )
        self._pace = Pace()
        self._starting: int | None = None
        self._poll_at = 0.0
        self._probed: dict[bytes, float] = {}
        self._given_up = ""
        self._behind = False
        self._failed: deque[FailedBlock] = deque(maxlen=FAILED_TOLD)
        self._deaf: Callable[[], None] = lambda: None

    # life

    def start(self) -> None:
        """Begin; the chain has been started."""
        self._tasks.start()
        self._deaf = self._chain.events.subscribe(FailedBlock, self._failed.append)
        self._poll_at = self._next_poll()
        self._tasks.spawn(self._learn())
        self._tasks.spawn(self._bring())

    def stop(self) -> None:
        """Cancel the loops and whatever they wait for."""
        self._tasks.stop()
        self._states.stop()
        self._deaf()
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
        now, blocks, activity = self._reactor.seconds(), self._blocks, self._asking.activity
        view = BlockView(blocks.window, blocks.sources(), blocks.hold, blocks.not_before, blocks.submitted_at)
        waits = block_waits(view, now)
        text = sentence(waits) if waits else activity.text(now)
        asked = activity.waiting(now)
        if asked is not None:
            waits.append(asked)
        state = self._summary()
        rate = self._pace.rate(now, state.current)
        eta = (state.highest - state.current) / rate if rate else None
        target = waits[0].peer if waits else None
        return self._states.explained(
            evolve(state, text=text, target=target, rate=rate, eta=eta, waits=tuple(waits))
        )

    def _summary(self) -> SyncState:
        """The state without words."""
        chain = self._chain
        current = chain.head.height
        highest = max(current, chain.best_header.height, self._claims.highest)
        phase = Phase.BLOCKS if self._blocks.busy else self._asking.activity.phase
        if self._states.busy:
            phase = Phase.STATE
        starting = current if self._starting is None else self._starting
        return SyncState(phase, starting, current, highest, None, "", failed=tuple(self._failed))

    # the loops

    async def _learn(self) -> None:
        while True:
            progress = False
            try:
                progress = await self._round()
            except CancelledError:
                raise
            except StorageError as error:
                self._asking.doing(Phase.HEADERS, f"headers cannot be stored: {error}; it is tried again")
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
        self._headers_bell.ring()
        self._blocks_bell.ring()

    async def _round(self) -> bool:
        """Do what there is to do; answer whether anything came of it."""
        now = self._reactor.seconds()
        self._report()
        self._claims.drop_losing(self._chain.best_header)
        best = self._chain.best_header.hash
        progress = await self._learn_headers(now)
        if self._moved(best):
            self._blocks_bell.ring()
        now = self._reactor.seconds()
        if not progress and now >= self._poll_at and not self._blocks.busy:
            self._poll_at = self._next_poll()
            link = self._claims.for_poll(now)
            if link is not None:
                claim = self._claims[link].claim
                progress = await self._chase(link, Claim(claim.hash, claim.height))
        if not progress:
            words = self._claims.standing(self._quests.short) + self._given_up
            self._asking.doing(Phase.FOLLOWING if len(self._claims) else Phase.IDLE, words)
        return progress

    def _next_poll(self) -> float:
        """When to poll: not all nodes at once."""
        return self._reactor.seconds() + POLL_INTERVAL * (0.75 + 0.5 * self._random.random())

    def _report(self) -> None:
        """Tell when this node falls behind, and when it has caught up."""
        state = self._summary()
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

    # headers

    async def _learn_headers(self, now: float) -> bool:
        """Ask the peer whose claim comes first; that no round holds on to its link for longer, this is apart."""
        link = self._claims.for_headers(now)
        return link is not None and await self._headers(link, self._claims[link].claim)

    async def _headers(self, link: Link, claim: Claim) -> bool:
        known = await self._chain.locate(claim.hash)
        if known is not None and self._quests.get(link).sieve is None:
            self._claims.known(link, claim, known)
            return True
        return await self._chase(link, claim)

    async def _chase(self, link: Link, claim: Claim) -> bool:
        """Follow one peer's headers to their end; answer whether another step is worth trying at once."""

        async def ask(after: bytes, count: int) -> Sequence[bytes] | None:
            sieve = self._quests.get(link).sieve
            what = f"headers after {short(after)}{sieve.words() if sieve is not None else ''}"
            headers = await self._asking.headers(link, after, count, what)
            if headers is not None:
                self._asking.hashes(headers[-1:])
            return headers

        before: bytes = self._chain.best_header.hash
        began, sieve = self._reactor.seconds(), self._quests.resume(link)
        again = sieve is not None and sieve.stage is Stage.AGAIN
        if sieve is not None and sieve.start.height < self._chain.finalized.height:
            self._quests.ended(link)
            sieve = None
        try:
            outcome = await chase(self._chain, ask, self._terms(link, claim), sieve)
            if isinstance(outcome, Parted) and self._may_probe(link):
                await self._probe(link, ask)
        except HeadersRejected as error:
            self._rejected(link, claim, error)
            return self._moved(before)
        except UNANSWERED as error:
            self._asking.failed(link, error)
            return True
        finally:
            self._quests.spent(link, self._reactor.seconds() - began, sieve is None, again)
        now = self._reactor.seconds()
        match outcome:
            case Chased(tip=tip, stored=stored):
                self._given_up = ""
                took = self._quests.took(link)
                if not stored and took > SLICE:
                    self._claims.rest(link, now + min(IDLE_REST_MAX, IDLE_SHARE * took * len(self._claims)))
                stated = claim.rank is not None or tip.hash != claim.hash
                if self._quests.judge(link, tip, stored, now + ASKED_LAST) and stated:
                    self._claims.fell_short(link, now)
                self._claims.served(link, claim, tip, now)
            case Parted():
                self._quests.ended(link)
                self._claims.parted(link, claim, now + PARTED_REST)
            case Paused() if not self._quests.dawdles(link):
                self._claims.unfinished(link)
                return True
            case _:
                why = outcome.why if isinstance(outcome, Turned) else "it takes too long to send its headers again"
                self.log.info("headers of {peer} are given up: {why}", peer=short(link.peer_id), why=why)
                self._given_up = f"; headers of {short(link.peer_id)} were given up: {why}"
                self._quests.ended(link)
                self._claims.failed(link, now)
                return False
        return self._moved(before) or claim.rank is not None

    def _terms(self, link: Link, claim: Claim) -> Terms:
        """What headers of *link* are taken on now."""
        chain, quests, began, answers = self._chain, self._quests, self._reactor.seconds(), 0
        most = 1 if quests.get(link).sieve is None else SLICE_ANSWERS

        def begin(start: HeaderInfo) -> Sieve:
            return quests.begun(link, self._asking.sieve(start, quests.bar(link, chain.best_header, began)))

        def go_on() -> bool:
            nonlocal answers
            answers += 1
            now = self._reactor.seconds()
            return (now - began < SLICE and answers < most) or not self._claims.others_wait(link, now)

        ceiling = max(claim.height, chain.best_header.height) + CEILING_SLACK
        return Terms(claim.hash, begin, ceiling, quests.get(link).judged, go_on)

    def _moved(self, before: bytes) -> bool:
        return bool(self._chain.best_header.hash != before)

    async def _probe(self, link: Link, ask: Ask) -> None:
        """Look for a proof of conflicting finality; where there is one, keep the other branch's headers.

        Only an operator can decide between the two, and can only name a block that is known here.
        """
        raws = await probe(self._chain, ask)
        if raws:
            self._probed[link.peer_id] = self._reactor.seconds()
        if raws and getattr(self._chain, "conflict", None) is not None:
            await self._chain.add_headers(raws)

    def _may_probe(self, link: Link) -> bool:
        """Whether it was not done lately; a peer that is merely behind does not count, and costs a few questions."""
        if self._reactor.seconds() - self._probed.get(link.peer_id, float("-inf")) < PROBE_INTERVAL:
            return False
        self._probed.pop(link.peer_id, None)
        while len(self._probed) >= PROBES_REMEMBERED:
            del self._probed[next(iter(self._probed))]
        return True

    def _rejected(self, link: Link, claim: Claim, error: HeadersRejected) -> None:
        now = self._reactor.seconds()
        if error.when is None:
            self._quests.ended(link)
        if error.when is not None:
            wait = min(max(error.when - self._now(), 0.01), EARLY_REST_MAX)
            self._claims.rest(link, now + wait)
        elif error.parent_missing:
            self._claims.failed(link, now)
        elif error.condemned:
            self.log.info("{peer} follows a branch with an invalid block", peer=short(link.peer_id), why=error.reason)
            self._claims.settle(link, claim)
        else:
            self._asking.failed(link, PeerFault(Reason.MISBEHAVED, f"header {error.index}: {error.reason}"))
