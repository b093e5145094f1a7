"""Splits: one head afterwards, no contradiction among finalized blocks, and nothing of the losing side is lost."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.interfaces import HeadChanged, TransactionAdded
from chainp2p.rpc.methods.reorgs import reorg_methods
from chainp2p.testing import Simulation, Weather, ledger_chain, ledger_genesis
from chainp2p.testing.machines import Machine
from chainp2p.testing.splits import split_and_accept, split_and_heal

#: Blocks a side for most seeds: a fifth of what ``make sweep`` does, for the time that tests may take.
BLOCKS = 60


class SweepTests(SynchronousTestCase):
    def check(self, seed: int, signers: int, blocks: int) -> None:
        outcome = split_and_heal(seed, signers, blocks)
        self.assertTrue(outcome.good, outcome)
        self.assertGreaterEqual(outcome.left, blocks // 2, "no side was left: nothing was tested")

    def test_two_signers(self) -> None:
        for seed in range(1, 21):
            self.check(seed, 2, BLOCKS)

    def test_four_signers(self) -> None:
        for seed in range(1, 21):
            self.check(seed, 4, BLOCKS)

    def test_three_hundred_blocks_a_side(self) -> None:
        for signers in (2, 4):
            self.check(1, signers, 300)


class LimitTests(SynchronousTestCase):
    """Five hundred blocks a side, where operators set that no more than fifty are undone."""

    def accept(self, simulation: Simulation, machine: Machine) -> None:
        methods = {method.name: method.handler for method in reorg_methods(machine.chain)}
        for refused in methods["reorgs"]():
            if refused["refused"]:
                hash = bytes.fromhex(refused["tip"]["hash"][2:])
                self.assertTrue(simulation.wait(Deferred.fromCoroutine(methods["acceptReorg"](hash))))

    def check(self, signers: int) -> None:
        outcome = split_and_accept(signers, signers, 500, 50, self.accept)
        self.assertGreaterEqual(min(outcome.apart), 500)
        self.assertEqual((len(outcome.named), outcome.held, outcome.conflicts), (signers // 2, True, 0), outcome)
        self.assertGreaterEqual(min(outcome.named), 500, outcome)
        self.assertGreaterEqual(max(outcome.left), 500, outcome)

    def test_two_and_two_signers(self) -> None:
        self.check(4)

    def test_one_and_one_signer(self) -> None:
        self.check(2)


class ReturnTests(SynchronousTestCase):
    def test_transactions_of_the_losing_side_come_back_to_the_pool_and_into_blocks(self) -> None:
        simulation = Simulation(
            11, make_chain=ledger_chain(ledger_genesis(4, 0.5)), weather=Weather(low=0.005, high=0.05)
        )
        self.addCleanup(simulation.close)
        nodes = simulation.add_nodes(4, signers=4)
        simulation.start()
        simulation.expect("linked", lambda: simulation.linked(3), 30)
        simulation.expect("height", lambda: simulation.height(5), 60)
        simulation.partition(nodes[:2], nodes[2:])
        simulation.run_for(5)
        left = simulation.transfer(nodes[0], 4)
        right = simulation.transfer(nodes[3], 5)
        simulation.run_for(5)
        for mine, other, hash in ((nodes[0], nodes[2], left), (nodes[3], nodes[1], right)):
            self.assertIsNotNone(self.found(simulation, mine, hash))
            self.assertIsNone(self.found(simulation, other, hash))
        returned: set[tuple[str, bytes]] = set()
        reorgs: list[int] = []
        for node in nodes:
            assert node.node is not None
            node.node.events.subscribe(TransactionAdded, lambda event, name=node.name: returned.add((name, event.hash)))
            node.node.events.subscribe(HeadChanged, lambda event: reorgs.append(len(event.left)))
        simulation.heal()
        simulation.expect("one head", simulation.one_head, 30)
        self.assertGreater(max(reorgs), 5)
        simulation.expect("both included", lambda: simulation.included([left, right]), 20)
        # exactly one side lost: there its transaction was in the pools again before it was included again
        lost = {(node.name, left if node in nodes[:2] else right) for node in nodes} & returned
        self.assertIn(lost, [{("node1", left), ("node2", left)}, {("node3", right), ("node4", right)}])
        self.assertTrue(simulation.finalized_agree())

    def found(self, simulation: Simulation, machine: object, hash: bytes) -> object:
        return simulation.wait(machine.chain.reader.transaction(hash))  # type: ignore[attr-defined]
