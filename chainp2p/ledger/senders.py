"""Recovering senders, and those who sealed headers: a few in threads, many in processes.

libsecp256k1 releases the GIL, so chunks of 32 gain in threads where nothing else wants it, and single ones lose. What
such a chunk decodes is kept for the lane that connects the blocks, so that nothing is decoded twice. Beside a lane that
is busy connecting blocks each recovery waits for the GIL three times, a switch interval each, and threads gain nothing:
many at once, as in a download, go to processes, if there are cores for them.

Blocks with few unknown senders are left to the lane that connects them: a job and its way back cost more than the
recovery. So it is with what comes alone: the pool recovers the sender of a transaction where it is admitted
(:mod:`chainp2p.ledger.pooldoor`).
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from attrs import field, frozen
from twisted.internet.defer import Deferred, gatherResults, succeed

from chainp2p.chain.executor import Executor, Process
from chainp2p.ledger.formats.block import Split, split
from chainp2p.ledger.formats.transaction import Transaction, TransactionError, recover_senders
from chainp2p.ledger.recovering import NOBODY, Signed, pack, recover_packed, unpack

__all__ = ["Prepared", "SenderRecovery", "Senders"]

#: Recoveries per job: 1 to 2 ms of a thread.
CHUNK = 32
#: Blocks with fewer unknown senders than this are not worth a job.
WORTH_A_JOB = 16
#: Smaller blocks cannot hold that many transactions (header 600 bytes, transfer 100), so they are not even split.
_SMALL_BLOCK_BYTES = 600 + WORTH_A_JOB * 100
#: So many are recovered in processes: fewer are not worth starting one (0.3 s, 25 MB).
WORTH_A_PROCESS = 1024
#: Recoveries per task of a process: 15 ms, ten times as long as the way there and back.
PROCESS_CHUNK = 256
#: A process that has not answered after this is not asked again. Seconds.
PROCESS_DEADLINE = 10.0

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


class _Processes:
    """Recover in processes: each has one chunk at a time, in the order in which they came.

    One that fails is left out from then on: threads do its work. They are made when they are first needed.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._free: list[Process] = []
        self._working = 0
        self.made = False
        self._queue: deque[tuple[bytes, Deferred[list[bytes] | None]]] = deque()

    def recover(self, what: Signed, raws: Sequence[bytes]) -> "Deferred[list[bytes] | None]":
        """The signers of these, or NOBODY; None: no process could tell."""
        if not self.made:
            self.made = True
            number = range(self._executor.spare_cores)
            self._free = [self._executor.process(f"senders {index}", recover_packed) for index in number]
        done: Deferred[list[bytes] | None] = Deferred()
        self._queue.append((pack(what, raws), done))
        self._send()
        return done

    def _send(self) -> None:
        while self._queue and self._free:
            (task, done), process = self._queue.popleft(), self._free.pop()
            self._working += 1
            process.ask(task, PROCESS_DEADLINE).addCallback(self._came_back, process, done)
        while self._queue and not self._working:
            self._queue.popleft()[1].callback(None)

    def _came_back(self, answer: bytes | None, process: Process, done: "Deferred[list[bytes] | None]") -> None:
        self._working -= 1
        if answer is not None:
            self._free.append(process)
        self._send()
        done.callback(None if answer is None else unpack(answer))


class SenderRecovery:
    """See the module."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._processes = _Processes(executor)

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

    def expect(self, raws: Sequence[bytes]) -> None:
        """Headers like these will be stored soon: the processes begin to start, which takes a quarter of a second."""
        if self._many(raws) and not self._processes.made:
            for _ in range(self._executor.spare_cores):
                self._processes.recover(Signed.HEADERS, ())

    def sealers(self, raws: Sequence[bytes]) -> "list[tuple[Sequence[bytes], Deferred[dict[bytes, bytes]]]]":
        """These headers in parts, each with who sealed them, by their bytes, as far as it is worth it and they are
        good: one part can be stored while the next is looked at.
        """
        if not self._many(raws):
            return [(raws, succeed({}))]
        parts = [raws[at : at + WORTH_A_PROCESS] for at in range(0, len(raws), WORTH_A_PROCESS)]
        return [(part, Deferred.fromCoroutine(self._sealers(part))) for part in parts]

    async def _sealers(self, raws: Sequence[bytes]) -> dict[bytes, bytes]:
        chunks = [raws[at : at + PROCESS_CHUNK] for at in range(0, len(raws), PROCESS_CHUNK)]
        found = await gatherResults([self._processes.recover(Signed.HEADERS, chunk) for chunk in chunks])
        pairs = [(chunk, answer) for chunk, answer in zip(chunks, found, strict=True) if answer is not None]
        return {
            raw: sealer
            for chunk, answer in pairs
            for raw, sealer in zip(chunk, answer, strict=True)
            if sealer != NOBODY
        }

    def _many(self, signed: Sequence[Any]) -> bool:
        return len(signed) >= WORTH_A_PROCESS and self._executor.spare_cores > 0

    def recover(self, splits: Sequence[Split], known: Prepared) -> "Deferred[None]":
        """Recover all senders of these blocks in chunks, on all threads or processes, and add them to *known*."""
        pairs = [pair for _, transactions in splits for pair in transactions]
        work, size = (self._in_process, PROCESS_CHUNK) if self._many(pairs) else (self._in_thread, CHUNK)
        jobs = [work(pairs[at : at + size], known) for at in range(0, len(pairs), size)]
        return gatherResults(jobs, consumeErrors=True).addCallback(lambda _: None)

    def _in_process(self, pairs: "Sequence[tuple[bytes, bytes]]", known: Prepared) -> "Deferred[None]":
        def join(senders: list[bytes] | None) -> "Deferred[None] | None":
            if senders is None:
                return self._in_thread(pairs, known)
            known.senders.update(
                [(hash, sender) for (hash, _), sender in zip(pairs, senders, strict=True) if sender != NOBODY]
            )
            return None

        return self._processes.recover(Signed.TRANSACTIONS, [raw for _, raw in pairs]).addCallback(join)

    def _in_thread(self, pairs: "Sequence[tuple[bytes, bytes]]", known: Prepared) -> "Deferred[None]":
        def join(found: "list[tuple[Transaction, bytes | TransactionError]]") -> None:
            for transaction, sender in found:
                known.senders[transaction.hash] = sender
                known.decoded[transaction.raw] = transaction

        return self._executor.run(_recover_raws, pairs).addCallback(join)
