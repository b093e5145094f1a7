"""The ledger as a pool of transactions (``ITransactionPool``, ``IGaps``)."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from chainp2p.chain.interfaces import (
    Admission,
    AdmissionResult,
    IExplainsTransactions,
    TransactionAdded,
    TransactionDropped,
    TransactionRefused,
    TransactionStanding,
)
from chainp2p.events import EventBus
from chainp2p.ledger.formats.transaction import Transaction, recover_senders, transaction_hash
from chainp2p.ledger.journal import PoolJournal
from chainp2p.ledger.pool.pool import Pool, PoolChange
from chainp2p.ledger.pool.standing import reason_code, standing
from chainp2p.ledger.views import Reader

__all__ = ["EXPIRY_INTERVAL", "PoolDoor"]

#: Seconds between two looks for transactions that waited too long.
EXPIRY_INTERVAL = 60.0


@implementer(IExplainsTransactions)
class PoolDoor:
    """What :class:`~chainp2p.ledger.chain.Ledger` is besides; the pool lives on the reactor thread.

    The sender of a transaction is recovered there, too: in a thread the 40 us became 100, since each recovery waited
    for the interpreter three times, and the reactor gained next to nothing by it.
    """

    events: EventBus
    pool: Pool
    reader: Reader
    _journal: PoolJournal
    now: Callable[[], float]
    _changed: Callable[..., Any]
    _expire_at = float("-inf")

    def admit(self, raw: bytes, local: bool) -> "Deferred[AdmissionResult]":
        result = self.pool.precheck(raw)
        if isinstance(result, Transaction):
            (sender,) = recover_senders((result,))
            result, change = self.pool.add(result, sender, self.now(), local)
            self._pool_moved(change)
            self._expire()
        if result.outcome in (Admission.IGNORED, Admission.REJECTED):
            self.events.publish(TransactionRefused(result.hash, result.reason, local))
        return succeed(result)

    def explain_transaction(self, hash: bytes) -> "Deferred[TransactionStanding | None]":
        return Deferred.fromCoroutine(self._explain(hash))

    async def _explain(self, hash: bytes) -> TransactionStanding | None:
        pooled = standing(self.pool, hash)
        if pooled is not None:
            return pooled
        found = await self.reader.transaction(hash)
        if found is None:
            return None
        where: dict[str, str | int | float] = {
            "height": found.height,
            "block": found.block_hash.hex(),
            "index": found.index,
        }
        return TransactionStanding(True, "included", f"in block {found.height} {found.block_hash.hex()[:8]}", where)

    reason_code = staticmethod(reason_code)

    def transaction(self, hash: bytes) -> bytes | None:
        entry = self.pool.entry(hash)
        return None if entry is None else entry.transaction.raw

    def transaction_hashes(self) -> list[bytes]:
        return self.pool.hashes()

    def transaction_hash(self, raw: bytes) -> bytes:
        return transaction_hash(raw)

    def precedence(self, hash: bytes) -> tuple[int, bytes]:
        entry = self.pool.entry(hash)
        return (0 if entry is None else entry.nonce), hash

    def waits(self, hash: bytes) -> bool:
        return self.pool.waits(hash)

    def give_up(self, hash: bytes) -> None:
        self._pool_moved(self.pool.give_up(hash))

    def _expire(self) -> None:
        """Drop transactions that waited too long, now and then: heads and new transactions are the clock."""
        now = self.now()
        if now >= self._expire_at:
            self._expire_at = now + EXPIRY_INTERVAL
            self._pool_moved(self.pool.expire(now))

    def _pool_moved(self, change: PoolChange) -> None:
        if change.added:
            self._changed(head=False)
        self._journal.note(change)
        for dropped in change.dropped:
            self.events.publish(TransactionDropped(dropped.hash, dropped.reason))
        for entry in change.added:
            self.events.publish(TransactionAdded(entry.hash, len(entry.transaction.raw), entry.local))
