"""Sync: one loop that always does the next useful thing, and can always say what it waits for."""

import random as random_module
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chainp2p.chain.interfaces import (
    Connected,
    Fault,
    HeaderInfo,
    HeadersRejected,
    Invalid,
    NotYet,
    ParentMissing,
    Stored,
    Verdict,
)
from chainp2p.errors import PeerFault, PeerGone, Reason, RequestRefused, RequestTimedOut
from chainp2p.events import EventBus
from chainp2p.peer.link import Handler, Link
from chainp2p.peer.tasks import Tasks
from chainp2p.sync.ancestor import AncestorSearch
from chainp2p.sync.chase import Chased, Parted, chase, probe
from chainp2p.sync.claims import Claim, Claims
from chainp2p.sync.serving import HEADERS_MAX, serve_blocks, serve_headers
from chainp2p.sync.state import Activity, Phase, SyncState, short
from chainp2p.wire.messages import GetBlocks, GetHeaders, Message, NotFound

__all__ = ["SyncService"]

#: Blocks planned at a time: a bound on what one round may take before claims are looked at again.
WINDOW = 1_024
#: Nothing waits longer than this before the loop looks again at what it could do. Seconds.
TICK = 1.0
#: A peer that announced nothing is asked now and then whether it has something: an announcement may be lost. Seconds.
POLL_INTERVAL = 10.0
#: A peer on a branch that left ours below the finalized block, or far behind it, is left alone this long. Seconds.
PARTED_REST = 5.0
#: Its headers are checked for a proof of conflicting finality at most this often. Seconds, and peers remembered.
PROBE_INTERVAL, PROBES_REMEMBERED = 600.0, 256
#: A refusal without a time counts as this; a header further in the future is asked for again after this. Seconds.
REFUSED_REST, EARLY_REST_MAX = 0.5, 60.0


