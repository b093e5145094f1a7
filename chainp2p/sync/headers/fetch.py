"""The headers of peers: looks at what several of them claim at once, and what is worth more, one chain at a time."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from chainp2p.chain.interfaces import HeaderInfo, HeadersRejected
from chainp2p.errors import PeerFault, Reason
from chainp2p.peer.link import Link
from chainp2p.peer.tasks import begin
from chainp2p.sync.asking import UNANSWERED
from chainp2p.sync.claims import ASKED_LAST, Claim
from chainp2p.sync.headers.ancestor import NEAR
from chainp2p.sync.headers.chase import Ask, Chased, Outcome, Parted, Paused, Terms, Turned, chase, probe
from chainp2p.sync.headers.quests import Quests
from chainp2p.sync.headers.sieve import Sieve, Stage
from chainp2p.sync.serving import HEADERS_MAX
from chainp2p.sync.shared import TICK, Shared
from chainp2p.sync.state import short

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

__all__ = ["HeaderFetch", "LOOKS_AT_ONCE", "LOOK_HEADERS"]

#: Peers that are looked at at once, each for so many headers (a near fork whole, some 300 KB at most): who is far away,
#: or says nothing, then keeps nobody waiting.
LOOKS_AT_ONCE, LOOK_HEADERS = 8, NEAR
#: Of these, so many are only for those whose last look or turn brought something.
KEPT_FREE = 2
#: While others wait, a peer is asked for headers for so long and so many times in a row. Seconds.
SLICE, SLICE_ANSWERS = 2.0, 16
#: A peer on a branch that left ours below the finalized block, or far behind it, is left alone this long. Seconds.
PARTED_REST = 5.0
#: Its headers are checked for a proof of conflicting finality at most this often. Seconds, and peers remembered.
PROBE_INTERVAL, PROBES_REMEMBERED = 600.0, 256
#: A peer whose headers came to nothing, after more than a slice, is not asked again for so many times as long for each
#: peer that is here, so that such headers take a tenth of our time at most; at most so long. Seconds.
IDLE_SHARE, IDLE_REST_MAX = 9.0, 600.0
#: A chain of unknown worth is followed so far beyond the height that its peer claims: it may have grown meanwhile.
CEILING_SLACK = 2 * HEADERS_MAX


class HeaderFetch:
    """Carries out what :class:`~chainp2p.sync.claims.Claims` and :class:`~chainp2p.sync.headers.quests.Quests` say.

    1. A *look* at what a peer claims finds out where its chain leaves ours, which takes up to some 15 questions, one
       after the other, and takes the first headers from there: nearly always that is all. There are several at once, no
       two for the same block, so that nobody holds up what others announce, whatever it claims and however slow it is.
    2. Longer chains are looked at further in *turns*, one peer at a time: headers that came from one are not downloaded
       from the next.

    :param ring: lets :meth:`turn` be called soon.
    :param grown: told when headers were stored while a chain is followed; there may be more to come.
    """

    def __init__(
        self, shared: Shared, quests: Quests[Link], ring: Callable[[], None], grown: Callable[[], None]
    ) -> None:
        self._shared = shared
        self._quests = quests
        self._ring = ring
        self._grown = grown
        self._looks: dict[Link, tuple[bytes, float]] = {}
        self._turning = False
        self._running = self._probing = False
        self._probed: dict[bytes, float] = {}
        self._given_up = ""

    def start(self) -> None:
        """Looks may begin."""
        self._running = True

    def stop(self) -> None:
        """None begins any more."""
        self._running = False

    @property
    def busy(self) -> bool:
        """Whether somebody is asked for headers, or they are being checked, or there are more to come of a chain."""
        if self._looks or self._turning:
            return True
        return self._shared.claims.for_headers(self._shared.seconds(), self._begun) is not None

    @property
    def height(self) -> int:
        """How far the headers are that were looked at: ours, or those of the one whose turn it is."""
        best: int = self._shared.chain.best_header.height
        return max(best, self._quests.height)

    def words(self) -> str:
        """Say how the peers stand to us when there is nothing to do."""
        return self._shared.claims.standing(self._quests.short) + self._given_up

    def look(self) -> None:
        """Begin to look at what peers claim, at as many as may be looked at."""
        while self._running and (room := LOOKS_AT_ONCE - len(self._looks)) > 0:
            new = self._shared.claims.for_headers(self._shared.seconds(), self._unseen, room > KEPT_FREE)
            if new is None:
                return
            self._shared.spawn(self._look(new, self._shared.claims[new].claim, self._follow))

    def poll(self) -> None:
        """Ask somebody, unprompted, whether there is anything new; what it showed before, and lost by, is forgotten."""
        link = self._shared.claims.for_poll(self._shared.seconds(), lambda link: link not in self._looks)
        if link is not None:
            self._quests.ended(link)
            claim = self._shared.claims[link].claim
            self._shared.spawn(self._look(link, Claim(claim.hash, claim.height), self._chase))

    async def _look(self, link: Link, claim: Claim, follow: Callable[[Link, Claim], Awaitable[bool]]) -> None:
        self._looks[link] = claim.hash, self._shared.seconds() + TICK
        try:
            await follow(link, claim)
        except Exception:
            self._shared.claims.rest(link, self._shared.seconds() + TICK)
            raise
        finally:
            del self._looks[link]
            self._ring()

    def _unseen(self, link: Link) -> bool:
        """Whether a look at it is due: what another one announced too, and was asked for less than a TICK ago, may come
        from there.
        """
        if self._quests.get(link).sieve is not None or link in self._looks:
            return False
        now, claim = self._shared.seconds(), self._shared.claims[link].claim
        same = (until for hash, until in self._looks.values() if hash == claim.hash)
        return claim.rank is not None or not any(now < until for until in same)

    async def turn(self) -> bool:
        """Look further at the headers of the peer that comes first; answer whether anything came of it."""
        link = self._shared.claims.for_headers(self._shared.seconds(), self._begun)
        if link is None:
            return False
        self._turning = True
        try:
            return await self._follow(link, self._shared.claims[link].claim)
        finally:
            self._turning = False

    def _begun(self, link: Link) -> bool:
        return self._quests.get(link).sieve is not None and link not in self._looks

    # one peer

    async def _follow(self, link: Link, claim: Claim) -> bool:
        """Follow what a peer claims; answer whether another step is worth trying at once."""
        known = await self._shared.chain.locate(claim.hash) if claim.hash else None
        if known is None:
            return await self._chase(link, claim)
        self._quests.ended(link)
        self._shared.claims.known(link, claim, known)
        return True

    async def _chase(self, link: Link, claim: Claim) -> bool:
        """Follow one peer's headers to their end, or for as long as its turn is; answer as :meth:`_follow`."""

        def ask(after: bytes, count: int) -> "Deferred[Sequence[bytes] | None]":
            return begin(lambda: self._ask(link, after, count, look), lambda: None)

        before: bytes = self._shared.chain.best_header.hash
        began, look = self._shared.seconds(), link in self._looks
        sieve = self._quests.resume(link, look)
        again = sieve is not None and sieve.stage is Stage.AGAIN
        if sieve is not None and sieve.start.height < self._shared.chain.finalized.height:
            self._quests.ended(link)
            sieve = None
        try:
            outcome = await chase(self._shared.chain, ask, self._terms(link, claim, look), sieve)
            if isinstance(outcome, Parted) and self._may_probe(link):
                await self._probe(link, ask)
        except HeadersRejected as error:
            self._rejected(link, claim, error)
            return self._moved(before)
        except UNANSWERED as error:
            self._shared.asking.failed(link, error)
            return True
        finally:
            self._quests.spent(link, self._shared.seconds() - began, again)
        return self._ended(link, claim, outcome, before)

    async def _ask(self, link: Link, after: bytes, count: int, look: bool) -> Sequence[bytes] | None:
        sieve = self._quests.get(link).sieve
        what = f"headers after {short(after)}{sieve.words() if sieve is not None else ''}"
        headers = await self._shared.asking.headers(link, after, count, what, aside=look)
        if headers is not None:
            self._shared.asking.hashes(headers[-1:])
        return headers

    def _ended(self, link: Link, claim: Claim, outcome: Outcome, before: bytes) -> bool:
        now, moved, sieve = self._shared.seconds(), self._moved(before), self._quests.get(link).sieve
        if not isinstance(outcome, Paused):
            self._shared.claims.turned(link, sieve is not None and sieve.stage is Stage.OPEN, now)
        match outcome:
            case Chased(tip=tip, stored=stored):
                self._given_up = ""
                took = self._quests.took(link)
                if not stored and took > SLICE:
                    self._shared.claims.rest(
                        link, now + min(IDLE_REST_MAX, IDLE_SHARE * took * len(self._shared.claims))
                    )
                stated = claim.rank is not None or tip.hash != claim.hash
                if self._quests.judge(link, tip, stored, now + ASKED_LAST) and stated:
                    self._shared.claims.fell_short(link, now)
                self._shared.claims.served(link, claim, tip, now)
            case Parted():
                self._quests.ended(link)
                self._shared.claims.parted(link, claim, now + PARTED_REST)
            case Paused() if not self._quests.dawdles(link):
                self._shared.claims.unfinished(link)
                return True
            case _:
                why = outcome.why if isinstance(outcome, Turned) else "it takes too long to send its headers again"
                self._shared.log.info("headers of {peer} are given up: {why}", peer=short(link.peer_id), why=why)
                self._given_up = f"; headers of {short(link.peer_id)} were given up: {why}"
                self._quests.ended(link)
                self._shared.claims.failed(link, now)
                self._shared.claims.rest(link, now + TICK)
                return False
        return moved or claim.rank is not None

    def _terms(self, link: Link, claim: Claim, look: bool) -> Terms:
        """What headers of *link* are taken on now."""
        chain, quests, began, answers = self._shared.chain, self._quests, self._shared.seconds(), 0
        quest = quests.get(link)

        def begin(start: HeaderInfo) -> Sieve:
            return quests.begun(link, self._shared.asking.sieve(start, quests.bar(link, chain.best_header, began)))

        def go_on() -> bool:
            nonlocal answers
            answers += 1
            if look:
                return False
            now = self._shared.seconds()
            return (now - began < SLICE and answers < SLICE_ANSWERS) or not self._shared.claims.others_wait(link, now)

        best: bytes = chain.best_header.hash
        moved, quest.best = best != quest.best, best
        return Terms(
            claim.hash,
            begin,
            max(claim.height, chain.best_header.height) + CEILING_SLACK,
            quest.judged,
            go_on,
            self._grown,
            count=LOOK_HEADERS if look else HEADERS_MAX,
            moved=moved,
        )

    def _moved(self, before: bytes) -> bool:
        return bool(self._shared.chain.best_header.hash != before)

    async def _probe(self, link: Link, ask: Ask) -> None:
        """Look for a proof of conflicting finality; where there is one, keep the other branch's headers.

        Only an operator can decide between the two, and can only name a block that is known here.
        """
        self._probing = True
        try:
            raws = await probe(self._shared.chain, ask)
        finally:
            self._probing = False
        if raws:
            self._probed[link.peer_id] = self._shared.seconds()
        if raws and getattr(self._shared.chain, "conflict", None) is not None:
            await self._shared.chain.add_headers(raws)

    def _may_probe(self, link: Link) -> bool:
        """Whether it was not done lately; a peer that is merely behind does not count, and costs a few questions."""
        if self._probing or self._shared.seconds() - self._probed.get(link.peer_id, float("-inf")) < PROBE_INTERVAL:
            return False
        self._probed.pop(link.peer_id, None)
        while len(self._probed) >= PROBES_REMEMBERED:
            del self._probed[next(iter(self._probed))]
        return True

    def _rejected(self, link: Link, claim: Claim, error: HeadersRejected) -> None:
        now = self._shared.seconds()
        self._shared.claims.turned(link, False, now)
        if error.when is None:
            self._quests.ended(link)
        if error.when is not None:
            self._shared.claims.rest(link, self._shared.until(error.when))
        elif error.parent_missing:
            self._shared.claims.failed(link, now)
            self._shared.claims.rest(link, now + TICK)
        elif error.condemned:
            self._shared.log.info(
                "{peer} follows a branch with an invalid block", peer=short(link.peer_id), why=error.reason
            )
            self._shared.claims.settle(link, claim)
        else:
            self._shared.asking.failed(link, PeerFault(Reason.MISBEHAVED, f"header {error.index}: {error.reason}"))
