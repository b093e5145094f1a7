"""Simulated machines with an IPv4 and an IPv6 address."""

from random import Random

from twisted.internet.error import CannotListenError, NoRouteError
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.testing.clock import HeapClock
from chainp2p.testing.network import MemoryNetwork


class Ear(DatagramProtocol):
    def __init__(self):
        self.heard = []

    def datagramReceived(self, datagram, addr):
        self.heard.append((datagram, addr))


class Dialled(ClientFactory):
    protocol = Protocol
    failure = peer = None

    def buildProtocol(self, addr):
        self.peer = addr.host
        return super().buildProtocol(addr)

    def clientConnectionFailed(self, connector, reason):
        self.failure = reason.type


class FamiliesTest(SynchronousTestCase):
    def setUp(self):
        self.clock = HeapClock()
        self.net = MemoryNetwork(self.clock, Random(1))
        self.both = self.net.host("both", "10.0.0.1", "2001:db8:0::1")
        self.four = self.net.host("four", "10.0.0.2")
        self.six = self.net.host("six", "2001:db8::2")

    def ears(self, host):
        ears = Ear(), Ear()
        for ear, interface in zip(ears, ("", "::"), strict=True):
            host.listenUDP(9, ear, interface=interface)
        return ears

    def test_datagrams(self):
        low, high = self.ears(self.both)
        for host in (self.four, self.six):
            ear = Ear()
            port = host.listenUDP(7, ear)
            target = "10.0.0.1" if host is self.four else "2001:db8::1"
            port.write(b"x", (target, 9))
            error = self.assertRaises(OSError, port.write, b"x", ("10.0.0.1" if host is self.six else "2001:db8::1", 9))
            self.assertIn("unreachable", str(error))
        self.clock.run_for(1)
        self.assertEqual(low.heard, [(b"x", ("10.0.0.2", 7))])
        self.assertEqual(high.heard, [(b"x", ("2001:db8::2", 7))])
        self.assertEqual(low.transport.getHost().host, "10.0.0.1")
        self.assertEqual(high.transport.getHost().host, "2001:db8::1")
        self.assertRaises(CannotListenError, self.both.listenUDP, 9, Ear(), interface="::")

    def test_connections(self):
        callers = []

        class Taken(Factory):
            def buildProtocol(self, addr):
                callers.append(addr.host)
                return Protocol()

        self.both.listenTCP(1, Taken(), interface="::")
        self.assertRaises(CannotListenError, self.both.listenTCP, 1, Taken(), interface="2001:db8::1")
        dials = [Dialled() for _ in range(3)]
        self.six.connectTCP("2001:db8::1", 1, dials[0])
        self.six.connectTCP("10.0.0.1", 1, dials[1])
        self.four.connectTCP("10.0.0.1", 1, dials[2])
        self.clock.run_for(1)
        self.assertEqual((dials[0].peer, callers), ("2001:db8::1", ["2001:db8::2"]))
        self.assertIs(dials[1].failure, NoRouteError)
        self.assertIsNotNone(dials[2].failure)
        self.both.listenTCP(1, Taken())
        self.four.connectTCP("10.0.0.1", 1, dials[2])
        self.clock.run_for(1)
        self.assertEqual(callers, ["2001:db8::2", "10.0.0.2"])

    def test_moving(self):
        low, high = self.ears(self.both)
        port = self.four.listenUDP(7, Ear())
        self.net.move("both", "10.0.0.9", "2001:db8::1")
        for target in ("10.0.0.1", "10.0.0.9"):
            port.write(target.encode(), (target, 9))
        self.clock.run_for(1)
        self.assertEqual([data for data, _ in low.heard], [b"10.0.0.9"])
        low.transport.write(b"x", ("10.0.0.2", 7))
        self.clock.run_for(1)
        self.assertEqual(port.protocol.heard, [(b"x", ("10.0.0.9", 9))])
        self.assertIsNone(self.net.find("10.0.0.1"))
        self.assertIs(self.net.find("10.0.0.9"), self.both)
        self.both.kill()
        again = self.both.boot()
        self.assertIs(self.net.find("2001:db8::1"), again)

    def test_addresses_that_cannot_be(self):
        for ips in ((), ("10.0.0.7", "10.0.0.8"), ("10.0.0.1",), ("10.0.0.7", "2001:db8::2")):
            self.assertRaises(ValueError, self.net.host, "new", *ips)
            self.assertRaises(ValueError, self.net.move, "four", *(ips or ("nonsense",)))
        self.assertEqual(self.net.find("10.0.0.2"), self.four)
        self.net.move("four", "10.0.0.2")
