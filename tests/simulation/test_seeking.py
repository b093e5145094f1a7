"""A node looks for peers by datagram alone, in a network that is larger than its tables and most of which is full."""

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery import discv5, refresh, table
from chainp2p.settings import PUBLIC
from chainp2p.testing.discovery import DiscoveryNetwork
from chainp2p.testing.simulator import Simulation, ledger_chain, ledger_genesis
from tests.net.test_network import GENESIS, World

#: Nodes that answer datagrams and take no connection, and nodes that have room.
FULL, ROOM = 40, 8
#: Entries of a bucket: with so few, tables of this network know as little of it as real ones do of thousands of nodes.
BUCKET = 3
#: All but so many of those with room are found within LIMIT seconds, with each seed from 1 to 6: some are in no table
#: that is reached. With seed 6 all are after 87. Nobody looking, 1 to 7 of 8 are found in 300.
SEED, HIDDEN, LIMIT = 6, 2, 400


class WholeNodesTest(SynchronousTestCase):
    def test_nodes_that_find_each_other_by_datagram_come_and_go(self):
        def by_datagram(given):
            return evolve(given, network=evolve(given.network, enable_discovery=True, enable_pex=False))

        simulation = Simulation(7, make_chain=ledger_chain(ledger_genesis(1, 5.0)))
        # which sees that nothing is left of those that went
        self.addCleanup(simulation.close)
        _, _, killed, stopped, _ = simulation.add_nodes(5, settings=by_datagram)
        simulation.start()
        simulation.expect("linked", lambda: simulation.linked(4), within=40)
        killed.kill(silent=True)
        simulation.stop(stopped)
        left = lambda: {(one.node.network.discovered, one.peers) for one in simulation.running}  # noqa: E731
        simulation.expect("they are missed", lambda: left() == {(2, 2)}, within=200)
        simulation.start(killed)
        simulation.expect("back", lambda: left() == {(3, 3)}, within=30)
        self.assertEqual(simulation.errors, [])


class SeekingTest(SynchronousTestCase):
    def setUp(self):
        self.patch(table, "BUCKET_SIZE", BUCKET)
        self.patch(discv5, "BUCKET_SIZE", BUCKET)
        # the table itself looks around every five minutes only
        self.patch(refresh, "SMALL", BUCKET)
        self.nodes = DiscoveryNetwork(SEED, genesis=GENESIS)
        self.nodes.join(FULL, 30)
        self.nodes.run_for(40)
        self.world = World()
        self.world.clock, self.world.net = self.nodes.clock, self.nodes.net
        self.count = 0

    def node(self):
        self.count += 1
        settings = {"enable_discovery": True, "enable_pex": False, "profile": PUBLIC}
        node = self.world.node(f"whole{self.count}", f"{101 + self.count}.1.2.3", **settings)
        return node.start(bootstrap_nodes=(self.nodes.nodes[0].enr.text,))

    def until_linked(self, node, peers):
        """Run until *node* is linked with all these but HIDDEN, by one lookup in ten seconds at most."""
        clock, seeker = self.nodes.clock, node.network.discovery._seeker
        begun, before = clock.seconds(), seeker.lookups
        wanted = {one.key.peer_id for one in peers}
        while len(wanted - set(node.peers)) > HIDDEN:
            self.assertLess(clock.seconds() - begun, LIMIT, f"seed {SEED}: {len(wanted & set(node.peers))} linked")
            clock.run_for(1)
        self.assertLessEqual(seeker.lookups - before, (clock.seconds() - begun) / 10 + 1)

    def test_it_finds_those_that_have_room_and_others_when_these_leave(self):
        roomy = [self.node() for _ in range(ROOM)]
        self.nodes.run_for(5)
        one = self.node()
        self.until_linked(one, roomy)
        for other in roomy[:5]:
            other.host.kill(silent=True)
        others = [self.node() for _ in range(5)]
        self.until_linked(one, [*others, *roomy[5:]])
