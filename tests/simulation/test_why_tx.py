"""``why tx`` in a network of ledgers: from handing in to the block, and what keeps others out."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.gossip.transactions.why import TransactionAnswer
from chainp2p.ledger.formats.devkeys import DEV_KEYS
from chainp2p.ledger.formats.transaction import transaction_hash
from chainp2p.testing.machines import Machine
from chainp2p.testing.simulator import Simulation, ledger_chain, ledger_genesis
from tests.ledger.common import GWEI, raw_transfer


class WhyTransactionTests(SynchronousTestCase):
    def ask(self, machine: Machine, raw: bytes) -> TransactionAnswer:
        assert machine.node is not None
        found = self.simulation.wait(Deferred.fromCoroutine(machine.node.gossip.why_transaction(transaction_hash(raw))))
        assert isinstance(found, TransactionAnswer)
        return found

    def hand_in(self, machine: Machine, raw: bytes) -> str:
        reason: str = self.simulation.wait(machine.chain.admit(raw, True)).reason
        return reason

    def test_each_cause_is_named(self) -> None:
        self.simulation = simulation = Simulation(5, make_chain=ledger_chain(ledger_genesis(1, 2.0)))
        self.addCleanup(simulation._end)
        signer = simulation.add_node(signer=DEV_KEYS[0])
        other = simulation.add_node(bootstrap=[signer])
        simulation.start()
        simulation.run_for(10.0)
        good, gapped = raw_transfer(1, max_fee=90 * GWEI), raw_transfer(1, nonce=4, max_fee=90 * GWEI)
        low, poor = raw_transfer(2, max_fee=9, max_priority_fee=0), raw_transfer(3, value=10**30)
        self.assertEqual([self.hand_in(other, raw) for raw in (good, gapped)], ["", ""])
        self.hand_in(other, low)
        self.assertIn("insufficient funds", self.hand_in(other, poor))
        codes = [self.ask(other, raw).code for raw in (good, gapped, low, poor)]
        self.assertEqual(codes[:2], ["waiting", "gapped_nonce"])
        self.assertIn(codes[2], ("fee_below_base", "fee_too_low"))
        self.assertEqual(codes[3], "insufficient_funds")
        simulation.run_for(6.0)
        here, there = self.ask(other, good), self.ask(signer, good)
        self.assertEqual((here.code, there.code), ("included", "included"))
        self.assertEqual(here.evidence["height"], there.evidence["height"])
        self.assertEqual(
            (here.evidence["source"], there.evidence["source_peer"]), ("submitted", other.key.peer_id.hex())
        )
        self.assertEqual(self.ask(signer, gapped).code, "gapped_nonce")
        self.assertEqual(self.ask(signer, gapped).evidence["missing_nonce"], 1)
        again = raw_transfer(1, value=2, max_fee=90 * GWEI)
        self.assertIn("nonce too low", self.hand_in(other, again))
        self.assertEqual(self.ask(other, again).code, "nonce_too_low")
        self.assertEqual(self.ask(signer, again).code, "unknown")
