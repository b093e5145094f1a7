"""Honest nodes at full speed, in time that costs nothing: none of them ever meets a quota."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.testing import Simulation, Weather, ledger_chain, ledger_genesis


class FullSpeedTests(SynchronousTestCase):
    def test_download_gossip_and_a_heal(self) -> None:
        simulation = Simulation(
            21, make_chain=ledger_chain(ledger_genesis(4, 0.25)), weather=Weather(low=0.0, high=0.001)
        )
        self.addCleanup(simulation.close)
        nodes = simulation.add_nodes(4, signers=4)
        late = simulation.add_node(bootstrap=nodes[:1])
        simulation.start(*nodes)
        simulation.expect("linked", lambda: simulation.linked(3), 30)
        for sender in range(5):
            simulation.transfer(nodes[sender % 4], sender)
        simulation.expect("height", lambda: simulation.height(300), 200)
        simulation.partition(nodes[:2], nodes[2:])
        simulation.run_for(30)
        simulation.heal()
        simulation.expect("one head", simulation.one_head, 60)
        simulation.start(late)
        simulation.expect("one head", simulation.one_head, 60)
        for machine in simulation.running:
            assert machine.node is not None
            network = machine.node.network
            over = [value for name, _, value in network.metrics() if name == "chainp2p_over_quota_total"]
            self.assertEqual((machine.name, over), (machine.name, [0]))
            self.assertNotIn("message_quota", [end.rule for end in network.ends()])
