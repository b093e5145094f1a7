"""A node looks for peers by datagram alone, in a network that is larger than its tables and most of which is full."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery import discv5, table
from chainp2p.settings import PUBLIC
from chainp2p.testing.discovery import DiscoveryNetwork
from tests.net.test_network import GENESIS, World

#: Nodes that answer datagrams and take no connection, and nodes that have room.
FULL, ROOM = 40, 8
#: Entries of a bucket: with so few, tables of this network know as little of it as real ones do of thousands of nodes.
BUCKET = 3


class SeekingTest(SynchronousTestCase):
    def setUp(self):
        self.patch(table, "BUCKET_SIZE", BUCKET)
        self.patch(discv5, "BUCKET_SIZE", BUCKET)
        # the table itself looks around every five minutes only
        self.patch(discv5, "SMALL", BUCKET)
        self.nodes = DiscoveryNetwork(5, genesis=GENESIS)
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

    def seconds_until(self, node, peers, limit=240):
        """How long it takes until *node* is linked with all these."""
        begun = self.nodes.clock.seconds()
        wanted = {one.key.peer_id for one in peers}
        linked = self.nodes.clock.run_while(lambda: not wanted <= set(node.peers), limit)
        self.assertTrue(linked, f"{len(wanted & set(node.peers))} of {len(wanted)} in {limit} s")
        return self.nodes.clock.seconds() - begun

    def test_it_finds_those_that_have_room_and_others_when_these_leave(self):
        roomy = [self.node() for _ in range(ROOM)]
        self.nodes.run_for(5)
        one = self.node()
        self.assertLess(self.seconds_until(one, roomy), 120)
        # one every ten seconds at most
        self.assertLess(one.network.discovery._seeker.lookups, 13)
        for other in roomy[:5]:
            other.host.kill(silent=True)
        others = [self.node() for _ in range(5)]
        self.assertLess(self.seconds_until(one, [*others, *roomy[5:]]), 240)
