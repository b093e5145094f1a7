"""The pool: each rule and text, and a naive model beside it."""

from random import Random
from typing import ClassVar

from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.interfaces import Admission, AdmissionResult
from chainp2p.ledger.formats.genesis import DEV_ADDRESSES
from chainp2p.ledger.formats.transaction import Transaction, TransactionError, recover_senders
from chainp2p.ledger.pool.pool import Dropped, Pool, PoolChange, PoolLimits, PoolStats
from chainp2p.ledger.state.accounts import Account, State
from tests.ledger.common import CHAIN_ID, GWEI, raw_transfer, transfer

RICH = 10**20
GAS_LIMIT = 30_000_000


def state_of(*accounts: Account) -> State:
    return State.of(dict(zip(DEV_ADDRESSES, accounts, strict=False)))


def pool_of(*accounts: Account, **fields: object) -> Pool:
    state = state_of(*accounts) if accounts else state_of(*[Account(0, RICH)] * 10)
    return Pool(**{"chain_id": CHAIN_ID, "state": state, "base_fee": GWEI, "gas_limit": GAS_LIMIT, **fields})


def offer(pool: Pool, raw: bytes, now: float = 1.0) -> tuple[AdmissionResult, PoolChange]:
    checked = pool.precheck(raw)
    if isinstance(checked, AdmissionResult):
        return checked, PoolChange()
    return pool.add(checked, recover_senders([checked])[0], now)


class Case(SynchronousTestCase):
    def admit(self, pool: Pool, raw: bytes, now: float = 1.0) -> tuple[Dropped, ...]:
        result, change = offer(pool, raw, now)
        self.assertEqual((result.outcome, result.reason), (Admission.ADMITTED, ""))
        self.assertEqual([entry.transaction.raw for entry in change.added], [raw])
        return change.dropped

    def refuse(self, pool: Pool, raw: bytes, text: str, outcome: Admission = Admission.IGNORED) -> None:
        before = pool.hashes(), pool.size
        result, change = offer(pool, raw)
        self.assertEqual((result.outcome, result.reason), (outcome, text))
        self.assertEqual(change, PoolChange())
        self.assertEqual((pool.hashes(), pool.size), before)


