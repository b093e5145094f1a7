"""Ports for datagrams beside those of TCP."""

from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import SettingsError, StartupError
from chainp2p.net.endpoints import leaves_port_open
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
