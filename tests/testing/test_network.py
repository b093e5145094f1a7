"""Production endpoints and protocols on the network in memory."""

from random import Random
from typing import Any

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, serverFromString
from twisted.internet.interfaces import IConnector, IListeningPort, IReactorTCP, IReactorTime, ITCPTransport
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from chainp2p.testing.clock import HeapClock
from chainp2p.testing.hosts import MemoryHost
from chainp2p.testing.network import MemoryNetwork, Weather
from chainp2p.testing.pipe import SEGMENT
from chainp2p.testing.transport import WINDOW


class Recorder(Protocol):
    """Writes down what happens to it."""

    def __init__(self) -> None:
        self.data = b""
        self.chunks: list[tuple[float, int]] = []
        self.lost: Any = None
        self.made = False

    def connectionMade(self) -> None:
        self.made = True

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self.chunks.append((self.transport.host.seconds(), len(data)))

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = reason.type


class Source:
    """A push producer that writes while it may."""

    def __init__(self, transport: Any, total: int) -> None:
        self.transport = transport
        self.left = total
        self.paused = False
        self.stopped = False
        self.pauses = 0

    def start(self) -> None:
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self.paused = False
        while self.left and not self.paused:
            size = min(self.left, 10_000)
            self.left -= size
            self.transport.write(b"x" * size)
        if not self.left and self.transport.producer is self:
            self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self.paused = True
        self.pauses += 1

    def stopProducing(self) -> None:
        self.stopped = True


class Pull(Source):
    """A pull producer: one write a call."""

    def resumeProducing(self) -> None:
        size = min(self.left, 10_000)
        self.left -= size
        self.transport.write(b"x" * size)
        if not self.left:
            self.transport.unregisterProducer()


class NetworkCase(SynchronousTestCase):
    weather = Weather(low=0.01)

    def setUp(self) -> None:
        self.clock = HeapClock()
        self.network = MemoryNetwork(self.clock, Random(1), self.weather)
        self.one = self.network.host("one", "10.0.0.1")
        self.two = self.network.host("two", "10.0.0.2")
        self.servers: list[Recorder] = []

    def serve(self, host: MemoryHost, port: int = 30303, kind: type[Recorder] = Recorder) -> Any:
        def made(_: object) -> Recorder:
            self.servers.append(kind())
            return self.servers[-1]

        factory = Factory()
        factory.buildProtocol = made  # type: ignore[assignment]
        return self.successResultOf(serverFromString(host, f"tcp:{port}").listen(factory))

    def dial(self, host: MemoryHost, ip: str = "10.0.0.2", port: int = 30303, timeout: float = 30) -> Deferred[Any]:
        return TCP4ClientEndpoint(host, ip, port, timeout).connect(Factory.forProtocol(Recorder))

    def connected(self) -> tuple[Recorder, Recorder]:
        self.serve(self.two)
        dialled = self.dial(self.one)
        self.clock.run_for(0.05)
        return self.successResultOf(dialled), self.servers[-1]