class Rules(Case):
    def test_admitted(self) -> None:
        pool = pool_of()
        raw = raw_transfer()
        self.assertEqual(self.admit(pool, raw), ())
        tx = Transaction.decode(raw)
        self.assertEqual(pool.transaction(tx.hash), tx)
        self.assertEqual(pool.entry(tx.hash).sender, DEV_ADDRESSES[0])
        self.assertIn(tx.hash, pool)
        self.assertEqual((len(pool), pool.hashes()), (1, [tx.hash]))
        self.assertEqual(pool.stats(), PoolStats(1, 0, len(raw)))
        self.assertIsNone(pool.transaction(bytes(32)))
        self.assertIsNone(pool.entry(bytes(32)))

    def test_known(self) -> None:
        pool = pool_of()
        raw = raw_transfer()
        self.admit(pool, raw)
        self.refuse(pool, raw, "already known", Admission.KNOWN)
        # Two copies may pass the cheap checks before either is in.
        result, change = pool.add(transfer(), DEV_ADDRESSES[0], 1.0)
        self.assertEqual((result.outcome, change), (Admission.KNOWN, PoolChange()))

    def test_whose_fault(self) -> None:
        pool = pool_of()
        self.refuse(pool, b"\xc0", "rlp: transaction of 0 fields, 9 are expected", Admission.REJECTED)
        self.refuse(pool, b"\x04", "transaction type not supported", Admission.REJECTED)
        error = TransactionError("invalid sender: no key", malformed=True)
        result, _ = pool.add(transfer(), error, 1.0)
        self.assertEqual((result.outcome, result.reason), (Admission.REJECTED, "invalid sender: no key"))
        self.refuse(pool, raw_transfer(chain_id=1), "invalid sender: invalid chain id for signer: have 1 want 31337")

    def test_without_state(self) -> None:
        pool = pool_of(base_fee_floor=GWEI, limits=PoolLimits(min_tip=2))
        self.refuse(pool, raw_transfer(gas=GAS_LIMIT + 1), "exceeds block gas limit")
        self.refuse(pool, raw_transfer(gas=20_000), "intrinsic gas too low: gas 20000, minimum needed 21000")
        self.refuse(
            pool,
            raw_transfer(max_priority_fee=1),
            "transaction underpriced: gas tip cap 1, minimum needed 2",
        )
        self.refuse(
            pool,
            raw_transfer(max_fee=GWEI - 1, max_priority_fee=2),
            f"max fee per gas less than block base fee: maxFeePerGas: {GWEI - 1}, baseFee: {GWEI}, "
            f"which never falls below {GWEI}",
        )

    def test_nonce_too_low(self) -> None:
        pool = pool_of(Account(5, RICH))
        self.refuse(pool, raw_transfer(nonce=4), "nonce too low: next nonce 5, tx nonce 4")
        self.admit(pool, raw_transfer(nonce=5))

    def test_funds(self) -> None:
        gas = 21_000 * 3 * GWEI
        pool = pool_of(Account(0, 2 * gas + 10))
        text = f"insufficient funds for gas * price + value: balance {2 * gas + 10}, "
        self.refuse(pool, raw_transfer(value=gas + 11), f"{text}tx cost {2 * gas + 11}, overshot 1")
        self.admit(pool, raw_transfer(nonce=0, value=4))
        self.refuse(
            pool,
            raw_transfer(nonce=1, value=7),
            f"{text}queued cost {gas + 4}, tx cost {gas + 7}, overshot 1",
        )
        self.admit(pool, raw_transfer(nonce=1, value=6))
        bump = 21_000 * GWEI
        self.refuse(
            pool,
            raw_transfer(nonce=1, value=6, max_fee=4 * GWEI, max_priority_fee=2 * GWEI),
            f"{text}queued cost {2 * gas + 10}, tx bumped {bump}, overshot {bump}",
        )
        self.refuse(
            pool_of(),
            raw_transfer(value=2 * RICH),
            f"insufficient funds for gas * price + value: balance {RICH}, "
            f"tx cost {2 * RICH + gas}, overshot {RICH + gas}",
        )

    def test_replacement(self) -> None:
        pool = pool_of()
        first = raw_transfer(max_fee=1000 * GWEI, max_priority_fee=100 * GWEI)
        self.admit(pool, first)
        for fee, tip in ((1099, 110), (1100, 109), (1000, 200), (2000, 100)):
            self.refuse(
                pool,
                raw_transfer(max_fee=fee * GWEI, max_priority_fee=tip * GWEI),
                "replacement transaction underpriced",
            )
        second = raw_transfer(max_fee=1100 * GWEI, max_priority_fee=110 * GWEI, data=b"\1\2", gas=30_000)
        self.assertEqual(self.admit(pool, second), (Dropped(transfer_hash(first), "replaced"),))
        self.assertEqual((pool.hashes(), pool.size), ([transfer_hash(second)], len(second)))

    def test_replacement_in_the_queue(self) -> None:
        pool = pool_of()
        self.admit(pool, raw_transfer(nonce=2))
        dropped = self.admit(pool, raw_transfer(nonce=2, max_fee=4 * GWEI, max_priority_fee=2 * GWEI))
        self.assertEqual([item.reason for item in dropped], ["replaced"])
        self.assertEqual(pool.stats().queued, 1)

    def test_share_of_a_sender(self) -> None:
        pool = pool_of()
        for nonce in range(80):
            self.admit(pool, raw_transfer(nonce=nonce))
        self.assertEqual(pool.stats(), PoolStats(16, 64, pool.size))
        self.assertEqual(pool.pending_nonce(DEV_ADDRESSES[0]), 80)
        self.refuse(pool, raw_transfer(nonce=80), "account limit exceeded: pooled 80 txs")
        self.admit(pool, raw_transfer(nonce=5, max_fee=4 * GWEI, max_priority_fee=2 * GWEI))
        gapped = pool_of()
        for nonce in range(1, 65):
            self.admit(gapped, raw_transfer(nonce=nonce))
        self.refuse(gapped, raw_transfer(nonce=70), "account limit exceeded: pooled 64 txs")
        self.assertEqual(gapped.pending_nonce(DEV_ADDRESSES[0]), 0)
        self.admit(gapped, raw_transfer(nonce=0))
        self.assertEqual(gapped.pending_nonce(DEV_ADDRESSES[0]), 65)


