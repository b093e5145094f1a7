"""Dialling a node of both families from a machine that has only one."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.net.otherway import OtherWay
from chainp2p.peer.address import NodeAddress, parse_node
from chainp2p.peer.book import AddressBook
from chainp2p.peer.dialrate import DIALS, PERIOD
from chainp2p.peer.enr import endpoint_pairs, make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from chainp2p.settings import PRIVATE, PUBLIC
from tests.net.test_network import GENESIS, World

FOUR, SIX = ("8.8.8.8", 1), ("2a00::8", 2)


def record(*endpoints, key=7):
    pairs = node_pairs(GENESIS, 1)
    for ip, port in endpoints:
        pairs |= endpoint_pairs(ip, port, None)
    return make_enr(NodeKey(bytes([key]) * 32), 1, pairs)


class WayTest(SynchronousTestCase):
    def setUp(self):
        self.book = AddressBook(PUBLIC, Random(1), bytes(32))
        self.way = OtherWay(self.book)

    def found(self, enr, endpoint, now=0.0, named=True):
        return self.way.find(NodeAddress(enr.peer_id, *endpoint, enr if named else None), now)

    def test_the_other_one(self):
        both = record(FOUR, SIX)
        self.assertEqual(self.found(both, FOUR), SIX)
        self.assertEqual(self.found(both, SIX), FOUR)
        for enr, endpoint in ((record(FOUR), FOUR), (both, ("8.8.8.8", 2)), (both, ("name.example", 1))):
            self.assertIsNone(self.found(enr, endpoint))

    def test_by_the_book(self):
        both = record(FOUR, SIX)
        self.assertIsNone(self.found(both, FOUR, named=False))
        self.assertTrue(self.book.learn(both, "9.9.9.9", 0.0).useful)
        self.assertEqual(self.found(both, FOUR, named=False), SIX)

    def test_no_way_to_strangers(self):
        self.assertIsNone(self.found(record(FOUR, ("fd00::1", 1)), FOUR))
        self.assertEqual(self.found(record(("10.0.0.1", 1), ("fd00::1", 1)), ("10.0.0.1", 1)), ("fd00::1", 1))
        for number in range(1, 10):
            enr = record((f"8.8.{number}.8", 1), ("2a00::5", number), key=number)
            found = self.found(enr, (f"8.8.{number}.8", 1))
            self.assertEqual(found is not None, number <= DIALS)
        self.assertIsNotNone(self.found(enr, ("8.8.9.8", 1), now=PERIOD))


class DialTest(SynchronousTestCase):
    def test_a_machine_with_ipv6_alone_reaches_a_node_of_both(self):
        world = World()
        host = world.net.host("both", "10.0.9.1", "2001:db8::9:1")
        both = world.node(ip="10.0.9.1", host=host, external="10.0.9.1,2001:db8::9:1", profile=PRIVATE)
        both.start(listen_addr=("tcp:30303", "tcp6:30303"))
        text = both.network.enr.text
        for number, ip in enumerate(("2001:db8::77", "10.0.0.77"), 1):
            node = world.node(ip=ip)
            node.start(listen_addr=("tcp6:30303" if ":" in ip else "tcp:30303",), static_nodes=(text,))
            world.run(2)
            self.assertEqual(len(node.peers), 1)
            self.assertEqual(len(both.peers), number)
            self.assertEqual(node.network.links()[0].address[0], "2001:db8::9:1" if ":" in ip else "10.0.9.1")

    def test_without_another_way_the_dial_fails(self):
        world = World()
        node = world.node(ip="2001:db8::77")
        address = parse_node(f"{bytes(31).hex()}01@10.0.0.1:1")
        node.start(listen_addr=("tcp6:30303",))
        node.network.add_peer(address)
        world.run(2)
        self.assertEqual(node.network.ends()[0].rule, "no_route")
