"""Two heads of equal rank at once, with different transactions: ledgers that hear of them in any order, and a model.

The model knows plain sums only: it runs the winning branch again from genesis, and follows the events one by one.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from random import Random
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from chainp2p.chain.interfaces import HeadChanged, Invalid, TransactionAdded, TransactionDropped
from chainp2p.ledger.chain import Ledger
from chainp2p.ledger.consensus.poa import rank_of
from chainp2p.ledger.formats.block import decode_block
from chainp2p.ledger.formats.transaction import Transaction
from tests.ledger.forge import Forge, Made
from tests.ledger.network import ADDRESSES, ETHER, EVENTS, TIME, AtOnce, Clock, Disk, genesis_of, transfer

#: Gas of a transfer, and what dev accounts start with.
GAS, START = 21_000, 1000 * ETHER
USERS, LEDGERS = range(4, 9), 3


class Wrong(AssertionError):
    """A ledger is not as the model says."""


def result(done: "Deferred[Any]") -> Any:
    """What a Deferred has fired with."""
    found: list[Any] = []
    done.addBoth(found.append)
    return found[0]


def check(right: bool, seed: int, what: str) -> None:
    """Raise Wrong unless *right*."""
    if not right:
        raise Wrong(f"seed {seed}: {what}")


@frozen
class Tie:
    """What was played.

    :param depth: blocks that the losing branch had above the fork.
    :param moved: how often a head left its branch, in so many *chains*.
    :param returned: transactions that came back to a pool; *lost*: that did not, for another took their nonce.
    """

    depth: int
    chains: int
    moved: int
    returned: int
    lost: int


@define
class Accounts:
    """Balances and nonces by plain sums."""

    balances: dict[bytes, int] = field(factory=lambda: dict.fromkeys(ADDRESSES, START))
    nonces: dict[bytes, int] = field(factory=lambda: dict.fromkeys(ADDRESSES, 0))

    def run(self, line: Iterable[Made]) -> dict[bytes, list[tuple[bytes, int, int]]]:
        """Run blocks; return, for each, (transaction, gas up to it, price paid a gas)."""
        receipts: dict[bytes, list[tuple[bytes, int, int]]] = {}
        for made in line:
            rows, gas = receipts.setdefault(made.hash, []), 0
            for transaction in transactions(made):
                sender, fee = transaction.sender(), made.header.base_fee
                tip = min(transaction.max_priority_fee, transaction.max_fee - fee)
                gas += GAS
                assert transaction.nonce == self.nonces[sender] and transaction.to is not None
                self.nonces[sender] += 1
                self.balances[sender] -= transaction.value + GAS * (fee + tip)
                self.balances[transaction.to] += transaction.value
                self.balances[made.header.miner] += GAS * tip
                rows.append((transaction.hash, gas, fee + tip))
        return receipts


@lru_cache(maxsize=64)
def transactions(made: Made) -> tuple[Transaction, ...]:
    """Those of a block."""
    return decode_block(made.raw).transactions


@frozen(eq=False)
class Branches:
    """What there is to hear of.

    :param common: blocks below the fork.
    :param winner: those from genesis to the head that all must have; *loser*: of the other branch, above the fork.
    :param transactions: raw ones, two for each nonce of each user.
    """

    forge: Forge
    common: list[Made]
    winner: list[Made]
    loser: list[Made]
    transactions: list[bytes]

    @property
    def blocks(self) -> dict[bytes, Made]:
        """All, by hash, parents first."""
        return {made.hash: made for made in (*self.winner, *self.loser)}


def play(seed: int) -> Tie:
    """Play one seed; raises Wrong."""
    chance = Random(f"{seed}/ties")
    made = branches(seed, chance)
    outcome = [_ledger(seed, number, chance, made) for number in range(LEDGERS)]
    return Tie(len(made.loser), len(outcome), *(sum(column) for column in zip(*outcome, strict=True)))


def branches(seed: int, chance: Random) -> Branches:
    """Two branches of equal rank, with different transactions and some for the same nonce."""
    forge = Forge(genesis_of(chance.randint(2, 4)))
    # each user has some transactions, and another one for each nonce
    choices = {
        user: [(transfer(user, nonce, value=nonce + 1), transfer(user, nonce, value=nonce + 100)) for nonce in range(5)]
        for user in USERS
    }
    used = dict.fromkeys(USERS, 0)
    common = branch(forge, forge.root, chance, choices, used, range(1, chance.randint(1, 4)))
    fork = common[-1] if common else forge.root
    length, last = chance.randint(1, 5), fork.entry.slot + 12
    sides: list[list[Made]] = []
    for _ in range(2):
        slots = sorted(chance.sample(range(fork.entry.slot + 1, last), length - 1))
        sides.append(branch(forge, fork, chance, choices, dict(used), [*slots, last], salt=bytes((len(sides),))))
    ranks = {rank_of(side[-1].entry, side[-1].header.number) for side in sides}
    check(len(ranks) == 1 and sides[0][-1].hash != sides[1][-1].hash, seed, "the ranks are not equal")
    sides.sort(key=lambda side: side[-1].hash)
    everything = [raw for user in USERS for pair in choices[user] for raw in pair]
    return Branches(forge, common, [*common, *sides[0]], sides[1], everything)


def branch(
    forge: Forge,
    parent: Made,
    chance: Random,
    choices: dict[int, list[tuple[bytes, bytes]]],
    used: dict[int, int],
    slots: Iterable[int],
    salt: bytes = b"",
) -> list[Made]:
    """Blocks that vote for nothing but themselves, with some transactions each."""
    line = []
    for slot in slots:
        raws = []
        for user in chance.sample(list(USERS), chance.randint(0, 3)):
            for _ in range(chance.randint(1, 2)):
                if used[user] < len(choices[user]):
                    raws.append(chance.choice(choices[user][used[user]]))
                    used[user] += 1
        parent = forge.grow(parent, slot, slot - 1, raws, extra=salt)
        line.append(parent)
    return line


def _ledger(seed: int, number: int, chance: Random, made: Branches) -> tuple[int, int, int]:
    """One ledger hears of blocks and transactions in some order; return what came of it."""
    forge, everything = made.forge, made.transactions
    ledger = Ledger(forge.genesis, executor=AtOnce(), now=Clock(TIME + 1_000), random=Random(1), open_database=Disk())
    result(ledger.start())
    try:
        seen: list[Any] = []
        for kind in EVENTS:
            ledger.events.subscribe(kind, seen.append)
        waiting: list[Any] = [*made.blocks.values(), *chance.sample(everything, chance.randint(5, len(everything)))]
        chance.shuffle(waiting)
        heard = {forge.root.hash}
        admitted: dict[bytes, Transaction] = {}
        while waiting:
            one = next(one for one in waiting if isinstance(one, bytes) or one.parent.hash in heard)
            waiting.remove(one)
            if isinstance(one, bytes):
                answer = result(ledger.admit(one, False))
                if ledger.transaction(answer.hash) is not None:
                    admitted[answer.hash] = Transaction.decode(one)
            else:
                check(not isinstance(result(ledger.submit_block(one.raw)), Invalid), seed, "a good block is invalid")
                heard.add(one.hash)
        return compare(seed, f"ledger {number}", ledger, made, seen, admitted, result)
    finally:
        result(ledger.stop())


def compare(
    seed: int,
    name: str,
    ledger: Ledger,
    made: Branches,
    seen: list[Any],
    admitted: dict[bytes, Transaction],
    wait: Callable[["Deferred[Any]"], Any],
) -> tuple[int, int, int]:
    """See that a ledger is as the model says, and that what it published leads there; return what came of it.

    :param admitted: transactions that its pool once had, but for those that came back from blocks.
    """
    check(ledger.head.hash == made.winner[-1].hash, seed, f"{name} has another head")
    check(ledger.conflict is None, seed, "a conflict is reported")
    accounts = Accounts()
    receipts = accounts.run(made.winner)
    _check_state(seed, ledger, made.winner, accounts, receipts, wait)
    return _Follower(seed, made.forge, made.blocks, accounts).follow(seen, ledger, made.winner, admitted)


def _check_state(
    seed: int,
    ledger: Ledger,
    winner: list[Made],
    accounts: Accounts,
    receipts: dict[bytes, list[Any]],
    result: Callable[["Deferred[Any]"], Any],
) -> None:
    for height, made in enumerate(winner, 1):
        check(result(ledger.hash_at(height)) == made.hash, seed, f"height {height} is another block")
        rows = [
            (one.transaction_hash, one.cumulative_gas, one.effective_gas_price)
            for one in result(ledger.reader.receipts(made.hash))
        ]
        check(rows == receipts[made.hash], seed, f"receipts of block {height}")
    check(result(ledger.hash_at(len(winner) + 1)) is None, seed, "the chain goes on above its head")
    for address in ADDRESSES:
        account = result(ledger.reader.account(address, ledger.head.hash))
        own = (account.balance, account.nonce)
        check(own == (accounts.balances[address], accounts.nonces[address]), seed, f"account {address.hex()}")


@define
class _Follower:
    """Whoever has nothing but the events."""

    seed: int
    forge: Forge
    blocks: dict[bytes, Made]
    accounts: Accounts
    path: list[bytes] = field(factory=list)
    pool: set[bytes] = field(factory=set)
    moved: int = 0
    returned: int = 0
    lost: int = 0

    def follow(
        self, seen: list[Any], ledger: Ledger, winner: list[Made], known: dict[bytes, Transaction]
    ) -> tuple[int, int, int]:
        """Go through what was published; the path, the pool and all reasons have to be right."""
        self.path = [self.forge.root.hash]
        back: dict[bytes, Transaction] = {}
        entered: set[bytes] = set()
        known = dict(known)
        for event in seen:
            if isinstance(event, HeadChanged):
                check(not back, self.seed, "what a reorganisation left is neither pooled nor dropped")
                entered = self._head(event)
                left = {one.hash: one for info in event.left for one in transactions(self.blocks[info.hash])}
                back = {hash: one for hash, one in left.items() if hash not in entered}
                known |= back
            elif isinstance(event, TransactionAdded):
                check(event.hash not in self.pool, self.seed, "a transaction is added twice")
                self.returned += back.pop(event.hash, None) is not None
                self.pool.add(event.hash)
            elif isinstance(event, TransactionDropped):
                self._dropped(event, entered, back)
        check(not back, self.seed, "what a reorganisation left is neither pooled nor dropped")
        check(self.path[1:] == [made.hash for made in winner], self.seed, "the events lead to another chain")
        check(self.pool == set(ledger.transaction_hashes()), self.seed, "the events lead to another pool")
        included = {one.hash for made in winner for one in transactions(made)}
        check(not self.pool & included, self.seed, "what is included is pooled")
        self._check_pool(ledger, known)
        return self.moved, self.returned, self.lost

    def _head(self, event: HeadChanged) -> set[bytes]:
        left = [info.hash for info in event.left]
        check(
            left == self.path[len(self.path) - len(left) :][::-1], self.seed, "other blocks are left than were entered"
        )
        del self.path[len(self.path) - len(left) :]
        for info in event.entered:
            check(info.parent == self.path[-1], self.seed, "blocks are entered in another order")
            self.path.append(info.hash)
        check(event.head.hash == self.path[-1], self.seed, "the head is not what was entered last")
        self.moved += bool(left)
        return {one.hash for info in event.entered for one in transactions(self.blocks[info.hash])}

    def _dropped(self, event: TransactionDropped, entered: set[bytes], back: dict[bytes, Transaction]) -> None:
        if event.hash in back:  # another one of its sender took its nonce
            del back[event.hash]
            self.lost += 1
            known = ("nonce too low", "replacement transaction underpriced")
            check(any(text in event.reason for text in known), self.seed, f"dropped for {event.reason!r}")
            return
        check(event.hash in self.pool, self.seed, "what was not pooled is dropped")
        self.pool.discard(event.hash)
        check((event.reason == "included") == (event.hash in entered), self.seed, f"dropped for {event.reason!r}")
        check(event.reason == "included" or "nonce too low" in event.reason, self.seed, f"dropped for {event.reason!r}")

    def _check_pool(self, ledger: Ledger, known: dict[bytes, Transaction]) -> None:
        """For each nonce to come of which a transaction was pooled once, one is pooled."""
        places: set[tuple[bytes, int]] = set()
        for hash in self.pool:
            one = known[hash]
            check(ledger.transaction(hash) == one.raw, self.seed, "another transaction is pooled")
            check((one.sender(), one.nonce) not in places, self.seed, "two transactions of one nonce are pooled")
            places.add((one.sender(), one.nonce))
        for one in known.values():
            if one.nonce >= self.accounts.nonces[one.sender()]:
                check((one.sender(), one.nonce) in places, self.seed, "a transaction that is still good is gone")
