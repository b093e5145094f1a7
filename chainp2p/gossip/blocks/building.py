"""Which blocks are being rebuilt from compact forms, from whose, and who is next."""

from collections.abc import Iterator
from enum import Enum
from typing import Generic, TypeVar

from attrs import define, field, frozen

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.wire.messages import CompactBlock

__all__ = ["Attempt", "Building", "GiveUp", "Has", "Sketch"]

#: Attempts at one block, each with another peer, then it is fetched whole (chain design, "Gossip").
ATTEMPTS = 3
#: Who was asked is waited for so long before the next is asked as well (seconds): twice a long way round the earth and
#: the time of 50 KB on a slow line. The answer is still taken then.
OVERDUE = 0.5
#: An announced block is waited for so long (seconds), where somebody has been asked to push: who pushes at the same
#: time may be further away. It is a long way over a link, and the question alone would take so long; mostly pushes are
#: far ahead, since they do not wait for the block.
PUSH_HEADSTART = 0.1
#: Blocks that one peer may be known to have: an honest one has one or two, more in a burst after a cut.
BLOCKS_PER_PEER = 16
#: Compact forms of one peer that wait for their turn, and of all (bytes): two of the largest, and of 32 peers that.
KEPT_PER_PEER, KEPT_IN_ALL = 256 * 1024, 8 * 1024 * 1024
#: Attempts under way with one peer, and in all: each may bring a block of 4 MiB.
OPEN_PER_PEER, OPEN_IN_ALL = 4, 16

K = TypeVar("K")


class Has(Enum):
    """How a peer can be asked for a block."""

    COMPACT = "compact"
    WHOLE = "whole"  #: it knows nothing of compact forms


@frozen
class Sketch:
    """What a peer pushed.

    :param header: what the chain knows of it; None: it is early.
    """

    message: CompactBlock
    header: HeaderInfo | None

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        message = self.message
        return len(message.header) + len(message.short_ids) + sum(len(raw) for _, raw in message.prefilled)


@frozen
class Attempt(Generic[K]):
    """Rebuild *hash* with the help of *peer*: from what it pushed, or else from what it is to be asked for."""

    peer: K
    hash: bytes
    pushed: Sketch | None

    @property
    def unseen(self) -> bool:
        """Whether the peer only passed on what it was sent."""
        return self.pushed is not None and not self.pushed.message.checked


@frozen
class GiveUp(Generic[K]):
    """Fetch *hash* whole from one of *peers*."""

    hash: bytes
    peers: tuple[K, ...]


@define(eq=False)
class _Block(Generic[K]):
    """
    :param sources: who has it and was not asked, with what it pushed.
    :param asked: who was asked, and what is still under way with it.
    :param tries: how many were asked; some of them may have left.
    :param due: when the next may be asked.
    """

    due: float
    tries: int = 0
    sources: dict[K, "Sketch | Has"] = field(factory=dict)
    asked: "dict[K, Attempt[K] | None]" = field(factory=dict)
    failed: bool = False

    @property
    def over(self) -> bool:
        """Whether nobody is left whom an attempt could be made with."""
        return self.failed or self.tries >= ATTEMPTS or all(has is Has.WHOLE for has in self.sources.values())


@define(eq=False)
class _Peer:
    preferred: bool
    blocks: set[bytes] = field(factory=set)
    kept: int = 0
    open: int = 0


