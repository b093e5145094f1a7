"""The ledger's own tables: what is written comes back."""

import sqlite3

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.formats.receipt import Receipt
from chainp2p.ledger.rows import TABLES, LedgerRows
from chainp2p.ledger.state.accounts import Account, Change
from chainp2p.primitives.keccak import keccak256

KEYS = [keccak256(b"%d" % number) for number in range(12)]
ENCODED = st.builds(
    lambda *fields: Account(*fields).encode(),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**256 - 1),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
)
VALUES = st.none() | ENCODED


def rows() -> tuple[sqlite3.Connection, LedgerRows]:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE best(height INTEGER PRIMARY KEY, hash BLOB NOT NULL)")
    connection.executescript(TABLES)
    return connection, LedgerRows(connection)


class Rows(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=60)
    @given(st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES), max_size=5))
    def test_accounts_as_a_dictionary(self, steps: list[dict[bytes, bytes | None]]) -> None:
        connection, own = rows()
        model: dict[bytes, bytes] = {}
        for step in steps:
            own.write_accounts(step.items())
            model |= {key: value for key, value in step.items() if value is not None}
            model = {key: value for key, value in model.items() if step.get(key, b"") is not None}
            self.assertEqual(dict(own.accounts()), model)
        connection.close()

    def test_the_largest_and_the_smallest_account(self) -> None:
        connection, own = rows()
        values = {
            KEYS[0]: Account(2**64 - 1, 2**256 - 1).encode(),
            KEYS[1]: Account().encode(),
            KEYS[2]: Account(1).encode(),
        }
        own.write_accounts(values.items())
        self.assertEqual(dict(own.accounts()), values)
        self.assertEqual([len(values[key]) for key in KEYS[:2]], [110, 70])
        connection.close()

    @settings(deadline=None, derandomize=True, max_examples=40)
    @given(st.dictionaries(st.sampled_from(KEYS), st.tuples(VALUES, VALUES), max_size=8))
    def test_undo(self, changes: dict[bytes, tuple[bytes | None, bytes | None]]) -> None:
        connection, own = rows()
        own.add_undo([(7, KEYS[0], [Change(key, *pair) for key, pair in changes.items()])])
        self.assertEqual(own.undo(7), (KEYS[0], tuple(Change(key, old, None) for key, (old, _) in changes.items())))
        own.cut_undo(6)
        self.assertIsNone(own.undo(7))
        connection.close()

    def test_receipts_and_places(self) -> None:
        connection, own = rows()
        receipts = [
            Receipt(1, 21_000 * (at + 1), 21_000, 10**9 * at, bytes((at,)) * 20, KEYS[at], at % 3) for at in range(12)
        ]
        connection.execute("INSERT INTO best VALUES(5, ?)", (b"block",))
        own.add_receipts(5, b"block", receipts)
        self.assertEqual(own.receipts(b"block"), tuple(receipts))
        self.assertEqual([own.position(key) for key in KEYS], [(b"block", at) for at in range(12)])
        own.drop_receipts(b"block")
        self.assertEqual((own.receipts(b"block"), own.position(KEYS[0])), ((), None))
        connection.close()