def transfer_hash(raw: bytes) -> bytes:
    return Transaction.decode(raw).hash


class Reading(Case):
    def test_content(self) -> None:
        pool = pool_of(limits=PoolLimits(pending_per_sender=2))
        for nonce in (3, 1, 0, 2, 7):
            self.admit(pool, raw_transfer(nonce=nonce))
        self.admit(pool, raw_transfer(1, 4))
        pending, queued = pool.content_from(DEV_ADDRESSES[0])
        self.assertEqual([entry.nonce for entry in pending], [0, 1])
        self.assertEqual([entry.nonce for entry in queued], [2, 3, 7])
        self.assertEqual(pool.content_from(DEV_ADDRESSES[9]), ((), ()))
        content = pool.content()
        self.assertEqual(content[DEV_ADDRESSES[0]], (pending, queued))
        self.assertEqual([len(part) for part in content[DEV_ADDRESSES[1]]], [0, 1])
        self.assertEqual(pool.stats().pending, 2)
        self.assertEqual(pool.pending_nonce(DEV_ADDRESSES[0]), 4)
        self.assertEqual(pool.pending_nonce(DEV_ADDRESSES[9]), 0)
        order = [pool.transaction(hash).nonce for hash in pool.hashes()]
        self.assertEqual(order, [0, 1, 2, 3, 7, 4])

    def test_snapshot_survives(self) -> None:
        pool = pool_of()
        for index, nonce in enumerate((1, 0, 3)):
            self.admit(pool, raw_transfer(nonce=nonce), now=float(index))
        other = pool_of()
        for entry in pool.snapshot():
            checked = other.precheck(entry.raw)
            result, _ = other.add(checked, checked.sender(), entry.added, entry.local)
            self.assertEqual(result.outcome, Admission.ADMITTED)
        self.assertEqual(other.snapshot(), pool.snapshot())
        self.assertEqual(other.stats(), pool.stats())

    def test_best(self) -> None:
        pool = pool_of()
        self.assertFalse(pool.has_executable())
        for sender, nonce, tip in ((0, 0, 1), (0, 1, 9), (1, 0, 5), (1, 1, 2), (2, 1, 9), (3, 0, 5)):
            self.admit(pool, raw_transfer(sender, nonce, max_fee=20 * GWEI, max_priority_fee=tip * GWEI), now=sender)
        self.assertTrue(pool.has_executable())
        order = [(DEV_ADDRESSES.index(sender), tx.nonce) for tx, sender in pool.best()]
        self.assertEqual(order, [(1, 0), (3, 0), (1, 1), (0, 0), (0, 1)])

    def test_best_needs_the_base_fee(self) -> None:
        pool = pool_of(base_fee=5 * GWEI)
        self.admit(pool, raw_transfer(0, 0, max_fee=4 * GWEI))
        self.assertFalse(pool.has_executable())
        self.admit(pool, raw_transfer(1, 0, max_fee=6 * GWEI))
        self.admit(pool, raw_transfer(1, 1, max_fee=4 * GWEI))
        self.assertTrue(pool.has_executable())
        self.assertEqual([tx.nonce for tx, _ in pool.best()], [0])


