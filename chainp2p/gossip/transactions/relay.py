"""Relay of transactions over links: fetch what is announced, take what is pushed, offer both to the pool."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, evolve

from chainp2p.chain.interfaces import (
    Admission,
    AdmissionResult,
    HeadChanged,
    IExplainsTransactions,
    TransactionAdded,
    TransactionDropped,
    TransactionRefused,
)
from chainp2p.errors import PeerGone, Penalty, Reason, RequestRefused, RequestTimedOut
from chainp2p.gossip.checks import TRANSACTION_TURNS, Checks, transaction_cost
from chainp2p.gossip.redundancy import Redundancy, Way
from chainp2p.gossip.seen import Lots, RollingSeen
from chainp2p.gossip.transactions.announcing import SERVED_BYTES, Announcing, chosen_by_us
from chainp2p.gossip.transactions.gaps import Gaps
from chainp2p.gossip.transactions.provenance import Provenance, Stage, reason_code
from chainp2p.gossip.transactions.told import ANNOUNCED_MAX
from chainp2p.gossip.transactions.tracker import FetchLimits, FetchTracker
from chainp2p.gossip.transactions.why import TransactionAnswer, TransactionFacts, why_transaction
from chainp2p.peer.link import Credit, Link
from chainp2p.wire.messages import (
    AnnounceTransactions,
    GetMempool,
    GetTransactions,
    NewTransaction,
    Transactions,
)

if TYPE_CHECKING:
    import random as random_module

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from chainp2p.peer.tasks import Tasks

__all__ = ["TransactionRelay"]

#: A transaction is at most 128 KiB (wire design, tag 5).
TRANSACTION_MAX = 128 * 1024
#: An answer longer than this may have been cut for its length: what is not in it is asked for again. Bytes.
CUT_BYTES = SERVED_BYTES - TRANSACTION_MAX
#: Fetching: see :class:`FetchTracker`; the numbers are the chain design's ("Gossip").
LIMITS = FetchLimits(announced=ANNOUNCED_MAX, in_flight=100, ids=256, bytes=128 * 1024, seconds=5.0)
#: The word of a peer that dialled us waits for so long (intervals): a push is as fast.
PATIENCE = 0.1
#: A peer that keeps pushing faster than we check has the rest dropped: they come by announcement. Transactions.
PUSHES_CHECKED = 256
#: So many that our pool ignored, or that it announced and did not have, without one of use between, count as one small
#: fault, and so does each doubling: an honest peer relays what its own pool took, and two pools hardly differ for so
#: long. Transactions.
VAIN = 64
#: Ids remembered of what was added, fetched, included or turned down here.
REMEMBERED = 50_000


@define(eq=False)
class _Peer:
    """
    :param vain: transactions of it that were ignored since the last one of use.
    """

    vain: int = 0


class TransactionRelay:
    """What happens to a transaction between pools.

    1. How it leaves: :class:`~chainp2p.gossip.transactions.announcing.Announcing`.
    2. Fetched from one announcer at a time (:class:`FetchTracker`), those that we dialled first.
    3. Over a link for blocks only no transactions go either way: what comes anyway is passed over.
    4. Turned down ones are not fetched again until the head changes; included ones not until a reorg.
    5. What comes from peers is checked in fair turns (:class:`~chainp2p.gossip.checks.Checks`), and once, whoever sent
       it first. Who keeps sending what is of no use here is asked last: :data:`VAIN`.

    Bounds: see the constants. A peer costs at most 10,000 remembered ids, 5,000 waiting announcements and those of the
    last second, 5,000 of its own, and 256 transactions that wait to be checked beside 100 that were fetched.
    """

    def __init__(
        self,
        *,
        pool: Any,
        reactor: "IReactorTime",
        random: "random_module.Random",
        interval: float,
        now: Callable[[], float],
        tasks: "Tasks",
    ) -> None:
        self._pool = pool
        self._now = now
        self._reactor = reactor
        self._tasks = tasks
        self.counts = Redundancy()
        self._explains = IExplainsTransactions.providedBy(pool)
        self._provenance = Provenance(now, pool.reason_code if self._explains else reason_code)
        self.announcing = Announcing(pool=pool, reactor=reactor, random=random, interval=interval, counts=self.counts)
        self._peers: dict[Link, _Peer] = {}
        self._fetches: FetchTracker[Link] = FetchTracker(
            evolve(LIMITS, patience=PATIENCE * interval), lambda link: link.useless, lot=Lots(random.randbytes)
        )
        self._wake: IDelayedCall | None = None
        self._checks = Checks(reactor, *TRANSACTION_TURNS)
        self._gaps = Gaps(pool)
        self._added = RollingSeen(REMEMBERED)
        self._fetched = RollingSeen(REMEMBERED)
        self._turned_down = RollingSeen(REMEMBERED)
        self._included = RollingSeen(REMEMBERED)

    def handlers(self) -> dict[type[Any], Callable[[Any, Any], Any]]:
        return {
            NewTransaction: self._new_transaction,
            AnnounceTransactions: self._announced,
            **self.announcing.handlers(),
        }

    # peers

    def joined(self, link: Link) -> None:
        if not link.block_only:
            self._peers[link] = _Peer()
            self._fetches.joined(link, preferred=chosen_by_us(link))
            self._gaps.joined(link)
            self.announcing.joined(link)
            self._tasks.spawn(self._ask_mempool(link))

    def left(self, link: Link) -> None:
        self._peers.pop(link, None)
        self.announcing.left(link)
        self._fetches.left(link)
        self._checks.left(link)
        self._gaps.left(link)
        self._pump()

    def stop(self) -> None:
        """Forget all peers and all timers."""
        self.announcing.stop()
        for link in tuple(self._peers):
            del self._peers[link]
            self._fetches.left(link)
            self._checks.left(link)
            self._gaps.left(link)
        self._checks.stop()
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None

    def lacks(self, link: Link, hash: bytes) -> bool:
        """Whether *link* wants transactions and is not known to have this one."""
        return self.announcing.lacks(link, hash)

    # our pool

    def on_added(self, event: TransactionAdded) -> None:
        """Relay what came into the pool."""
        raw = self._pool.transaction(event.hash)
        self._fetches.forget(event.hash)
        if raw is None:
            return
        if event.local:
            self.counts.taken(event.hash, Way.OWN, self._reactor.seconds())
            self._provenance.note(event.hash, Stage.SUBMITTED)
        self._provenance.note(event.hash, Stage.ADMITTED)
        again = not self._added.add(event.hash)
        self.announcing.added(event.hash, raw, new=not again and event.hash not in self._fetched, again=again)

    def on_dropped(self, event: TransactionDropped) -> None:
        """Remember what needs no fetching."""
        self._gaps.dropped(event.hash)
        self.announcing.dropped(event.hash)
        included = event.reason == "included"
        self._provenance.note(event.hash, *((Stage.INCLUDED,) if included else (Stage.DROPPED, None, event.reason)))
        if included:
            self._included.add(event.hash)

    def on_refused(self, event: TransactionRefused) -> None:
        """Remember why one that was handed in here is not in the pool."""
        if event.local:
            self._provenance.note(event.hash, Stage.SUBMITTED)
            self._provenance.note(event.hash, Stage.REFUSED, None, event.reason)

    def on_head(self, event: HeadChanged) -> None:
        """What was turned down may be valid now; after a reorg, what was included may be wanted again."""
        self._gaps.on_head()
        self._turned_down.clear()
        if event.left:
            self._included.clear()

    # fetching

    def _here(self, hash: bytes) -> bool:
        return not self._wanted((hash,))

    def _wanted(self, hashes: Iterable[bytes]) -> list[bytes]:
        """Those that are not here, and may be."""
        pooled = self._pool.transaction
        away = [hash for hash in hashes if pooled(hash) is None]
        return self._included.without(self._turned_down.without(away)) if away else away

    async def _ask_mempool(self, link: Link) -> None:
        reply = await link.request(GetMempool())
        told = self.announcing.peer(link)
        if told is not None:
            wanted = self._wanted(reply.hashes)[:ANNOUNCED_MAX]
            told.known.update(reply.hashes[:ANNOUNCED_MAX])
            for hash in wanted:
                self._fetches.announced(link, hash, 0, self._reactor.seconds())
            self._pump()

    def _announced(self, link: Link, message: AnnounceTransactions) -> None:
        told = self.announcing.peer(link)
        if told is None:
            return
        sizes = dict(message.transactions)
        told.has(sizes)
        now = self._reactor.seconds()
        new = self._wanted(sizes)
        self.counts.announced(len(sizes), new, now)
        for hash in new:
            if hash not in self._fetches:
                self._provenance.note(hash, Stage.HEARD, link.peer_id)
            self._fetches.announced(link, hash, sizes[hash], now)
        if new:
            self._pump()

    def _pump(self) -> None:
        """Ask for what may be asked for now, and see to it that this is done again when more may be."""
        now = self._reactor.seconds()
        for link, hashes in self._fetches.next(now):
            self._tasks.spawn(self._fetch(link, hashes))
        when = self._fetches.next_time
        if when is not None and self._wake is None:
            self._wake = self._reactor.callLater(max(0.0, when - now), self._woken)

    def _woken(self) -> None:
        self._wake = None
        self._pump()

    async def _fetch(self, link: Link, hashes: Sequence[bytes]) -> None:
        sizes = {hash: self._fetches.size(link, hash) for hash in hashes}
        received: dict[bytes, bytes] = {}
        answered = False
        try:
            reply = await link.request(GetTransactions(tuple(hashes)), LIMITS.seconds)
            answered = True
            for raw in reply.transactions if isinstance(reply, Transactions) else ():
                hash = self._pool.transaction_hash(raw)
                if hash not in sizes:
                    link.fault(Reason.MISBEHAVED, "a transaction that was not asked for")
                    return
                self.counts.copied(hash, Way.FETCHED, self._here(hash), self._reactor.seconds())
                if sizes.pop(hash) not in (len(raw), 0, None):
                    link.fault(Reason.MISBEHAVED, "a transaction of another size than announced", Penalty.USELESS)
                received[hash] = raw
                self._provenance.note(hash, Stage.FETCHED, link.peer_id)
                self._fetched.add(hash)
        except (PeerGone, RequestTimedOut, RequestRefused):
            pass
        if sum(map(len, received.values())) > CUT_BYTES:
            self._fetches.again(link, tuple(sizes))
        else:
            self._fetches.failed(link, tuple(sizes))
            for hash in sizes:
                if answered and not self._here(hash):
                    self._of_no_use(link)
        self._admit_all(link, received)

    def _admit_all(self, link: Link, received: dict[bytes, bytes]) -> None:
        """Offer fetched ones to the pool, all at a time; ask for more when the last of them is through."""
        offers = [self._admit(link, raw, hash, Way.FETCHED) for hash, raw in received.items()]
        left = {offer for offer in offers if not offer.called}

        def through(outcome: Any, offer: "Deferred[None]") -> Any:
            left.discard(offer)
            if not left:
                self._pump()
            return outcome

        for offer in offers:
            self._tasks.watch(offer.addBoth(through, offer) if offer in left else offer)
        if not left:
            self._pump()

    def _new_transaction(self, link: Link, message: NewTransaction) -> None:
        told = self.announcing.peer(link)
        if told is None:
            return
        hash = self._pool.transaction_hash(message.transaction)
        told.has((hash,))
        here = self._here(hash)
        self.counts.copied(hash, Way.PUSHED, here, self._reactor.seconds())
        if not here:
            self._provenance.note(hash, Stage.PUSHED, link.peer_id)
        if not here and self._checks.waiting(link) < PUSHES_CHECKED:
            self._tasks.watch(self._admit(link, message.transaction, hash, Way.PUSHED))

    def _admit(self, link: Link, raw: bytes, hash: bytes, way: Way) -> "Deferred[None]":
        """Offer a transaction that *link* sent to the pool."""
        self.announcing.came(hash)

        def check() -> "Deferred[AdmissionResult] | None":
            return None if self._here(hash) else self._pool.admit(raw, False)

        def checked(result: AdmissionResult | None) -> None:
            if result is not None:
                self._judged(link, result, way)
                if result.outcome is Admission.ADMITTED:
                    self._gaps.admitted(link if link in self._peers else None, hash, len(raw))
            self._fetches.forget(hash)

        return self._checks.run(link, transaction_cost(len(raw)), check).addCallback(checked)

    def _judged(self, link: Link, result: AdmissionResult, way: Way) -> None:
        """What comes of it for *link*: credit, nothing, or blame."""
        if result.outcome in (Admission.IGNORED, Admission.REJECTED):
            self._provenance.note(result.hash, Stage.REFUSED, link.peer_id, result.reason)
        peer = self._peers.get(link)
        match result.outcome:
            case Admission.ADMITTED:
                self.counts.taken(result.hash, way, self._reactor.seconds(), chosen_by_us(link))
                link.credit(Credit.TRANSACTION)
                if peer is not None:
                    peer.vain = 0
            case Admission.IGNORED:
                self._turn_down(result.hash)
                self._of_no_use(link)
            case Admission.REJECTED:
                self._turn_down(result.hash)
                link.fault(Reason.MISBEHAVED, f"transaction {result.hash.hex()[:8]}: {result.reason}")

    def _of_no_use(self, link: Link) -> None:
        """Count what *link* sent, or announced and did not have."""
        peer = self._peers.get(link)
        if peer is not None:
            peer.vain += 1
            if peer.vain >= VAIN and peer.vain.bit_count() == 1:
                link.fault(Reason.MISBEHAVED, f"{peer.vain} transactions of no use in a row", Penalty.USELESS)

    async def why(self, hash: bytes) -> TransactionAnswer:
        """Where it came from, who has it, and why it is in no block."""
        standing = await self._pool.explain_transaction(hash) if self._explains else None
        holders, told = self.announcing.holders(hash)
        asked = self._fetches.asked(hash)
        facts = TransactionFacts(
            now=self._now(),
            hash=hash,
            pooled=self._pool.transaction(hash) is not None,
            standing=standing,
            happened=self._provenance.about(hash),
            announcers=[link.peer_id for link in self._fetches.announcers(hash)],
            asked=None if asked is None else asked.peer_id,
            holders=holders,
            told=told,
        )
        return why_transaction(facts)

    def _turn_down(self, hash: bytes) -> None:
        self._turned_down.add(hash)
        self.counts.turned_down(hash)
