"""The reference chain as the network sees it: Deferreds and events around :class:`LedgerCore`.

All disk work is on one lane; what it did comes back as one :class:`News` value, from which attributes are set and
then events published, here, on the reactor thread. The pool lives on this side. Reads have a lane of their own.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from chainp2p.chain.executor import Executor
from chainp2p.chain.interfaces import (
    BlockProduced,
    FinalityConflict,
    FinalizedChanged,
    HeaderAdded,
    HeaderInfo,
    HeadersRejected,
    IBlockProducer,
    IBodyCheck,
    IChain,
    IGaps,
    IHeaderRuns,
    IReorgs,
    IStorageWatch,
    ITransactionPool,
    Verdict,
)
from chainp2p.chain.store import ChainStore
from chainp2p.errors import StorageError
from chainp2p.events import EventBus
from chainp2p.ledger.connected import RECENT_BLOCKS
from chainp2p.ledger.consensus.engines import engine_of
from chainp2p.ledger.consensus.equivocation import EVIDENCE_MAX, Evidence
from chainp2p.ledger.consensus.poa import Slots
from chainp2p.ledger.consensus.pow import Work
from chainp2p.ledger.core import LedgerCore
from chainp2p.ledger.decisiondoor import DecisionDoor
from chainp2p.ledger.execution import Execution, ValueTransfers
from chainp2p.ledger.formats import block as blocks
from chainp2p.ledger.formats.fees import base_fee_floor
from chainp2p.ledger.formats.genesis import Genesis
from chainp2p.ledger.journal import PoolJournal
from chainp2p.ledger.news import News
from chainp2p.ledger.opening import CHAIN_FILE, Opened, open_ledger
from chainp2p.ledger.policy import Policy
from chainp2p.ledger.pool.pool import Pool, PoolChange, PoolLimits
from chainp2p.ledger.pooldoor import PoolDoor
from chainp2p.ledger.producing.mining import Miner
from chainp2p.ledger.producing.producers import Producer
from chainp2p.ledger.producing.slots import SlotProducer
from chainp2p.ledger.producingdoor import ProducingDoor
from chainp2p.ledger.reports import report
from chainp2p.ledger.senders import SenderRecovery
from chainp2p.ledger.state.accounts import State
from chainp2p.ledger.statedoor import StateDoor
from chainp2p.ledger.views import Reader, Reads

if TYPE_CHECKING:
    from random import Random

__all__ = ["Ledger"]

#: A state is looked for so often where the head moves meanwhile: its block is hardly recent any more after that.
_LOOKS = 4
#: States made from undo rows that are kept: as many as of blocks that were connected since the start. To make one takes
#: 40 ms of 60 full blocks, and who asks for one account asks for others.
_MADE = RECENT_BLOCKS
#: Blocks that may be undone for another branch of a network with proof of work, unless told otherwise: nothing is
#: final there, but whoever rewrites so much is more likely to be an attack than the truth.
WORK_REORG_DEPTH = 1000


@implementer(IChain, IBodyCheck, IHeaderRuns, IReorgs, ITransactionPool, IGaps, IBlockProducer, IStorageWatch)
class Ledger(StateDoor, PoolDoor, ProducingDoor, DecisionDoor):
    """See the module.

    :param executor: its pool recovers senders; two lanes are taken from it, and a process if this node mines.
    :param now: answers Unix time in seconds.
    :param random: chance: where a search for a nonce begins.
    :param open_database: opens a file of the data directory in the calling thread.
    :param signer: private key of 32 bytes to seal with (proof of authority).
    :param mine: address to mine for (proof of work).
    :param sole_start: there is nobody to ask, so that a miner or a sole signer needs no warm-up.
    :param verify: ``all`` state roots, or once per ``batch`` where headers finalize the blocks (design: "Sync").
    :param assume_valid: see :class:`~chainp2p.ledger.policy.Policy`.
    :param max_reorg_depth: likewise; unless given, none with signers, :data:`WORK_REORG_DEPTH` with proof of work.
    """

    log = Logger()

    head: HeaderInfo
    best_header: HeaderInfo
    finalized: HeaderInfo
    safe: HeaderInfo
    pool: Pool

    def __init__(
        self,
        genesis: Genesis,
        *,
        executor: Executor,
        now: Callable[[], float],
        random: "Random",
        open_database: Callable[[str], sqlite3.Connection],
        signer: bytes | None = None,
        mine: bytes | None = None,
        verify: str = "batch",
        assume_valid: bytes | None = None,
        max_reorg_depth: int | None = None,
        pool_limits: PoolLimits | None = None,
        execution: Execution | None = None,
        sole_start: bool = False,
    ) -> None:
        self.genesis = genesis
        self.genesis_hash = genesis.hash
        self.chain_id = genesis.chain_id
        self.events = EventBus(on_error=self._subscriber_failed)
        self.conflict: FinalityConflict | None = None
        self.evidence: list[Evidence] = []
        self.execution: Execution = ValueTransfers() if execution is None else execution
        self.engine = engine_of(genesis)
        if max_reorg_depth is None and not self.engine.finalizes:
            max_reorg_depth = WORK_REORG_DEPTH
        self._producer: Producer | None = None
        if signer is not None and isinstance(self.engine, Slots):
            self._producer = SlotProducer(self.engine, signer, sole_start)
        elif mine is not None and isinstance(self.engine, Work):
            self._producer = Miner(self.engine, mine, random, now, sole_start)
        self._policy = Policy(verify == "all", assume_valid, max_reorg_depth)
        self._executor = executor
        self.now = now
        self._open_database = open_database
        self._pool_limits = PoolLimits() if pool_limits is None else pool_limits
        self._recovery = SenderRecovery(executor)
        self._sampling = random.randbytes(16)
        self._opened: Opened | None = None
        self._submitted: Deferred[None] = succeed(None)

    # -- life

    def start(self) -> "Deferred[None]":
        """Open the database; StartupError."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        self._lane = self._executor.lane("chain")
        opened: Opened = await self._lane.run(
            open_ledger,
            self.genesis,
            self.engine,
            self.execution,
            self._producer,
            self._policy,
            self._open_database,
            self.now(),
        )
        self._opened = opened
        if self._producer is not None:
            self._producer.start(self._executor)
        self._journal = PoolJournal(self._lane, opened.core)
        self.reader = await self._open_reader(opened)
        news = opened.news
        self.evidence = opened.evidence
        self._set(news)
        floor = base_fee_floor(self.genesis.base_fee)
        self.pool = Pool(self.chain_id, news.state, news.next_base_fee, news.gas_limit, floor, self._pool_limits)
        await self._journal.restore(self.pool, opened.pooled)
        report(news)

    async def _open_reader(self, opened: Opened) -> Reader:
        chain = opened.core.chain
        made: dict[bytes, State] = {}  # the one that was made longest ago first

        def at(hash: bytes) -> "Deferred[State | None]":
            state = chain.recent(hash) or made.get(hash)
            return Deferred.fromCoroutine(older(hash)) if state is None else succeed(state)

        async def older(hash: bytes) -> State | None:
            """Made from undo rows on the reader's lane, so that nobody waits for blocks that are being connected."""
            for _ in range(_LOOKS):
                with suppress(LookupError):
                    state = await self.reader.state_from(hash, self.head, chain.recent(self.head.hash))
                    if state is not None:
                        made[hash] = state
                        while len(made) > _MADE:
                            del made[next(iter(made))]
                    return state
            return None

        if opened.private:
            return Reader(self._lane, Reads(opened.core.store), at, owned=False)
        lane = self._executor.lane("chain reader")

        def connect() -> Reads:
            connection = self._open_database(CHAIN_FILE)
            connection.execute("PRAGMA query_only=1")
            return Reads(ChainStore(connection))

        return Reader(lane, await lane.run(connect), at, owned=True)

    def stop(self) -> "Deferred[None]":
        """Finish what is queued, commit and close."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        opened, self._opened = self._opened, None
        if opened is None:
            return
        self.abandon()
        await self.reader.close()
        await self._journal.flush()
        await self._lane.run(opened.close)

    @property
    def storage_error(self) -> str:
        return "" if self._opened is None else self._opened.core.storage_error

    def store_again(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self._store_again())

    async def _store_again(self) -> None:
        with suppress(StorageError):
            await self._lane.run(self._core().try_disk)
            self._journal.store()

    def _core(self) -> LedgerCore:
        if self._opened is None:
            raise RuntimeError("the ledger is not started")
        return self._opened.core

    def _subscriber_failed(self, error: Exception) -> None:
        self.log.failure("a subscriber to the ledger's events failed")

    def settings_hashes(self) -> Sequence[tuple[int, bytes]]:
        """See ``IChain``."""
        return self.genesis.settings_hashes()

    # -- reading

    def header(self, hash: bytes) -> "Deferred[bytes | None]":
        return self.reader.run(ChainStore.raw_header, hash)

    def block(self, hash: bytes) -> "Deferred[bytes | None]":
        return self.reader.run(ChainStore.body, hash)

    def hash_at(self, height: int) -> "Deferred[bytes | None]":
        return self.reader.run(ChainStore.hash_at, height)

    def hashes_at(self, hash: bytes, heights: Iterable[int]) -> "Deferred[dict[int, bytes] | None]":
        return self.reader.run(ChainStore.hashes_at, hash, heights)

    def headers_after(self, hash: bytes, count: int) -> "Deferred[list[bytes] | None]":
        return self.reader.run(ChainStore.headers_after, hash, count)

    def blocks_from(self, hash: bytes, count: int, max_bytes: int) -> "Deferred[list[bytes] | None]":
        return self.reader.run(ChainStore.blocks_from, hash, count, max_bytes)

    def locate(self, hash: bytes) -> "Deferred[HeaderInfo | None]":
        return self._lane.run(self._core().locate, hash)

    def header_at(self, height: int) -> "Deferred[HeaderInfo | None]":
        return self._lane.run(self._core().header_at, height)

    def missing(self, limit: int) -> "Deferred[list[HeaderInfo]]":
        return self._lane.run(self._core().missing, limit)

    split = staticmethod(blocks.split)
    assemble = staticmethod(blocks.assemble)
    block_hash = staticmethod(blocks.block_hash)

    # -- writing

    def check_headers(self, raws: Sequence[bytes]) -> "Deferred[list[HeaderInfo]]":
        return Deferred.fromCoroutine(self._headers(self._core().check_headers, raws))

    def add_headers(self, raws: Sequence[bytes]) -> "Deferred[list[HeaderInfo]]":
        return Deferred.fromCoroutine(self._add_headers(raws))

    async def _add_headers(self, raws: Sequence[bytes]) -> list[HeaderInfo]:
        added: list[HeaderInfo] = []
        for part, sealers in self._recovery.sealers(raws) if self.engine.finalizes else [(raws, succeed({}))]:
            try:
                added += await self._headers(self._core().add_headers, part, await sealers)
            except HeadersRejected as error:
                raise evolve(error, index=len(added) + error.index) from None
        return added

    def check_run(self, raws: Sequence[bytes], after: Any) -> "Deferred[tuple[list[HeaderInfo], Any]]":
        if self.engine.finalizes:
            self._recovery.expect(raws)
        return self._lane.run(self._core().branches.check_run, raws, self.now(), after, self._sampling)

    async def _headers(
        self, f: Callable[..., tuple[list[HeaderInfo] | HeadersRejected, News]], raws: Sequence[bytes], *more: Any
    ) -> list[HeaderInfo]:
        outcome, news = await self._lane.run(f, raws, self.now(), *more)
        self._apply(news)
        if isinstance(outcome, HeadersRejected):
            raise outcome
        return outcome

    def body_matches(self, raw: bytes) -> "Deferred[bool]":
        return self._executor.run(blocks.body_matches, raw)

    def submit_block(self, raw: bytes) -> "Deferred[Verdict]":
        return Deferred.fromCoroutine(self._submit([raw])).addCallback(itemgetter(0))

    def submit_blocks(self, raws: Sequence[bytes], header_tip: bytes) -> "Deferred[list[Verdict]]":
        return Deferred.fromCoroutine(self._submit(raws))

    def _acceptable(self, headers: list[bytes]) -> "Deferred[list[bool]]":
        """Which headers are good; known ones without the lane, so that recovery goes on while blocks are connected."""
        core = self._core()
        if all(core.known(blocks.block_hash(header)) for header in headers):
            return succeed([True] * len(headers))
        return self._lane.run(core.acceptable, headers, self.now())

    async def _submit(self, raws: Sequence[bytes]) -> list[Verdict]:
        core = self._core()
        before, queued = self._submitted, Deferred[None]()
        self._submitted = queued
        try:
            prepared = await self._recovery.blocks(raws, self.pool, self._acceptable)
            await before  # blocks reach the lane in the order they came, whosever senders took longer
            job = self._lane.run(core.submit, raws, self.now(), prepared)
        finally:
            queued.callback(None)
        verdicts, news = await job
        self._apply(news)
        return verdicts

    # -- what happened

    def _set(self, news: News) -> None:
        self.head, self.best_header = news.head, news.best_header
        self.finalized, self.safe, self.conflict = news.finalized, news.safe, news.conflict
        self._news = news
        self.evidence.extend(news.evidence)
        del self.evidence[:-EVIDENCE_MAX]

    def _apply(self, news: News, produced: bytes | None = None) -> None:
        finalized, conflict = self.finalized, self.conflict
        self._set(news)
        moved, pool_change = news.moved, PoolChange()
        if moved is not None:
            self._changed(head=True)
            pool_change = self.pool.on_head(
                news.state, news.next_base_fee, news.gas_limit, moved.included, moved.left, self.now()
            )
        publish = self.events.publish
        for info in news.added:
            publish(HeaderAdded(info))
        if moved is not None:
            publish(moved.change)
        if produced is not None:
            publish(BlockProduced(news.head, produced))
        if news.finalized != finalized or (conflict is not None and news.conflict is None):
            publish(FinalizedChanged(news.finalized))
        self._pool_moved(pool_change)
        self._journal.store()
        self._expire()
        report(news)
        for failed in news.failed:
            publish(failed)
        if news.new_conflict is not None:
            publish(news.new_conflict)
