"""Port mapping over real datagrams on loopback: a gateway that speaks, one that speaks NAT-PMP only, and none."""

import json
from typing import Any

import pytest
from attrs import evolve
from twisted.internet import task
from twisted.trial.unittest import TestCase

from chainp2p.discovery.gateway import Dialect
from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES
from chainp2p.ledger.formats.genesis import genesis_json
from chainp2p.net.port_mapping import PortMapping
from chainp2p.node.node import Node
from chainp2p.node.platform import production_platform
from chainp2p.node.router import MachineRouter
from chainp2p.settings import AdminSettings, NetworkSettings, NodeSettings, RpcSettings, Settings
from chainp2p.testing.gateway import FakeGateway, GatewayProtocol
from tests.integration.processes import scratch

OUTSIDE = "93.184.216.34"


@pytest.mark.integration
class LoopbackMappingTests(TestCase):
    timeout = 60

    def setUp(self) -> None:
        from twisted.internet import reactor  # noqa: TID251

        self.reactor: Any = reactor

    def listen(self, gateway: FakeGateway) -> int:
        port = self.reactor.listenUDP(0, GatewayProtocol(gateway, self.reactor.seconds), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        gateway.born = self.reactor.seconds()
        return int(port.getHost().port)

    def router(self, port: int) -> MachineRouter:
        router = MachineRouter(self.reactor, lambda: "127.0.0.1", port)
        router.upnp = None
        return router

    async def until(self, look: Any) -> None:
        while not look():
            await task.deferLater(self.reactor, 0.01)

    async def test_each_protocol(self) -> None:
        for speaks, by in ((frozenset(Dialect), "PCP"), (frozenset({Dialect.NAT_PMP}), "NAT-PMP")):
            gateway = FakeGateway(speaks=speaks)
            told: list[Any] = []
            mapping = PortMapping(
                self.reactor,
                self.router(self.listen(gateway)),
                nonce=bytes(12),
                private=False,
                mapped=lambda *where, told=told: told.append(where),
                withdrawn=lambda told=told: told.append("withdrawn"),
            )
            mapping.start([("0.0.0.0", 30303)], [("0.0.0.0", 30304)])
            await self.until(lambda told=told: told)
            self.assertEqual((told, mapping.state.by), ([(OUTSIDE, 30303, 30304)], by))
            self.assertEqual(len(gateway.mappings), 2)
            await mapping.stop()
            self.assertEqual(gateway.mappings, {})

    async def test_a_closed_port_is_known_at_once(self) -> None:
        closed = self.reactor.listenUDP(0, GatewayProtocol(FakeGateway(), self.reactor.seconds), interface="127.0.0.1")
        port = closed.getHost().port
        await closed.stopListening()
        mapping = PortMapping(
            self.reactor, self.router(port), nonce=bytes(12), private=False, mapped=print, withdrawn=print
        )
        began = self.reactor.seconds()
        mapping.start([("0.0.0.0", 30303)], [])
        await self.until(lambda: mapping.state.rule != "looking")
        # by ICMP; without it the silence would last for half a minute
        self.assertLess(self.reactor.seconds() - began, 10)
        self.assertEqual((mapping.state.rule, mapping.state.text), ("silent", "nobody listens at the gateway's port"))
        await mapping.stop()

    async def test_a_node_advertises_it_and_takes_leave(self) -> None:
        gateway = FakeGateway()
        port = self.listen(gateway)
        folder = scratch(self)
        document = genesis_json(chain_id=7, signers=DEV_ADDRESSES[:1], period_ms=1000, alloc={}, timestamp=1)
        (folder / "genesis.json").write_text(json.dumps(document))
        settings = Settings(
            node=NodeSettings(data_dir=folder / "data", genesis=folder / "genesis.json"),
            network=NetworkSettings(listen_addr=("tcp:0",)),
            rpc=RpcSettings(listen=()),
            admin=AdminSettings(listen=()),
        )
        platform = evolve(production_platform(self.reactor), router=lambda: self.router(port))
        node = Node(self.reactor, settings, platform=platform)
        node.startService()
        bound = await node.ready()
        tcp = bound.listening[0][1]
        await self.until(lambda: node.network.enr.tcp_endpoint is not None)
        self.assertEqual(node.network.enr.tcp_endpoint, (OUTSIDE, tcp))
        self.assertEqual(node.network.enr.udp_endpoint, (OUTSIDE, tcp))
        began = self.reactor.seconds()
        await node.stopService()
        self.assertLess(self.reactor.seconds() - began, 5)
        self.assertEqual(gateway.mappings, {})
