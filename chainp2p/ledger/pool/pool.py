"""The pool of transactions that wait for a block.

Specification, with the reason of each rule:

- One slot per sender and nonce. A replacement raises both fees by at least 10 %, so that every relay of a rewritten
  transaction costs its author something.
- *Pending* are the transactions of a sender without a gap from its nonce on, at most 16; the rest is *queued*, at most
  64: one sender cannot fill the pool. A block takes from all that follow without a gap.
- 5,000 transactions and 64 MB in all. A full pool drops what is worth least: first what cannot be executed, then by
  what it pays the producer; one worth no more than that is not let in.
- A transaction is dropped when its nonce is used, its sender cannot pay for it, or after 3 hours.
- What the head's state says is read once per sender and head, and only where the account changed.

Costs: admission 10 us, a new head 1 us per sender, the list for a block 2 us per transaction. Texts are go-ethereum's
(``core/txpool``), because client libraries match them. Senders are recovered by the caller.
"""

from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush

from attrs import Factory, define, field

from chainp2p.chain.interfaces import Admission, AdmissionResult
from chainp2p.ledger.formats.transaction import Transaction, TransactionError, transaction_hash
from chainp2p.ledger.formats.validation import check_transaction
from chainp2p.ledger.pool.eviction import LeastWorthy, Worth
from chainp2p.ledger.pool.fitness import outbids, unfit
from chainp2p.ledger.pool.pooled import Dropped, Journaled, PoolChange, Pooled, PoolLimits, PoolStats, Sender
from chainp2p.ledger.state.accounts import EMPTY_ACCOUNT, Account, State
from chainp2p.primitives.keccak import keccak256

__all__ = ["Dropped", "Journaled", "Pool", "PoolChange", "PoolLimits", "PoolStats", "Pooled"]


