"""Relay of transactions over links: announce, fetch, push, and serve what may be known to come from here."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, field

from chainp2p.chain.interfaces import Admission, AdmissionResult, HeadChanged, TransactionAdded, TransactionDropped
from chainp2p.errors import PeerGone, Penalty, Reason, RefusalReason, RequestRefused, RequestTimedOut
from chainp2p.gossip.checks import TRANSACTION_TURNS, Checks, transaction_cost
from chainp2p.gossip.seen import RollingSeen, chosen, push_count
from chainp2p.gossip.tracker import FetchLimits, FetchTracker
from chainp2p.peer.link import Credit, Link
from chainp2p.wire import encode
from chainp2p.wire.messages import (
    AnnounceTransactions,
    GetMempool,
    GetTransactions,
    Mempool,
    Message,
    NewTransaction,
    NotFound,
    Refused,
    Transactions,
)

if TYPE_CHECKING:
    import random as random_module

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from chainp2p.peer.tasks import Tasks

__all__ = ["TransactionRelay"]

#: A new transaction up to this many bytes is pushed whole to a few peers.
PUSH_BYTES = 4 * 1024
#: Announcements in one message, and waiting for one peer (wire design, tag 18).
ANNOUNCED_MAX = 5_000
#: A transaction is at most 128 KiB (wire design, tag 5).
TRANSACTION_MAX = 128 * 1024
#: Ids in one ``Mempool``, and bytes in one ``Transactions`` (wire design, tags 7 and 20).
MEMPOOL_MAX, SERVED_BYTES = 50_000, 1024 * 1024
#: An answer longer than this may have been cut for its length: what is not in it is asked for again. Bytes.
CUT_BYTES = SERVED_BYTES - TRANSACTION_MAX
#: Fetching: see :class:`FetchTracker`; the numbers are the chain design's ("Gossip").
LIMITS = FetchLimits(announced=ANNOUNCED_MAX, in_flight=100, ids=256, bytes=128 * 1024, seconds=5.0)
#: A peer that keeps pushing faster than we check has the rest dropped: they come by announcement. Transactions.
PUSHES_CHECKED = 256
#: So many that our pool ignored, without one of use between, count as one small fault, and so does each doubling: an
#: honest peer relays what its own pool took, and two pools hardly differ for so long. Transactions.
VAIN = 64
#: Who was told of a transaction is taken to have it after this (seconds): a fetch takes two ways, and a little more.
FETCHED_AFTER = 1.0
#: Ids remembered of each peer, and of what was announced, added, included or turned down here.
KNOWN_PER_PEER, REMEMBERED = ANNOUNCED_MAX, 50_000


@define(eq=False)
class _Peer:
    """
    :param known: it has these, or was told of them.
    :param queue: to be announced to it at the next beat, with sizes.
    :param offered: announced to it lately, and when; it may not have them yet.
    :param vain: transactions of it that were ignored since the last one of use.
    """

    wants: bool
    known: RollingSeen = field(factory=lambda: RollingSeen(KNOWN_PER_PEER))
    queue: dict[bytes, int] = field(factory=dict)
    offered: dict[bytes, float] = field(factory=dict)
    timer: "IDelayedCall | None" = None
    vain: int = 0
    mempool_served: bool = False


class TransactionRelay:
    """What happens to a transaction between pools.

    1. Announced to each peer on that peer's own beat, every ``interval`` with jitter, so that the order of
       announcements says little about where it came from. A small new one is pushed at once to the square root of the
       peers, chosen by a secret key: most networks are reached in one hop.
    2. Fetched from one announcer at a time (:class:`FetchTracker`).
    3. ``GetMempool`` and ``GetTransactions`` serve only what has been announced to, or came from, anyone: asking does
       not show what only this node knows. What nobody was told yet (own transactions sent while alone) is announced
       to the next peer that joins.
    4. A transaction that comes into the pool again (a reorg gave it back) is announced to all again.
    5. Over a link for blocks only no transactions go either way: what comes anyway is passed over.
    6. Turned down ones are not fetched again until the head changes; included ones not until a reorg.
    7. What comes from peers is checked in fair turns (:class:`~chainp2p.gossip.checks.Checks`), and once, whoever sent
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
        tasks: "Tasks",
    ) -> None:
        self._pool = pool
        self._reactor = reactor
        self._random = random
        self._interval = interval
        self._tasks = tasks
        self._key = random.randbytes(32)
        self._peers: dict[Link, _Peer] = {}
        self._fetches: FetchTracker[Link] = FetchTracker(LIMITS, lambda link: link.useless, lot=random.random)
        self._checks = Checks(reactor, *TRANSACTION_TURNS)
        self._public = RollingSeen(REMEMBERED)
        self._added = RollingSeen(REMEMBERED)
        self._not_new = RollingSeen(REMEMBERED)
        self._turned_down = RollingSeen(REMEMBERED)
        self._included = RollingSeen(REMEMBERED)

    def handlers(self) -> dict[type[Any], Callable[[Any, Any], Any]]:
        return {
            NewTransaction: self._new_transaction,
            AnnounceTransactions: self._announced,
            GetMempool: self._get_mempool,
            GetTransactions: self._get_transactions,
        }

    # peers

    def joined(self, link: Link) -> None:
        wants = not link.block_only
        self._peers[link] = _Peer(wants)
        self._fetches.joined(link, preferred=link.outbound)
        if not wants:
            return
        for hash in self._pool.transaction_hashes():
            if hash not in self._public:
                raw = self._pool.transaction(hash)
                if raw is not None:
                    self._queue(link, hash, len(raw))
        self._tasks.spawn(self._ask_mempool(link))

    def left(self, link: Link) -> None:
        peer = self._peers.pop(link, None)
        if peer is not None and peer.timer is not None:
            peer.timer.cancel()
        self._fetches.left(link)
        self._checks.left(link)
        self._pump()

    def stop(self) -> None:
        """Forget all peers and their timers."""
        for link in tuple(self._peers):
            peer = self._peers.pop(link)
            if peer.timer is not None:
                peer.timer.cancel()
            self._fetches.left(link)
            self._checks.left(link)

    def lacks(self, link: Link, hash: bytes) -> bool:
        """Whether *link* is not known to have a transaction: neither told of it long enough ago, nor has it told."""
        peer = self._peers.get(link)
        if peer is None or not peer.wants:
            return False
        offered = peer.offered.get(hash)
        fetching = offered is not None and self._reactor.seconds() - offered < FETCHED_AFTER
        return fetching or hash not in peer.known

    # our pool

    def on_added(self, event: TransactionAdded) -> None:
        """Relay what came into the pool."""
        raw = self._pool.transaction(event.hash)
        self._fetches.forget(event.hash)
        if raw is None:
            return
        again = not self._added.add(event.hash)
        told = [
            (link.peer_id, link)
            for link, peer in self._peers.items()
            if peer.wants and (again or event.hash not in peer.known)
        ]
        pushed: list[Link] = []
        if len(raw) <= PUSH_BYTES and not again and event.hash not in self._not_new:
            wanting = sum(peer.wants for peer in self._peers.values())
            pushed = chosen(self._key, event.hash, told, push_count(wanting))
            data = encode(NewTransaction(raw)) if pushed else b""
            for link in pushed:
                self._told(link, event.hash)
                link.send_raw(data)
        for _, link in told:
            if link not in pushed:
                self._queue(link, event.hash, len(raw))

    def on_dropped(self, event: TransactionDropped) -> None:
        """Remember what needs no fetching."""
        if event.reason == "included":
            self._included.add(event.hash)

    def on_head(self, event: HeadChanged) -> None:
        """What was turned down may be valid now; after a reorg, what was included may be wanted again."""
        self._turned_down.clear()
        if event.left:
            self._included.clear()

    def _told(self, link: Link, hash: bytes) -> None:
        self._public.add(hash)
        self._peers[link].known.add(hash)

    def _queue(self, link: Link, hash: bytes, size: int) -> None:
        peer = self._peers[link]
        if len(peer.queue) >= ANNOUNCED_MAX:
            del peer.queue[next(iter(peer.queue))]
        peer.queue[hash] = size
        if peer.timer is None:
            delay = self._interval * (0.5 + self._random.random())
            peer.timer = self._reactor.callLater(delay, self._announce, link)

    def _announce(self, link: Link) -> None:
        peer = self._peers[link]
        peer.timer = None
        items = tuple((hash, size) for hash, size in peer.queue.items() if self._pool.transaction(hash) is not None)
        peer.queue.clear()
        now = self._reactor.seconds()
        peer.offered = {hash: when for hash, when in peer.offered.items() if now - when < FETCHED_AFTER}
        if items:
            for hash, _ in items:
                self._told(link, hash)
                peer.offered[hash] = now
            link.send(AnnounceTransactions(items))

    # fetching

    def _here(self, hash: bytes) -> bool:
        return hash in self._turned_down or hash in self._included or self._pool.transaction(hash) is not None

    async def _ask_mempool(self, link: Link) -> None:
        reply = await link.request(GetMempool())
        peer = self._peers.get(link)
        if peer is not None:
            wanted = [hash for hash in reply.hashes if not self._here(hash)][:ANNOUNCED_MAX]
            peer.known.update(reply.hashes[:ANNOUNCED_MAX])
            self._not_new.update(wanted)
            for hash in wanted:
                self._fetches.announced(link, hash, 0, self._reactor.seconds())
            self._pump()

    def _announced(self, link: Link, message: AnnounceTransactions) -> None:
        peer = self._peers.get(link)
        if peer is None or not peer.wants:
            return
        for hash, size in message.transactions:
            peer.known.add(hash)
            peer.queue.pop(hash, None)
            peer.offered.pop(hash, None)
            if not self._here(hash):
                self._fetches.announced(link, hash, size, self._reactor.seconds())
        self._pump()

    def _pump(self) -> None:
        for link, hashes in self._fetches.next(self._reactor.seconds()):
            self._tasks.spawn(self._fetch(link, hashes))

    async def _fetch(self, link: Link, hashes: Sequence[bytes]) -> None:
        sizes = {hash: self._fetches.size(link, hash) for hash in hashes}
        received: dict[bytes, bytes] = {}
        try:
            reply = await link.request(GetTransactions(tuple(hashes)), LIMITS.seconds)
            for raw in reply.transactions if isinstance(reply, Transactions) else ():
                hash = self._pool.transaction_hash(raw)
                if hash not in sizes:
                    link.fault(Reason.MISBEHAVED, "a transaction that was not asked for")
                    return
                if sizes.pop(hash) not in (len(raw), 0, None):
                    link.fault(Reason.MISBEHAVED, "a transaction of another size than announced", Penalty.USELESS)
                received[hash] = raw
        except (PeerGone, RequestTimedOut, RequestRefused):
            pass
        if sum(map(len, received.values())) > CUT_BYTES:
            self._fetches.again(link, tuple(sizes))
        else:
            self._fetches.failed(link, tuple(sizes))
        self._admit_all(link, received)

    def _admit_all(self, link: Link, received: dict[bytes, bytes]) -> None:
        """Offer fetched ones to the pool, all at a time; ask for more when the last of them is through."""
        left = set(received)

        async def admit(hash: bytes, raw: bytes) -> None:
            try:
                await self._admit(link, raw, hash)
            finally:
                left.discard(hash)
                if not left:
                    self._pump()

        for hash, raw in received.items():
            self._tasks.spawn(admit(hash, raw))
        if not received:
            self._pump()

    def _new_transaction(self, link: Link, message: NewTransaction) -> None:
        peer = self._peers.get(link)
        if peer is None or not peer.wants:
            return
        hash = self._pool.transaction_hash(message.transaction)
        peer.known.add(hash)
        peer.queue.pop(hash, None)
        peer.offered.pop(hash, None)
        if not self._here(hash) and self._checks.waiting(link) < PUSHES_CHECKED:
            self._tasks.spawn(self._admit(link, message.transaction, hash))

    async def _admit(self, link: Link, raw: bytes, hash: bytes) -> None:
        """Offer a transaction that *link* sent to the pool."""
        self._public.add(hash)

        async def check() -> AdmissionResult | None:
            return None if self._here(hash) else await self._pool.admit(raw, False)

        result = None if self._here(hash) else await self._checks.run(link, transaction_cost(len(raw)), check)
        if result is not None:
            self._judged(link, result)
        self._fetches.forget(hash)

    def _judged(self, link: Link, result: AdmissionResult) -> None:
        """What comes of it for *link*: credit, nothing, or blame."""
        peer = self._peers.get(link)
        match result.outcome:
            case Admission.ADMITTED:
                link.credit(Credit.TRANSACTION)
                if peer is not None:
                    peer.vain = 0
            case Admission.IGNORED:
                self._turned_down.add(result.hash)
                if peer is not None:
                    peer.vain += 1
                    if peer.vain >= VAIN and peer.vain.bit_count() == 1:
                        link.fault(Reason.MISBEHAVED, f"{peer.vain} transactions of no use in a row", Penalty.USELESS)
            case Admission.REJECTED:
                self._turned_down.add(result.hash)
                link.fault(Reason.MISBEHAVED, f"transaction {result.hash.hex()[:8]}: {result.reason}")

    # serving

    def _get_mempool(self, link: Link, message: GetMempool) -> Message:
        peer = self._peers.get(link)
        if peer is None or peer.mempool_served:
            return Refused(RefusalReason.TOO_OFTEN, 0)
        peer.mempool_served = True
        hashes = tuple(hash for hash in self._pool.transaction_hashes() if hash in self._public)[:MEMPOOL_MAX]
        peer.known.update(hashes)
        return Mempool(hashes)

    def _get_transactions(self, link: Link, message: GetTransactions) -> Message:
        found: list[bytes] = []
        total = 0
        for hash in message.hashes:
            raw = self._pool.transaction(hash) if hash in self._public else None
            if raw is None:
                continue
            if found and total + len(raw) > SERVED_BYTES:
                break
            found.append(raw)
            total += len(raw)
        if link in self._peers:
            self._peers[link].known.update(message.hashes)
            for hash in message.hashes:
                self._peers[link].offered.pop(hash, None)
        return Transactions(tuple(found)) if found else NotFound(message.hashes)
