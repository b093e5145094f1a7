"""Ports for datagrams: beside those of TCP, and of both address families side by side."""

from twisted.internet.defer import inlineCallbacks, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from chainp2p.errors import SettingsError, StartupError
from chainp2p.net.endpoints import leaves_port_open
from chainp2p.net.sockets import take_udp
from tests.net.test_network import World


class SpareTest(SynchronousTestCase):
    def setUp(self):
        self.node = World().node(enable_discovery=True)
        self.taken = self.node.host.listenUDP(0, DatagramProtocol())
        self.number = self.taken.getHost().port

    def endpoints(self):
        network = self.node.network
        return network.addresses[0][1], network.discovery.port, network.enr.udp

    def test_any_port_of_tcp_lets_any_port_of_udp_do(self):
        self.node.host._ephemeral = iter(range(self.number, self.number + 10))
        self.node.start(listen_addr=(f"tcp:0:interface={self.node.ip}",))
        tcp, udp, told = self.endpoints()
        self.assertEqual((tcp, told), (self.number, udp))
        self.assertNotEqual(udp, self.number)

    def test_the_same_one_if_it_is_free(self):
        self.node.start(listen_addr=(f"tcp:0:interface={self.node.ip}",))
        tcp, udp, told = self.endpoints()
        self.assertEqual({tcp, udp, told}, {tcp})
        self.assertNotEqual(tcp, self.number)

    def test_a_port_that_was_asked_for_is_meant(self):
        for settings in (
            {"listen_addr": (f"tcp:{self.number}",)},
            {"listen_addr": ("tcp:0",), "discovery_addr": (f"udp:{self.number}",)},
        ):
            node = self.node.build(**settings)
            outcome = []
            node.network.start().addErrback(outcome.append)
            node.world.run(0.01)
            self.assertIn(f"udp:{self.number}", str(outcome[0].trap(StartupError) and outcome[0].value))

    def test_forms_of_any_port(self):
        for text in ("tcp:0", "tcp6:port=0", "tcp:interface=127.0.0.1:port=0", "tcp:0:interface=127.0.0.1"):
            self.assertTrue(leaves_port_open(text), text)
        for text in ("tcp:30303", "10.0.0.1:30303", "tcp6:port=1:interface=\\:\\:0", "tcp:interface=0"):
            self.assertFalse(leaves_port_open(text), text)
        self.assertRaises(SettingsError, leaves_port_open, "unix:0")


class RealTest(TestCase):
    """With sockets of this machine."""

    def take(self, interface, port=0, **options):
        from twisted.internet import reactor

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
        try:
            six = self.take("::")
        except CannotListenError as error:
            raise SkipTest(f"no IPv6 here: {error}") from None
        number = six.getHost().port
        four = self.take("", number)
        self.assertEqual(four.getHost().port, number)
        self.assertEqual(six.getHost().type, "UDP")
        self.assertRaises(CannotListenError, self.take, "::", number)
        self.assertNotEqual(self.take("::", number, spare=True).getHost().port, number)
        yield six.stopListening()
        self.assertEqual(self.take("::", number).getHost().host, "::")
