"""Recovering senders in threads: libsecp256k1 releases the GIL, so chunks of 32 gain and single ones lose.

What a chunk decodes for that is kept for the lane that connects the blocks, so that nothing is decoded twice.

Single transactions gather while a chunk is away. Blocks with few unknown senders are left to the lane that connects
them: a job and its way back cost more than the recovery.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from attrs import field, frozen
from twisted.internet.defer import Deferred, gatherResults

from chainp2p.chain.executor import Executor
from chainp2p.ledger.formats.block import Split, split
from chainp2p.ledger.formats.transaction import Transaction, TransactionError, recover_senders

__all__ = ["Prepared", "SenderRecovery", "Senders"]

#: Recoveries per job: 1 to 2 ms of a thread.
CHUNK = 32
#: Blocks with fewer unknown senders than this are not worth a job.
WORTH_A_JOB = 16
#: Smaller blocks cannot hold that many transactions (header 600 bytes, transfer 100), so they are not even split.
_SMALL_BLOCK_BYTES = 600 + WORTH_A_JOB * 100

Senders = dict[bytes, "bytes | TransactionError"]


class KnownSenders(Protocol):
    """The pool: what it holds was recovered when it came in."""

    def entry(self, hash: bytes) -> Any:
        """Something with a ``sender`` and a ``transaction``, or None."""
        ...


@frozen
class Prepared:
    """What is known of the transactions of some blocks before they are connected.

    :param senders: by id.
    :param decoded: by their bytes.
    :param splits: the blocks that are large enough, by their bytes.
    """

    senders: Senders = field(factory=dict)
    decoded: dict[bytes, Transaction] = field(factory=dict)
    splits: dict[bytes, Split] = field(factory=dict)


def _split_all(raws: Sequence[bytes]) -> dict[bytes, Split]:
    """The parts of these blocks, those left out that are none: whoever connects them will say why."""
    found = {}
    for raw in raws:
        try:
            found[raw] = split(raw)
        except ValueError:
            continue
    return found


def _recover_raws(pairs: Sequence[tuple[bytes, bytes]]) -> "list[tuple[Transaction, bytes | TransactionError]]":
    """Raw transactions with their senders; those that do not decode are left out."""
    transactions = []
    for hash, raw in pairs:
        try:
            transactions.append(Transaction.decode(raw, hash))
        except TransactionError:
            continue
    return list(zip(transactions, recover_senders(transactions), strict=True))


class SenderRecovery:
    """See the module."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._waiting: list[tuple[Transaction, Deferred[bytes | TransactionError]]] = []
        self._away = False

    def sender(self, transaction: Transaction) -> "Deferred[bytes | TransactionError]":
        """Recover the sender of one transaction."""
        done: Deferred[bytes | TransactionError] = Deferred()
        self._waiting.append((transaction, done))
        if not self._away:
            self._send()
        return done

    def _send(self) -> None:
        chunk, self._waiting = self._waiting[:CHUNK], self._waiting[CHUNK:]
        self._away = bool(chunk)
        if chunk:
            job = self._executor.run(recover_senders, [transaction for transaction, _ in chunk])
            job.addCallbacks(self._came_back, self._failed, callbackArgs=(chunk,), errbackArgs=(chunk,))

    def _came_back(self, senders: "list[bytes | TransactionError]", chunk: Any) -> None:
        self._send()
        for (_, done), sender in zip(chunk, senders, strict=True):
            done.callback(sender)

    def _failed(self, failure: Any, chunk: Any) -> None:
        self._send()
        for _, done in chunk:
            done.errback(failure)

    def look(self, known: Prepared, pool: KnownSenders) -> list[Split]:
        """Add what the pool knows of the transactions in split blocks; return the blocks that are worth a job."""
        unknown = []
        for parts in known.splits.values():
            missing = 0
            for hash, one in parts[1]:
                entry = pool.entry(hash)
                if entry is None:
                    missing += 1
                else:
                    known.senders[hash] = entry.sender
                    known.decoded[one] = entry.transaction
            if missing >= WORTH_A_JOB:
                unknown.append(parts)
        return unknown

    async def blocks(
        self, raws: Sequence[bytes], pool: KnownSenders, acceptable: "Callable[[list[bytes]], Deferred[list[bool]]]"
    ) -> Prepared:
        """The transactions in these blocks and their senders, as far as it is worth it.

        :param acceptable: answers which raw headers are good, so that nobody makes us work for nothing.
        """
        known = Prepared()
        large = [raw for raw in raws if len(raw) >= _SMALL_BLOCK_BYTES]
        if large:
            known.splits.update(await self._executor.run(_split_all, large))
            unknown = self.look(known, pool)
            if unknown:
                wanted = await acceptable([header for header, _ in unknown])
                await self.recover([parts for parts, good in zip(unknown, wanted, strict=True) if good], known)
        return known

    def recover(self, splits: Sequence[Split], known: Prepared) -> "Deferred[None]":
        """Recover all senders of these blocks in chunks, on all threads, and add them to *known*."""
        pairs = [pair for _, transactions in splits for pair in transactions]
        chunks = [pairs[at : at + CHUNK] for at in range(0, len(pairs), CHUNK)]
        jobs = gatherResults([self._executor.run(_recover_raws, chunk) for chunk in chunks], consumeErrors=True)

        def join(found: "list[list[tuple[Transaction, bytes | TransactionError]]]") -> None:
            for part in found:
                for transaction, sender in part:
                    known.senders[transaction.hash] = sender
                    known.decoded[transaction.raw] = transaction

        return jobs.addCallback(join)
