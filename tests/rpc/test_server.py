"""A port's life: listening, refusing, stopping."""

from typing import Any

import txaio
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import StartupError
from chainp2p.rpc.limits import ADMIN_CONNECTIONS, Limits
from chainp2p.rpc.methods.web3 import web3_namespace
from chainp2p.rpc.server import RpcServer
from chainp2p.rpc.web import websocket
from tests.rpc.wire import CLIENT, Wire, call, post, replies


class Busy(MemoryReactorClock):
    """Every port is taken."""

    def listenTCP(self, *args: Any, **more: Any) -> Any:
        from twisted.internet.error import CannotListenError

        raise CannotListenError("127.0.0.1", 8545, OSError("in use"))


class Confused(MemoryReactorClock):
    def listenTCP(self, *args: Any, **more: Any) -> Any:
        raise KeyError("ours")


class Servers(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(txaio.config, "loop", None)

    def make(self, reactor: Any, endpoint: str = "tcp:8545:interface=127.0.0.1", **more: Any) -> RpcServer:
        return RpcServer(reactor=reactor, endpoint=endpoint, namespaces=[web3_namespace("me/1")], **more)

    def test_its_life(self) -> None:
        reactor = MemoryReactorClock()
        server = self.make(reactor)
        # what the reactor says is what counts: this one listens everywhere
        self.assertEqual(self.successResultOf(server.start()), [("0.0.0.0", 8545)])
        factory: Any = reactor.tcpServers[0][1]
        channel = factory.buildProtocol(CLIENT)
        wire = Wire(channel)
        channel.makeConnection(wire)
        channel.dataReceived(post(call("web3_clientVersion")))
        self.assertIn(b'"me/1"', replies(wire.take())[0][2])
        stopping = server.stop()
        self.assertTrue(wire.disconnecting)
        wire.cut()
        self.successResultOf(stopping)
        self.successResultOf(server.stop())
        self.assertEqual(websocket._bound, [])

    def test_a_unix_socket(self) -> None:
        reactor = MemoryReactorClock()
        server = self.make(reactor, "unix:/x/rpc.sock")
        self.assertEqual(self.successResultOf(server.start()), [("/x/rpc.sock", 0)])
        self.successResultOf(server.stop())

    def test_a_busy_port(self) -> None:
        error = self.failureResultOf(self.make(Busy()).start(), StartupError).value
        self.assertIn("tcp:8545:interface=127.0.0.1: in use", str(error))
        self.assertEqual(websocket._bound, [])

    def test_many_may_wait_to_be_accepted(self) -> None:
        for endpoint, backlog in (("tcp:8545", 1_024), ("tcp:8545:backlog=7", 7)):
            reactor = MemoryReactorClock()
            server = self.make(reactor, endpoint)
            self.successResultOf(server.start())
            self.assertEqual(reactor.tcpServers[0][2], backlog)
            self.successResultOf(server.stop())

    def test_any_other_failure_passes(self) -> None:
        self.failureResultOf(self.make(Confused()).start(), KeyError)
        self.assertEqual(websocket._bound, [])

    def test_a_second_reactor(self) -> None:
        server = self.make(MemoryReactorClock())
        self.successResultOf(server.start())
        self.failureResultOf(self.make(MemoryReactorClock()).start(), StartupError)
        self.successResultOf(server.stop())

    def test_which_limits(self) -> None:
        reactor = MemoryReactorClock()
        self.assertEqual(self.make(reactor).factory.limits, Limits())
        for more in ({"token": b"x" * 32}, {"admin": True}):
            self.assertEqual(self.make(reactor, **more).factory.limits.connections, ADMIN_CONNECTIONS)
        self.assertEqual(self.make(reactor, limits=Limits(body=1)).factory.limits.body, 1)
