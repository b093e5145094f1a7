"""How a new own record gets around by datagram, and how a node is found again that has moved."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.discv5 import Discv5
from chainp2p.net.datagram import DiscoveryShell
from chainp2p.peer.enr import endpoint_pairs, make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from chainp2p.settings import PRIVATE
from chainp2p.testing.clock import HeapClock
from chainp2p.testing.network import MemoryNetwork, Weather
from tests.net.test_network import World

GENESIS = b"\x07" * 32


class Node:
    """A shell and its core on a host with the given addresses."""

    def __init__(self, net, number, *ips):
        self.host = net.host(f"n{number}", *(ips or (f"10.0.0.{number}",)))
        self.key = NodeKey(number.to_bytes(32, "big"))
        self.live, self.seen = set(), []
        self.write(1)
        core = Discv5(self.key, lambda: self.enr, Random(number), genesis=GENESIS, private=True)
        self.shell = DiscoveryShell(
            self.host,
            core,
            live=lambda enr: self.live.add(enr.peer_id),
            voted=lambda *vote: None,
            own_seen=self.seen.append,
        )

    def write(self, seq, port=30303):
        pairs = node_pairs(GENESIS, 1)
        for ip in self.host.ips:
            pairs |= endpoint_pairs(ip, port, 30303)
        self.enr = make_enr(self.key, seq, pairs)

    def start(self, *seeds):
        for ip in self.host.ips:
            self.shell.listen([("::" if ":" in ip else "", 30303)])
        self.shell.start([seed.enr for seed in seeds])
        return self

    def knows(self, other):
        entry = self.shell.core.table.get(other.key.peer_id)
        return entry.enr.seq if entry is not None and entry.live else None


class SpreadTest(SynchronousTestCase):
    def setUp(self):
        self.clock = HeapClock()
        self.net = MemoryNetwork(self.clock, Random(5), Weather(low=0.02, high=0.2, loss=0.05))

    def test_twenty_nodes_have_it_within_two_minutes(self):
        first = Node(self.net, 1).start()
        nodes = [first, *(Node(self.net, number).start(first) for number in range(2, 21))]
        self.clock.run_for(120)
        mover = nodes[7]
        others = [node for node in nodes if node is not mover]
        self.assertEqual({node.knows(mover) for node in others}, {1})
        mover.write(2, 40404)
        self.clock.run_for(20)
        early = sum(node.knows(mover) == 2 for node in others)
        self.assertGreater(early, 12)
        self.clock.run_for(100)
        self.assertEqual({node.knows(mover) for node in others}, {2})

    def test_a_newer_record_of_ours_is_noticed(self):
        first = Node(self.net, 1).start()
        nodes = [Node(self.net, number).start(first) for number in range(2, 6)]
        self.clock.run_for(60)
        nodes[0].write(9)
        self.clock.run_for(60)
        self.assertEqual({node.knows(nodes[0]) for node in nodes[1:]}, {9})
        nodes[0].write(3)  # an old copy of its database
        nodes[0].shell.core.lookup(nodes[0].key.peer_id, None, self.clock.seconds())
        self.clock.run_for(60)
        self.assertEqual(set(nodes[0].seen), {9})
        self.assertFalse(any(node.seen for node in (first, *nodes[1:])))


class FamiliesTest(SynchronousTestCase):
    def setUp(self):
        self.clock = HeapClock()
        self.net = MemoryNetwork(self.clock, Random(5), Weather(low=0.02, high=0.2))

    def test_each_knows_whom_it_can_send_to(self):
        both = [Node(self.net, n, f"10.0.0.{n}", f"2001:db8::{n}").start() for n in (1, 2)]
        both[1].shell.start([both[0].enr])
        four = [Node(self.net, n).start(both[0]) for n in (3, 4)]
        six = [Node(self.net, n, f"2001:db8::{n}").start(both[0]) for n in (5, 6)]
        self.clock.run_for(180)

        def ids(*nodes):
            return {node.key.peer_id for node in nodes}

        for group in (four, six):
            for node in group:
                self.assertEqual(node.live, ids(*both, *group) - ids(node))
                self.assertEqual(len(node.shell.core.table), 3)
        for node in both:
            self.assertEqual(node.live, ids(*both, *four, *six) - ids(node))
        self.assertEqual({node.shell.core.table.get(both[0].key.peer_id).ip for node in four}, {"10.0.0.1"})
        self.assertEqual({node.shell.core.table.get(both[0].key.peer_id).ip for node in six}, {"2001:db8::1"})

    def test_no_route_for_ipv4(self):
        one = Node(self.net, 1, "10.0.0.1", "2001:db8::1").start()
        two = Node(self.net, 2, "10.0.0.2", "2001:db8::2").start(one)
        self.clock.run_for(10)
        self.assertEqual(two.shell.core.table.get(one.key.peer_id).ip, "10.0.0.1")
        self.net.move("n2", "2001:db8::2")
        two.write(2)
        self.clock.run_for(120)
        entry = two.shell.core.table.get(one.key.peer_id)
        self.assertEqual((entry.ip, entry.live), ("2001:db8::1", True))
        self.assertEqual(one.shell.core.table.get(two.key.peer_id).ip, "2001:db8::2")


class MovingTest(SynchronousTestCase):
    """Whole networks: the record follows the address that peers see, and peers find the node there."""

    def test_a_node_that_gets_another_address_is_found_again(self):
        world = World()
        options = {"listen_addr": ("tcp:30303",), "enable_discovery": True, "enable_pex": False, "profile": PRIVATE}
        first = world.node(external="10.0.0.1", **options).start()
        nodes = [world.node(bootstrap_nodes=(first.address,), **options).start() for _ in range(7)]
        world.run(120)
        mover = nodes[3]
        others = [first, *(node for node in nodes if node is not mover)]
        self.assertEqual(mover.network.enr.udp_endpoint, ("10.0.0.5", 30303))
        seq = mover.network.enr.seq
        world.net.move(mover.host.name, "10.0.9.9")
        world.run(120)
        self.assertEqual(mover.network.enr.udp_endpoint, ("10.0.9.9", 30303))
        self.assertGreater(mover.network.enr.seq, seq)
        world.run(120)
        for node in others:
            entry = node.network.discovery.shell.core.table.get(mover.key.peer_id)
            self.assertEqual((entry.ip, entry.live), ("10.0.9.9", True))
            found = []
            node.network.discovery.lookup(mover.key.peer_id).addCallback(found.extend)
            world.run(10)
            self.assertEqual(found[0].ip, "10.0.9.9")
        self.assertEqual(len(mover.peers), 7)


class RouterTest(SynchronousTestCase):
    """A node behind a router that gives what it sends other ports."""

    def setUp(self):
        self.world = World()
        options = {"enable_discovery": True, "enable_pex": False, "profile": PRIVATE}
        first = self.world.node(external="10.0.0.1", **options).start()
        self.others = [first]
        for _ in range(4):
            self.others.append(self.world.node(bootstrap_nodes=(first.address,), **options).start())
        self.inside = self.world.node(bootstrap_nodes=(first.address,), **options)

    def start(self, port):
        """*port*: answers the port outside for what is sent to an address."""
        net, ip, outside = self.world.net, self.inside.ip, {}
        send = net.send_datagram

        def through(sender, source, target, data):
            if sender is self.inside.host:
                source = ip, port(target)
                outside[source] = 30303
            elif target in outside:
                target = ip, outside[target]
            elif target[0] == ip:
                return  # nothing is forwarded here
            send(sender, source, target, data)

        net.send_datagram = through
        self.inside.start(listen_addr=("tcp:30303",))
        self.world.run(180)
        return self.inside.network.enr

    def test_one_port_outside_goes_into_the_record(self):
        enr = self.start(lambda target: 6000)
        self.assertEqual((enr.udp_endpoint, enr.tcp), ((self.inside.ip, 6000), 30303))
        for node in self.others:
            entry = node.network.discovery.shell.core.table.get(enr.peer_id)
            self.assertEqual((entry.port, entry.live), (6000, True))

    def test_many_ports_outside_leave_the_record_alone(self):
        enr = self.start(lambda target: 6000 + int(target[0].rpartition(".")[2]))
        self.assertEqual((enr.ip, enr.udp), (self.inside.ip, 30303))
        self.world.run(1_200)
        self.assertEqual(self.inside.network.enr.seq, enr.seq)
        self.assertEqual(len(self.inside.network.discovery.shell.core.table.live), 5)
