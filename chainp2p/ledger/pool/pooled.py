"""The values of the transaction pool, and the transactions of one sender."""

from attrs import Factory, define, frozen

from chainp2p.ledger.formats.transaction import Transaction
from chainp2p.ledger.state.accounts import Account

__all__ = ["Dropped", "Journaled", "PoolChange", "PoolLimits", "PoolStats", "Pooled", "Sender"]


@frozen(kw_only=True)
class PoolLimits:
    """How much the pool holds."""

    transactions: int = 5_000
    bytes: int = 64_000_000
    pending_per_sender: int = 16
    queued_per_sender: int = 64
    lifetime: float = 3 * 3600.0  #: seconds
    min_tip: int = 0  #: wei per gas for the producer


@frozen(eq=False)
class Pooled:
    """A transaction of the pool; *added* in Unix seconds."""

    transaction: Transaction
    sender: bytes
    added: float
    local: bool

    @property
    def hash(self) -> bytes:
        return self.transaction.hash

    @property
    def nonce(self) -> int:
        return self.transaction.nonce


@frozen
class Dropped:
    """A transaction left the pool; *reason* for people, "included" when a block has it."""

    hash: bytes
    reason: str


@frozen
class PoolChange:
    """What a call did to the pool."""

    added: tuple[Pooled, ...] = ()
    dropped: tuple[Dropped, ...] = ()


@frozen
class PoolStats:
    """How many transactions wait, and their bytes in all."""

    pending: int
    queued: int
    bytes: int


@frozen
class Journaled:
    """What is kept of a transaction across a restart."""

    raw: bytes
    added: float
    local: bool


@define(eq=False)
class Sender:
    """The pooled transactions of one sender by nonce, and its account at the head.

    Its *run* are those without a gap from the account's nonce on: what a block could take. ``end`` is the first nonce
    after the run.
    """

    address: bytes
    key: bytes
    raw: bytes | None  #: the account as encoded, to see cheaply that a head did not change it
    account: Account
    entries: dict[int, Pooled] = Factory(dict)
    end: int = 0

    def extend(self) -> None:
        """Find the end of the run anew."""
        end = self.account.nonce
        while end in self.entries:
            end += 1
        self.end = end

    @property
    def run(self) -> int:
        """Length of the run."""
        return self.end - self.account.nonce

    def run_with(self, nonce: int) -> int:
        """Return how long the run would be with a transaction more."""
        end = self.end
        if nonce == end:
            end += 1
            while end in self.entries:
                end += 1
        return end - self.account.nonce

    def executable(self, nonce: int) -> bool:
        """Tell whether the transaction with *nonce* is part of the run."""
        return self.account.nonce <= nonce < self.end

    def spent(self) -> int:
        """Return the most that the run can cost (wei)."""
        return sum(self.entries[nonce].transaction.max_cost for nonce in range(self.account.nonce, self.end))

    def in_order(self) -> list[Pooled]:
        """Return all its transactions by nonce."""
        return [self.entries[nonce] for nonce in sorted(self.entries)]