@define(eq=False)
class Pool:
    """See the module's text. *base_fee* and *gas_limit* are those of the block to come."""

    chain_id: int
    state: State
    base_fee: int
    gas_limit: int
    base_fee_floor: int = 0
    limits: PoolLimits = Factory(PoolLimits)
    size: int = field(default=0, init=False)  #: bytes
    _entries: dict[bytes, Pooled] = field(factory=dict, init=False)
    _senders: dict[bytes, Sender] = field(factory=dict, init=False)
    _worst: LeastWorthy | None = field(default=None, init=False)

    # -- reading ----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, hash: bytes) -> bool:
        return hash in self._entries

    def entry(self, hash: bytes) -> Pooled | None:
        return self._entries.get(hash)

    def owner(self, hash: bytes) -> Sender | None:
        """Return all that the sender of a pooled transaction has here."""
        entry = self._entries.get(hash)
        return None if entry is None else self._senders[entry.sender]

    def transaction(self, hash: bytes) -> Transaction | None:
        entry = self._entries.get(hash)
        return None if entry is None else entry.transaction

    def pending_nonce(self, address: bytes) -> int:
        """Return the nonce that the next transaction of *address* should have."""
        sender = self._senders.get(address)
        return self.state.account(address).nonce if sender is None else sender.end

    def stats(self) -> PoolStats:
        most = self.limits.pending_per_sender
        pending = sum(min(sender.run, most) for sender in self._senders.values())
        return PoolStats(pending, len(self._entries) - pending, self.size)

    def content(self) -> dict[bytes, tuple[tuple[Pooled, ...], tuple[Pooled, ...]]]:
        """Return (pending, queued) of each sender, both in order of nonce."""
        return {address: self.content_from(address) for address in self._senders}

    def content_from(self, address: bytes) -> tuple[tuple[Pooled, ...], tuple[Pooled, ...]]:
        """Return (pending, queued) of one sender, both in order of nonce."""
        sender = self._senders.get(address)
        if sender is None:
            return (), ()
        entries = sender.in_order()
        split = min(sender.run, self.limits.pending_per_sender)
        return tuple(entries[:split]), tuple(entries[split:])

    def hashes(self) -> list[bytes]:
        """Return all ids, executable ones first, each sender's in order of nonce."""
        first: list[bytes] = []
        rest: list[bytes] = []
        for sender in self._senders.values():
            for entry in sender.in_order():
                (first if sender.executable(entry.nonce) else rest).append(entry.hash)
        return first + rest

    def waits(self, hash: bytes) -> bool:
        """Tell whether a transaction is here that has a gap before it."""
        entry = self._entries.get(hash)
        return entry is not None and not self._senders[entry.sender].executable(entry.nonce)

    def snapshot(self) -> list[Journaled]:
        """Return what :meth:`precheck` and :meth:`add` need after a restart, each sender's in order of nonce."""
        return [
            Journaled(entry.transaction.raw, entry.added, entry.local)
            for sender in self._senders.values()
            for entry in sender.in_order()
        ]

    def has_executable(self) -> bool:
        """Whether a block made now would hold a transaction."""
        return any(self._payable(sender, sender.account.nonce) for sender in self._senders.values())

    def _payable(self, sender: Sender, nonce: int) -> bool:
        entry = sender.entries.get(nonce)
        return entry is not None and entry.transaction.max_fee >= self.base_fee

    def best(self) -> Iterator[tuple[Transaction, bytes]]:
        """Yield (transaction, sender) for a block: by what they pay, each sender's in order of nonce.

        Ties go to the one that came first, then to the smaller hash, so that the order is the same everywhere.
        """
        heap: list[tuple[int, float, bytes, Pooled]] = []
        for sender in self._senders.values():
            if self._payable(sender, sender.account.nonce):
                heap.append(self._ranked(sender.entries[sender.account.nonce]))
        heapify(heap)
        while heap:
            entry = heappop(heap)[3]
            yield entry.transaction, entry.sender
            following = self._senders[entry.sender]
            nonce = entry.nonce + 1
            if self._payable(following, nonce):
                heappush(heap, self._ranked(following.entries[nonce]))

    def _ranked(self, entry: Pooled) -> tuple[int, float, bytes, Pooled]:
        return -entry.transaction.effective_tip(self.base_fee), entry.added, entry.hash, entry

    # -- admission --------------------------------------------------------------------------------------------------

    def precheck(self, raw: bytes) -> Transaction | AdmissionResult:
        """Do the cheap checks; a transaction is answered when only its sender and the state are left to look at."""
        hash = transaction_hash(raw)
        if hash in self._entries:
            return AdmissionResult(Admission.KNOWN, hash, "already known")
        try:
            transaction = Transaction.decode(raw, hash)
            if transaction.gas > self.gas_limit:
                raise TransactionError("exceeds block gas limit")
            check_transaction(transaction, self.chain_id)
            self._check_price(transaction)
        except TransactionError as error:
            return refused(hash, error)
        return transaction

    def _check_price(self, transaction: Transaction) -> None:
        if transaction.max_priority_fee < self.limits.min_tip:
            raise TransactionError(
                f"transaction underpriced: gas tip cap {transaction.max_priority_fee}, "
                f"minimum needed {self.limits.min_tip}"
            )
        if transaction.max_fee < self.base_fee_floor:
            raise TransactionError(
                f"max fee per gas less than block base fee: maxFeePerGas: {transaction.max_fee}, "
                f"baseFee: {self.base_fee}, which never falls below {self.base_fee_floor}"
            )

    def add(
        self, transaction: Transaction, sender: bytes | TransactionError, now: float, local: bool = False
    ) -> tuple[AdmissionResult, PoolChange]:
        """Admit a transaction that passed :meth:`precheck`.

        :param sender: what ``recover_senders`` answered for it.
        :param now: Unix seconds; after a restart the time that :class:`Journaled` holds.
        """
        if isinstance(sender, TransactionError):
            return refused(transaction.hash, sender), PoolChange()
        if transaction.hash in self._entries:
            return AdmissionResult(Admission.KNOWN, transaction.hash, "already known"), PoolChange()
        owner = self._senders.get(sender) or self._new_sender(sender)
        try:
            replaced = self._check_state(transaction, owner)
            dropped = self._make_room(transaction, owner, replaced)
        except TransactionError as error:
            return refused(transaction.hash, error), PoolChange()
        if replaced:
            self._remove(replaced)
            dropped.append(Dropped(replaced.hash, "replaced"))
        entry = Pooled(transaction, sender, now, local)
        self._insert(entry, owner)
        return AdmissionResult(Admission.ADMITTED, transaction.hash), PoolChange((entry,), tuple(dropped))

    def _new_sender(self, address: bytes) -> Sender:
        key = keccak256(address)
        raw = self.state.raw(key)
        account = EMPTY_ACCOUNT if raw is None else Account.decode(raw)
        return Sender(address, key, raw, account, end=account.nonce)

    def _check_state(self, transaction: Transaction, owner: Sender) -> Pooled | None:
        """Check nonce, funds, price and the sender's share; return the entry it replaces, if any."""
        nonce, balance, cost = transaction.nonce, owner.account.balance, transaction.max_cost
        if nonce < owner.account.nonce:
            raise TransactionError(f"nonce too low: next nonce {owner.account.nonce}, tx nonce {nonce}")
        if balance < cost:
            raise _unpaid(balance, f"tx cost {cost}", cost)
        spent = owner.spent()
        old = owner.entries.get(nonce)
        if old is not None:
            bump = cost - old.transaction.max_cost
            if owner.executable(nonce) and balance < spent + bump:
                raise _unpaid(balance, f"queued cost {spent}, tx bumped {bump}", spent + bump)
            if not outbids(transaction, old.transaction):
                raise TransactionError("replacement transaction underpriced")
            return old
        if balance < spent + cost:
            raise _unpaid(balance, f"queued cost {spent}, tx cost {cost}", spent + cost)
        self._check_share(nonce, owner)
        return None

    def _check_share(self, nonce: int, owner: Sender) -> None:
        pooled = len(owner.entries)
        pending = min(owner.run_with(nonce), self.limits.pending_per_sender)
        if pooled + 1 - pending > self.limits.queued_per_sender:
            raise TransactionError(f"account limit exceeded: pooled {pooled} txs")

    # -- room -------------------------------------------------------------------------------------------------------

    def _worth(self, entry: Pooled) -> Worth:
        executable = self._senders[entry.sender].executable(entry.nonce)
        return executable, entry.transaction.effective_tip(self.base_fee), entry.transaction.max_fee

    def _least_worthy(self) -> LeastWorthy:
        """The heap, made when first needed under a head."""
        if self._worst is None:
            self._worst = LeastWorthy(self._entries.values(), self._worth)
        return self._worst

    def _make_room(self, transaction: Transaction, owner: Sender, replaced: Pooled | None) -> list[Dropped]:
        """Drop the least worthy until *transaction* fits; raises, having dropped nothing, when it is no better."""
        if (
            replaced is None
            and len(self._entries) < self.limits.transactions
            and self.size + len(transaction.raw) <= self.limits.bytes
        ):
            return []
        executable = transaction.nonce == owner.end or owner.executable(transaction.nonce)
        worth = (executable, transaction.effective_tip(self.base_fee), transaction.max_fee)
        leaving = {} if replaced is None else {replaced.hash: replaced}
        victims: list[Pooled] = []
        count = len(self._entries) + 1 - len(leaving)
        size = self.size + len(transaction.raw) - sum(len(entry.transaction.raw) for entry in leaving.values())
        while count > self.limits.transactions or size > self.limits.bytes:
            found = self._least_worthy().pop(lambda hash: None if hash in leaving else self._entries.get(hash))
            if found is not None:
                victims.append(found[1])
                leaving[found[1].hash] = found[1]
                count -= 1
                size -= len(found[1].transaction.raw)
            # A sender's own earlier transaction is no victim: without it the new one could not be executed.
            if found is None or worth <= found[0] or _precedes(found[1], transaction, owner):
                for entry in leaving.values():
                    self._least_worthy().push(entry)
                gapped = found is not None and found[0][0] and not executable
                raise TransactionError(
                    "future transaction tries to replace pending" if gapped else "transaction underpriced"
                )
        for victim in victims:
            self._remove(victim)
        return [Dropped(victim.hash, "transaction underpriced: the pool is full") for victim in victims]

    # -- entries ----------------------------------------------------------------------------------------------------

    def _insert(self, entry: Pooled, owner: Sender) -> None:
        self._senders.setdefault(entry.sender, owner)
        owner.entries[entry.nonce] = entry
        owner.extend()
        self._entries[entry.hash] = entry
        self.size += len(entry.transaction.raw)
        if self._worst is not None:
            self._worst.push(entry)

    def _remove(self, entry: Pooled) -> None:
        owner = self._senders[entry.sender]
        del owner.entries[entry.nonce]
        del self._entries[entry.hash]
        self.size -= len(entry.transaction.raw)
        end = owner.end
        owner.extend()
        if self._worst is not None:
            for nonce in range(entry.nonce + 1, end):  # what followed it has a gap before it now
                self._worst.push(owner.entries[nonce])
        if not owner.entries:
            del self._senders[entry.sender]

    # -- the chain moves --------------------------------------------------------------------------------------------

    def on_head(
        self,
        state: State,
        base_fee: int,
        gas_limit: int,
        included: Iterable[bytes],
        left: Sequence[tuple[Transaction, bytes]],
        now: float,
    ) -> PoolChange:
        """Follow the head.

        :param base_fee: of the block to come; *gas_limit* likewise.
        :param included: ids of the transactions of the blocks that joined the best chain.
        :param left: (transaction, sender) of the blocks that left it: those not included again come back.
        """
        self._worst = None
        mined = set(included)
        dropped = self._follow_limits(base_fee, gas_limit)
        if state is not self.state:
            self.state = state
            for owner in list(self._senders.values()):
                dropped += self._refresh(owner, mined)
        added: list[Pooled] = []
        for transaction, sender in left:
            if transaction.hash not in mined:
                result, change = self.add(transaction, sender, now)
                added += change.added
                dropped += change.dropped
                if result.outcome is Admission.IGNORED:
                    dropped.append(Dropped(transaction.hash, result.reason))
        return PoolChange(tuple(added), tuple(dropped))

    def _follow_limits(self, base_fee: int, gas_limit: int) -> list[Dropped]:
        smaller = gas_limit < self.gas_limit
        self.base_fee, self.gas_limit = base_fee, gas_limit
        if not smaller:
            return []
        too_large = [entry for entry in self._entries.values() if entry.transaction.gas > gas_limit]
        for entry in too_large:
            self._remove(entry)
        return [Dropped(entry.hash, "exceeds block gas limit") for entry in too_large]

    def _refresh(self, owner: Sender, mined: set[bytes]) -> list[Dropped]:
        raw = self.state.raw(owner.key)
        if raw == owner.raw:
            return []
        owner.raw = raw
        owner.account = EMPTY_ACCOUNT if raw is None else Account.decode(raw)
        owner.extend()
        dropped = []
        for entry in owner.in_order():
            reason = unfit(entry.transaction, owner.account, mined)
            if reason:
                self._remove(entry)
                dropped.append(Dropped(entry.hash, reason))
        return dropped

    def give_up(self, hash: bytes) -> PoolChange:
        """Drop a transaction that waits, because whoever brought it has brought too many."""
        if not self.waits(hash):
            return PoolChange()
        self._remove(self._entries[hash])
        return PoolChange((), (Dropped(hash, "too many with a gap before them came the same way"),))

    def expire(self, now: float) -> PoolChange:
        """Drop what waits longer than the lifetime; call it every minute or so."""
        oldest = now - self.limits.lifetime
        expired = [entry for entry in self._entries.values() if entry.added < oldest]
        for entry in expired:
            self._remove(entry)
        return PoolChange((), tuple(Dropped(entry.hash, "expired") for entry in expired))


def refused(hash: bytes, error: TransactionError) -> AdmissionResult:
    """Return the verdict on a transaction that is not admitted, and whose fault that is."""
    return AdmissionResult(Admission.REJECTED if error.malformed else Admission.IGNORED, hash, error.text)


def _unpaid(balance: int, what: str, needed: int) -> TransactionError:
    text = "insufficient funds for gas * price + value"
    return TransactionError(f"{text}: balance {balance}, {what}, overshot {needed - balance}")


def _precedes(entry: Pooled, transaction: Transaction, owner: Sender) -> bool:
    return entry.sender == owner.address and entry.nonce < transaction.nonce
