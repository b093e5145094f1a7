"""A tiny deterministic chain in memory: rank is total weight, nothing is signed, anybody may produce.
 It has all that the network can meet in a chain: forks and reorgs, blocks from the future, bodies that do not match
their header (the sender's fault), blocks that fail when they are connected (their producer's fault), and finality by
depth.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from zope.interface import implementer

from chainp2p.chain.interfaces import (
    Admission,
    AdmissionResult,
    AlreadyKnown,
    BlockProduced,
    Connected,
    Fault,
    FinalityConflict,
    FinalizedChanged,
    HeadChanged,
    HeaderAdded,
    HeaderInfo,
    HeadersRejected,
    IBodyCheck,
    IChain,
    IHeaderRuns,
    Invalid,
    ITransactionPool,
    NotYet,
    ParentMissing,
    Stored,
    TransactionAdded,
    TransactionDropped,
    TransactionRefused,
    Verdict,
)
from chainp2p.chain.tree import HeaderTree, Node, better
from chainp2p.events import EventBus
from chainp2p.testing.copies import Copies, Parts
from chainp2p.testing.toyblocks import GENESIS, HEADER, ToyHeader, join_body, split_body

__all__ = ["FAILS", "IGNORED", "REJECTED", "ToyChain", "ToyHeader"]

#: A block with a transaction that begins so fails when it is connected.
FAILS = b"fails:"
#: The pool turns down transactions that begin so, without and with blame.
IGNORED, REJECTED = b"ignored:", b"rejected:"

T = TypeVar("T")


@implementer(IChain, IBodyCheck, IHeaderRuns, ITransactionPool)
class ToyChain:
    """See the module.

    :param now: Unix time in seconds; blocks above it are not yet.
    :param finality: so many blocks below the head are final; None: only the genesis block is.
    :param reactor: with it, every answer takes *delay* seconds.
    :param copies: shared with other chains.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float] = lambda: 0.0,
        finality: int | None = None,
        reactor: IReactorTime | None = None,
        delay: float = 0.0,
        copies: Copies | None = None,
    ) -> None:
        self._now = now
        self._finality = finality
        self._reactor = reactor
        self._delay = delay
        self._copies = copies
        self.events = EventBus()
        self.genesis_hash = sha256(GENESIS).digest()
        info = HeaderInfo(self.genesis_hash, bytes(32), 0, (1).to_bytes(32, "big"))
        self._tree: HeaderTree[bytes] = HeaderTree(info, GENESIS)
        self._head = self._tree.finalized
        self._chain = [self._head]
        self._bodies = {info.hash: GENESIS}
        self._pool: dict[bytes, bytes] = {}
        self._included: set[bytes] = set()
        self.conflict: FinalityConflict | None = None

    def _answer(self, value: T) -> "Deferred[T]":
        if self._reactor is None:
            return succeed(value)
        return deferLater(self._reactor, self._delay, lambda: value)

    async def _attempt(self, work: Callable[[], T]) -> T:
        await self._answer(None)
        return work()

    # what is there

    @property
    def head(self) -> HeaderInfo:
        return self._head.info

    @property
    def best_header(self) -> HeaderInfo:
        return self._tree.best.info

    @property
    def finalized(self) -> HeaderInfo:
        return self._tree.finalized.info

    def start(self) -> "Deferred[None]":
        return succeed(None)

    def stop(self) -> "Deferred[None]":
        return succeed(None)

    def settings_hashes(self) -> Sequence[tuple[int, bytes]]:
        return [(0, self.genesis_hash)]

    def header(self, hash: bytes) -> "Deferred[bytes | None]":
        node = self._tree.get(hash)
        return self._answer(None if node is None else node.data)

    def block(self, hash: bytes) -> "Deferred[bytes | None]":
        return self._answer(self._bodies.get(hash))

    def locate(self, hash: bytes) -> "Deferred[HeaderInfo | None]":
        node = self._tree.get(hash)
        return self._answer(None if node is None else node.info)

    def hash_at(self, height: int) -> "Deferred[bytes | None]":
        return self._answer(self._chain[height].info.hash if height < len(self._chain) else None)

    def hashes_at(self, hash: bytes, heights: Iterable[int]) -> "Deferred[dict[int, bytes] | None]":
        if self._following(hash) is None:
            return self._answer(None)
        return self._answer({at: self._chain[at].info.hash for at in heights if at < len(self._chain)})

    def header_at(self, height: int) -> "Deferred[HeaderInfo | None]":
        node = self._tree.at(height)
        return self._answer(None if node is None else node.info)

    def missing(self, limit: int) -> "Deferred[list[HeaderInfo]]":
        return self._answer([node.info for node in self._tree.missing(self._head, limit)])

    def _following(self, hash: bytes) -> list[Node[bytes]] | None:
        node = self._tree.get(hash)
        if node is None or node.info.height >= len(self._chain) or self._chain[node.info.height] is not node:
            return None
        return self._chain[node.info.height :]

    def headers_after(self, hash: bytes, count: int) -> "Deferred[list[bytes] | None]":
        nodes = self._following(hash)
        return self._answer(None if nodes is None else [node.data for node in nodes[1 : count + 1]])

    def blocks_from(self, hash: bytes, count: int, max_bytes: int) -> "Deferred[list[bytes] | None]":
        nodes = self._following(hash)
        if nodes is None:
            return self._answer([self._bodies[hash]] if hash in self._bodies else None)
        raws: list[bytes] = []
        for node in nodes[:count]:
            raw = self._bodies[node.info.hash]
            if raws and sum(map(len, raws)) + len(raw) > max_bytes:
                break
            raws.append(raw)
        return self._answer(raws)

    # bytes

    def block_hash(self, raw: bytes) -> bytes:
        ToyHeader.decode(raw)
        return sha256(raw[: HEADER.size]).digest()

    def split(self, raw: bytes) -> Parts:
        return self._split(raw) if self._copies is None else self._copies.parts(raw, self._split)

    def _split(self, raw: bytes) -> Parts:
        ToyHeader.decode(raw)
        transactions = split_body(raw[HEADER.size :])
        return raw[: HEADER.size], tuple((self.transaction_hash(item), item) for item in transactions)

    def assemble(self, header: bytes, transactions: Sequence[bytes]) -> bytes:
        return self._one(header + join_body(transactions))

    def _one(self, raw: bytes) -> bytes:
        return raw if self._copies is None else self._copies.raw(raw)

    def make(
        self,
        parent: bytes | None = None,
        transactions: Sequence[bytes] = (),
        weight: int = 1,
        salt: int = 0,
        time: int = 0,
    ) -> bytes:
        """Return a block on *parent* (the head if None) that this chain has not seen yet."""
        node = self._head if parent is None else self._tree.get(parent)
        assert node is not None, "the parent is unknown"
        body = join_body(transactions)
        digest = sha256(body).digest()
        header = ToyHeader(node.info.hash, node.info.height + 1, weight, time, digest, salt.to_bytes(8, "little"))
        return header.raw + body

    def produce(self, **fields: Any) -> bytes:
        """Make a block of the whole pool on the head, connect it and publish BlockProduced."""
        raw = self.make(transactions=list(self._pool.values()), **fields)
        self._submit(raw)
        self.events.publish(BlockProduced(self.head, raw))
        return raw

    # headers

    def _read(
        self, raws: Sequence[bytes], after: HeaderInfo | None = None
    ) -> tuple[list[tuple[HeaderInfo, bytes]], HeadersRejected | None]:
        """Check consecutive headers; return those before the first bad one, and what is wrong with that."""
        read: list[tuple[HeaderInfo, bytes]] = []
        fresh: dict[bytes, HeaderInfo] = {} if after is None else {after.hash: after}
        for index, raw in enumerate(raws):
            try:
                header, hash = ToyHeader.decode(raw), self.block_hash(raw)
            except ValueError as malformed:
                return read, HeadersRejected(index, str(malformed))
            known = self._tree.get(header.parent)
            parent = fresh.get(header.parent) or (known.info if known is not None else None)
            if parent is None:
                return read, HeadersRejected(index, "parent missing", parent_missing=True)
            if header.height != parent.height + 1 or not header.weight or len(raw) != HEADER.size:
                return read, HeadersRejected(index, "bad header")
            if known is not None and known.bad:
                return read, HeadersRejected(index, "descends from a bad block", condemned=True)
            if header.time > self._now() * 1000:
                return read, HeadersRejected(index, "too early", when=header.time / 1000)
            rank = int.from_bytes(parent.rank, "big") + header.weight
            fresh[hash] = HeaderInfo(hash, parent.hash, header.height, rank.to_bytes(32, "big"))
            read.append((fresh[hash], raw))
        return read, None

    def check_headers(self, raws: Sequence[bytes]) -> "Deferred[list[HeaderInfo]]":
        return Deferred.fromCoroutine(self._attempt(lambda: self._check(raws)))

    def _check(self, raws: Sequence[bytes]) -> list[HeaderInfo]:
        read, problem = self._read(raws)
        if problem is not None:
            raise problem
        infos = [info for info, _ in read]
        first = self._tree.get(infos[0].parent) if infos else None
        if first is not None and not first.live and self.conflict is None and better(infos[-1], self.best_header):
            self.conflict = FinalityConflict(self.finalized, infos[-1], ())
            self.events.publish(self.conflict)
        return infos

    def check_run(self, raws: Sequence[bytes], after: Any) -> "Deferred[tuple[list[HeaderInfo], Any]]":
        return Deferred.fromCoroutine(self._attempt(lambda: self._check_run(raws, after)))

    def _check_run(self, raws: Sequence[bytes], after: HeaderInfo | None) -> tuple[list[HeaderInfo], HeaderInfo | None]:
        read, problem = self._read(raws, after)
        if problem is not None:
            raise problem
        infos = [info for info, _ in read]
        return infos, infos[-1] if infos else after

    def add_headers(self, raws: Sequence[bytes]) -> "Deferred[list[HeaderInfo]]":
        return Deferred.fromCoroutine(self._attempt(lambda: self._add(raws)))

    def _add(self, raws: Sequence[bytes]) -> list[HeaderInfo]:
        read, problem = self._read(raws)
        for info, raw in read:
            if self._tree.get(info.hash) is None:
                self._tree.add(info, raw)
                self.events.publish(HeaderAdded(info))
        if problem is not None:
            raise problem
        return [info for info, _ in read]

    # blocks

    def body_matches(self, raw: bytes) -> "Deferred[bool]":
        return self._answer(sha256(raw[HEADER.size :]).digest() == ToyHeader.decode(raw).body)

    def submit_block(self, raw: bytes) -> "Deferred[Verdict]":
        return Deferred.fromCoroutine(self._attempt(lambda: self._submit(raw)))

    def submit_blocks(self, raws: Sequence[bytes], header_tip: bytes) -> "Deferred[list[Verdict]]":
        return Deferred.fromCoroutine(self._attempt(lambda: [self._submit(raw) for raw in raws]))

    def _submit(self, raw: bytes) -> Verdict:
        try:
            header, hash = ToyHeader.decode(raw), self.block_hash(raw)
        except ValueError as problem:
            return Invalid(b"", str(problem), Fault.SENDER)
        body = raw[HEADER.size :]
        if sha256(body).digest() != header.body:
            return Invalid(hash, "the body does not match the header", Fault.SENDER)
        try:
            self._add([header.raw])
        except HeadersRejected as problem:
            if problem.parent_missing:
                return ParentMissing(hash, header.parent)
            if problem.when is not None:
                return NotYet(hash, problem.when)
            return Invalid(hash, problem.reason, Fault.SIGNER if problem.condemned else Fault.SENDER)
        node = self._tree.get(hash)
        assert node is not None
        if node.bad:
            return Invalid(hash, "failed before", Fault.SIGNER)
        if node.body:
            return AlreadyKnown(node.info)
        if not node.live:
            return Stored(node.info)
        self._bodies[hash] = self._one(raw)
        self._tree.add_body(node)
        change = self._follow()
        if node.bad:
            return Invalid(hash, "fails", Fault.SIGNER)
        entered = change is not None and node.info in change.entered
        return Connected(node.info, change) if change is not None and entered else Stored(node.info)

    def _follow(self) -> HeadChanged | None:
        """Connect the best branch whose bodies are here; condemn what fails and try the next best."""
        while better(self._tree.best_ready.info, self._head.info):
            left, entered = self._tree.route(self._head, self._tree.best_ready)
            failed = next((node for node in entered if self._fails(node)), None)
            if failed is None:
                return self._switch(left, entered)
            self._tree.condemn(failed)
        return None

    def _fails(self, node: Node[bytes]) -> bool:
        return any(raw.startswith(FAILS) for _, raw in self.split(self._bodies[node.info.hash])[1])

    def _switch(self, left: Sequence[Node[bytes]], entered: Sequence[Node[bytes]]) -> HeadChanged:
        self._chain = [*self._chain[: len(self._chain) - len(left)], *entered]
        self._head = self._chain[-1]
        change = HeadChanged(self._head.info, tuple(node.info for node in left), tuple(node.info for node in entered))
        included = dict(item for node in entered for item in self.split(self._bodies[node.info.hash])[1])
        back = dict(item for node in left for item in self.split(self._bodies[node.info.hash])[1])
        self._included = (self._included - set(back)) | set(included)
        dropped = [hash for hash in included if self._pool.pop(hash, None) is not None]
        if self._finality is not None:
            final = self._chain[max(self.finalized.height, len(self._chain) - 1 - self._finality)]
            self._tree.advance(final)
            self.events.publish(FinalizedChanged(final.info))
        self.events.publish(change)
        for hash in dropped:
            self.events.publish(TransactionDropped(hash, "included"))
        for hash, raw in back.items():
            if hash not in included:
                self._pool[hash] = raw
                self.events.publish(TransactionAdded(hash, len(raw), False))
        return change

    # pool

    def transaction_hash(self, raw: bytes) -> bytes:
        return sha256(raw).digest()

    def precedence(self, hash: bytes) -> bytes:
        return hash

    def transaction(self, hash: bytes) -> bytes | None:
        return self._pool.get(hash)

    def transaction_hashes(self) -> list[bytes]:
        return list(self._pool)

    def admit(self, raw: bytes, local: bool) -> "Deferred[AdmissionResult]":
        return Deferred.fromCoroutine(self._attempt(lambda: self._admit(raw, local)))

    def _admit(self, raw: bytes, local: bool) -> AdmissionResult:
        hash = self.transaction_hash(raw)
        if hash in self._pool:
            return AdmissionResult(Admission.KNOWN, hash)
        if hash in self._included:
            return AdmissionResult(Admission.IGNORED, hash, "included")
        for prefix, outcome in ((IGNORED, Admission.IGNORED), (REJECTED, Admission.REJECTED)):
            if raw.startswith(prefix):
                self.events.publish(TransactionRefused(hash, outcome.value, local))
                return AdmissionResult(outcome, hash, outcome.value)
        self._pool[hash] = raw
        self.events.publish(TransactionAdded(hash, len(raw), local))
        return AdmissionResult(Admission.ADMITTED, hash)

    def drop(self, hash: bytes, reason: str) -> None:
        """Take a transaction out of the pool."""
        del self._pool[hash]
        self.events.publish(TransactionDropped(hash, reason))
