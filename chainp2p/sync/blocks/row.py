"""The blocks that are missing, in order: which have come and wait for their turn, and which the chain judges."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from attrs import define, field

from chainp2p.chain.interfaces import HeaderInfo

__all__ = ["Row"]

K = TypeVar("K")


@define(eq=False)
class Row(Generic[K]):
    """See the module. Its *edge* is the first block that has not come.

    1. They are given to the chain in order, and none before all before it have come.
    2. A block counts with its bytes from when it came until the chain has judged it. What the chain has not stored is
       wanted again.
    3. Who sent a block is remembered until it is judged, or the sender is gone.

    :param blocks: what is missing, oldest first; *places*: where each stands, by its hash.
    :param start: the place of the first that is not validated; *edge_at*: of the edge.
    :param edge_since: when what is the edge now became it.
    :param size: bytes of blocks that wait, or that the chain has not judged yet.
    """

    blocks: list[HeaderInfo] = field(factory=list)
    start: int = 0
    edge_at: int = 0
    edge_since: float = 0.0
    size: int = 0
    places: dict[bytes, int] = field(factory=dict)
    _bodies: dict[bytes, bytes] = field(factory=dict)
    _submitted: dict[bytes, HeaderInfo] = field(factory=dict)
    _sizes: dict[bytes, int] = field(factory=dict)
    _done: set[bytes] = field(factory=set)
    _senders: dict[bytes, K | None] = field(factory=dict)

    def plan(self, blocks: Sequence[HeaderInfo], now: float) -> bool:
        """These are missing from now on; answer whether they go on from the blocks before."""
        edge, before = self.edge, self.places
        self.blocks, self.start, self.edge_at = list(blocks), 0, 0
        self.places = {info.hash: at for at, info in enumerate(blocks)}
        self._done.clear()
        for hash in [hash for hash in self._bodies if hash not in self.places]:
            self._drop(hash)
        self._advance(now)
        if self.edge != edge:
            self.edge_since = now
        return bool(blocks) and (blocks[0].hash in before or blocks[0].parent in before)

    # what there is

    @property
    def edge(self) -> HeaderInfo | None:
        """The first block that has not come."""
        return self.blocks[self.edge_at] if self.edge_at < len(self.blocks) else None

    @property
    def left(self) -> int:
        """Blocks that are not validated yet."""
        return len(self.blocks) - self.start

    @property
    def validated(self) -> bytes | None:
        """The last block that is validated, with all before it; None: there is none yet."""
        return self.blocks[self.start - 1].hash if self.start else None

    @property
    def waiting(self) -> int:
        """Blocks that have come and wait for their turn."""
        return len(self._bodies)

    @property
    def ready(self) -> int:
        """Those of them that the chain could be given now: nothing before them is missing."""
        return max(0, self.edge_at - self.start - len(self._submitted))

    @property
    def submitted(self) -> int:
        """Blocks that the chain has not judged yet."""
        return len(self._submitted)

    def first_submitted(self) -> HeaderInfo | None:
        """The first of those."""
        return next(iter(self._submitted.values()), None)

    def has(self, info: HeaderInfo) -> bool:
        """Whether it has come."""
        return info.hash in self._bodies or info.hash in self._submitted or info.hash in self._done

    def wanted(self, info: HeaderInfo) -> bool:
        """Whether it is missing still."""
        return info.hash in self.places and not self.has(info)

    # what happens

    def came(self, run: Sequence[HeaderInfo], raws: Sequence[bytes], sender: K, now: float) -> None:
        """The first blocks of *run* have come; what is not wanted is passed over."""
        for info, raw in zip(run, raws, strict=False):
            if self.wanted(info):
                self._bodies[info.hash] = raw
                self._senders[info.hash] = sender
                self.size += len(raw)
        self._advance(now)

    def shed(self, most: int) -> list[HeaderInfo]:
        """Let go the highest that wait behind the edge, down to so many bytes; return which those were."""
        gone: list[HeaderInfo] = []
        if self.size > most:
            for info in reversed(self.blocks[self.edge_at :]):
                if self.size <= most:
                    break
                if info.hash in self._bodies:
                    self._drop(info.hash)
                    gone.append(info)
        return gone

    def take(self, blocks: int, room: int) -> list[tuple[HeaderInfo, bytes]]:
        """Return the next blocks for the chain in order, at most so many, and count them as submitted."""
        taken: list[tuple[HeaderInfo, bytes]] = []
        for info in self.blocks[self.start : self.edge_at]:
            if info.hash in self._submitted or info.hash in self._done:
                continue
            if len(taken) >= blocks or (taken and room < len(self._bodies[info.hash])):
                break
            raw = self._bodies.pop(info.hash)
            room -= len(raw)
            self._submitted[info.hash], self._sizes[info.hash] = info, len(raw)
            taken.append((info, raw))
        return taken

    def judged(self, hash: bytes, stored: bool, now: float) -> K | None:
        """The chain has judged a block; answer who sent it. One that is not *stored* is wanted again."""
        self._submitted.pop(hash, None)
        self.size -= self._sizes.pop(hash, 0)
        sender = self._senders.pop(hash, None)
        if hash in self.places:
            if stored:
                self._done.add(hash)
            elif self.places[hash] < self.edge_at:
                self.edge_at, self.edge_since = self.places[hash], now
            self._advance(now)
        return sender

    def forget(self, key: K) -> None:
        """A sender is gone: what it sent is kept, and nobody is to blame for it any more."""
        for hash in [hash for hash, sender in self._senders.items() if sender == key]:
            self._senders[hash] = None

    def _advance(self, now: float) -> None:
        blocks = self.blocks
        while self.start < len(blocks) and blocks[self.start].hash in self._done:
            self.start += 1
        before = self.edge_at
        while self.edge_at < len(blocks) and self.has(blocks[self.edge_at]):
            self.edge_at += 1
        if self.edge_at != before:
            self.edge_since = now

    def _drop(self, hash: bytes) -> None:
        self.size -= len(self._bodies.pop(hash))
        self._senders.pop(hash, None)
