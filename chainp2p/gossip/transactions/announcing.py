"""What peers are told of the transactions here, and what they get when they ask."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import define, field

from chainp2p.errors import RefusalReason
from chainp2p.gossip.redundancy import Redundancy, Way
from chainp2p.gossip.seen import RollingSeen, chosen, halved, push_count
from chainp2p.gossip.transactions.told import ANNOUNCED_MAX, Told
from chainp2p.peer.link import Link
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

__all__ = ["Announcing"]

#: A new transaction up to this many bytes is pushed whole to a few peers.
PUSH_BYTES = 4 * 1024
#: Ids in one ``Mempool``, and bytes in one ``Transactions`` (wire design, tags 7 and 20).
MEMPOOL_MAX, SERVED_BYTES = 50_000, 1024 * 1024
#: A beat comes within so many intervals, at any time by chance: that of one whom we dialled, and that of all others.
DIALLED_BEAT, OTHERS_BEAT = 0.2, 3.0
#: By then (intervals) everybody has been told of what came into the pool, whatever chance says.
TOLD_AFTER = max(DIALLED_BEAT, OTHERS_BEAT)
#: Ids remembered of what anybody may know to be here.
REMEMBERED = 50_000


@define(eq=False)
class _Peer:
    dialled: bool
    told: Told = field(factory=Told)
    mempool_served: bool = False


@define(eq=False)
class _Beat:
    """The next time that one peer, or all that share a beat, are told.

    :param news: what came into the pool since it was planned, with sizes; the oldest give way. Each peer is told what
        it lacks of that by then.
    """

    timer: "IDelayedCall"
    news: dict[bytes, int] = field(factory=dict)

    def add(self, hash: bytes, size: int) -> None:
        """Tell of it then."""
        if len(self.news) >= ANNOUNCED_MAX:
            del self.news[next(iter(self.news))]
        self.news[hash] = size


def chosen_by_us(link: Link) -> bool:
    """Whether we chose to be linked with that peer: a spy can dial us, and hardly make us dial it."""
    return link.outbound


def pushes(key: bytes, hash: bytes, peers: int) -> int:
    """To how many of so many peers a transaction is pushed."""
    return halved(key, hash, push_count(peers))


class Announcing:
    """Tells peers of transactions so that those which began their way here leave like all others.

    1. Nothing here knows where a transaction came from. Whoever handed it in, it leaves when it is in the pool.
    2. A small one is pushed whole at once, unless it was fetched: then those around have it, or are told. To whom: to
       half as many as the square root of the peers, drawn with a secret key for each transaction among those that we
       dialled. So a spy that dials everybody is not among those who see it on this first way; and a node gets it whole
       once, seldom twice. (With the whole square root, and pushed on by all, each would get it nearly three times.)
    3. The rest is told on a beat. That of each peer that we dialled comes soon. All that dialled us have a single one,
       since who opens many links would see the earliest of many, and much later on average: by then most of the network
       has it, and which of its nodes tells a spy first is mostly chance.
    4. An announcement is in the order of the pool's ``precedence``, which says nothing of when they came: in order of
       arrival each would date those beside it to some milliseconds.
    5. Who asks for a transaction, or for the pool, gets what it was told of itself, and of the rest what has been here
       for so long that all have been told: else asking all nodes at a time would show where it is by now.
    6. What nobody knows to be here (handed in, or read from the disk, while we were alone) is told to whoever joins,
       on the beat, not upon question; so is what is too new to be told upon question.
    7. What comes again into the pool (a reorg gave it back) is announced to all anew.

    Bounds: see the constants, and :class:`~chainp2p.gossip.transactions.told.Told`; ids of what came in three
    intervals.

    :param counts: what leaves is counted there.
    """

    def __init__(
        self,
        *,
        pool: Any,
        reactor: "IReactorTime",
        random: "random_module.Random",
        interval: float,
        counts: Redundancy,
    ) -> None:
        self._pool = pool
        self._reactor = reactor
        self._random = random
        self._interval = interval
        self._counts = counts
        self._key = random.randbytes(32)
        self._peers: dict[Link, _Peer] = {}
        #: By the peer that we dialled; None: of all others.
        self._beats: dict[Link | None, _Beat] = {}
        self._public = RollingSeen(REMEMBERED)
        self._recent: dict[bytes, float] = {}

    def handlers(self) -> dict[type[Any], Callable[[Any, Any], Any]]:
        return {GetMempool: self._get_mempool, GetTransactions: self._get_transactions}

    # peers

    def joined(self, link: Link) -> None:
        """A peer that wants transactions."""
        self._peers[link] = peer = _Peer(chosen_by_us(link))
        now = self._reactor.seconds()
        for hash in self._pool.transaction_hashes():
            if self._is_recent(hash, now) or hash not in self._public:
                raw = self._pool.transaction(hash)
                if raw is not None:
                    self._beat_of(link, peer).add(hash, len(raw))

    def left(self, link: Link) -> None:
        self._peers.pop(link, None)
        beat = self._beats.pop(link, None)
        if beat is not None:
            beat.timer.cancel()

    def stop(self) -> None:
        """Forget all peers, and their beats."""
        self._peers.clear()
        for beat in self._beats.values():
            beat.timer.cancel()
        self._beats.clear()

    def peer(self, link: Link) -> Told | None:
        """What a peer knows; None: it wants no transactions."""
        peer = self._peers.get(link)
        return None if peer is None else peer.told

    def lacks(self, link: Link, hash: bytes) -> bool:
        """Whether *link* wants transactions and is not known to have this one."""
        peer = self._peers.get(link)
        return peer is not None and peer.told.lacks(hash, self._reactor.seconds())

    def holders(self, hash: bytes) -> tuple[list[bytes], list[bytes]]:
        """Ids of peers that have it, as far as we know, and of those that were told of it just now."""
        now = self._reactor.seconds()
        knowing = [(link.peer_id, peer.told) for link, peer in self._peers.items() if hash in peer.told.known]
        return (
            [peer_id for peer_id, told in knowing if not told.lacks(hash, now)],
            [peer_id for peer_id, told in knowing if told.lacks(hash, now)],
        )

    # telling

    def came(self, hash: bytes) -> None:
        """Somebody knows that it is here, for it comes from there."""
        self._public.add(hash)

    def added(self, hash: bytes, raw: bytes, new: bool, again: bool) -> None:
        """Tell of what is in the pool now.

        :param new: it may be new to those around.
        :param again: it was in the pool before.
        """
        now = self._reactor.seconds()
        if not again:
            self._recent[hash] = now
            while not self._is_recent(oldest := next(iter(self._recent)), now):
                del self._recent[oldest]
        if new and len(raw) <= PUSH_BYTES:
            self._push(hash, raw, now)
        size, beats = len(raw), self._beats
        for beat in beats.values():
            beat.add(hash, size)
        for link, peer in self._peers.items():
            if again:
                peer.told.anew.add(hash)
            if (link if peer.dialled else None) not in beats and (again or hash not in peer.told.known):
                self._beat_of(link, peer).add(hash, size)

    def dropped(self, hash: bytes) -> None:
        """It is not in the pool any more: nobody needs to be told."""
        for beat in self._beats.values():
            beat.news.pop(hash, None)

    def _push(self, hash: bytes, raw: bytes, now: float) -> None:
        dialled = [(link.peer_id, link) for link, peer in self._peers.items() if peer.dialled]
        drawn = chosen(self._key, hash, dialled, pushes(self._key, hash, len(self._peers)))
        pushed = [link for link in drawn if hash not in self._peers[link].told.known]
        data = encode(NewTransaction(raw)) if pushed else b""
        self._counts.sent[Way.PUSHED] += len(pushed)
        for link in pushed:
            self._public.add(hash)
            self._peers[link].told.tell((hash,), now, whole=True)
            link.send_raw(data)

    def _beat_of(self, link: Link, peer: _Peer) -> _Beat:
        """The beat on which a peer is told next; it is planned if there is none."""
        key = link if peer.dialled else None
        beat = self._beats.get(key)
        if beat is None:
            within = OTHERS_BEAT if key is None else DIALLED_BEAT
            delay = self._interval * within * self._random.random()
            beat = self._beats[key] = _Beat(self._reactor.callLater(delay, self._beat, key))
        return beat

    def _beat(self, key: Link | None) -> None:
        news = self._beats.pop(key).news
        now = self._reactor.seconds()
        lacking = {
            link: peer.told.lacking(news)
            for link, peer in self._peers.items()
            if (link if peer.dialled else None) is key
        }
        places = {hash: self._pool.precedence(hash) for hash in set().union(*lacking.values())}
        self._public.update(places)
        for link, hashes in lacking.items():
            told = self._peers[link].told
            told.trim(now, TOLD_AFTER * self._interval)
            if hashes:
                hashes.sort(key=places.__getitem__)
                told.tell(hashes, now, whole=False)
                self._counts.told += len(hashes)
                self._counts.messages += 1
                link.send(AnnounceTransactions(tuple([(hash, news[hash]) for hash in hashes])))

    # serving

    def _is_recent(self, hash: bytes, now: float) -> bool:
        """Whether somebody may not have been told of it yet."""
        when = self._recent.get(hash)
        return when is not None and now - when < TOLD_AFTER * self._interval

    def _may_have(self, peer: _Peer, hash: bytes, now: float) -> bool:
        return hash in self._public and (not self._is_recent(hash, now) or hash in peer.told.lately)

    def _get_mempool(self, link: Link, message: GetMempool) -> Message:
        peer = self._peers.get(link)
        if peer is None or peer.mempool_served:
            return Refused(RefusalReason.TOO_OFTEN, 0)
        peer.mempool_served = True
        now = self._reactor.seconds()
        hashes = [hash for hash in self._pool.transaction_hashes() if self._may_have(peer, hash, now)][:MEMPOOL_MAX]
        peer.told.known.update(hashes)
        return Mempool(tuple(sorted(hashes, key=self._pool.precedence)))

    def _get_transactions(self, link: Link, message: GetTransactions) -> Message:
        peer = self._peers.get(link)
        now = self._reactor.seconds()
        found: dict[bytes, bytes] = {}
        total = 0
        for hash in message.hashes:
            raw = self._pool.transaction(hash) if peer is not None and self._may_have(peer, hash, now) else None
            if raw is None:
                continue
            if found and total + len(raw) > SERVED_BYTES:
                break
            found[hash] = raw
            total += len(raw)
        if peer is not None:
            peer.told.has(found)
        self._counts.sent[Way.FETCHED] += len(found)
        return Transactions(tuple(found.values())) if found else NotFound(message.hashes)
