"""Real TLS on loopback: two networks in one process find each other, exchange 100 MB, refuse strangers by name."""

import random
import sqlite3

from twisted.internet import ssl
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.errors import Reason, StartupError
from chainp2p.events import EventBus
from chainp2p.net.network import Network
from chainp2p.net.security import TlsSecurity
from chainp2p.net.store import PeerStore
from chainp2p.peer.address import parse_node
from chainp2p.peer.key import NodeKey
from chainp2p.settings import PRIVATE, NetworkSettings
from chainp2p.wire.messages import AnnounceBlocks, Blocks, GetBlocks, NewBlock
from tests.integration.processes import free_port

GENESIS = b"\x01" * 32


class StubChain:
    """A chain that never moves."""

    def __init__(self, genesis):
        self.genesis_hash = genesis
        self.head = HeaderInfo(genesis, bytes(32), 0, bytes(32))
        self.events = EventBus()

    def settings_hashes(self):
        return ((0, b"\x02" * 32),)


class Lane:
    """Runs jobs at once."""

    def run(self, f, /, *args):
        return succeed(f(*args))

    def lane(self, name):
        return self


class BlockServer:
    """Answers GetBlocks with 2 MB."""

    ANSWER = Blocks(tuple(bytes(500_000) for _ in range(4)))

    def handlers(self):
        return {GetBlocks: lambda link, message: self.ANSWER}

    def joined(self, link):
        pass

    def left(self, link, reason):
        pass


