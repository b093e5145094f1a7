"""Discovery over sockets in memory, on a virtual clock."""

from random import Random

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.discv5 import TALK_MAX, Discv5
from chainp2p.discovery.outputs import TalkAsked
from chainp2p.errors import StartupError
from chainp2p.net.datagram import DiscoveryShell
from chainp2p.net.talking import ANSWER_TIME, ANSWERS_MAX, Talking
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
        self.live, self.votes, self.talk = set(), [], {}
        self.shell = DiscoveryShell(
            self.host,
            core,
            live=lambda enr: self.live.add(enr.peer_id),
            voted=lambda peer_id, source, ip, port: self.votes.append(ip),
            talk=self.talk,
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
        second.talk[b"echo"] = lambda node_id, request: node_id[:4] + request
        self.assertEqual(self.heard(first, second, b"echo"), first.key.peer_id[:4] + b"hi")
        self.assertEqual(self.heard(first, second, b"none"), b"")
        del second.talk[b"echo"]
        self.assertEqual(self.heard(first, second, b"echo"), b"")
        self.net.partition(["n1"], ["n2"])
        self.assertIsNone(self.heard(first, second, b"echo"))

    def heard(self, first, second, protocol):
        return self.successResultOf_after(first.shell.talk(second.enr, protocol, b"hi"))

    def test_a_handler_that_takes_its_time(self):
        self.net.set_weather(Weather(low=0.02, high=0.02))
        first, second = self.grow(2)
        self.clock.run_for(5)

        def later(seconds):
            return lambda node_id, request: deferLater(second.host, seconds, lambda: request * 2)

        second.talk.update({b"soon": later(0.6), b"late": later(0.8), b"never": lambda *_: Deferred()})
        self.assertEqual(self.heard(first, second, b"soon"), b"hihi")
        for protocol in (b"late", b"never"):
            self.assertEqual(self.heard(first, second, protocol), b"")
        waiting = first.shell.talk(second.enr, b"never", b"")
        self.clock.run_for(0.1)
        with self.assertRaises(StopIteration):
            second.shell.stop().send(None)
        self.assertEqual(list(second.host.getDelayedCalls()), [])
        self.assertIsNone(self.successResultOf_after(waiting))

    def test_a_handler_that_fails_is_answered_with_nothing_and_logged(self):
        self.net.set_weather(Weather(low=0.02, high=0.02))
        first, second = self.grow(2)
        self.clock.run_for(5)
        second.talk.update(
            {b"raises": lambda *_: 1 // 0, b"fails": lambda *_: fail(KeyError("x")), b"text": lambda *_: "text"}
        )
        for protocol, error in ((b"raises", ZeroDivisionError), (b"fails", KeyError), (b"text", TypeError)):
            self.assertEqual(self.heard(first, second, protocol), b"")
            self.assertEqual(len(self.flushLoggedErrors(error)), 1)
        second.talk[b"large"] = lambda *_: bytes(1_300)
        self.assertEqual(self.heard(first, second, b"large"), b"")
        self.assertEqual(second.shell.core.conversations.dropped["too large to send"], 1)

    def test_the_longest_request_fits_beside_a_handshake(self):
        self.net.set_weather(Weather(low=0.02, high=0.02))
        first, second = (Node(self.net, number) for number in (1, 2))
        pairs = {**node_pairs(GENESIS, 1, first.host.ip, 30303, 30303), b"filler": b"\1"}
        size = 298 - len(make_enr(first.key, 1, pairs).raw)
        first.enr = make_enr(first.key, 1, {**pairs, b"filler": bytes(size)})
        self.assertEqual(len(first.enr.raw), 300)
        for node in (first, second):
            node.start()
        heard = []
        second.talk[b"echo"] = lambda node_id, request: heard.append(request) or request[:1]
        longest = bytes(TALK_MAX - 4)
        self.assertEqual(self.successResultOf_after(first.shell.talk(second.enr, b"echo", longest)), b"\0")
        self.assertEqual(heard, [longest])
        self.assertRaises(ValueError, first.shell.talk, second.enr, b"echo", longest + b"\0")

    def test_answers_that_are_waited_for_are_bounded(self):
        replies, asked = [], TalkAsked((bytes(32), "10.0.0.1", 1), b"", b"never", b"")
        talking = Talking(self.clock, {b"never": lambda *_: Deferred()}, lambda one, response: replies.append(response))
        for _ in range(ANSWERS_MAX + 1):
            talking.asked(asked)
        self.assertEqual(replies, [b""])
        self.clock.run_for(ANSWER_TIME)
        self.assertEqual(len(replies), ANSWERS_MAX + 1)
        talking.asked(asked)
        talking.stop()
        self.assertEqual(len(replies), ANSWERS_MAX + 1)

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
        self.net.set_weather(Weather(low=0.02, high=0.2))
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
        begun = self.clock.seconds()
        first.start(second)
        self.clock.run_for(70)
        # it has asked again
        self.assertGreater(first.shell.core.table.get(second.key.peer_id).checked_at, begun)

    def test_busy_port(self):
        first, _ = self.grow(2)
        again = DiscoveryShell(first.host, first.shell.core, live=print, voted=print)
        error = self.assertRaises(StartupError, again.listen, [("", 30303)])
        self.assertIn("udp:30303", str(error))
