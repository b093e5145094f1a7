"""A network most of whose slots are taken still takes in who comes: all know one node, whose slots are few."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.settings import Settings
from chainp2p.testing.machines import MemoryDisk
from chainp2p.testing.planting import with_network
from chainp2p.testing.simulator import Simulation

NODES, PEERS = 20, 8
#: All links are held within so many seconds, and who comes later is in step within so many more: it may have to wait
#: for the end of the minute for which the slot of another that came from behind is held.
FILLED, TAKEN_IN = 60.0, 90.0


def _few(settings: Settings) -> Settings:
    return with_network(settings, max_peers=PEERS)


class FullNetworkTest(SynchronousTestCase):
    def test_nobody_is_left_outside(self) -> None:
        simulation = Simulation(1)
        self.addCleanup(simulation.close)
        nodes = simulation.add_nodes(NODES, settings=_few)
        simulation.start()
        simulation.run_for(FILLED)
        self.assertTrue(simulation.linked(1), simulation.describe())
        self.assertEqual(nodes[0].peers, PEERS)

        lost = nodes[NODES // 2]
        lost.kill()
        lost.disk = MemoryDisk()  # neither blocks nor addresses
        late = simulation.add_node("late", bootstrap=nodes[:1], settings=_few)
        simulation.run_for(10)
        simulation.start(lost, late)

        def in_step() -> bool:
            return all(machine.peers and machine.head.height >= nodes[0].head.height - 2 for machine in (lost, late))

        simulation.expect("both are taken in", in_step, within=TAKEN_IN)
        self.assertLessEqual(max(machine.peers for machine in nodes), PEERS)