class ConnectTests(NetworkCase):
    def test_interfaces(self) -> None:
        self.assertTrue(verifyObject(IReactorTCP, self.one))
        self.assertTrue(verifyObject(IReactorTime, self.one))
        self.assertTrue(verifyObject(IListeningPort, self.serve(self.two)))
        client, _ = self.connected_again()
        self.assertTrue(verifyObject(ITCPTransport, client.transport))

    def connected_again(self) -> tuple[Recorder, Recorder]:
        dialled = self.dial(self.one)
        self.clock.run_for(0.05)
        return self.successResultOf(dialled), self.servers[-1]

    def test_a_connection_takes_a_round_trip(self) -> None:
        self.serve(self.two)
        dialled = self.dial(self.one)
        self.clock.run_for(0.011)
        self.assertTrue(self.servers[0].made)
        self.assertNoResult(dialled)
        self.clock.run_for(0.01)
        client = self.successResultOf(dialled)
        self.assertEqual(client.transport.getPeer().host, "10.0.0.2")
        self.assertEqual(client.transport.getPeer().port, 30303)
        self.assertEqual(client.transport.getHost(), self.servers[0].transport.getPeer())
        self.assertEqual(self.servers[0].transport.getHost(), client.transport.getPeer())

    def test_refused_without_a_listener(self) -> None:
        dialled = self.dial(self.one)
        self.clock.run_for(0.05)
        self.failureResultOf(dialled, error.ConnectionRefusedError)

    def test_refused_by_the_factory(self) -> None:
        factory = Factory()
        factory.buildProtocol = lambda _: None  # type: ignore[assignment,method-assign]
        serverFromString(self.two, "tcp:30303").listen(factory)
        dialled = self.dial(self.one)
        self.clock.run_for(0.05)
        self.failureResultOf(dialled, error.ConnectionRefusedError)

    def test_nobody_there(self) -> None:
        dialled = self.dial(self.one, "10.9.9.9", timeout=5)
        self.clock.run_for(4.9)
        self.assertNoResult(dialled)
        self.clock.run_for(0.2)
        self.failureResultOf(dialled, error.TimeoutError)

    def test_a_dead_host(self) -> None:
        self.serve(self.two)
        self.two.kill()
        dialled = self.dial(self.one, timeout=5)
        self.clock.run_for(5)
        self.failureResultOf(dialled, error.TimeoutError)

    def test_cancelling_a_half_made_connection(self) -> None:
        self.serve(self.two)
        dialled = self.dial(self.one)
        self.clock.run_for(0.015)
        dialled.cancel()
        self.failureResultOf(dialled, error.ConnectingCancelledError)
        self.clock.run_for(1)
        self.assertIs(self.servers[0].lost, error.ConnectionLost)
        self.assertEqual((len(self.one.transports), len(self.two.transports)), (0, 0))

    def test_own_host(self) -> None:
        self.serve(self.one)
        for ip in ("127.0.0.1", "10.0.0.1"):
            dialled = self.dial(self.one, ip)
            self.clock.run_for(0)
            self.successResultOf(dialled)

    def test_ports(self) -> None:
        port = self.serve(self.two)
        self.assertEqual((port.getHost().host, port.getHost().port), ("0.0.0.0", 30303))
        again = serverFromString(self.two, "tcp:30303").listen(Factory())
        self.failureResultOf(again, error.CannotListenError)
        wrong = serverFromString(self.two, "tcp:1:interface=10.0.0.1").listen(Factory())
        self.failureResultOf(wrong, error.CannotListenError)
        free = self.successResultOf(serverFromString(self.two, "tcp:0:interface=10.0.0.2").listen(Factory()))
        self.assertGreater(free.getHost().port, 49_000)
        port.stopListening()
        port.stopListening()
        self.failureResultOf(self.refused(), error.ConnectionRefusedError)
        self.serve(self.two)

    def refused(self) -> Deferred[Any]:
        dialled = self.dial(self.one)
        self.clock.run_for(0.1)
        return dialled

    def test_names(self) -> None:
        self.serve(self.two)
        for name in ("two", "10.0.0.2"):
            dialled = HostnameEndpoint(self.one, name, 30303).connect(Factory.forProtocol(Recorder))
            self.clock.run_for(0.1)
            self.successResultOf(dialled)
        unknown = HostnameEndpoint(self.one, "nowhere", 30303).connect(Factory.forProtocol(Recorder))
        self.clock.run_for(0.1)
        self.failureResultOf(unknown, error.DNSLookupError)
        own = HostnameEndpoint(self.two, "localhost", 30303).connect(Factory.forProtocol(Recorder))
        self.clock.run_for(0.1)
        self.successResultOf(own)
        resolver = self.one.nameResolver
        self.assertIs(self.one.installNameResolver(resolver), resolver)

    def test_hosts_are_one_of_a_kind(self) -> None:
        self.assertRaises(ValueError, self.network.host, "one", "10.0.0.9")
        self.assertRaises(ValueError, self.network.host, "three", "10.0.0.1")
        self.assertEqual(self.network.hosts, (self.one, self.two))
        self.assertIs(self.network.find("10.0.0.1"), self.one)
        self.assertIsNone(self.network.find("elsewhere"))

    def test_client_factories(self) -> None:
        """``connectTCP`` as ``ReconnectingClientFactory`` and the like use it."""
        seen: list[str] = []

        class Watched(ClientFactory):
            noisy = False
            protocol = Recorder

            def startFactory(self) -> None:
                seen.append("start")

            def stopFactory(self) -> None:
                seen.append("stop")

            def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
                seen.append(f"failed {reason.type.__name__}")

            def clientConnectionLost(self, connector: Any, reason: Any) -> None:
                seen.append(f"lost {reason.type.__name__}")

        self.serve(self.two)
        connector: Any = self.one.connectTCP("10.0.0.2", 30303, Watched())
        self.assertTrue(verifyObject(IConnector, connector))
        self.assertEqual(connector.getDestination().port, 30303)
        self.assertRaises(RuntimeError, connector.connect)
        connector.disconnect()
        self.assertRaises(RuntimeError, connector.stopConnecting)
        connector.connect()
        self.clock.run_for(0.1)
        connector.disconnect()
        self.clock.run_for(0.1)
        connector.disconnect()
        self.assertEqual(seen, ["start", "failed UserError", "stop", "start", "lost ConnectionDone", "stop"])

    def test_a_client_that_does_not_want_it_any_more(self) -> None:
        self.serve(self.two)
        factory = ClientFactory()
        factory.noisy = False
        factory.buildProtocol = lambda _: None  # type: ignore[assignment,method-assign]
        self.one.connectTCP("10.0.0.2", 30303, factory)
        self.clock.run_for(0.1)
        self.assertIs(self.servers[0].lost, error.ConnectionLost)


