"""Discovery over sockets in memory, on a virtual clock."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.discv5 import Discv5
from chainp2p.errors import StartupError
from chainp2p.net.datagram import DiscoveryShell
from chainp2p.peer.enr import make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from chainp2p.testing.clock import HeapClock
from chainp2p.testing.network import MemoryNetwork, Weather

GENESIS = b"\x07" * 32


class Node:
    def __init__(self, net, number, genesis=GENESIS, welcome=lambda node_id: True):
        self.host = net.host(f"n{number}", f"10.0.{number >> 8}.{number & 255}")
        self.key = NodeKey(number.to_bytes(32, "big"))
        self.enr = make_enr(self.key, 1, node_pairs(genesis, 1, self.host.ip, 30303, 30303))
        core = Discv5(self.key, lambda: self.enr, Random(number), genesis=genesis, private=True, welcome=welcome)
        self.live, self.votes = set(), []
        self.shell = DiscoveryShell(
            self.host,
            core,
            live=lambda enr: self.live.add(enr.peer_id),
            voted=lambda peer_id, source, ip: self.votes.append(ip),
        )

    def start(self, *seeds):
        self.shell.listen([("", 30303)])
        self.shell.start([seed.enr for seed in seeds])
        return self


class DatagramTest(SynchronousTestCase):
    def setUp(self):
        self.clock = HeapClock()
        weather = Weather(low=0.02, high=0.2, loss=0.05, duplication=0.05)
        self.net = MemoryNetwork(self.clock, Random(5), weather)

    def grow(self, count):
        first = Node(self.net, 1).start()
        return [first, *(Node(self.net, number).start(first) for number in range(2, count + 1))]

    def test_nodes_find_each_other(self):
        nodes = self.grow(20)
        self.clock.run_for(120)
        for node in nodes:
            self.assertEqual(len(node.live), 19)
            self.assertEqual(set(node.votes), {node.host.ip})
        target = nodes[7].key.peer_id
        found = self.successResultOf_after(nodes[3].shell.lookup(target))
        self.assertEqual(found[0].peer_id, target)
        distance = [int.from_bytes(enr.peer_id, "big") ^ int.from_bytes(target, "big") for enr in found]
        self.assertEqual(distance, sorted(distance))
        self.assertEqual(len(found), 16)

    def successResultOf_after(self, done, seconds=20):
        self.clock.run_for(seconds)
        return self.successResultOf(done)

    def test_talk(self):
        self.net.set_weather(Weather(low=0.02, high=0.2))
        first, second = self.grow(2)
        self.clock.run_for(5)
        second.shell.register_talk(b"echo", lambda node_id, request: node_id[:4] + request)
        heard = self.successResultOf_after(first.shell.talk(second.enr, b"echo", b"hi"))
        self.assertEqual(heard, first.key.peer_id[:4] + b"hi")
        self.assertEqual(self.successResultOf_after(first.shell.talk(second.enr, b"none", b"hi")), b"")
        second.shell.register_talk(b"echo", None)
        self.assertEqual(self.successResultOf_after(first.shell.talk(second.enr, b"echo", b"hi")), b"")
        self.net.partition(["n1"], ["n2"])
        self.assertIsNone(self.successResultOf_after(first.shell.talk(second.enr, b"echo", b"hi")))

    def test_a_new_record_spreads(self):
        first, second = self.grow(2)
        self.clock.run_for(5)
        second.enr = make_enr(second.key, 2, node_pairs(GENESIS, 1, second.host.ip, 30304, 30303))
        self.clock.run_for(300)
        self.assertEqual(first.shell.core.table.get(second.key.peer_id).enr.seq, 2)

    def test_who_is_not_on_the_list_gets_no_session(self):
        first, second = self.grow(2)
        strict = Node(self.net, 9, welcome=lambda node_id: node_id == first.key.peer_id).start(first)
        second.shell.start([first.enr, strict.enr])
        self.clock.run_for(60)
        self.assertEqual(strict.live, {first.key.peer_id})
        self.assertNotIn(strict.key.peer_id, second.live)
        self.assertGreater(strict.shell.core.conversations.dropped["not allowed"], 0)

    def test_another_network_is_left_out(self):
        first, second = self.grow(2)
        other = Node(self.net, 9, genesis=b"\x08" * 32).start(first)
        self.clock.run_for(60)
        self.assertEqual((len(first.live), len(other.live)), (1, 0))
        self.assertNotIn(other.key.peer_id, first.shell.core.table)

    def test_stop_and_start_again(self):
        first, second = self.grow(2)
        self.clock.run_for(5)
        waiting = first.shell.lookup(bytes(32)), first.shell.talk(second.enr, b"x", b"")
        stopping = first.shell.stop()
        with self.assertRaises(StopIteration):
            stopping.send(None)
        self.assertEqual(self.successResultOf(waiting[0]), ())
        self.assertIsNone(self.successResultOf(waiting[1]))
        self.clock.run_for(5)
        self.assertEqual(list(first.host.getDelayedCalls()), [])
        first.live.clear()
        first.start(second)
        self.clock.run_for(70)
        self.assertEqual(len(first.live), 1)

    def test_busy_port(self):
        first, _ = self.grow(2)
        again = DiscoveryShell(first.host, first.shell.core, live=print, voted=print)
        error = self.assertRaises(StartupError, again.listen, [("", 30303)])
        self.assertIn("udp:30303", str(error))
