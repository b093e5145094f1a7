"""Who is let in, from both ends: rates, handshakes in flight, slots, evictions, and what is said about them."""

from attrs import evolve
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import Reason
from chainp2p.net.security import HELLO_TIMEOUT
from chainp2p.peer.address import parse_node
from chainp2p.peer.causes import CauseKind
from chainp2p.peer.intake import IN_FLIGHT, KEPT_FREE
from chainp2p.peer.link import Credit
from chainp2p.settings import PUBLIC
from tests.net.test_network import World, _Client

#: Peers of which 16 may be inbound, one slot for who is behind and one for who was never seen among them.
MAX_PEERS = 32


class _Hub(SynchronousTestCase):
    def setUp(self):
        self.world = World()
        self.hub = self.world.node(ip="20.1.0.1", profile=PUBLIC, max_peers=MAX_PEERS).start()

    def caller(self, ip):
        """A node that dials the hub from *ip*."""
        node = self.world.node(ip=ip, profile=PUBLIC, static_nodes=(self.hub.address,)).start()
        self.world.run(1)
        return node

    def silent(self, *ips, count=1):
        """Connections that say nothing."""
        for ip in ips:
            host = self.world.net.find(ip) or self.world.net.host(ip, ip)
            for _ in range(count):
                host.connectTCP(self.hub.ip, 30303, _Client(Factory.forProtocol(Protocol)))
        self.world.run(0.1)

    def causes(self, kind):
        return [cause for cause in self.hub.network._causes.newest() if cause.kind is kind]

    def metric(self, name, rule=None):
        for known, labels, value in self.hub.network.metrics():
            if known == f"chainp2p_{name}" and labels.get("rule") == rule:
                return value
        return 0


class HandshakeTest(_Hub):
    def test_an_address_that_calls_too_often(self):
        self.silent("21.1.0.1", count=3)
        self.assertEqual(len(self.hub.network._roster.open), 1)
        (cause,) = self.causes(CauseKind.REFUSED)
        self.assertEqual((cause.code, cause.address, cause.count), ("address_rate", ("21.1.0.1", 0), 2))
        self.assertEqual(self.hub.network.counters["refused_connections"], 2)
        self.assertEqual(self.metric("turned_away_total", "address_rate"), 2)
        self.world.run(10)
        self.silent("21.1.0.1")
        self.assertEqual(self.hub.network.counters["refused_connections"], 2)

    def test_a_subnet_that_calls_too_often(self):
        self.silent(*(f"21.1.0.{number}" for number in range(1, 71)))
        self.assertGreater(self.metric("turned_away_total", "subnet_rate"), 0)
        self.assertEqual(self.causes(CauseKind.REFUSED)[0].code, "subnet_rate")

    def test_a_crowd_replaces_itself_and_strangers_leave_places_free(self):
        self.silent("22.1.0.1")
        first = next(iter(self.hub.network._roster.open))
        self.silent(*(f"21.1.{number}.1" for number in range(IN_FLIGHT)))
        self.assertEqual(self.metric("handshakes_in_flight"), IN_FLIGHT - KEPT_FREE)
        self.assertIsNone(first.end)
        replaced = [end for end in self.hub.network.ends() if end.rule == "handshake_replaced"]
        self.assertEqual(len(replaced), IN_FLIGHT + 1 - (IN_FLIGHT - KEPT_FREE))
        self.assertEqual({end.address[0][:5] for end in replaced}, {"21.1."})
        honest = self.caller("23.1.0.1")
        self.assertEqual(len(honest.peers), 1)
        self.assertEqual(self.metric("handshakes_in_flight"), IN_FLIGHT - KEPT_FREE - 1)
        self.world.run(12)
        self.assertEqual(self.metric("handshakes_in_flight"), 0)
        self.assertEqual(self.hub.network._door._callers, {})
        self.assertGreater(IN_FLIGHT, HELLO_TIMEOUT)

    def test_an_address_that_the_operator_named_waits_for_nothing(self):
        peer = self.world.node(ip="21.1.0.1", profile=PUBLIC).build()
        self.hub.network.add_peer(parse_node(peer.address))
        self.silent(peer.ip, count=5)
        self.assertEqual(self.hub.network.counters["refused_connections"], 0)

    def test_a_peer_that_was_reached_may_come_back_at_once(self):
        for reached in (False, True):
            peer = self.world.node(ip=f"21.1.0.{1 + reached}", profile=PUBLIC, static_nodes=(self.hub.address,)).start()
            self.world.run(1)
            if reached:
                self.hub.network._book.reached(peer.key.peer_id, self.hub.host.seconds())
            peer.stop()
            peer.start()
            self.world.run(1)
            self.assertEqual(len(peer.peers), int(reached))
            peer.stop()
            self.world.run(60)

    def test_loopback(self):
        for exempt, refused in ((True, 0), (False, 4)):
            node = self.world.node(
                ip=f"21.1.1.{1 + exempt}", listen_addr=("tcp:30303",), loopback_exempt=exempt
            ).start()
            for _ in range(5):
                self.assertIs(node.network._door.room("127.0.0.1"), exempt or _ == 0)
            self.assertEqual(node.network._door._turned["address_rate"], refused)


