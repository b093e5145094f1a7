"""Which address of a node is used, in which families there are sockets and routes."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.answers import RecordReader
from chainp2p.discovery.discv5 import Discv5
from chainp2p.discovery.reach import REST, Reach
from chainp2p.discovery.table import log_distance
from chainp2p.peer.enr import endpoint_pairs, make_enr, node_pairs
from chainp2p.peer.key import NodeKey

GENESIS = b"\x01" * 32
KEY = NodeKey(b"\x05" * 32)
FOUR, SIX = ("8.8.8.8", 1), ("2a00::8", 2)
US = NodeKey(b"\x04" * 32)


def record(*endpoints, key=KEY, seq=1):
    pairs = node_pairs(GENESIS, 1)
    for ip, port in endpoints:
        pairs |= endpoint_pairs(ip, port + 10, port)
    return make_enr(key, seq, pairs)


class EndpointTest(SynchronousTestCase):
    def test_of_a_record(self):
        both = record(FOUR, SIX)
        self.assertEqual((both.udp_in((4,)), both.udp_in((6,)), both.udp_endpoint), (FOUR, SIX, FOUR))
        self.assertEqual((both.tcp_in((4,)), both.tcp_in((6,))), (("8.8.8.8", 11), ("2a00::8", 12)))
        self.assertEqual((record(SIX).udp_in((4,)), record(FOUR).udp_in((6,))), (None, None))
        # EIP-778: without a port of its own, IPv6 has that of IPv4
        shared = make_enr(KEY, 1, {**endpoint_pairs("8.8.8.8", 3, 4), b"ip6": bytes.fromhex("2a00" + "0" * 27 + "8")})
        self.assertEqual((shared.udp_in((6,)), shared.tcp_in((6,))), (("2a00::8", 4), ("2a00::8", 3)))
        self.assertIsNone(both.udp_in(()))

    def test_an_address_of_ipv4_in_ipv6_clothes_is_none(self):
        dressed = record(("::ffff:8.8.8.8", 3))
        self.assertEqual((dressed.ip6, dressed.udp_endpoint, dressed.tcp_endpoint), (None, None, None))


class ReachTest(SynchronousTestCase):
    def setUp(self):
        self.reach = Reach()
        self.records = [record(FOUR), record(SIX), record(FOUR, SIX), record()]

    def used(self):
        return [self.reach.endpoint(enr) for enr in self.records]

    def test_sockets(self):
        self.assertEqual(self.used(), [FOUR, SIX, FOUR, None])
        self.reach.listen([4])
        self.assertEqual(self.used(), [FOUR, None, FOUR, None])
        self.reach.listen({6: "socket"})
        self.assertEqual(self.used(), [None, SIX, SIX, None])
        self.reach.listen([6, 4])
        self.assertEqual(self.used(), [FOUR, SIX, FOUR, None])

    def test_routes(self):
        self.reach.no_route(4, 100.0)
        self.assertEqual(self.used(), [FOUR, SIX, SIX, None])
        self.reach.no_route(6, 110.0)
        self.assertEqual(self.used(), [FOUR, SIX, FOUR, None])
        self.reach.expire(100.0 + REST)
        self.assertEqual(self.used(), [FOUR, SIX, FOUR, None])
        self.reach.expire(110.0 + REST)
        self.assertEqual(self.used(), [FOUR, SIX, FOUR, None])
        self.reach.listen([4])
        self.reach.no_route(4, 200.0)
        self.assertEqual(self.used(), [FOUR, None, FOUR, None])


class NodeTest(SynchronousTestCase):
    def setUp(self):
        self.core = Discv5(US, lambda: record(key=US), Random(1), genesis=GENESIS, private=False)

    def test_a_node_that_we_cannot_send_to_has_no_place(self):
        self.core.reach.listen([4])
        self.assertFalse(self.core.add(record(SIX)))
        self.assertTrue(self.core.add(record(FOUR, SIX)))
        self.assertEqual(self.core.table.get(KEY.peer_id).ip, "8.8.8.8")

    def test_a_route_that_is_lost_moves_an_entry_that_has_another(self):
        enr = record(FOUR, SIX)
        self.core.add(enr)
        self.core.table.answered(KEY.peer_id, 1.0)
        self.core.reach.no_route(4, 2.0)
        self.assertTrue(self.core.add(enr))
        entry = self.core.table.get(KEY.peer_id)
        self.assertEqual((entry.ip, entry.port, entry.live), (*SIX, False))
        self.core.add(record(("8.8.4.4", 1)))  # another record with the same number does not move it
        self.assertEqual(self.core.table.get(KEY.peer_id).ip, "2a00::8")


class MovedTest(SynchronousTestCase):
    def test_silence_at_the_old_address_does_not_cost_the_new_one_its_place(self):
        core = Discv5(US, lambda: record(key=US), Random(1), genesis=GENESIS, private=False)
        core.add(record(FOUR))
        core.start([], 0.0)  # it is asked there at once
        core.add(record(("8.8.4.4", 9), seq=2))
        core._check_at = core._refresh_at = 1e9
        for now in (2.0, 4.0, 6.0):
            core.expire(now)
        self.assertEqual(len(core.conversations), 0)
        self.assertEqual(core.table.get(KEY.peer_id).ip, "8.8.4.4")
        core._check_at = 7.0
        for now in (7.0, 9.0, 11.0):
            core.expire(now)
        self.assertNotIn(KEY.peer_id, core.table)


class PrivateAddressTest(SynchronousTestCase):
    def told(self, asked, *told):
        reader = RecordReader(False, lambda node_id: True)
        raws = [enr.raw for enr in told]
        return reader.read(raws, asked, [log_distance(asked.peer_id, enr.peer_id) for enr in told])

    def test_one_private_address_is_enough_to_be_refused(self):
        public, lan = record(FOUR, key=US), record(("10.0.0.1", 1), key=US)
        half = record(FOUR, ("fd00::1", 2))
        self.assertEqual(self.told(public, half), [])
        self.assertEqual(self.told(lan, half), [half])
        self.assertEqual(self.told(record(FOUR, ("fd00::2", 2), key=US), half), [])  # a private one beside is no pass
        whole = record(FOUR, SIX)
        self.assertEqual(self.told(public, whole), [whole])
