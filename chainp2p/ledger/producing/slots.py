"""Producing by slots: seal a block when it is this signer's turn (design: "poa", "Sealing safety")."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress

from chainp2p.chain.executor import Executor
from chainp2p.chain.interfaces import Connected
from chainp2p.errors import StorageError
from chainp2p.ledger.consensus.poa import ON_DEMAND_INTERVAL, WARM_UP_SECONDS, Slots, seal_header
from chainp2p.ledger.core import LedgerCore
from chainp2p.ledger.formats.addresses import address_of
from chainp2p.ledger.formats.block import assemble
from chainp2p.ledger.formats.header import Header
from chainp2p.ledger.news import News
from chainp2p.ledger.producing.making import Candidates, Made, connect, draft, header_of
from chainp2p.ledger.producing.sealing import SealRecord
from chainp2p.ledger.senders import Prepared
from chainp2p.primitives.rlp import decode_list, encode
from chainp2p.primitives.secp256k1 import public_key

__all__ = ["SEAL_FILE", "SlotProducer"]

SEAL_FILE = "seal.sqlite"


class BlockMaker:
    """Seals blocks with one key, on the lane of the core."""

    def __init__(self, core: LedgerCore, slots: Slots, key: bytes) -> None:
        self._core = core
        self._slots = slots
        self._key = key

    def make(self, now: float, candidates: Candidates) -> Made | str:
        """Seal a block on the head if that is allowed; the text says why not, if not."""
        core, slots = self._core, self._slots
        record, head = core.record, core.chain.head
        assert record is not None
        if core.branches.conflict is not None:
            return "finality conflict"
        if slots.on_demand:
            slot = head.data.slot + 1
            timestamp = max(head.data.timestamp, int(now))
        else:
            slot = slots.slot_at(now)
            timestamp = slots.timestamp(slot)
        base = record.base(lambda hash: core.is_ancestor(hash, head))
        if not record.may_seal(slot, head.data.slot, base):
            return f"slot {slot} is not above what was sealed before, or not above the head"
        if slots.in_turn(head.info.height + 1, slot) != record.signer:
            return f"slot {slot} is not our turn"
        if slots.on_demand:
            kept = record.draft(slot)
            if kept is not None:
                return self._finish(kept, head.info.hash, now)
        made = draft(core, candidates, timestamp, record.signer)
        if slots.on_demand and not made.transactions:
            return "nothing to include"
        header = header_of(made, mix_hash=base.to_bytes(32, "big"), nonce=slot)
        if slots.on_demand:
            record.keep_draft(slot, encode([header.raw, made.transactions]))
        else:
            record.reserve(slot)
        header = seal_header(header, self._key)
        if not slots.on_demand:
            record.store(slot, header.hash, base)
        block = connect(core, made, header, now)
        if slots.on_demand:
            self._spend(slot)
        return block

    def _finish(self, kept: bytes, parent: bytes, now: float) -> Made | str:
        """Sign and connect what was to be signed when the process ended; nothing else may be, for that slot."""
        raw, transactions = decode_list(kept)
        header = Header.decode(raw)  # type: ignore[arg-type]
        if header.parent != parent:
            return f"slot {header.nonce} was signed on another block"
        header = seal_header(header, self._key)
        block = assemble(header.raw, transactions)  # type: ignore[arg-type]
        (verdict,), news = self._core.submit([block], now, Prepared())
        if not isinstance(verdict, Connected):
            return f"the block that was kept for slot {header.nonce} is not good: {verdict}"
        self._spend(header.nonce)
        return Made(block, news)

    def _spend(self, slot: int) -> None:
        """Its block is stored; it is noted here as well, at the latest before the next one is signed."""
        assert self._core.record is not None
        with suppress(StorageError):
            self._core.record.reserve(slot)


class SlotProducer:
    """The producer of a signer.

    :param key: private key, 32 bytes.
    :param sole_start: there is nobody to ask, so that a sole signer needs no warm-up.
    """

    def __init__(self, slots: Slots, key: bytes, sole_start: bool) -> None:
        self.address = address_of(public_key(key))
        self._slots = slots
        self._key = key
        self._sole_start = sole_start
        self._sealed_at = float("-inf")
        self._refused = False
        self._changes = 0

    def record(self, open_database: Callable[[str], sqlite3.Connection], genesis_hash: bytes, now: float) -> SealRecord:
        connection = open_database(SEAL_FILE)
        try:
            return SealRecord(connection, self.address, genesis_hash, self._slots.slot_at(now))
        except BaseException:
            connection.close()
            raise

    def maker(self, core: LedgerCore) -> BlockMaker:
        return BlockMaker(core, self._slots, self._key)

    def start(self, executor: Executor) -> None:
        pass

    def able(self, height: int) -> bool:
        return self.address in self._slots.signers(height)

    def sole(self, height: int) -> bool:
        return self._slots.signers(height) == (self.address,)

    def next_time(self, now: float, news: News, executable: bool) -> float | None:
        slots = self._slots
        if slots.on_demand:
            if self._refused or not executable:
                return None
            return max(now, self._sealed_at + ON_DEMAND_INTERVAL)
        signers = slots.signers(news.head.height + 1)
        slot = max(slots.slot_at(now), news.head_slot + 1, news.highest_slot + 1)
        slot += (signers.index(self.address) - slot) % len(signers)
        return max(now, slots.start_of(slot))

    def warm_up_seconds(self, height: int) -> float:
        if self._sole_start and self.sole(height):
            return 0.0
        return max(WARM_UP_SECONDS, 2 * len(self._slots.signers(height)) * self._slots.period_ms / 1000)

    async def make(self, lane: Executor, maker: BlockMaker, now: float, candidates: Candidates) -> Made | str:
        changes = self._changes
        made = await lane.run(maker.make, now, candidates)
        if isinstance(made, str):
            self._refused = self._slots.on_demand and changes == self._changes
        else:
            self._sealed_at = now
        return made

    def changed(self, head: bool) -> None:
        self._changes += 1
        self._refused = False

    def abandon(self) -> None:
        pass