class SyncService:
    """A :class:`~chainp2p.peer.link.LinkUser` that keeps the chain up with the best of its peers.

    What a round does, first match first; after a round without progress it sleeps until it is woken, at most TICK:

    ====================================  =======================================  ==========================
    there is                              it does                                  and on failure
    ====================================  =======================================  ==========================
    an open claim that may win            headers of that peer, to its end         next peer; rank lies: asked last
    headers without bodies on the best    their blocks from one peer, submitted    next peer; nobody has them:
    branch                                in order while the next are fetched      blocks of another winning branch
    nothing for POLL_INTERVAL             headers of the next peer in turn         nothing is lost
    ====================================  =======================================  ==========================

    Every request has a deadline, so a round always ends; the chain is trusted to answer.

    :param now: Unix time in seconds (for blocks from the future); deadlines go by the reactor's clock.
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
    ) -> None:
        self._chain = chain
        self._reactor = reactor
        self._now = now
        self._claims: Claims[Link] = Claims()
        self._tasks = Tasks(self.log)
        self._sleeping: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None
        self._woken = False
        self._polled = 0.0
        self._probed: dict[bytes, float] = {}
        self._blocks_after = 0.0
        self._starting: int | None = None
        self._activity = Activity(Phase.IDLE, "no peers", 0.0)

    # life

    def start(self) -> None:
        """Begin; the chain has been started."""
        self._tasks.start()
        self._polled = self._reactor.seconds()
        self._tasks.spawn(self._run())

    def stop(self) -> None:
        """Cancel the loop and whatever it waits for."""
        self._tasks.stop()

    def handlers(self) -> Mapping[type[Any], Handler]:
        return {
            GetHeaders: lambda link, message: serve_headers(self._chain, message),
            GetBlocks: lambda link, message: serve_blocks(self._chain, message),
        }

    def joined(self, link: Link) -> None:
        status = link.status
        self._claims.joined(link, link.peer_id, Claim(status.head, status.height, status.rank))
        self._wake()

    def left(self, link: Link, reason: Reason) -> None:
        self._claims.left(link)
        self._wake()

    def heard(self, link: Link, hash: bytes, height: int) -> None:
        """Note that *link* says it has a block whose ancestors we may lack; *height* 0: it did not say which."""
        self._claims.heard(link, hash, height)
        self._wake()

    @property
    def syncing(self) -> bool:
        """Whether this node is so far behind that wallets should know."""
        return self.explain().behind

    def explain(self) -> SyncState:
        """Say what it does now, for whom it waits, and what happens if that does not come."""
        chain, activity = self._chain, self._activity
        current = chain.head.height
        highest = max(current, chain.best_header.height, self._claims.highest)
        starting = current if self._starting is None else self._starting
        text = activity.text(self._reactor.seconds())
        return SyncState(activity.phase, starting, current, highest, activity.peer, text)

    # the loop

    async def _run(self) -> None:
        while True:
            try:
                progress = await self._round()
            except CancelledError:
                raise
            except Exception:
                self.log.failure("a round of sync failed")
                progress = False
            if not progress:
                await self._sleep()

    async def _sleep(self) -> None:
        now = self._reactor.seconds()
        if self._woken:
            self._woken = False
            return
        wait = TICK
        for until in (self._claims.next_time(now), self._blocks_after):
            if until is not None and until > now:
                wait = min(wait, until - now)
        self._sleeping = Deferred(lambda _: None)
        self._timer = self._reactor.callLater(wait, self._wake)
        try:
            await self._sleeping
        finally:
            self._sleeping = None
            if self._timer.active():
                self._timer.cancel()
            self._woken = False

    def _wake(self) -> None:
        self._woken = True
        sleeping, self._sleeping = self._sleeping, None
        if sleeping is not None:
            sleeping.callback(None)

    def _doing(self, phase: Phase, what: str, link: Link | None = None, patience: float | None = None) -> None:
        now = self._reactor.seconds()
        if phase in (Phase.IDLE, Phase.FOLLOWING):
            self._starting = None
        elif self._starting is None:
            self._starting = self._chain.head.height
        until = None if patience is None else now + patience
        peer = None if link is None else link.peer_id
        self._activity = Activity(phase, what, now, until, "the next peer is asked, or this one again", peer)

    async def _round(self) -> bool:
        """Do what there is to do; answer whether anything came of it."""
        now = self._reactor.seconds()
        progress = False
        self._claims.drop_losing(self._chain.best_header)
        link = self._claims.for_headers(now)
        if link is not None:
            progress = await self._headers(link, self._claims[link].claim)
        missing = await self._chain.missing(WINDOW)
        if missing:
            return await self._blocks(missing) or progress
        if not progress and self._reactor.seconds() - self._polled >= POLL_INTERVAL:
            self._polled = self._reactor.seconds()
            link = self._claims.for_poll(self._polled)
            if link is not None:
                claim = self._claims[link].claim
                progress = await self._chase(link, Claim(claim.hash, claim.height))
        if not progress and self._activity.phase is not self._at_rest():
            self._doing(self._at_rest(), "in step with all peers" if len(self._claims) else "no peers")
        return progress

    def _at_rest(self) -> Phase:
        return Phase.FOLLOWING if len(self._claims) else Phase.IDLE

    # headers

    async def _headers(self, link: Link, claim: Claim) -> bool:
        known = await self._chain.locate(claim.hash)
        if known is not None:
            self._claims.known(link, claim, known)
            return True
        return await self._chase(link, claim)

    async def _chase(self, link: Link, claim: Claim) -> bool:
        """Follow one peer's headers to their end; answer whether another step is worth trying at once."""

        async def ask(after: bytes, count: int) -> Sequence[bytes] | None:
            what = f"{short(link.peer_id)} is asked for headers after {short(after)}"
            reply = await self._request(link, GetHeaders(after, count), Phase.HEADERS, what)
            if isinstance(reply, NotFound):
                return None
            self._hashes(reply.headers[-1:])
            headers: tuple[bytes, ...] = reply.headers
            return headers

        before: bytes = self._chain.best_header.hash
        try:
            outcome = await chase(self._chain, ask, claim.hash)
            if isinstance(outcome, Parted) and claim.rank is not None and self._may_probe(link):
                await probe(self._chain, ask)
        except HeadersRejected as error:
            self._rejected(link, claim, error)
            return self._moved(before)
        except (PeerGone, RequestTimedOut, RequestRefused, PeerFault) as error:
            self._failed(link, error)
            return True
        now = self._reactor.seconds()
        match outcome:
            case Chased(tip=tip):
                self._claims.served(link, claim, tip, now)
            case Parted():
                self._claims.settle(link, claim)
                self._claims.rest(link, now + PARTED_REST)
            case _:
                self._claims.failed(link, now)
                return False
        return self._moved(before) or claim.rank is not None

    def _moved(self, before: bytes) -> bool:
        return bool(self._chain.best_header.hash != before)

    def _may_probe(self, link: Link) -> bool:
        now = self._reactor.seconds()
        if now - self._probed.get(link.peer_id, float("-inf")) < PROBE_INTERVAL:
            return False
        if len(self._probed) >= PROBES_REMEMBERED:
            del self._probed[next(iter(self._probed))]
        self._probed[link.peer_id] = now
        return True

    def _rejected(self, link: Link, claim: Claim, error: HeadersRejected) -> None:
        now = self._reactor.seconds()
        if error.when is not None:
            wait = min(max(error.when - self._now(), 0.01), EARLY_REST_MAX)
            self._claims.rest(link, now + wait)
        elif error.parent_missing:
            self._claims.failed(link, now)
        elif error.condemned:
            self.log.info("{peer} follows a branch with an invalid block", peer=short(link.peer_id), why=error.reason)
            self._claims.settle(link, claim)
        else:
            self._failed(link, PeerFault(Reason.MISBEHAVED, f"header {error.index}: {error.reason}"))

    # blocks

    async def _blocks(self, missing: Sequence[HeaderInfo]) -> bool:
        """Fetch and submit *missing*; answer whether any came."""
        now = self._reactor.seconds()
        if now < self._blocks_after:
            return False
        for link in self._claims.for_blocks(missing[0], now):
            if await self._fetch(link, missing):
                return True
        for link in self._claims.for_fallback(self._chain.head, self._reactor.seconds()):
            if await self._other_branch(link):
                return True
        what = f"block {missing[0].height} {short(missing[0].hash)} is awaited, no peer has it now"
        if self._activity.what != what:
            self._doing(Phase.BLOCKS, what)
        return False

    async def _fetch(self, link: Link, plan: Sequence[HeaderInfo]) -> bool:
        """Take the blocks of *plan* from one peer, fetching the next while the last are submitted."""
        progress = False
        waiting = Deferred.fromCoroutine(self._get_blocks(link, plan))
        try:
            while True:
                raws = await waiting
                plan = plan[len(raws) :]
                if raws and plan:
                    waiting = Deferred.fromCoroutine(self._get_blocks(link, plan))
                verdicts = await self._chain.submit_blocks(raws, self._chain.best_header.hash) if raws else []
                progress = progress or any(isinstance(verdict, Connected | Stored) for verdict in verdicts)
                judged = [self._accepted(link, verdict) for verdict in verdicts]
                if not (judged and all(judged) and plan):
                    return progress
        except (PeerGone, RequestTimedOut, RequestRefused, PeerFault) as error:
            self._failed(link, error)
            return progress
        finally:
            waiting.addErrback(lambda _: None)
            waiting.cancel()

    async def _get_blocks(self, link: Link, plan: Sequence[HeaderInfo]) -> list[bytes]:
        """Return the first blocks of *plan*, as many as the peer gives; none: it has not even the first."""
        peer = self._claims.get(link)
        if peer is None:
            return []
        count = min(peer.batch, len(plan))
        what = f"{short(link.peer_id)} is asked for {count} blocks from {plan[0].height} {short(plan[0].hash)}"
        reply = await self._request(link, GetBlocks(plan[0].hash, count), Phase.BLOCKS, what)
        if isinstance(reply, NotFound) or not reply.blocks:
            self._claims.lacks(link, plan[0].hash, self._reactor.seconds())
            return []
        hashes = self._hashes(reply.blocks)
        if hashes[0] != plan[0].hash:
            raise PeerFault(Reason.MISBEHAVED, "another block than the one asked for")
        self._claims.delivered(link)
        good = 0
        while good < len(hashes) and hashes[good] == plan[good].hash:
            good += 1
        return list(reply.blocks[:good])

    def _accepted(self, link: Link, verdict: Verdict) -> bool:
        match verdict:
            case Invalid(fault=Fault.SENDER, reason=reason):
                self._failed(link, PeerFault(Reason.MISBEHAVED, f"block: {reason}"))
            case Invalid(hash=hash, reason=reason):
                self.log.warn("block {hash} is invalid: {reason}; its branch is left", hash=hash.hex(), reason=reason)
            case NotYet(when=when):
                self._blocks_after = self._reactor.seconds() + min(max(when - self._now(), 0.01), EARLY_REST_MAX)
            case ParentMissing():
                pass
            case _:
                return True
        return False

    async def _other_branch(self, link: Link) -> bool:
        """Nobody has the blocks of the best header: take those of a peer whose branch wins over our head."""

        async def ask(after: bytes) -> tuple[bytes, ...] | None:
            what = f"{short(link.peer_id)} is asked for another branch after {short(after)}"
            reply = await self._request(link, GetHeaders(after, HEADERS_MAX), Phase.BLOCKS, what)
            headers: tuple[bytes, ...] | None = None if isinstance(reply, NotFound) else reply.headers
            return headers

        chain = self._chain
        search = AncestorSearch(chain.head.height, chain.finalized.height)
        raws: tuple[bytes, ...] | None = ()
        try:
            while (height := search.ask()) is not None:
                hash = await chain.hash_at(height)
                found = None if hash is None else await ask(hash)
                if found is None:
                    search.lacks(height)
                else:
                    search.has(height)
                    raws = found
            while raws:
                infos = await chain.add_headers(raws)
                plan = [info for info in infos if await chain.block(info.hash) is None]
                if plan:
                    return await self._fetch(link, plan)
                raws = await ask(infos[-1].hash)
        except HeadersRejected:
            self._claims.failed(link, self._reactor.seconds())
        except (PeerGone, RequestTimedOut, RequestRefused, PeerFault) as error:
            self._failed(link, error)
        return False

    # peers

    async def _request(self, link: Link, message: Message, phase: Phase, what: str) -> Any:
        if self._claims.get(link) is None:
            raise PeerGone(Reason.CONNECTION_LOST, "left while others were asked")
        patience = self._claims.patience(link)
        self._doing(phase, what, link, patience)
        asked = self._reactor.seconds()
        reply = await link.request(message, patience)
        self._claims.answered(link, self._reactor.seconds() - asked)
        return reply

    def _hashes(self, raws: Sequence[bytes]) -> list[bytes]:
        try:
            return [self._chain.block_hash(raw) for raw in raws]
        except ValueError as error:
            raise PeerFault(Reason.MALFORMED_MESSAGE, str(error)) from None

    def _failed(self, link: Link, error: Exception) -> None:
        now = self._reactor.seconds()
        match error:
            case PeerFault() if self._claims.get(link) is not None:  # blamed once for a batch
                self._claims.left(link)
                link.fault(error.reason, error.detail, error.penalty)
            case RequestRefused(retry_ms=retry):
                self._claims.postpone(link, now + max(retry / 1000, REFUSED_REST))
            case PeerGone():
                self._claims.left(link)
            case _:
                self._claims.failed(link, now)
