"""A hundred nodes find each other by datagram, and get over it when many leave (a thousand:
``benchmarks/table_discovery.py``).
"""

from math import log2

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.discv5 import LOOKUPS_MAX
from chainp2p.testing.discovery import DiscoveryNetwork

NODES, LOOKUPS = 100, 30


class DiscoveryTest(SynchronousTestCase):
    def look(self, net):
        found = net.lookups(LOOKUPS)
        self.assertEqual(found.closest, LOOKUPS, found)
        self.assertLessEqual(found.rounds, log2(len(net.up)), found)
        self.assertLess(found.seconds, 20.0, found)

    def test_they_find_each_other_and_get_over_losses(self):
        net = DiscoveryNetwork(seed=3)
        net.join(NODES, within=20.0)
        net.run_for(75.0)
        self.assertGreaterEqual(net.live()[0], 16)
        self.assertEqual(net.dead(), (0, 0))
        self.look(net)
        net.leave(0.3)
        self.assertEqual(len(net.up), 70)
        told, kept = net.dead()
        self.assertGreater(told, NODES)
        self.assertGreaterEqual(kept, told)
        net.run_for(240.0)
        self.assertEqual(net.dead(), (0, 0))
        self.assertGreaterEqual(net.live()[0], 16)
        self.look(net)
        for node in net.up:
            self.assertLess(len(node.core.conversations), 3 * LOOKUPS_MAX + 16)
            self.assertLessEqual(len(node.core._lookups), LOOKUPS_MAX)
            self.assertLessEqual(len(node.core._checking), len(node.core.table))
        self.assertEqual(net.clock.failures, 0)

    def test_every_lookup_ends_when_nobody_answers(self):
        net = DiscoveryNetwork(seed=4)
        net.join(16, within=2.0)
        net.run_for(30.0)
        net.net.partition(*([node.host.name] for node in net.nodes))
        found = net.lookups(50)
        self.assertEqual((found.count, found.closest), (50, 0))
        self.assertLess(found.seconds, 60.0)
        net.run_for(300.0)
        for node in net.up:
            self.assertEqual(len(node.core.table), 0)
            self.assertEqual((node.core._lookups, node.core._checking, node.core._updating), ([], set(), set()))
            self.assertLessEqual(len(node.core.conversations), 1)

    def test_one_seed_one_course(self):
        def play(seed):
            net = DiscoveryNetwork(seed)
            net.join(12, within=1.0)
            net.run_for(20.0)
            return net.net.datagrams, net.net.datagram_bytes, net.live(), net.lookups(5)

        self.assertEqual(play(1), play(1))
        self.assertNotEqual(play(1), play(2))
