"""Intrinsic gas, and what no state can change about a transaction."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.formats.transaction import TransactionError
from chainp2p.ledger.formats.validation import check_transaction, intrinsic_gas
from tests.ledger.common import CHAIN_ID, transfer


class IntrinsicGas(SynchronousTestCase):
    def test_figures(self) -> None:
        self.assertEqual(intrinsic_gas(b""), 21_000)
        self.assertEqual(intrinsic_gas(b"\0\0\1"), 21_000 + 2 * 4 + 16)
        access = ((bytes(20), ()), (bytes(20), (bytes(32), bytes(32))))
        self.assertEqual(intrinsic_gas(b"", access), 21_000 + 2 * 2_400 + 2 * 1_900)

    @settings(deadline=None, derandomize=True)
    @given(st.binary(max_size=200))
    def test_naive(self, data: bytes) -> None:
        self.assertEqual(intrinsic_gas(data), 21_000 + sum(16 if byte else 4 for byte in data))


class Check(SynchronousTestCase):
    def assert_refused(self, text: str, **fields: object) -> None:
        with self.assertRaises(TransactionError) as caught:
            check_transaction(transfer(**fields), CHAIN_ID)
        self.assertEqual(str(caught.exception), text)
        self.assertFalse(caught.exception.malformed)

    def test_good(self) -> None:
        for kind in range(3):
            self.assertEqual(check_transaction(transfer(type=kind, data=b"\1", gas=21_016), CHAIN_ID), 21_016)

    def test_refusals(self) -> None:
        self.assert_refused("only replay-protected (EIP-155) transactions allowed over RPC", chain_id=None, type=0)
        self.assert_refused("invalid sender: invalid chain id for signer: have 1 want 31337", chain_id=1)
        self.assert_refused("contract creation is not supported: this chain transfers value only", to=None)
        self.assert_refused(
            "max priority fee per gas higher than max fee per gas: maxPriorityFeePerGas: 6, maxFeePerGas: 5",
            max_fee=5,
            max_priority_fee=6,
        )
        self.assert_refused("nonce has max value", nonce=2**64 - 1)
        self.assert_refused("intrinsic gas too low: gas 20999, minimum needed 21000", gas=20_999)
        self.assert_refused("intrinsic gas too low: gas 21000, minimum needed 21020", data=b"\0\1")