class Head(Case):
    def test_included(self) -> None:
        pool = pool_of()
        for nonce in range(3):
            self.admit(pool, raw_transfer(nonce=nonce))
        other = transfer(nonce=1, value=77)
        first, second, third = (transfer(nonce=nonce) for nonce in range(3))
        state = state_of(Account(2, RICH), *[Account(0, RICH)] * 9)
        change = pool.on_head(state, 2 * GWEI, GAS_LIMIT, [first.hash, other.hash], [], 2.0)
        self.assertEqual(
            change.dropped,
            (
                Dropped(first.hash, "included"),
                Dropped(second.hash, "nonce too low: next nonce 2, tx nonce 1"),
            ),
        )
        self.assertEqual(pool.hashes(), [third.hash])
        self.assertEqual((pool.base_fee, pool.stats().pending), (2 * GWEI, 1))
        self.assertEqual(pool.on_head(state, GWEI, GAS_LIMIT, [], [], 3.0), PoolChange())

    def test_cannot_pay_any_more(self) -> None:
        pool = pool_of()
        self.admit(pool, raw_transfer(nonce=0, value=100))
        self.admit(pool, raw_transfer(nonce=1, value=1))
        gas = 21_000 * 3 * GWEI
        change = pool.on_head(state_of(Account(0, gas + 1)), GWEI, GAS_LIMIT, [], [], 2.0)
        self.assertEqual(
            [item.reason for item in change.dropped],
            [f"insufficient funds for gas * price + value: balance {gas + 1}, tx cost {gas + 100}, overshot 99"],
        )
        self.assertEqual(pool.stats(), PoolStats(0, 1, pool.size))
        change = pool.on_head(State(), GWEI, GAS_LIMIT, [], [], 3.0)
        self.assertEqual((len(change.dropped), len(pool)), (1, 0))

    def test_smaller_blocks(self) -> None:
        pool = pool_of()
        self.admit(pool, raw_transfer(0, gas=100_000))
        self.admit(pool, raw_transfer(1, gas=21_000))
        change = pool.on_head(pool.state, GWEI, 99_999, [], [], 2.0)
        self.assertEqual([item.reason for item in change.dropped], ["exceeds block gas limit"])
        self.assertEqual(len(pool), 1)

    def test_reorg_brings_back(self) -> None:
        pool = pool_of(Account(3, RICH), *[Account(0, RICH)] * 9)
        self.admit(pool, raw_transfer(nonce=3))
        left = [transfer(nonce=nonce) for nonce in range(3)]
        again = transfer(nonce=0)
        change = pool.on_head(
            state_of(Account(1, RICH), *[Account(0, RICH)] * 9),
            GWEI,
            GAS_LIMIT,
            [again.hash],
            [(tx, DEV_ADDRESSES[0]) for tx in left],
            2.0,
        )
        self.assertEqual([entry.nonce for entry in change.added], [1, 2])
        self.assertEqual(change.dropped, ())
        self.assertEqual(pool.stats().pending, 3)

    def test_reorg_says_what_is_lost(self) -> None:
        pool = pool_of()
        poor = (transfer(), DEV_ADDRESSES[0])
        change = pool.on_head(state_of(Account(0, 5)), GWEI, GAS_LIMIT, [], [poor], 2.0)
        self.assertEqual(change.added, ())
        self.assertIn("insufficient funds", change.dropped[0].reason)

    def test_expiry(self) -> None:
        pool = pool_of(limits=PoolLimits(lifetime=100.0))
        self.admit(pool, raw_transfer(nonce=0), now=1.0)
        self.admit(pool, raw_transfer(nonce=1), now=50.0)
        self.assertEqual(pool.expire(101.0), PoolChange())
        self.assertEqual([item.reason for item in pool.expire(101.5).dropped], ["expired"])
        self.assertEqual(pool.stats(), PoolStats(0, 1, pool.size))