class StreamTests(NetworkCase):
    def test_bytes_arrive_after_the_delay_in_one_segment(self) -> None:
        client, server = self.connected()
        start = self.clock.seconds()
        client.transport.write(b"ab")
        client.transport.writeSequence([b"c", b"d"])
        client.transport.write(bytearray(b"e"))
        self.assertRaises(TypeError, client.transport.write, "text")
        self.clock.run_for(0.0099)
        self.assertEqual(server.data, b"")
        self.clock.run_for(0.0002)
        self.assertEqual(server.chunks, [(start + 0.01, 5)])
        self.assertEqual(server.data, b"abcde")

    def test_order_is_kept_whatever_the_jitter(self) -> None:
        client, server = self.connected()
        self.network.set_weather(Weather(low=0.0, high=0.5, loss=0.3))
        for number in range(200):
            client.transport.write(b"%04d" % number)
            self.clock.run_for(0.003)
        self.clock.run_for(2)
        self.assertEqual(server.data, b"".join(b"%04d" % n for n in range(200)))

    def test_one_direction_may_be_slower(self) -> None:
        client, server = self.connected()
        self.network.set_weather(Weather(low=1.0), "one", "two")
        client.transport.write(b"slow")
        server.transport.write(b"fast")
        self.clock.run_for(0.5)
        self.assertEqual((client.data, server.data), (b"fast", b""))
        self.clock.run_for(0.6)
        self.assertEqual(server.data, b"slow")

    def test_bandwidth(self) -> None:
        self.network.set_weather(Weather(low=0.01, bandwidth=1_000_000))
        client, server = self.connected()
        start = self.clock.seconds()
        client.transport.write(b"x" * 1_000_000)
        self.clock.run_for(5)
        self.assertEqual(len(server.data), 1_000_000)
        self.assertGreater(server.chunks[-1][0] - start, 1.0)
        self.assertLess(server.chunks[-1][0] - start, 1.2)
        self.assertLessEqual(max(size for _, size in server.chunks), SEGMENT)

    def test_closing_sends_what_is_buffered_first(self) -> None:
        client, server = self.connected()
        client.transport.write(b"x" * (4 * WINDOW))
        client.transport.loseConnection()
        client.transport.loseConnection()
        self.clock.run_for(1)
        self.assertEqual(len(server.data), 4 * WINDOW)
        self.assertIs(client.lost, error.ConnectionDone)
        self.assertIs(server.lost, error.ConnectionDone)
        self.assertEqual((len(self.one.transports), len(self.two.transports)), (0, 0))
        client.transport.write(b"nobody reads that")
        client.transport.abortConnection()

    def test_aborting_throws_it_away(self) -> None:
        client, server = self.connected()
        client.transport.write(b"x" * (4 * WINDOW))
        client.transport.abortConnection()
        client.transport.abortConnection()
        self.clock.run_for(1)
        self.assertLessEqual(len(server.data), WINDOW)
        self.assertIs(client.lost, error.ConnectionAborted)
        self.assertIs(server.lost, error.ConnectionLost)

    def test_a_paused_reader_holds_the_writer(self) -> None:
        client, server = self.connected()
        server.transport.pauseProducing()
        source = Source(client.transport, 2_000_000)
        source.start()
        self.clock.run_for(1)
        self.assertEqual(server.data, b"")
        self.assertTrue(source.paused)
        written = 2_000_000 - source.left
        self.assertLess(written, WINDOW + 80_000)
        server.transport.resumeProducing()
        server.transport.resumeProducing()
        self.clock.run_for(5)
        self.assertEqual(len(server.data), 2_000_000)
        self.assertGreater(source.pauses, 1)
        self.assertIsNone(client.transport.producer)

    def test_the_end_waits_for_the_producer(self) -> None:
        client, server = self.connected()
        source = Source(client.transport, 1_000_000)
        source.start()
        client.transport.loseConnection()
        self.clock.run_for(2)
        self.assertEqual(len(server.data), 1_000_000)
        self.assertIs(server.lost, error.ConnectionDone)
        late = Source(client.transport, 1)
        client.transport.registerProducer(late, True)
        self.assertTrue(late.stopped)

    def test_a_second_producer_is_refused(self) -> None:
        client, server = self.connected()
        client.transport.registerProducer(first := Source(client.transport, 0), True)
        self.assertRaises(RuntimeError, client.transport.registerProducer, first, True)
        server.transport.stopProducing()
        self.clock.run_for(0.1)
        self.assertTrue(first.stopped)

    def test_pull_producers(self) -> None:
        client, server = self.connected()
        client.transport.registerProducer(Pull(client.transport, 10_000), False)
        client.transport.loseConnection()
        self.clock.run_for(1)
        self.assertEqual(len(server.data), 10_000)
        self.assertIs(client.lost, error.ConnectionDone)

    def test_closing_while_the_reader_is_paused(self) -> None:
        client, server = self.connected()
        server.transport.pauseProducing()
        client.transport.write(b"last words")
        client.transport.loseConnection()
        self.clock.run_for(1)
        self.assertIsNone(server.lost)
        server.transport.resumeProducing()
        self.clock.run_for(0)
        self.assertEqual(server.data, b"last words")
        self.assertIs(server.lost, error.ConnectionDone)

    def test_half_close(self) -> None:
        client, server = self.connected()
        client.transport.write(b"question")
        client.transport.loseWriteConnection()
        self.clock.run_for(0.1)
        self.assertEqual(server.data, b"question")
        # a protocol that knows no half-closed connections ends them
        self.assertIs(server.lost, error.ConnectionDone)
        self.assertIs(client.lost, error.ConnectionDone)

    def test_an_exception_in_the_protocol_ends_the_connection(self) -> None:
        class Broken(Recorder):
            def dataReceived(self, data: bytes) -> None:
                raise ZeroDivisionError

            def connectionLost(self, reason: Any = None) -> None:
                super().connectionLost(reason)
                raise KeyError

        self.serve(self.two, kind=Broken)
        dialled = self.dial(self.one)
        self.clock.run_for(0.1)
        client = self.successResultOf(dialled)
        client.transport.write(b"x")
        self.clock.run_for(0.1)
        self.assertIs(self.servers[0].lost, ZeroDivisionError)
        self.assertIs(client.lost, error.ConnectionLost)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError, KeyError)), 2)

    def test_options(self) -> None:
        client, _ = self.connected()
        client.transport.setTcpNoDelay(True)
        client.transport.setTcpKeepAlive(True)
        self.assertTrue(client.transport.getTcpNoDelay())
        self.assertFalse(client.transport.getTcpKeepAlive())


