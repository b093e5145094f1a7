"""A chain of rules as the network sees it: Deferreds, events, a pool and production around :class:`StoredCore`.

All disk work is on one lane; what it did comes back as one :class:`Changes` value, from which attributes are set and
then events published, on the reactor thread.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import alsoProvides, implementer

from chainp2p.chain.executor import Executor
from chainp2p.chain.interfaces import (
    Admission,
    AdmissionResult,
    BlockProduced,
    Connected,
    FailedBlock,
    FinalityConflict,
    FinalizedChanged,
    HeaderAdded,
    HeaderInfo,
    HeadersRejected,
    IBlockProducer,
    IChain,
    IHeaderRuns,
    IStorageWatch,
    ITransactionPool,
    TransactionAdded,
    TransactionDropped,
    TransactionRefused,
    Verdict,
)
from chainp2p.chain.rules import IPoolRules, IProducerRules, IRules
from chainp2p.chain.statemap import STATE_TABLES, StateLayer
from chainp2p.chain.store import ChainStore
from chainp2p.chain.storedcore import Changes, StoredCore
from chainp2p.errors import StorageError
from chainp2p.events import EventBus

__all__ = ["StoredChain"]

#: Name of the database in the data directory.
CHAIN_FILE = "chain.sqlite"
#: Transactions that wait, and bytes of them.
POOL_MAX, POOL_BYTES = 5_000, 64 << 20
#: A node without ready peers waits so long before it produces, for others may be ahead (seconds).
WARM_UP = 10.0
_Headers = tuple["list[HeaderInfo] | HeadersRejected", Changes]


@implementer(IChain, IStorageWatch)
class StoredChain:
    """Any ``IRules`` as an ``IChain``; with a pool and production where the rules provide ``IPoolRules`` and
    ``IProducerRules``, and with ``IHeaderRuns`` where they say how far they look back.

    The pool is in memory: what waits when the node stops is gone. Its transactions are looked at again when the head
    moves, and dropped when they can no longer be included.

    :param now: answers Unix time in seconds.
    :param open_database: opens a file of the data directory in the calling thread.
    """

    log = Logger()

    head: HeaderInfo
    best_header: HeaderInfo
    finalized: HeaderInfo

    def __init__(
        self,
        rules: Any,
        *,
        executor: Executor,
        now: Callable[[], float],
        open_database: Callable[[str], sqlite3.Connection],
    ) -> None:
        if not IRules.providedBy(rules):
            raise TypeError(f"{rules!r} does not provide IRules")
        self._rules: Any = rules
        self._executor = executor
        self._now = now
        self._open_database = open_database
        self.genesis_hash: bytes = self._rules.read_block(self._rules.genesis()).header.hash
        self.events = EventBus(lambda error: self.log.failure("a subscriber to the chain's events failed"))
        self.conflict: FinalityConflict | None = None
        self._core: StoredCore | None = None
        self._pool: dict[bytes, bytes] = {}
        self._pool_bytes = 0
        if getattr(rules, "lookback", None) is not None:
            alsoProvides(self, IHeaderRuns)
        if IPoolRules.providedBy(rules):
            alsoProvides(self, ITransactionPool)
        if IProducerRules.providedBy(rules):
            alsoProvides(self, IBlockProducer)

    # -- life

    def start(self) -> "Deferred[None]":
        """Open the database; StartupError."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        self._lane = self._executor.lane("chain")
        self._core, changes = await self._lane.run(self._open)
        self._set(changes)

    def _open(self) -> tuple[StoredCore, Changes]:
        connection = self._open_database(CHAIN_FILE)
        try:
            core = StoredCore(self._rules, ChainStore(connection, STATE_TABLES))
            return core, core.load()
        except BaseException:
            connection.close()
            raise

    def stop(self) -> "Deferred[None]":
        """Finish what is queued, commit and close."""
        core, self._core = self._core, None
        self._pool.clear()
        self._pool_bytes = 0
        return self._lane.run(_close, core)

    @property
    def storage_error(self) -> str:
        return "" if self._core is None else self._core.store.failure

    def store_again(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self._store_again())

    async def _store_again(self) -> None:
        with suppress(StorageError):
            await self._lane.run(self._opened().store.try_disk)

    def _opened(self) -> StoredCore:
        if self._core is None:
            raise RuntimeError("the chain is not started")
        return self._core

    def settings_hashes(self) -> Sequence[tuple[int, bytes]]:
        """Rules do not change with height: none but the genesis block's own."""
        return ((0, self.genesis_hash),)

    # -- reading

    def _read(self, f: Callable[..., Any], *args: Any) -> "Deferred[Any]":
        return self._lane.run(f, self._opened(), *args)

    def header(self, hash: bytes) -> "Deferred[bytes | None]":
        return self._read(lambda core: core.store.raw_header(hash))

    def block(self, hash: bytes) -> "Deferred[bytes | None]":
        return self._read(lambda core: core.store.body(hash))

    def locate(self, hash: bytes) -> "Deferred[HeaderInfo | None]":
        return self._read(StoredCore.locate, hash)

    def hash_at(self, height: int) -> "Deferred[bytes | None]":
        return self._read(lambda core: core.store.hash_at(height))

    def hashes_at(self, hash: bytes, heights: Iterable[int]) -> "Deferred[dict[int, bytes] | None]":
        return self._read(lambda core: core.store.hashes_at(hash, heights))

    def headers_after(self, hash: bytes, count: int) -> "Deferred[list[bytes] | None]":
        return self._read(lambda core: core.store.headers_after(hash, count))

    def blocks_from(self, hash: bytes, count: int, max_bytes: int) -> "Deferred[list[bytes] | None]":
        return self._read(lambda core: core.store.blocks_from(hash, count, max_bytes))

    def header_at(self, height: int) -> "Deferred[HeaderInfo | None]":
        return self._read(StoredCore.header_at, height)

    def missing(self, limit: int) -> "Deferred[list[HeaderInfo]]":
        return self._read(StoredCore.missing, limit)

    def value(self, key: bytes) -> "Deferred[bytes | None]":
        """What the state holds after the head."""
        return self._read(lambda core: core.state.get(key))

    def state(self) -> "Deferred[dict[bytes, bytes]]":
        """The whole state after the head."""
        return self._read(lambda core: core.state.rows())

    def split(self, raw: bytes) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
        block = self._rules.read_block(raw)
        return block.raw_header, tuple(block.transactions)

    def assemble(self, header: bytes, transactions: Sequence[bytes]) -> bytes:
        raw: bytes = self._rules.write_block(header, transactions)
        return raw

    def block_hash(self, raw: bytes) -> bytes:
        try:
            hash: bytes = self._rules.read_header(raw).hash
        except ValueError:
            hash = self._rules.read_block(raw).header.hash
        return hash

    # -- writing

    def check_headers(self, raws: Sequence[bytes]) -> "Deferred[list[HeaderInfo]]":
        return Deferred.fromCoroutine(self._headers(StoredCore.check_headers, raws))

    def check_run(self, raws: Sequence[bytes], after: Any) -> "Deferred[tuple[list[HeaderInfo], Any]]":
        return self._lane.run(self._opened().headers.check_run, raws, self._now(), after or ())

    def add_headers(self, raws: Sequence[bytes]) -> "Deferred[list[HeaderInfo]]":
        return Deferred.fromCoroutine(self._headers(StoredCore.add_headers, raws))

    async def _headers(self, f: Callable[..., _Headers], raws: Sequence[bytes]) -> list[HeaderInfo]:
        outcome, changes = await self._lane.run(f, self._opened(), raws, self._now())
        await self._apply(changes)
        if isinstance(outcome, HeadersRejected):
            raise outcome
        return outcome

    def submit_block(self, raw: bytes) -> "Deferred[Verdict]":
        return Deferred.fromCoroutine(self._submit([raw])).addCallback(lambda verdicts: verdicts[0])

    def submit_blocks(self, raws: Sequence[bytes], header_tip: bytes) -> "Deferred[list[Verdict]]":
        return Deferred.fromCoroutine(self._submit(raws))

    async def _submit(self, raws: Sequence[bytes], produced: bool = False) -> list[Verdict]:
        verdicts, changes = await self._lane.run(StoredCore.submit, self._opened(), raws, self._now())
        await self._apply(changes, raws[0] if produced else None)
        return verdicts

    # -- what happened

    def _set(self, changes: Changes) -> None:
        self.head, self.best_header, self.finalized = changes.head, changes.best_header, changes.finalized
        self.conflict = changes.conflict

    async def _apply(self, changes: Changes, produced: bytes | None = None) -> None:
        finalized = self.finalized
        self._set(changes)
        publish = self.events.publish
        for info in changes.added:
            publish(HeaderAdded(info))
        if changes.change is not None:
            publish(changes.change)
        if produced is not None and changes.change is not None:
            publish(BlockProduced(changes.head, produced))
        if changes.finalized != finalized:
            publish(FinalizedChanged(changes.finalized))
        for info, reason in changes.failed:
            self.log.warn("block {height} {hash} fails: {why}", height=info.height, hash=info.hash.hex(), why=reason)
            publish(FailedBlock(info, None, reason))
        if changes.new_conflict is not None:
            publish(changes.new_conflict)
        if changes.change is not None:
            await self._pool_follows(changes)

    async def _pool_follows(self, changes: Changes) -> None:
        for hash in changes.included:
            self._drop(hash, "included")
        back = [hash for hash, raw in changes.returned if self._keep(hash, raw)]
        raws = list(self._pool.values())
        reasons = await self._lane.run(self._check, self._opened(), raws) if raws else []
        for raw, reason in zip(raws, reasons, strict=True):
            if reason:
                self._drop(self._rules.transaction_id(raw), reason)
        for hash in back:
            if hash in self._pool:
                self.events.publish(TransactionAdded(hash, len(self._pool[hash]), False))

    # -- pool

    def _check(self, core: StoredCore, raws: Sequence[bytes]) -> list[str]:
        return [self._rules.check_transaction(raw, StateLayer(core.state)) for raw in raws]

    def _keep(self, hash: bytes, raw: bytes) -> bool:
        if hash in self._pool or len(self._pool) >= POOL_MAX or self._pool_bytes + len(raw) > POOL_BYTES:
            return False
        self._pool[hash] = raw
        self._pool_bytes += len(raw)
        return True

    def _drop(self, hash: bytes, reason: str) -> None:
        raw = self._pool.pop(hash, None)
        if raw is not None:
            self._pool_bytes -= len(raw)
            self.events.publish(TransactionDropped(hash, reason))

    def admit(self, raw: bytes, local: bool) -> "Deferred[AdmissionResult]":
        """See ``ITransactionPool``."""
        return Deferred.fromCoroutine(self._admit(raw, local))

    async def _admit(self, raw: bytes, local: bool) -> AdmissionResult:
        result = await self._checked(raw, local)
        if result.outcome is Admission.IGNORED:
            self.events.publish(TransactionRefused(result.hash, result.reason, local))
        return result

    async def _checked(self, raw: bytes, local: bool) -> AdmissionResult:
        try:
            hash = self._rules.transaction_id(raw)
        except ValueError as error:
            return AdmissionResult(Admission.REJECTED, b"", str(error))
        if hash in self._pool:
            return AdmissionResult(Admission.KNOWN, hash)
        (reason,) = await self._lane.run(self._check, self._opened(), [raw])
        if reason:
            return AdmissionResult(Admission.IGNORED, hash, reason)
        if hash in self._pool:  # it came again meanwhile
            return AdmissionResult(Admission.KNOWN, hash)
        if not self._keep(hash, raw):
            return AdmissionResult(Admission.IGNORED, hash, "the pool is full")
        self.events.publish(TransactionAdded(hash, len(raw), local))
        return AdmissionResult(Admission.ADMITTED, hash)

    def transaction(self, hash: bytes) -> bytes | None:
        return self._pool.get(hash)

    def transaction_hashes(self) -> list[bytes]:
        return list(self._pool)

    def transaction_hash(self, raw: bytes) -> bytes:
        hash: bytes = self._rules.transaction_id(raw)
        return hash

    def precedence(self, hash: bytes) -> bytes:
        return hash

    # -- production

    def can_produce(self) -> bool:
        return self._core is not None and self.conflict is None

    def sole_producer(self) -> bool:
        return bool(self._rules.sole)

    def next_time(self, now: float) -> float | None:
        if self._core is None or not self.can_produce():
            return None
        when: float | None = self._rules.next_time(self._core.head.data, len(self._pool), now)
        return when

    def warm_up_seconds(self) -> float:
        return 0.0 if self.sole_producer() else WARM_UP

    def produce(self, now: float) -> "Deferred[bytes | None]":
        return Deferred.fromCoroutine(self._produce(now))

    async def _produce(self, now: float) -> bytes | None:
        when = self.next_time(now)
        if when is None or when > now:
            return None
        raw = await self._lane.run(self._propose, self._opened(), list(self._pool.values()), now)
        if raw is None:
            return None
        (verdict,) = await self._submit([raw], produced=True)
        return raw if isinstance(verdict, Connected) else None

    def abandon(self) -> None:
        """Nothing is searched for here."""

    def _propose(self, core: StoredCore, transactions: Sequence[bytes], now: float) -> bytes | None:
        raw: bytes | None = self._rules.propose(core.head.data, StateLayer(core.state), transactions, now)
        return raw


def _close(core: StoredCore | None) -> None:
    if core is not None:
        core.store.connection.close()
