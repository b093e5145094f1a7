"""Why a pooled transaction is in no block yet, and the pool's reasons in a word."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.interfaces import TransactionStanding
from chainp2p.ledger.pool.standing import reason_code, standing
from chainp2p.ledger.state.accounts import Account
from tests.ledger.common import GWEI, raw_transfer
from tests.ledger.pool.test_pool import RICH, offer, pool_of, state_of, transfer_hash


class Standing(SynchronousTestCase):
    def ask(self, pool, raw: bytes) -> TransactionStanding:
        found = standing(pool, transfer_hash(raw))
        assert found is not None
        self.assertFalse(found.included)
        return found

    def test_not_here(self) -> None:
        self.assertIsNone(standing(pool_of(), bytes(32)))

    def test_waiting_and_outbid(self) -> None:
        pool = pool_of(gas_limit=50_000)
        raws = [raw_transfer(n, max_priority_fee=(3 - n) * GWEI, max_fee=9 * GWEI) for n in range(3)]
        for raw in raws:
            offer(pool, raw)
        found = [self.ask(pool, raw) for raw in raws]
        self.assertEqual([one.code for one in found], ["waiting", "waiting", "outbid"])
        self.assertEqual([one.evidence["ahead"] for one in found], [0, 1, 2])
        self.assertEqual(found[2].evidence["gas_ahead"], 42_000)

    def test_a_gap(self) -> None:
        pool = pool_of()
        for nonce in (0, 3):
            offer(pool, raw_transfer(nonce=nonce))
        found = self.ask(pool, raw_transfer(nonce=3))
        self.assertEqual((found.code, found.evidence["missing_nonce"]), ("gapped_nonce", 1))
        self.assertIn("nothing with nonce 1 is here", found.text)

    def test_a_fee_below_the_base_fee(self) -> None:
        pool = pool_of()
        cheap, dear = raw_transfer(max_fee=2 * GWEI, max_priority_fee=1), raw_transfer(nonce=1, max_fee=9 * GWEI)
        for raw in (cheap, dear):
            offer(pool, raw)
        self.assertEqual([self.ask(pool, raw).code for raw in (cheap, dear)], ["waiting"] * 2)
        pool.on_head(pool.state, 3 * GWEI, pool.gas_limit, (), (), 1.0)
        found = [self.ask(pool, raw) for raw in (cheap, dear)]
        self.assertEqual([one.code for one in found], ["fee_below_base", "behind_earlier"])
        self.assertEqual((found[0].evidence["max_fee"], found[0].evidence["base_fee"]), (2 * GWEI, 3 * GWEI))
        self.assertEqual(found[1].evidence["earlier_nonce"], 0)


class Codes(SynchronousTestCase):
    def refused(self, pool, raw: bytes) -> str:
        return reason_code(offer(pool, raw)[0].reason)

    def test_of_what_the_pool_refuses(self) -> None:
        pool = pool_of(Account(5, RICH), Account(0, 1), Account(0, RICH))
        self.assertEqual(self.refused(pool, raw_transfer(nonce=4)), "nonce_too_low")
        self.assertEqual(self.refused(pool, raw_transfer(1)), "insufficient_funds")
        self.assertEqual(self.refused(pool, raw_transfer(2, gas=20_999)), "intrinsic_gas_too_low")
        self.assertEqual(self.refused(pool, raw_transfer(2, gas=10**9)), "exceeds_block_gas_limit")
        offer(pool, raw_transfer(2, max_fee=9 * GWEI))
        self.assertEqual(self.refused(pool, raw_transfer(2, max_fee=9 * GWEI, value=2)), "replacement_underpriced")
        self.assertEqual(self.refused(pool, b"\x02\xff"), "rlp")

    def test_of_what_leaves_it(self) -> None:
        pool = pool_of()
        first, second = raw_transfer(max_fee=9 * GWEI), raw_transfer(max_fee=90 * GWEI, max_priority_fee=5 * GWEI)
        offer(pool, first)
        _, change = offer(pool, second)
        self.assertEqual([reason_code(one.reason) for one in change.dropped], ["replaced"])
        self.assertEqual([reason_code(one.reason) for one in pool.expire(10**6).dropped], ["expired"])
        offer(pool, first)
        poor = state_of(*[Account(0, 1)] * 10)
        change = pool.on_head(poor, pool.base_fee, pool.gas_limit, (), (), 1.0)
        self.assertEqual([reason_code(one.reason) for one in change.dropped], ["insufficient_funds"])

    def test_of_words(self) -> None:
        for reason, code in (
            ("transaction underpriced: the pool is full", "evicted"),
            ("transaction underpriced: gas tip cap 0, minimum needed 1", "fee_too_low"),
            ("max fee per gas less than block base fee: maxFeePerGas: 9, the floor is 10", "fee_too_low"),
            ("transaction underpriced", "pool_full"),
            ("future transaction tries to replace pending", "pool_full"),
            ("account limit exceeded: pooled 80 txs", "account_limit"),
            ("too many with a gap before them came the same way", "too_many_gapped"),
            ("invalid sender: invalid transaction v, r, s values", "invalid_sender"),
            ("included", "included"),
        ):
            self.assertEqual(reason_code(reason), code)