class CutTests(NetworkCase):
    def test_a_partition_is_silent_and_heals(self) -> None:
        client, server = self.connected()
        self.network.partition(["one"], ["two"])
        client.transport.write(b"a")
        self.clock.run_for(1)
        client.transport.write(b"b")
        self.clock.run_for(60)
        self.assertEqual((server.data, server.lost), (b"", None))
        self.network.heal()
        self.clock.run_for(0.02)
        self.assertEqual(server.data, b"ab")

    def test_a_changed_partition_keeps_holding(self) -> None:
        client, server = self.connected()
        self.network.partition(["one"])
        client.transport.write(b"a")
        client.transport.write(b"b")
        self.network.partition(["two"])
        self.clock.run_for(1)
        self.assertEqual(server.data, b"")
        self.network.partition(["two", "one"])
        self.clock.run_for(1)
        self.assertEqual(server.data, b"ab")

    def test_wrong_groups(self) -> None:
        self.assertRaises(ValueError, self.network.partition, ["one"], ["one"])
        self.assertRaises(ValueError, self.network.partition, ["nobody"])

    def test_a_dial_across_the_cut_is_tried_again(self) -> None:
        self.serve(self.two)
        self.network.partition(["one"], ["two"])
        late, never = self.dial(self.one), self.dial(self.one, timeout=2)
        self.clock.run_for(2.5)
        self.failureResultOf(never, error.TimeoutError)
        self.network.heal()
        self.clock.run_for(2)
        self.successResultOf(late)

    def test_a_cut_during_the_handshake(self) -> None:
        self.serve(self.two)
        late = self.dial(self.one)
        self.clock.run_for(0.005)
        self.network.partition(["one"], ["two"])
        self.clock.run_for(1)
        self.assertNoResult(late)
        self.network.heal()
        self.clock.run_for(2)
        self.successResultOf(late)

    def test_dropped_links(self) -> None:
        client, server = self.connected()
        self.assertEqual(self.network.drop_links("one", "two"), 1)
        self.assertEqual(self.network.drop_links(), 0)
        self.assertIs(client.lost, error.ConnectionLost)
        self.assertIs(server.lost, error.ConnectionLost)

    def test_kill_resets_connections(self) -> None:
        client, server = self.connected()
        ran: list[int] = []
        self.two.callLater(1, ran.append, 1)
        self.assertEqual(len(self.two.getDelayedCalls()), 1)
        self.two.kill()
        self.clock.run_for(2)
        self.assertEqual(ran, [])
        self.assertIsNone(server.lost)
        self.assertIs(client.lost, error.ConnectionLost)
        self.assertFalse(self.two.up)
        again = self.two.boot()
        self.assertEqual((again.up, self.two.up, self.network.find("two")), (True, False, again))
        self.assertRaises(RuntimeError, again.boot)
        # what is left of the dead program cannot do anything any more
        self.two.callLater(0, ran.append, 1)
        again.callFromThread(ran.append, 2)
        again.callWhenRunning(ran.append, 3)
        self.clock.run_for(0)
        self.assertEqual(ran, [3, 2])

    def test_a_power_cut_is_noticed_after_the_boot(self) -> None:
        client, _ = self.connected()
        self.two.kill(silent=True)
        client.transport.write(b"hello?")
        self.clock.run_for(10)
        self.assertIsNone(client.lost)
        self.two.boot()
        client.transport.write(b"hello?")
        self.clock.run_for(1)
        self.assertIs(client.lost, error.ConnectionLost)

    def test_weather_is_checked(self) -> None:
        self.assertEqual(Weather(low=2.0).high, 2.0)
        for wrong in ({"low": -1.0}, {"loss": 1.0}, {"bandwidth": 0.0}):
            self.assertRaises(ValueError, Weather, **wrong)
