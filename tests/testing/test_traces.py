"""What is left of peers that are gone is found, wherever it hides."""

from collections import deque
from functools import partial

from twisted.internet.defer import Deferred
from twisted.protocols.policies import ProtocolWrapper
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.formats.devkeys import DEV_KEYS
from chainp2p.testing import Simulation, SimulationError


class TracesTest(SynchronousTestCase):
    def setUp(self):
        self.simulation = Simulation(3)
        self.addCleanup(self.simulation._end)
        first = self.simulation.add_node(signer=DEV_KEYS[0])
        self.node, self.other, self.stays = (self.simulation.add_node(bootstrap=[first]) for _ in range(3))
        self.simulation.start()
        self.simulation.run_for(5)
        self.link = next(link for link in self.links() if link.peer_id == self.other.key.peer_id)
        self.network = self.node.node.network

    def links(self):
        return self.node.node.network.links()

    def part(self):
        self.simulation.stop(self.other)
        self.simulation.run_for(1)

    def check(self, *words):
        error = self.assertRaises(SimulationError, self.simulation.check_empty)
        for word in words:
            self.assertIn(word, str(error))
        self.assertRaises(SimulationError, self.simulation.check_empty, self.other)
        self.assertRaises(SimulationError, self.simulation.check_empty, self.other.key.peer_id)
        self.simulation.check_empty(self.stays)

    def test_nothing_is_left(self):
        self.simulation.check_empty()
        self.part()
        self.simulation.check_empty()
        self.simulation.check_empty(self.other)
        self.assertGreater(len(self.network.ends()), 0)

    def test_a_link(self):
        self.network.forgotten = {"where": [(self.link,)]}
        self.simulation.check_empty()
        self.part()
        self.check("node2.network.forgotten['where'][][]: link with " + self.other.key.peer_id.hex()[:8])

    def test_an_id(self):
        self.node.node.gossip.forgotten = {self.other.key.peer_id: 1}
        self.part()
        self.check("gossip.forgotten.key: id ")

    def test_where_an_id_may_stay_a_link_may_not(self):
        self.network._book.forgotten = deque([self.link, self.link.peer_id])
        self.part()
        error = self.assertRaises(SimulationError, self.simulation.check_empty)
        self.assertEqual(str(error).count("_book.forgotten"), 1)

    def test_code_that_waits(self):
        link, done = self.link, Deferred()

        async def waits(of):
            await done
            return of

        hiding = (waits(link), Deferred().addCallback(partial(print, link)), partial(print, key=link), link.close)
        self.addCleanup(hiding[0].close)
        self.part()
        for hidden in hiding:
            self.network.forgotten = hidden
            self.check("network.forgotten")

    def test_a_connection(self):
        port = self.node.host.listening(Simulation.port)
        wrapper = ProtocolWrapper(port.factory, self.link)
        self.simulation.check_empty()
        port.factory.protocols[wrapper] = 1
        self.part()
        self.check("connections")

    def test_a_timer(self):
        self.node.host.callLater(100, print, self.link)
        self.part()
        self.check("timers")

    def test_the_end_of_a_simulation_tells(self):
        self.network.forgotten = self.link
        self.part()
        self.assertRaises(SimulationError, self.simulation.close)
        self.assertEqual(self.simulation.machines, [])
        self.simulation = Simulation(4)
        self.simulation._end()