class Full(Case):
    LIMITS: ClassVar = PoolLimits(transactions=3)

    def tip(self, sender: int, tip: int, nonce: int = 0) -> bytes:
        return raw_transfer(sender, nonce, max_fee=100 * GWEI, max_priority_fee=tip * GWEI)

    def full(self, *tips: int) -> Pool:
        pool = pool_of(limits=self.LIMITS)
        for sender, tip in enumerate(tips):
            self.admit(pool, self.tip(sender, tip))
        return pool

    def test_cheapest_goes(self) -> None:
        pool = self.full(5, 3, 4)
        self.refuse(pool, self.tip(3, 3), "transaction underpriced")
        dropped = self.admit(pool, self.tip(3, 6))
        self.assertEqual(
            dropped, (Dropped(transfer_hash(self.tip(1, 3)), "transaction underpriced: the pool is full"),)
        )
        self.assertEqual(len(pool), 3)
        self.assertEqual([item.hash for item in self.admit(pool, self.tip(4, 7))], [transfer_hash(self.tip(2, 4))])

    def test_gapped_go_first(self) -> None:
        pool = self.full(5, 3)
        self.admit(pool, self.tip(2, 50, nonce=1))
        dropped = self.admit(pool, self.tip(3, 1))
        self.assertEqual([item.hash for item in dropped], [transfer_hash(self.tip(2, 50, nonce=1))])
        self.refuse(pool, self.tip(4, 60, nonce=1), "future transaction tries to replace pending")

    def test_followers_of_the_dropped_lose_worth(self) -> None:
        pool = self.full(5)
        self.admit(pool, self.tip(1, 2))
        self.admit(pool, self.tip(1, 40, nonce=1))
        self.admit(pool, self.tip(2, 3))  # drops sender 1's first
        self.assertEqual(pool.stats().queued, 1)
        dropped = self.admit(pool, self.tip(3, 1))  # now its second is worth least
        self.assertEqual([item.hash for item in dropped], [transfer_hash(self.tip(1, 40, nonce=1))])

    def test_filling_a_gap_raises_worth(self) -> None:
        pool = self.full(5)
        self.admit(pool, self.tip(1, 40, nonce=1))
        self.admit(pool, self.tip(2, 3))
        self.refuse(pool, self.tip(3, 1, nonce=1), "transaction underpriced")  # builds the heap
        dropped = self.admit(pool, self.tip(1, 4))
        self.assertEqual([item.hash for item in dropped], [transfer_hash(self.tip(1, 40, nonce=1))])

    def test_not_at_its_own_cost(self) -> None:
        pool = pool_of(limits=self.LIMITS)
        for nonce in range(3):
            self.admit(pool, self.tip(0, 1, nonce))
        self.refuse(pool, self.tip(0, 50, nonce=3), "transaction underpriced")

    def test_bytes(self) -> None:
        size = len(self.tip(0, 1))
        pool = pool_of(limits=PoolLimits(bytes=3 * size))
        for sender in range(3):
            self.admit(pool, self.tip(sender, sender + 1))
        large = raw_transfer(3, max_fee=100 * GWEI, max_priority_fee=50 * GWEI, data=b"\1" * (size - 20), gas=60_000)
        self.assertEqual(len(self.admit(pool, large)), 2)
        self.assertLessEqual(pool.size, 3 * size)
        bumped = raw_transfer(
            3, max_fee=200 * GWEI, max_priority_fee=90 * GWEI, data=b"\1" * (2 * size - 20), gas=60_000
        )
        self.assertEqual(len(self.admit(pool, bumped)), 2)  # the one replaced, and another for its bytes
        self.assertEqual(len(pool), 1)
        huge = raw_transfer(4, max_fee=200 * GWEI, max_priority_fee=99 * GWEI, data=b"\1" * 4 * size, gas=90_000)
        self.refuse(pool, huge, "transaction underpriced")

    def test_no_room_at_all(self) -> None:
        pool = pool_of(limits=PoolLimits(transactions=0))
        self.refuse(pool, self.tip(0, 1), "transaction underpriced")


# -- a naive model ---------------------------------------------------------------------------------------------------


@frozen
class Step:
    kind: str
    sender: int = 0
    nonce: int = 0
    tip: int = 1
    data: int = 0


STEPS = st.lists(
    st.one_of(
        st.builds(
            Step, st.just("offer"), st.integers(0, 3), st.integers(0, 5), st.integers(1, 4), st.sampled_from([0, 0, 90])
        ),
        st.builds(Step, st.just("block"), tip=st.integers(1, 6)),
        st.builds(Step, st.just("undo")),
        st.builds(Step, st.just("expire")),
    ),
    max_size=30,
)