class SlotTest(_Hub):
    def fill(self, count, group="21.1"):
        nodes = [self.caller(f"{group}.{number}.1") for number in range(count)]
        self.assertEqual(len(self.hub.peers), count)
        return nodes

    def test_a_full_house(self):
        nodes = self.fill(15)  # 14 general slots, and one for a peer never seen
        late = self.caller("21.1.99.1")
        self.assertEqual(len(self.hub.peers), 15)
        ours = self.hub.network.ends()[0]
        self.assertEqual((ours.reason, ours.rule, ours.by_us), (Reason.TOO_MANY_PEERS, "inbound_full", True))
        self.assertIn("21.1.0.0/16", ours.detail)
        theirs = late.network.ends()[0]
        self.assertEqual((theirs.reason, theirs.by_us, theirs.detail), (Reason.TOO_MANY_PEERS, False, ours.detail))
        other = self.caller("22.1.0.1")
        self.assertEqual(len(other.peers), 1)
        self.assertEqual(len(self.hub.peers), 15)
        gone = [node for node in nodes if not node.peers]
        self.assertEqual(len(gone), 1)
        self.assertEqual(gone[0].network.ends()[0].reason, Reason.TOO_MANY_PEERS)
        (cause,) = self.causes(CauseKind.EVICTED)
        self.assertEqual((cause.code, cause.peer_id), ("evicted_youngest_of_group", gone[0].key.peer_id))
        self.assertEqual((cause.evidence["group"], cause.evidence["inbound"]), ("21.1.0.0/16", 16))
        self.assertGreater(cause.evidence["ping_seconds"], 0)
        self.assertEqual(self.metric("turned_away_total", "evicted_youngest_of_group"), 1)
        self.assertEqual(self.metric("inbound_slots_taken"), 15)

    def test_who_is_behind_has_a_slot(self):
        self.hub.chain.head = evolve(self.hub.chain.head, rank=b"\x01" + bytes(31))
        nodes = self.fill(16)  # all of them are behind, and never seen
        self.assertEqual([len(node.peers) for node in nodes], [1] * 16)
        self.assertEqual(self.caller("21.1.99.1").peers, [])

    def test_held_peers_need_no_slot(self):
        self.fill(15)
        late = self.world.node(ip="21.1.99.1", profile=PUBLIC, static_nodes=(self.hub.address,)).build()
        self.hub.network.add_peer(parse_node(late.address))
        late.start(static_nodes=(self.hub.address,))
        self.world.run(2)
        self.assertEqual((len(late.peers), len(self.hub.peers)), (1, 16))

    def test_the_useful_stay(self):
        nodes = self.fill(15)
        links = {link.peer_id: link for link in self.hub.network.links()}
        youngest = nodes[-2:]
        links[youngest[0].key.peer_id].credit(Credit.BLOCK)
        links[youngest[1].key.peer_id].credit(Credit.TRANSACTION)
        for number in range(3):
            self.assertEqual(len(self.caller(f"{30 + number}.1.0.1").peers), 1)
        self.assertEqual([len(node.peers) for node in youngest], [1, 1])

    def test_slots_come_back(self):
        nodes = self.fill(15)
        for node in nodes[:5]:
            node.stop()
        self.assertEqual(self.metric("inbound_slots_taken"), 10)
        self.assertEqual(len(self.caller("21.1.99.1").peers), 1)
        self.hub.stop()
        self.assertEqual(self.hub.network._door._seats, {})
        self.assertEqual(self.hub.network._door._pings, {})