class TlsTest(TestCase):
    """Sockets, threads of nobody, and the reactor of the test runner."""

    timeout = 180

    def network(self, number, genesis=GENESIS, listen="tcp:0:interface=127.0.0.1", **settings):
        from twisted.internet import reactor  # noqa: TID251

        self.reactor = reactor
        key = NodeKey(bytes([number]) * 32)
        network = Network(
            reactor=reactor,
            now=reactor.seconds,
            random=random.Random(number),
            key=key,
            security=TlsSecurity(key, reactor.seconds, number, reactor),
            chain=StubChain(genesis),
            users=[BlockServer()],
            # with discovery both would dial, and which of the two links stays is another test's matter
            settings=NetworkSettings(listen_addr=(listen,), enable_discovery=False, **settings),
            profile=PRIVATE,
            external=None,
            store=PeerStore(lambda name: sqlite3.connect(":memory:"), Lane()),
            events=EventBus(),
            agent="test/1",
        )
        return network

    async def started(self, *args, **options):
        network = self.network(*args, **options)
        await network.start()
        self.addCleanup(network.stop)
        return network

    def sleep(self, seconds):
        done = Deferred()
        self.reactor.callLater(seconds, done.callback, None)
        return done

    async def until(self, condition):
        """Wait for it; the class's time is the limit."""
        while not condition():
            await self.sleep(0.02)

    async def pair(self):
        first = await self.started(1)
        second = await self.started(2, bootstrap_nodes=(first.enr.text,))
        await self.until(lambda: first.peers() and second.peers())
        return first, second

    async def test_meet_and_part(self):
        first, second = await self.pair()
        self.assertEqual(first.peers()[0].peer_id, second.own_id)
        self.assertEqual(second.peers()[0].enr, first.enr.text)
        self.assertTrue(second.peers()[0].outbound)
        self.assertEqual(second.peers()[0].remote_address, first.addresses[0])
        await second.stop()
        await self.until(lambda: not first.peers())
        self.assertEqual(first.ends()[-1].reason, Reason.SHUTDOWN)

    async def test_100_megabytes_each_way_at_once(self):
        first, second = await self.pair()
        ends = [(network.links()[0]) for network in (first, second)]
        answers = [link.request(GetBlocks(GENESIS, 4), timeout=150) for link in ends for _ in range(50)]
        replies = await gatherResults(answers)
        self.assertEqual(sum(sum(map(len, reply.blocks)) for reply in replies), 200_000_000)
        self.assertEqual(first.ends() + second.ends(), [])

    def held(self, link):
        """Bytes that wait for a link on our side: in its queue, in TLS, and in the transport below."""
        tls = link.transport
        below = tls.transport
        gathered = sum(map(len, tls._appSendBuffer)) + sum(map(len, tls._aggregator._buffer))
        return sum(link.queued().values()), gathered + len(below.dataBuffer) - below.offset + below._tempDataLen

    async def test_a_reader_that_stands_still_costs_1_megabyte_at_most(self):
        first, second = await self.pair()
        (link,), (far,) = first.links(), second.links()
        far.transport.pauseProducing()
        most = (0, 0)
        number = 0
        while link.dropped <= 200:  # the kernel takes some first: how many is its own choice
            number += 1
            link.send(NewBlock(bytes(60_000)), AnnounceBlocks(((bytes(32), number),)))
            await self.sleep(0.001)
            most = max(most, self.held(link), key=sum)
        self.assertGreater(most[0], 500_000)
        self.assertLessEqual(most[1], 256 * 1024)
        self.assertLessEqual(sum(most), 1_000_000)
        far.transport.resumeProducing()
        await self.until(lambda: not any(self.held(link)))
        self.assertEqual(first.ends() + second.ends(), [])

    async def test_wrong_genesis(self):
        first = await self.started(1)
        second = await self.started(2, genesis=b"\x09" * 32, static_nodes=(self.address(first),))
        await self.until(lambda: first.ends() and second.ends())
        self.assertEqual(first.ends()[0].reason, Reason.WRONG_GENESIS)
        self.assertEqual(second.ends()[0].reason, Reason.WRONG_GENESIS)

    def address(self, network, key=None):
        host, port = network.addresses[0]
        return f"{(key or network.own_id).hex()}@{host}:{port}"

    async def test_wrong_peer_id(self):
        first = await self.started(1)
        second = await self.started(2)
        second.add_peer(parse_node(self.address(first, b"\x07" * 32)))
        await self.until(lambda: first.ends() and second.ends())
        self.assertEqual(first.ends()[0].reason, Reason.WRONG_PEER_ID)
        self.assertEqual(second.ends()[0].reason, Reason.WRONG_PEER_ID)

    async def test_garbage_and_a_browser(self):
        first = await self.started(1)
        host, port = first.addresses[0]
        plain = await TCP4ClientEndpoint(self.reactor, host, port).connect(Factory.forProtocol(Protocol))
        plain.transport.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        await self.until(lambda: len(first.ends()) == 1)
        self.assertEqual(first.ends()[0].reason, Reason.MALFORMED_FRAME)
        self.reactor.connectSSL(host, port, Client(), ssl.ClientContextFactory())
        await self.until(lambda: len(first.ends()) == 2)
        self.assertIn(first.ends()[0].reason, (Reason.BAD_CERTIFICATE, Reason.WRONG_VERSION, Reason.MALFORMED_FRAME))
        self.assertEqual(first.peers(), [])

    async def test_busy_port(self):
        first = await self.started(1)
        text = f"tcp:{first.addresses[0][1]}:interface=127.0.0.1"
        with self.assertRaises(StartupError) as caught:
            await self.network(2, listen=text).start()
        self.assertIn(text, str(caught.exception))

    async def test_stop_and_start_again_on_the_same_port(self):
        port = free_port()
        first = self.network(1, listen=f"tcp:{port}:interface=127.0.0.1")
        second = await self.started(2, bootstrap_nodes=(f"{first.own_id.hex()}@127.0.0.1:{port}",))
        for _ in range(2):
            await first.start()
            await self.until(lambda: second.peers())
            await first.stop()
            await self.until(lambda: not second.peers())


class Client(Factory):
    """A protocol that says nothing, for ``connectSSL``."""

    noisy = False
    protocol = Protocol

    def startedConnecting(self, connector):
        pass

    def clientConnectionFailed(self, connector, reason):
        pass

    def clientConnectionLost(self, connector, reason):
        pass