class Model:
    """Says only what must hold of a pool, the slow way."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self.case = case
        self.limits = PoolLimits(transactions=8, bytes=1_200, pending_per_sender=2, queued_per_sender=2, lifetime=20.0)
        self.nonces = [0] * 4
        self.pool = pool_of(limits=self.limits)
        self.known: dict[bytes, Transaction] = {}
        self.blocks: list[list[tuple[Transaction, bytes]]] = []
        self.now = 1.0

    def state(self) -> State:
        return State.of({DEV_ADDRESSES[sender]: Account(self.nonces[sender], RICH) for sender in range(4)})

    def apply(self, step: Step) -> None:
        self.now += 1
        getattr(self, step.kind)(step)
        self.check()

    def changed(self, change: PoolChange) -> None:
        for entry in change.added:
            self.known[entry.hash] = entry.transaction
        for item in change.dropped:
            self.known.pop(item.hash, None)

    def offer(self, step: Step) -> None:
        raw = raw_transfer(
            step.sender,
            step.nonce,
            max_fee=9 * GWEI,
            max_priority_fee=step.tip * GWEI,
            data=bytes(step.data),
            gas=30_000,
        )
        worst = self.by_worth()
        result, change = offer(self.pool, raw, self.now)
        evicted = [item.hash for item in change.dropped if item.reason.endswith("full")]
        # None that was kept is worth less than one that had to go (but what it replaced, and itself).
        gone = {item.hash for item in change.dropped}
        self.case.assertEqual(
            set(evicted), set([hash for hash in worst if hash not in gone - set(evicted)][: len(evicted)])
        )
        if step.nonce < self.nonces[step.sender]:
            self.case.assertEqual(result.outcome, Admission.IGNORED)
        self.changed(change)
        self.case.assertEqual(result.outcome is Admission.ADMITTED, bool(change.added))

    def by_worth(self) -> list[bytes]:
        executable = set()
        mine = {(tx.sender(), tx.nonce): tx for tx in self.known.values()}
        for sender in range(4):
            nonce = self.nonces[sender]
            while (DEV_ADDRESSES[sender], nonce) in mine:
                executable.add(mine[DEV_ADDRESSES[sender], nonce].hash)
                nonce += 1
        return sorted(self.known, key=lambda hash: (hash in executable, self.known[hash].max_priority_fee, hash))

    def block(self, step: Step) -> None:
        taken = [candidate for candidate, _ in zip(self.pool.best(), range(step.tip), strict=False)]
        for _, sender in taken:
            self.nonces[DEV_ADDRESSES.index(sender)] += 1
        self.blocks.append(taken)
        mined = [tx.hash for tx, _ in taken]
        change = self.pool.on_head(self.state(), GWEI, GAS_LIMIT, mined, [], self.now)
        self.case.assertEqual({item.hash for item in change.dropped}, set(mined))
        self.changed(change)

    def undo(self, step: Step) -> None:
        if self.blocks:
            left = self.blocks.pop()
            for _, sender in left:
                self.nonces[DEV_ADDRESSES.index(sender)] -= 1
            self.changed(self.pool.on_head(self.state(), GWEI, GAS_LIMIT, [], left, self.now))

    def expire(self, step: Step) -> None:
        self.changed(self.pool.expire(self.now))

    def check(self) -> None:
        pool, case = self.pool, self.case
        case.assertEqual(set(pool.hashes()), set(self.known))
        case.assertEqual(len(pool.hashes()), len(pool))
        case.assertEqual(pool.size, sum(len(tx.raw) for tx in self.known.values()))
        case.assertLessEqual(len(pool), self.limits.transactions)
        case.assertLessEqual(pool.size, self.limits.bytes)
        executable = []
        pending = 0
        for sender in range(4):
            mine = {tx.nonce: tx for tx in self.known.values() if tx.sender() == DEV_ADDRESSES[sender]}
            case.assertTrue(all(nonce >= self.nonces[sender] for nonce in mine))
            nonce = self.nonces[sender]
            while nonce in mine:
                executable.append(mine[nonce].hash)
                nonce += 1
            pending += min(nonce - self.nonces[sender], 2)
            case.assertEqual(pool.pending_nonce(DEV_ADDRESSES[sender]), nonce)
        case.assertEqual((pool.stats().pending, pool.stats().queued), (pending, len(pool) - pending))
        best = [tx for tx, _ in pool.best()]
        case.assertEqual(sorted(tx.hash for tx in best), sorted(executable))
        case.assertEqual(pool.has_executable(), bool(executable))
        case.assertEqual(set(pool.hashes()[: len(executable)]), set(executable))
        for earlier, later in zip(best, best[1:], strict=False):
            free = (
                later.sender() != earlier.sender() and later.nonce == self.nonces[DEV_ADDRESSES.index(later.sender())]
            )
            if free:  # it could have come first, so it pays no more
                case.assertGreaterEqual(earlier.max_priority_fee, later.max_priority_fee)


class AgainstTheModel(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=60)
    @given(STEPS)
    def test_any_history(self, steps: list[Step]) -> None:
        model = Model(self)
        for step in steps:
            model.apply(step)

    def test_a_long_history(self) -> None:
        random = Random(5)
        model = Model(self)
        for _ in range(400):
            kind = random.choice(["offer"] * 6 + ["block", "undo", "expire"])
            base = model.nonces[sender := random.randrange(4)]
            nonce, tip = base + random.randrange(4), random.randint(1, 6)
            model.apply(Step(kind, sender, nonce, tip, random.choice([0, 90])))
