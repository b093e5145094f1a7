"""Accounts, states as values, and what an overlay says it changed."""

import rlp as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.state.accounts import EMPTY_ACCOUNT, EMPTY_CODE_HASH, Account, State
from chainp2p.ledger.state.overlay import Overlay, Recent
from chainp2p.ledger.state.trie import EMPTY_ROOT
from chainp2p.primitives import rlp
from chainp2p.primitives.keccak import keccak256

ADDRESSES = [bytes((number,)) * 20 for number in range(12)]
ACCOUNTS = st.builds(Account, st.integers(0, 3), st.integers(0, 3) | st.integers(0, 2**256 - 1))
WRITES = st.dictionaries(st.sampled_from(ADDRESSES), ACCOUNTS, max_size=6)


class Accounts(SynchronousTestCase):
    @settings(deadline=None, derandomize=True)
    @given(ACCOUNTS)
    def test_encoding(self, account: Account) -> None:
        raw = account.encode()
        self.assertEqual(raw, oracle.encode([account.nonce, account.balance, EMPTY_ROOT, EMPTY_CODE_HASH]))
        self.assertEqual(Account.decode(raw), account)
        self.assertGreaterEqual(len(raw), 68)

    def test_constants(self) -> None:
        self.assertEqual(EMPTY_CODE_HASH, keccak256(b""))

    def test_empty(self) -> None:
        self.assertTrue(EMPTY_ACCOUNT.empty)
        for account in (Account(nonce=1), Account(balance=1), Account(code_hash=bytes(32))):
            self.assertFalse(account.empty)

    def test_refusals(self) -> None:
        for items in ([b"", b"", [], bytes(32)], [b"", b"", bytes(32), []], [bytes(9), b"", b"", b""]):
            with self.assertRaises(rlp.RlpError):
                Account.decode(rlp.encode(items))
        raw = Account(1, 10**18).encode()
        for position in range(len(raw)):
            changed = raw[:position] + bytes((raw[position] ^ 0x81,)) + raw[position + 1 :]
            try:
                account = Account.decode(changed)
            except rlp.RlpError:
                continue
            self.assertEqual(account.encode(), changed)


class States(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=60)
    @given(st.lists(WRITES, max_size=5))
    def test_against_a_dict(self, blocks: list[dict[bytes, Account]]) -> None:
        state, model = State(), {}
        history = []
        for writes in blocks:
            overlay = Overlay(state)
            for address, account in writes.items():
                overlay.write(address, account)
                self.assertEqual(overlay.account(address), account)
            changes = overlay.changes()
            self.assertEqual([change.key for change in changes], sorted(change.key for change in changes))
            self.assertTrue(all(change.old != change.new for change in changes))
            history.append((state, changes))
            before, state = state, state.updated(changes)
            self.assertEqual(state is before, not changes)
            model.update(writes)
            for address in ADDRESSES:
                self.assertEqual(state.account(address), model.get(address, EMPTY_ACCOUNT))
            self.assertEqual(state.root, State.of(model).root)
            self.assertEqual(State.load(state.rows()).root, state.root)
        for before, changes in reversed(history):
            state = state.reverted(changes)
            self.assertEqual(state.root, before.root)

    @settings(deadline=None, derandomize=True, max_examples=60)
    @given(WRITES, st.lists(WRITES, max_size=5))
    def test_blocks_in_a_row_need_no_state_between_them(
        self, first: dict[bytes, Account], blocks: list[dict[bytes, Account]]
    ) -> None:
        base = state = State.of(first)
        recent: Recent = {}
        changed = {}
        for writes in blocks:
            apart, together = Overlay(state), Overlay(base, recent)
            for overlay in (apart, together):
                for address, account in writes.items():
                    overlay.write(address, account)
            for address in ADDRESSES:
                self.assertEqual(together.account(address), apart.account(address))
            changes = together.changes()
            self.assertEqual(changes, apart.changes())
            state = state.updated(changes)
            changed.update((change.key, change) for change in changes)
        self.assertEqual(base.updated(changed.values()).root, state.root)

    def test_nothing_changed(self) -> None:
        state = State.of({ADDRESSES[0]: Account(balance=5)})
        overlay = Overlay(state)
        overlay.live(ADDRESSES[0]).balance += 3
        overlay.live(ADDRESSES[0]).balance -= 3
        overlay.write(ADDRESSES[1], EMPTY_ACCOUNT)
        self.assertEqual(overlay.changes(), ())
        self.assertIs(state.updated(()), state)
        self.assertIs(state.reverted(()), state)

    def test_rows(self) -> None:
        account = Account(1, 2)
        state = State.of({ADDRESSES[0]: account, ADDRESSES[1]: EMPTY_ACCOUNT})
        key = keccak256(ADDRESSES[0])
        self.assertEqual(list(state.rows()), [(key, account.encode())])
        self.assertEqual(state.raw(key), account.encode())
        self.assertIsNone(state.raw(bytes(32)))
