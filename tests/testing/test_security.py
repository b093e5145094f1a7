"""Plain security in place of TLS, and TLS itself over the network in memory."""

from random import Random
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, serverFromString
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chainp2p.errors import PeerFault, Reason
from chainp2p.net.security import TlsSecurity
from chainp2p.peer.key import NodeKey
from chainp2p.testing.clock import HeapClock
from chainp2p.testing.network import MemoryNetwork
from chainp2p.testing.security import PlainSecurity


@implementer(IHandshakeListener)
class Talker(Protocol):
    def __init__(self) -> None:
        self.data = b""
        self.ready = False
        self.lost: Any = None

    def handshakeCompleted(self) -> None:
        self.ready = True
        self.transport.write(b"x" * 100_000)

    def dataReceived(self, data: bytes) -> None:
        assert self.ready
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = reason


class SecurityTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = HeapClock()
        network = MemoryNetwork(self.clock, Random(1))
        self.one, self.two = network.host("one", "10.0.0.1"), network.host("two", "10.0.0.2")
        self.keys = NodeKey(b"\1" * 32), NodeKey(b"\2" * 32)

    def talk(self, client: Any, server: Any) -> tuple[Any, Any]:
        made: list[Talker] = []

        class Listener(Factory):
            noisy = False

            def buildProtocol(self, addr: object) -> Protocol:
                made.append(Talker())
                return made[-1]

        serverFromString(self.two, "tcp:30303").listen(server.server(Listener()))
        dialled = TCP4ClientEndpoint(self.one, "10.0.0.2", 30303).connect(client.client(Factory.forProtocol(Talker)))
        self.clock.run_for(1)
        transport: Any = self.successResultOf(dialled)
        return transport, made[0]

    def check(self, client: Any, server: Any) -> None:
        outer, there = self.talk(client, server)
        here = outer.wrappedProtocol
        self.assertEqual((len(here.data), len(there.data)), (100_000, 100_000))
        self.assertEqual(client.proven(here.transport), self.keys[1].peer_id)
        self.assertEqual(server.proven(there.transport), self.keys[0].peer_id)
        here.transport.loseConnection()
        self.clock.run_for(1)
        self.assertIsNotNone(here.lost)
        self.assertIsNotNone(there.lost)

    def test_plain(self) -> None:
        self.check(*map(PlainSecurity, self.keys))

    def test_tls(self) -> None:
        """The same conversation with the security of production: the transport carries it as a socket would."""
        one, two = (
            TlsSecurity(key, lambda: 1_700_000_000.0 + self.clock.seconds(), 7, host)
            for key, host in zip(self.keys, (self.one, self.two), strict=True)
        )
        self.check(one, two)

    def test_before_the_exchange_nothing_is_proven(self) -> None:
        security = PlainSecurity(self.keys[0])
        protocol: Any = security.server(Factory.forProtocol(Talker)).buildProtocol(None)
        error = self.assertRaises(PeerFault, security.proven, protocol)
        self.assertIs(error.reason, Reason.BAD_CERTIFICATE)

    def test_an_id_in_pieces(self) -> None:
        from twisted.internet.testing import StringTransport

        security = PlainSecurity(self.keys[0], claim=b"\7" * 32)
        protocol: Any = security.server(Factory.forProtocol(Talker)).buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        self.assertEqual(transport.value(), b"\7" * 32)
        for byte in self.keys[1].peer_id:
            self.assertFalse(protocol.wrappedProtocol.ready)
            protocol.dataReceived(bytes([byte]))
        self.assertEqual(security.proven(protocol), self.keys[1].peer_id)
        protocol.dataReceived(b"frame")
        self.assertEqual(protocol.wrappedProtocol.data, b"frame")
