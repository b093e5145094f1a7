"""Running and filling blocks: every wei is accounted for, and a refused transaction leaves nothing behind."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.execution import (
    BlockContext,
    CallError,
    Message,
    ValueTransfers,
    fill_block,
    mismatch,
    run_block,
)
from chainp2p.ledger.formats.genesis import DEV_ADDRESSES
from chainp2p.ledger.formats.header import make_header
from chainp2p.ledger.formats.receipt import receipts_root
from chainp2p.ledger.formats.transaction import Transaction, TransactionError
from chainp2p.ledger.state.accounts import EMPTY_ACCOUNT, Account, State
from chainp2p.ledger.state.overlay import Overlay
from tests.ledger.common import CHAIN_ID, GWEI, transfer

A, B, C, MINER = DEV_ADDRESSES[0], DEV_ADDRESSES[1], DEV_ADDRESSES[2], bytes(19) + b"\x99"
RICH = 10**20
EXECUTION = ValueTransfers()


def context(**fields: object) -> BlockContext:
    plain = {"number": 1, "timestamp": 9, "miner": MINER, "base_fee": GWEI, "gas_limit": 30_000_000}
    return BlockContext(chain_id=CHAIN_ID, **{**plain, **fields})


def rich(*addresses: bytes) -> State:
    return State.of({address: Account(0, RICH) for address in addresses})


class Apply(SynchronousTestCase):
    def test_transfer(self) -> None:
        overlay = Overlay(rich(A))
        tx = transfer(value=500, max_fee=3 * GWEI, max_priority_fee=GWEI // 2, gas=50_000)
        receipt = EXECUTION.apply(tx, A, overlay, context(), 1_000)
        price = GWEI + GWEI // 2
        self.assertEqual(overlay.account(A), Account(1, RICH - 500 - 21_000 * price))
        self.assertEqual(overlay.account(B), Account(0, 500))
        self.assertEqual(overlay.account(MINER), Account(0, 21_000 * (GWEI // 2)))
        self.assertEqual((receipt.status, receipt.gas_used, receipt.cumulative_gas), (1, 21_000, 22_000))
        self.assertEqual((receipt.effective_gas_price, receipt.sender, receipt.type), (price, A, 2))
        self.assertEqual(receipt.transaction_hash, tx.hash)

    def test_to_oneself_and_to_the_miner(self) -> None:
        overlay = Overlay(rich(A))
        EXECUTION.apply(transfer(to=A, value=500), A, overlay, context(miner=A), 0)
        self.assertEqual(overlay.account(A), Account(1, RICH - 21_000 * GWEI))

    def test_nothing_moves(self) -> None:
        overlay = Overlay(rich(A))
        EXECUTION.apply(transfer(value=0, max_fee=GWEI), A, overlay, context(), 0)
        self.assertEqual(len(overlay.changes()), 1)  # neither recipient nor miner came to be

    def assert_refused(self, text: str, tx: Transaction, gas_before: int = 0, **fields: object) -> None:
        overlay = Overlay(State.of({A: Account(5, RICH)}))
        with self.assertRaises(TransactionError) as caught:
            EXECUTION.apply(tx, A, overlay, context(**fields), gas_before)
        self.assertEqual(str(caught.exception), text)
        self.assertEqual(overlay.changes(), ())

    def test_refusals(self) -> None:
        who = "0x" + A.hex()
        self.assert_refused(f"nonce too low: address {who}, tx: 4 state: 5", transfer(nonce=4))
        self.assert_refused(f"nonce too high: address {who}, tx: 6 state: 5", transfer(nonce=6))
        self.assert_refused(
            f"max fee per gas less than block base fee: address {who}, maxFeePerGas: {GWEI}, baseFee: {GWEI + 1}",
            transfer(nonce=5, max_fee=GWEI),
            base_fee=GWEI + 1,
        )
        cost = RICH + 21_000 * 3 * GWEI
        self.assert_refused(
            f"insufficient funds for gas * price + value: address {who} have {RICH} want {cost}",
            transfer(nonce=5, value=RICH),
        )
        self.assert_refused("gas limit reached", transfer(nonce=5), gas_before=29_979_001)
        self.assert_refused(
            "contract creation is not supported: this chain transfers value only", transfer(nonce=5, to=None)
        )


class Blocks(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=25)
    @given(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 10**19), st.integers(0, 3)), max_size=8)
    )
    def test_every_wei(self, moves: list[tuple[int, int, int, int]]) -> None:
        """Filled and run alike; what is gone is the base fee burned; refused ones are left out."""
        nonces = [0, 0, 0]
        candidates = []
        for sender, recipient, value, tip in moves:
            tx = transfer(sender, nonces[sender], to=DEV_ADDRESSES[recipient], value=value, max_priority_fee=tip)
            nonces[sender] += 1
            candidates.append((tx, DEV_ADDRESSES[sender]))
        state = State.of({A: Account(0, RICH), B: Account(0, 10**19)})  # C has nothing
        chosen, result = fill_block(EXECUTION, candidates, state, context(), 10**6)
        senders = [receipt.sender for receipt in result.receipts]
        self.assertEqual(run_block(EXECUTION, chosen, senders, state, context()), result)
        after = state.updated(result.changes)
        before, total = (sum(Account.decode(raw).balance for _, raw in one.rows()) for one in (state, after))
        self.assertEqual(before - total, result.gas_used * GWEI)
        self.assertEqual(result.gas_used, 21_000 * len(chosen))
        self.assertEqual(result.receipts_root, receipts_root(result.receipts))
        for index, address in enumerate((A, B, C)):
            done = sum(1 for sender in senders if sender == address)
            self.assertEqual(after.account(address).nonce, done)
            self.assertLessEqual(done, nonces[index])

    def test_empty(self) -> None:
        state = rich(A)
        result = run_block(EXECUTION, [], [], state, context())
        self.assertEqual((result.receipts, result.changes, result.gas_used), ((), (), 0))
        self.assertIs(state.updated(result.changes), state)

    def test_run_names_the_bad_one(self) -> None:
        bad = transfer(nonce=3)
        with self.assertRaises(TransactionError) as caught:
            run_block(EXECUTION, [transfer(), bad], [A, A], rich(A), context())
        self.assertIn(f"transaction 1 (0x{bad.hash.hex()}): nonce too high", str(caught.exception))

    def test_fill_respects_limits(self) -> None:
        state = rich(A, B)
        run = [(transfer(0, nonce), A) for nonce in range(5)]
        chosen, result = fill_block(EXECUTION, run, state, context(gas_limit=21_000 * 3 + 20_999), 10**6)
        self.assertEqual((len(chosen), result.gas_used), (3, 63_000))
        size = len(run[0][0].raw) + 4
        chosen, _ = fill_block(EXECUTION, run, state, context(), size * 2 + 3)
        self.assertEqual([tx.nonce for tx in chosen], [0, 1])

    def test_fill_leaves_out_the_rest_of_a_sender(self) -> None:
        state = rich(A, B)
        thirsty = transfer(0, 1, gas=29_999_999)
        candidates = [(transfer(0, 0), A), (thirsty, A), (transfer(0, 2), A), (transfer(1, 0), B)]
        chosen, _ = fill_block(EXECUTION, candidates, state, context(), 10**6)
        self.assertEqual(chosen, (candidates[0][0], candidates[3][0]))

    def test_mismatch(self) -> None:
        state = rich(A)
        result = run_block(EXECUTION, [transfer()], [A], state, context())
        root = state.updated(result.changes).root
        claims = {"gas_used": 21_000, "receipts_root": result.receipts_root, "state_root": root}
        plain = {"number": 1, "gas_limit": 30_000_000, "timestamp": 9, "base_fee": GWEI, "miner": MINER}
        good = make_header(**plain, **claims)
        self.assertEqual(BlockContext.of(good, CHAIN_ID), context())
        self.assertIsNone(mismatch(good, result, root))
        for claim, value, text in (
            ("gas_used", 5, "gas used is 21000, the header says 5"),
            ("receipts_root", bytes(32), "receipts root is 0x"),
            ("state_root", bytes(32), "state root is 0x"),
        ):
            header = make_header(**plain, **{**claims, claim: value})
            self.assertIn(text, mismatch(header, result, root))
            if claim == "state_root":
                self.assertIsNone(mismatch(header, result, None))


class Calls(SynchronousTestCase):
    def test_estimate(self) -> None:
        state = rich(A)
        estimate = EXECUTION.estimate
        self.assertEqual(estimate(Message(A, B, 5), state, context()), 21_000)
        self.assertEqual(estimate(Message(A, B, 5, b"\0\1"), state, context()), 21_020)
        self.assertEqual(estimate(Message(A, B, access_list=((B, (bytes(32),)),)), state, context()), 25_300)
        self.assertEqual(EXECUTION.call(Message(A, B, 5), state, context()), b"")
        for message, text in (
            (Message(A), "contract creation is not supported: this chain transfers value only"),
            (Message(A, B, chain_id=8), "chainId does not match node's (have=8, want=31337)"),
            (Message(B, A, 1), "insufficient funds for transfer"),
            (Message(A, B, RICH - 5 * GWEI, gas_price=GWEI), "gas required exceeds allowance (5)"),
            (
                Message(A, B, gas_price=GWEI - 1),
                f"max fee per gas less than block base fee: address 0x{A.hex()}, "
                f"maxFeePerGas: {GWEI - 1}, baseFee: {GWEI}",
            ),
        ):
            with self.assertRaises(CallError) as caught:
                estimate(message, state, context())
            self.assertEqual(str(caught.exception), text)
            self.assertRaises(CallError, EXECUTION.call, message, state, context())
        for gas, text in (
            (20_999, "err: intrinsic gas too low: have 20999, want 21000 (supplied gas 20999)"),
            (0, "err: intrinsic gas too low: have 0, want 21000 (supplied gas 0)"),
        ):
            with self.assertRaises(CallError) as caught:
                EXECUTION.call(Message(A, B, gas=gas), state, context())
            self.assertEqual(str(caught.exception), text)
        with self.assertRaisesRegex(CallError, r"gas required exceeds allowance \(21000\)"):
            estimate(Message(A, B, data=b"x", gas=21_000), state, context())
        # what no transaction could do with is no limit
        for gas in (0, 20_999):
            self.assertEqual(estimate(Message(A, B, gas=gas), state, context()), 21_000)
        # who sends all has nothing left for the gas
        for sender, value in ((A, RICH), (B, 0)):
            with self.assertRaisesRegex(CallError, "insufficient funds for transfer"):
                estimate(Message(sender, C, value, gas_price=GWEI), state, context())
            self.assertEqual(estimate(Message(sender, C, value), state, context()), 21_000)
        with self.assertRaisesRegex(CallError, r"gas required exceeds allowance \(5000\)"):
            estimate(Message(A, B), state, context(gas_limit=5_000))

    def test_no_code(self) -> None:
        state = rich(A)
        self.assertEqual(EXECUTION.code(A, state), b"")
        self.assertEqual(EXECUTION.storage(A, 5, state), bytes(32))
        self.assertEqual(state.account(MINER), EMPTY_ACCOUNT)