class Building(Generic[K]):
    """Decides whom a block is rebuilt with.

    1. One peer is asked at a time, since each answer costs the bytes of what is missing. The next is asked when that
       one has failed, or has not answered within :data:`OVERDUE`: who pushes and then keeps silent delays a block by
       that, once.
    2. Who has pushed goes before who has announced (one round trip less), then whom we chose to dial, then who was
       first: an attacker can connect to us, but does not choose whom we dial.
    3. An announced block waits for a push first, if somebody was asked to push.
    4. After three attempts, or when nobody is left, the block is fetched whole from anybody who has it, from those with
       whom it failed only if there are no others. So is one that does not match its header after it was rebuilt from
       the pool: two transactions may have one short id, which is nobody's fault, and the whole block settles it.
    5. Who passed on a compact form unseen is not at an end with it: it may have the right one next, pushed or asked
       for.
    6. A peer has at most :data:`BLOCKS_PER_PEER` blocks here, :data:`KEPT_PER_PEER` bytes and :data:`OPEN_PER_PEER`
       attempts: what is more is passed over, so that a flood costs its sender's place only. Nothing is evicted.

    The caller drops a block that is complete (:meth:`done`). Cost: O(sources) a call.
    """

    def __init__(self) -> None:
        self._blocks: dict[bytes, _Block[K]] = {}
        self._peers: dict[K, _Peer] = {}
        self._kept = 0
        self._open = 0

    def __contains__(self, hash: bytes) -> bool:
        return hash in self._blocks

    def __len__(self) -> int:
        return len(self._blocks)

    @property
    def kept(self) -> int:
        """Bytes of compact forms that wait."""
        return self._kept

    def joined(self, peer: K, preferred: bool) -> None:
        """A peer that may have blocks."""
        self._peers[peer] = _Peer(preferred)

    def left(self, peer: K, now: float) -> None:
        """It is gone: what it pushed with it."""
        entry = self._peers.get(peer)
        if entry is None:
            return
        for hash in tuple(entry.blocks):
            block = self._blocks[hash]
            self._release(entry, block.sources.pop(peer, None))
            if block.asked.get(peer):
                self._close(block, peer, now)
            block.asked.pop(peer, None)
            entry.blocks.discard(hash)
        del self._peers[peer]

    def announced(self, peer: K, hash: bytes, has: Has, now: float, wait: bool = False) -> bool:
        """*peer* has a block. *wait*: somebody may push it. False: its place is full."""
        return self._add(peer, hash, has, now + PUSH_HEADSTART if wait and has is Has.COMPACT else now)

    def pushed(self, peer: K, hash: bytes, sketch: Sketch, now: float) -> bool:
        """*peer* sent a compact form with which something is missing. False: its place is full."""
        entry, size = self._peers.get(peer), sketch.size
        if entry is None or entry.kept + size > KEPT_PER_PEER or self._kept + size > KEPT_IN_ALL:
            return False
        return self._add(peer, hash, sketch, now)

    def _add(self, peer: K, hash: bytes, has: "Sketch | Has", due: float) -> bool:
        entry, block = self._peers.get(peer), self._blocks.get(hash)
        if entry is None or (hash not in entry.blocks and len(entry.blocks) >= BLOCKS_PER_PEER):
            return False
        if block is None:
            block = self._blocks[hash] = _Block(due)
        if peer in block.asked:
            last = block.asked[peer]
            if last is None or not last.unseen or not isinstance(has, Sketch):
                return True
            # what it passed on unseen was wrong, and this is right
            self._close(block, peer, due)
            del block.asked[peer]
        if not any(block.asked.values()):
            block.due = min(block.due, due)
        before = block.sources.get(peer)
        if before is None or isinstance(has, Sketch):
            self._release(entry, before)
            block.sources[peer] = has
            if isinstance(has, Sketch):
                entry.kept += has.size
                self._kept += has.size
        entry.blocks.add(hash)
        return True

    def _release(self, entry: _Peer, has: "Sketch | Has | None") -> None:
        if isinstance(has, Sketch):
            entry.kept -= has.size
            self._kept -= has.size

    def ended(self, attempt: "Attempt[K]", now: float, mismatch: bool = False) -> None:
        """An attempt brought no block; *mismatch*: what it brought does not match the header."""
        block = self._blocks.get(attempt.hash)
        if block is None or block.asked.get(attempt.peer) is not attempt:
            return
        self._close(block, attempt.peer, now)
        if attempt.unseen:
            del block.asked[attempt.peer]
            if not block.sources:
                block.due = now + PUSH_HEADSTART
            block.sources[attempt.peer] = Has.COMPACT
        elif mismatch:
            block.failed = True

    def _close(self, block: _Block[K], peer: K, now: float) -> None:
        block.asked[peer] = None
        block.due = min(block.due, now)
        self._peers[peer].open -= 1
        self._open -= 1

    def done(self, hash: bytes) -> None:
        """The block is here, or not wanted any more."""
        block = self._blocks.pop(hash, None)
        if block is None:
            return
        for peer, has in block.sources.items():
            self._release(self._peers[peer], has)
        for peer in (*block.sources, *block.asked):
            self._peers[peer].blocks.discard(hash)
        for peer, attempt in block.asked.items():
            if attempt is not None:
                self._peers[peer].open -= 1
                self._open -= 1

    def next(self, now: float) -> "list[Attempt[K] | GiveUp[K]]":
        """Return what to do now, and count it as done."""
        return list(self._next(now))

    def _next(self, now: float) -> "Iterator[Attempt[K] | GiveUp[K]]":
        for hash, block in tuple(self._blocks.items()):
            if block.due > now:
                continue
            waiting = any(block.asked.values())
            if block.over:
                if block.sources or not waiting or block.failed:
                    yield GiveUp(hash, tuple(self._order(block) or block.asked))
                    self.done(hash)
                continue
            peer = next((one for one in self._order(block) if self._able(block, one)), None)
            if peer is not None:
                yield self._ask(peer, hash, block, now)

    def _order(self, block: _Block[K]) -> list[K]:
        def place(peer: K) -> tuple[bool, bool]:
            return not isinstance(block.sources[peer], Sketch), not self._peers[peer].preferred

        return sorted(block.sources, key=place)

    def _able(self, block: _Block[K], peer: K) -> bool:
        free = self._open < OPEN_IN_ALL and self._peers[peer].open < OPEN_PER_PEER
        return free and block.sources[peer] is not Has.WHOLE

    def _ask(self, peer: K, hash: bytes, block: _Block[K], now: float) -> "Attempt[K]":
        has, entry = block.sources.pop(peer), self._peers[peer]
        self._release(entry, has)
        block.asked[peer] = attempt = Attempt(peer, hash, has if isinstance(has, Sketch) else None)
        block.tries += 1
        block.due = now + OVERDUE
        entry.open += 1
        self._open += 1
        return attempt

    def next_time(self, now: float) -> float | None:
        """When after *now* :meth:`next` has something to do, if nothing happens before."""
        return min((block.due for block in self._blocks.values() if block.due > now), default=None)
