"""What each peer says it has, how well it served, and whom to ask next."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from attrs import Factory, define, frozen

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.sync.blocks.sources import Source
from chainp2p.sync.state import wins

__all__ = ["ASKED_LAST", "Claim", "Claims", "PeerRecord"]

#: A peer that served less than the rank it claimed is asked last for ten minutes (chain design, "Sync"). Seconds.
ASKED_LAST = 600.0
#: A peer that failed is passed over for this long while another can be asked. Seconds.
PASSED_OVER = 30.0
#: How long a peer may take while others could serve: 2 s doubling to 64 s, relative to what it did before.
PATIENCE_MIN, PATIENCE_MAX = 2.0, 64.0
#: An answer may take this many times as long as the last one before it counts as a stall.
PATIENCE_FACTOR = 4.0
#: With nobody else to ask, asking again gains little: never less than this. Seconds.
PATIENCE_ALONE = 5.0

K = TypeVar("K")


@frozen
class Claim:
    """A peer says that it has this block. *rank* is None when it did not say."""

    hash: bytes
    height: int
    rank: bytes | None = None


@define
class PeerRecord:
    """One peer.

    :param claim: the last thing it said.
    :param open: the claim has not been looked into.
    :param tip: the last header of its chain that it served.
    :param parted: it has nothing of our chain down to the finalized block.
    :param vain: when its last turn brought nothing; minus infinity: it brought something; 0: it had none.
    :param not_before: it asked to wait.
    :param headers_after: its next header is from the future until then; its blocks are not.
    """

    peer_id: bytes
    claim: Claim
    open: bool = True
    tip: HeaderInfo | None = None
    parted: bool = False
    vain: float = 0.0
    not_before: float = 0.0
    headers_after: float = 0.0
    asked_last_until: float = 0.0
    failed_at: float = float("-inf")
    patience: float = PATIENCE_MIN
    order: int = 0

    @property
    def rests_until(self) -> float:
        """When it may be asked for headers."""
        return max(self.not_before, self.headers_after)


@define
class Claims(Generic[K]):
    """The peers of sync.

    1. One claim a peer, the last: announcing costs a peer's memory nothing, and the newest block implies the others.
    2. Headers are asked of the open claim with the best rank; claims without a rank come after those with one, higher
       first. A claim that would not win over our best header is dropped unasked.
    3. Nobody who just failed is asked again while somebody else can be; who has been useless of late comes after those,
       and who lied about its rank last of all. But the last one left *is* asked: with two nodes there is no other.
    4. Among equals, whose last turn brought nothing comes after the others, and the longer ago that is the sooner: who
       announces what is not there, as often as it likes and as high as it likes, keeps nobody waiting.
    5. Patience is relative: it starts small, doubles with each time-out and follows the time that answers take; so a
       slow link gets through, whatever its rate.

    Cost: O(peers) a choice.

    :param useless: tells who has been of little use of late.
    :param before: among peers of equal standing, who is asked for headers first.
    """

    _useless: Callable[[K], bool] = lambda _: False
    _before: Callable[[K], tuple[float, ...]] = lambda _: ()
    _peers: dict[K, PeerRecord] = Factory(dict)
    _order: int = 0

    def __len__(self) -> int:
        return len(self._peers)

    def __getitem__(self, key: K) -> PeerRecord:
        return self._peers[key]

    def get(self, key: K) -> PeerRecord | None:
        """The record of a peer that is still here."""
        return self._peers.get(key)

    def standing(self, short: int = 0) -> str:
        """Say how the peers stand to us when there is nothing to do; *short* of them showed less than they stated."""
        if not self._peers:
            return "no peers"
        parted = sum(peer.parted for peer in self._peers.values())
        waiting = sum(peer.open for peer in self._peers.values())
        words = [] if parted or waiting or short else ["in step with all peers"]
        if parted:
            words.append(f"{parted} of {len(self._peers)} peers have nothing of our chain from the finalized block on")
        if short:
            words.append(f"{short} of {len(self._peers)} peers showed less than they stated, and are asked last")
        if waiting:
            words.append(f"{waiting} asked to wait, or have headers from the future")
        return ", ".join(words)

    @property
    def highest(self) -> int:
        """The greatest height in an open claim, or 0."""
        return max((peer.claim.height for peer in self._peers.values() if peer.open), default=0)

    def joined(self, key: K, peer_id: bytes, claim: Claim) -> None:
        """A peer arrived and said what it has."""
        self._order += 1
        self._peers[key] = PeerRecord(peer_id, claim, order=self._order)

    def left(self, key: K) -> None:
        """It is gone."""
        self._peers.pop(key, None)

    def heard(self, key: K, hash: bytes, height: int) -> None:
        """It says that it has another block. A *height* of 0 means that it did not say which."""
        peer = self._peers.get(key)
        if peer is not None and not (peer.open and peer.claim.hash == hash):
            peer.claim = Claim(hash, height or peer.claim.height)
            peer.open = True

    def settle(self, key: K, claim: Claim) -> None:
        """*claim* was looked into (if a newer one came meanwhile, that stays open)."""
        peer = self._peers.get(key)
        if peer is not None and peer.claim == claim:
            peer.open = False

    def known(self, key: K, claim: Claim, info: HeaderInfo) -> None:
        """Its block is one whose header we have."""
        peer = self._peers.get(key)
        if peer is not None:
            peer.tip = info
            self.settle(key, claim)

    def drop_losing(self, best: HeaderInfo) -> None:
        """Close the claims that would not win over *best*."""
        for peer in self._peers.values():
            rank = peer.claim.rank
            if peer.open and rank is not None and not wins(rank, peer.claim.hash, best):
                peer.open = False

    def served(self, key: K, claim: Claim, tip: HeaderInfo, now: float) -> None:
        """Its chain ends at *tip*: judge the *claim* by it."""
        peer = self._peers.get(key)
        if peer is None:
            return
        peer.tip = tip
        peer.parted = False
        self.settle(key, claim)
        if claim.rank is not None and tip.rank < claim.rank:
            self.fell_short(key, now)

    def fell_short(self, key: K, now: float) -> None:
        """Its chain ranks below what it stated when it came."""
        peer = self._peers.get(key)
        if peer is not None:
            peer.asked_last_until = now + ASKED_LAST

    def others_wait(self, key: K, now: float) -> bool:
        """Whether another peer has an open claim and may be asked."""
        return any(peer.open and peer.rests_until <= now for other, peer in self._peers.items() if other != key)

    def turned(self, key: K, brought: bool, now: float) -> None:
        """Its turn is over, and has *brought* headers that were stored, or not."""
        peer = self._peers.get(key)
        if peer is not None:
            peer.vain = float("-inf") if brought else now

    def unfinished(self, key: K) -> None:
        """There is more to learn of its headers, whatever it said."""
        peer = self._peers.get(key)
        if peer is not None and not peer.open:
            peer.claim, peer.open = Claim(b"", peer.claim.height), True

    def parted(self, key: K, claim: Claim, until: float) -> None:
        """It has nothing of our chain down to the finalized block: leave it alone *until* then, it may change."""
        peer = self._peers.get(key)
        if peer is not None:
            peer.parted = True
            self.settle(key, claim)
            self.rest(key, until)

    def answered(self, key: K, seconds: float) -> None:
        """It answered after so many seconds."""
        peer = self._peers.get(key)
        if peer is not None:
            peer.patience = max(PATIENCE_MIN, min(peer.patience, PATIENCE_FACTOR * seconds))
            peer.failed_at = float("-inf")

    def failed(self, key: K, now: float) -> None:
        """It did not answer in time, or not usefully."""
        peer = self._peers.get(key)
        if peer is not None:
            peer.failed_at = now
            peer.patience = min(PATIENCE_MAX, peer.patience * 2)

    def postpone(self, key: K, until: float) -> None:
        """It is not to be asked before *until*."""
        peer = self._peers.get(key)
        if peer is not None:
            peer.not_before = until

    def rest(self, key: K, until: float) -> None:
        """It has no headers for us before *until*: the next is from the future, or its chain is not ours."""
        peer = self._peers.get(key)
        if peer is not None:
            peer.headers_after = until

    def patience(self, key: K) -> float:
        """How long to wait for an answer of this peer. Seconds."""
        alone = len(self._peers) == 1
        return max(self._peers[key].patience, PATIENCE_ALONE) if alone else self._peers[key].patience

    def _standing(self, key: K, peer: PeerRecord, now: float) -> tuple[bool, bool, float]:
        """Sort key: who is in good standing first, then who failed longest ago."""
        failed = peer.failed_at if now - peer.failed_at < PASSED_OVER else float("-inf")
        return now < peer.asked_last_until, self._useless(key), failed

    def for_headers(self, now: float, which: Callable[[K], bool] = lambda _: True, strangers: bool = True) -> K | None:
        """Return whom to ask for headers now, *which* is true of.

        :param strangers: also somebody who brought nothing last time, or had no turn yet.
        """
        open = [
            (key, peer)
            for key, peer in self._peers.items()
            if peer.open and peer.rests_until <= now and (strangers or peer.vain < 0) and which(key)
        ]
        if not open:
            return None
        top = max((peer.claim.rank for _, peer in open if peer.claim.rank is not None), default=b"")

        def order(item: tuple[K, PeerRecord]) -> tuple[Any, ...]:
            key, peer = item
            claim, standing = peer.claim, self._standing(key, peer, now)
            stated = claim.rank is None, claim.rank != top, -claim.height
            return standing, self._before(key), peer.vain, stated, peer.order

        return min(open, key=order)[0]

    def for_poll(self, now: float, which: Callable[[K], bool] = lambda _: True) -> K | None:
        """Return whom to ask, unprompted, whether there is anything new: each *which* is true of, in turn."""
        peers = [(key, peer) for key, peer in self._peers.items() if peer.rests_until <= now and which(key)]
        if not peers:
            return None
        key, peer = min(peers, key=lambda item: item[1].order)
        self._order += 1
        peer.order = self._order
        return key

    def sources(self, now: float) -> list[Source[K]]:
        """Return whom blocks may be asked of now: all but those that asked to wait."""
        return [
            Source(
                key,
                max(peer.claim.height, peer.tip.height if peer.tip else 0),
                (now < peer.asked_last_until, self._useless(key)),
                now - peer.failed_at < PASSED_OVER,
                peer.patience,
            )
            for key, peer in self._peers.items()
            if peer.not_before <= now
        ]

    def for_fallback(self, head: HeaderInfo, now: float) -> list[K]:
        """Return the peers whose served chain wins over our *head*, best first; none that showed less than it said."""
        able = [
            (key, peer.tip, peer.order)
            for key, peer in self._peers.items()
            if peer.tip is not None
            and peer.not_before <= now >= peer.asked_last_until
            and wins(peer.tip.rank, peer.tip.hash, head)
        ]
        able.sort(key=lambda item: item[2])
        able.sort(key=lambda item: item[1].rank, reverse=True)
        return [key for key, _, _ in able]

    def next_time(self, now: float) -> float | None:
        """When a resting peer with an open claim may be asked again; None: there is none."""
        resting = (peer.rests_until for peer in self._peers.values() if peer.open and peer.rests_until > now)
        return min(resting, default=None)
