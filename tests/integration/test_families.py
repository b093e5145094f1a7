"""Both address families on sockets of this machine."""

import socket
from random import Random

from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, TestCase

from chainp2p.discovery.discv5 import Discv5
from chainp2p.errors import StartupError
from chainp2p.net.datagram import DiscoveryShell
from chainp2p.net.endpoints import Listeners
from chainp2p.net.sockets import take_udp
from chainp2p.peer.enr import endpoint_pairs, make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from tests.integration.processes import free_port

GENESIS = b"\x07" * 32


class Node:
    """Discovery on sockets of this machine, on loopback addresses."""

    def __init__(self, reactor, number, *ips):
        self.key = NodeKey(number.to_bytes(32, "big"))
        self.live, self.votes = set(), set()
        core = Discv5(self.key, lambda: self.enr, Random(number), genesis=GENESIS, private=True)
        self.shell = DiscoveryShell(
            reactor,
            core,
            live=lambda enr: self.live.add(enr.peer_id),
            voted=lambda peer_id, source, ip, port: self.votes.add((ip, port)),
        )
        self.shell.listen([(ip, 0) for ip in ips])
        pairs = node_pairs(GENESIS, 1)
        for ip, port in self.shell.addresses:
            pairs |= endpoint_pairs(ip, None, port)
        self.enr = make_enr(self.key, 1, pairs)

    def knows(self, *others):
        return self.live == {other.key.peer_id for other in others}


class DiscoveryTest(TestCase):
    timeout = 60

    @inlineCallbacks
    def until(self, look):
        """Wait for it; the class's time is the limit."""
        from twisted.internet import reactor  # noqa: TID251

        while not look():
            yield deferLater(reactor, 0.1, lambda: None)

    @inlineCallbacks
    def test_nodes_of_both_families(self):
        from twisted.internet import reactor  # noqa: TID251

        try:
            both = Node(reactor, 1, "127.0.0.1", "::1")
        except StartupError as error:
            raise SkipTest(f"no IPv6 here: {error}") from None
        four, six, six_too = Node(reactor, 2, "127.0.0.1"), Node(reactor, 3, "::1"), Node(reactor, 4, "::1")
        nodes = (both, four, six, six_too)
        for node in nodes:
            self.addCleanup(lambda node=node: Deferred.fromCoroutine(node.shell.stop()))
            node.shell.start([] if node is both else [both.enr])

        def met():
            known = both.knows(four, six, six_too) and six.knows(both, six_too) and six_too.knows(both, six)
            return known and four.knows(both) and all(node.votes for node in nodes)

        yield self.until(met)
        for node in nodes:
            self.assertLessEqual(node.votes, set(node.shell.addresses))
        heard = yield six.shell.lookup(six_too.key.peer_id)
        self.assertEqual(heard[0].ip6, "::1")
        self.assertEqual(four.shell.core.conversations.dropped.get("not sent", 0), 0)

    @inlineCallbacks
    def test_each_socket_serves_what_it_can_reach(self):
        from twisted.internet import reactor  # noqa: TID251

        outside = self.outside()
        nodes = Node(reactor, 1, "127.0.0.1", outside), Node(reactor, 2, "127.0.0.1", outside)
        for node in nodes:
            self.addCleanup(lambda node=node: Deferred.fromCoroutine(node.shell.stop()))
            pairs = endpoint_pairs(outside, None, dict(node.shell.addresses)[outside])
            node.enr = make_enr(node.key, 2, {**node_pairs(GENESIS, 1), **pairs})
        nodes[0].shell.start([])
        nodes[1].shell.start([nodes[0].enr])
        one, two = nodes
        yield self.until(lambda: one.votes and two.votes and one.knows(two) and two.knows(one))
        self.assertEqual({ip for node in nodes for ip, _ in node.votes}, {outside})

    def outside(self):
        """An IPv4 address of this machine that is not loopback."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))
                address = probe.getsockname()[0]
            except OSError:
                address = "127.0.0.1"
        if address.startswith("127."):
            raise SkipTest("this machine has no address but loopback")
        return address


class PortsTest(TestCase):
    def take(self, interface, port=0, **options):
        from twisted.internet import reactor  # noqa: TID251

        taken = take_udp(reactor, DatagramProtocol(), interface, port, 1_281, **options)
        self.addCleanup(lambda: maybeDeferred(taken.stopListening))
        return taken

    def test_spare(self):
        number = self.take("127.0.0.1").getHost().port
        self.assertRaises(CannotListenError, self.take, "127.0.0.1", number)
        self.assertNotIn(self.take("127.0.0.1", number, spare=True).getHost().port, (0, number))
        self.assertRaises(CannotListenError, self.take, "192.0.2.1", 0, spare=True)

    @inlineCallbacks
    def test_both_families_on_one_port(self):
        number = free_port()
        six = self.six(number)
        four = self.take("", number)
        self.assertEqual(four.getHost().port, number)
        self.assertEqual(six.getHost().type, "UDP")
        self.assertRaises(CannotListenError, self.take, "::", number)
        self.assertNotEqual(self.take("::", number, spare=True).getHost().port, number)
        yield six.stopListening()
        self.assertEqual(self.take("::", number).getHost().host, "::")

    def six(self, number=0):
        try:
            return self.take("::", number)
        except CannotListenError as error:
            raise SkipTest(f"no IPv6 here: {error}") from None

    @inlineCallbacks
    def test_listeners_of_both_families(self):
        from twisted.internet import reactor  # noqa: TID251

        self.six()
        listeners = Listeners()
        self.addCleanup(lambda: Deferred.fromCoroutine(listeners.stop()))
        number = free_port()
        six = yield Deferred.fromCoroutine(listeners.start(reactor, [f"tcp6:{number}"], Factory()))
        self.assertEqual(six, (("::", number),))
        again = Listeners()
        both = yield Deferred.fromCoroutine(again.start(reactor, [f"tcp:{number}"], Factory()))
        self.addCleanup(lambda: Deferred.fromCoroutine(again.stop()))
        self.assertEqual(both, (("0.0.0.0", number),))
        third = Deferred.fromCoroutine(Listeners().start(reactor, [f"tcp6:{number}:interface=\\:\\:"], Factory()))
        error = yield self.assertFailure(third, StartupError)
        self.assertIn("in use", str(error))
