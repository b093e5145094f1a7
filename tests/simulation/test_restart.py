"""Nodes that are killed at any moment come back to the head of the others."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.testing import Simulation, Weather, ledger_chain, ledger_genesis


class KillTests(SynchronousTestCase):
    def test_kill_at_random_times(self) -> None:
        for seed in range(6):
            with self.subTest(seed=seed):
                self.kill_and_restart(seed)

    def kill_and_restart(self, seed: int) -> None:
        chance = Random(seed)
        simulation = Simulation(
            seed, make_chain=ledger_chain(ledger_genesis(3, 0.5)), weather=Weather(low=0.005, high=0.1, loss=0.01)
        )
        self.addCleanup(simulation.close)
        nodes = simulation.add_nodes(4, signers=3)
        simulation.start()
        simulation.expect("height", lambda: simulation.height(3), 60)
        for _ in range(4):
            victim = chance.choice(nodes)
            simulation.transfer(victim, 7)
            simulation.run_for(chance.uniform(0, 1))
            before = victim.head
            victim.kill(silent=chance.random() < 0.5)
            simulation.run_for(chance.uniform(0, 20))
            simulation.start(victim)
            # what was committed is there: a head at most a moment older, never a repair from nothing
            self.assertGreaterEqual(victim.head.height, before.height - 1)
            simulation.expect("one head", simulation.one_head, 10)
            simulation.expect("linked", lambda: simulation.linked(2), 60)
        simulation.expect("included", simulation.included, 60)
        self.assertTrue(simulation.finalized_agree())
        self.assertEqual(simulation.clock.failures, 0)

    def test_a_clean_stop_and_a_start(self) -> None:
        simulation = Simulation(3, weather=Weather(low=0.01, high=0.05))
        self.addCleanup(simulation.close)
        first, *others = simulation.add_nodes(3)
        simulation.start()
        simulation.expect("height", lambda: simulation.height(3), 60)
        simulation.stop(first)
        self.assertEqual([machine.name for machine in simulation.running], ["node2", "node3"])
        self.assertIn("node1: does not run", simulation.describe())
        simulation.run_for(5)
        height = others[0].head.height
        self.assertTrue(all(machine.peers == 1 for machine in others), "they keep their network without the first")
        simulation.start(first)
        simulation.expect("it seals again", lambda: simulation.height(height + 3), 60)
        simulation.stop()
        self.assertEqual(simulation.running, [])
