"""A node whose router maps its ports: what it tells of itself, and what is left when it stops."""

import json
import tempfile
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.gateway import PORT, Kind
from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES
from chainp2p.ledger.formats.genesis import genesis_json
from chainp2p.node.node import Node
from chainp2p.testing.executor import SimExecutor
from chainp2p.testing.gateway import FakeGateway, GatewayProtocol
from chainp2p.testing.simulator import EPOCH, Simulation
from tests.net.test_port_mapping import GATEWAY, INSIDE, OUTSIDE, FakeRouter


class NodeMappingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.simulation = Simulation(3)
        self.addCleanup(self.simulation.close)
        self.gateway = FakeGateway(taken={30303})
        box = self.simulation.network.host("gateway", GATEWAY)
        box.listenUDP(PORT, GatewayProtocol(self.gateway, self.simulation.clock.seconds))

    def node(self, profile: str = "public", external: str | None = None, **network: Any) -> Node:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        genesis = Path(temporary.name) / "genesis.json"
        genesis.write_text(
            json.dumps(
                genesis_json(chain_id=7, signers=DEV_ADDRESSES[:1], period_ms=1000, alloc={}, timestamp=int(EPOCH))
            )
        )
        machine = self.simulation.add_node(ip=INSIDE, profile=profile)
        self.simulation.start(machine)
        platform, settings = machine.node._platform, machine.settings
        self.simulation.stop(machine)
        machine.disk.erase()
        network = {"listen_addr": ("tcp:30303",), "enable_discovery": True, **network}
        node = Node(
            machine.host,
            evolve(
                settings,
                node=evolve(settings.node, genesis=genesis, external=external),
                network=evolve(settings.network, **network),
            ),
            platform=evolve(platform, executor=lambda: SimExecutor(machine.host), router=FakeRouter),
        )
        simulation = self.simulation
        self.addCleanup(lambda: simulation.wait(node.stopService()))
        node.startService()
        self.simulation.wait(node.ready())
        self.simulation.run_for(5)
        return node

    def test_the_record_has_what_is_mapped_until_it_is_withdrawn(self) -> None:
        node = self.node()
        enr = node.network.enr
        self.assertEqual((enr.tcp_endpoint, enr.udp_endpoint), ((OUTSIDE, 30304), (OUTSIDE, 30304)))
        mapping = node._run.parts.mapping
        self.assertEqual((mapping.state.rule, mapping.state.tcp), ("mapped", 30304))
        self.gateway.code = 2
        self.simulation.run_for(1300)
        self.assertIsNone(node.network.enr.tcp_endpoint)
        self.gateway.code = 0
        self.simulation.run_for(200)
        self.assertEqual(node.network.enr.tcp_endpoint, (OUTSIDE, 30304))
        self.simulation.wait(node.stopService())
        self.assertEqual(self.gateway.mappings, {})
        node.startService()
        self.simulation.wait(node.ready())
        self.simulation.run_for(5)
        self.assertEqual(len(self.gateway.mappings), 2)
        self.assertEqual(node.network.enr.tcp_endpoint, (OUTSIDE, 30304))

    def test_a_private_interface_gives_way_to_the_mapping(self) -> None:
        node = self.node(listen_addr=(f"tcp:30303:interface={INSIDE}",))
        self.assertEqual(node.network.enr.tcp_endpoint, (OUTSIDE, 30304))

    def test_another_nat_before_the_gateway_is_not_advertised(self) -> None:
        self.gateway.ip = "100.64.8.8"
        node = self.node()
        self.assertIsNone(node.network.enr.tcp_endpoint)
        self.assertEqual(self.gateway.mappings, {})

    def test_without_discovery(self) -> None:
        node = self.node(enable_discovery=False)
        self.assertEqual(list(self.gateway.mappings), [(INSIDE, Kind.TCP, 30303)])
        self.assertEqual(node.network.enr.tcp_endpoint, (OUTSIDE, 30304))

    def test_nothing_is_asked(self) -> None:
        for number, given in enumerate(
            (
                {"profile": "private"},
                {"port_mapping": False},
                {"external": "93.184.216.1"},
                {"listen_addr": ("tcp:30303:interface=127.0.0.1",)},
            )
        ):
            if number:
                self.setUp()
            self.node(**given)
            self.assertEqual(self.gateway.asked, 0, given)

    def test_a_private_network_may_ask(self) -> None:
        self.gateway.ip = "10.9.9.9"
        node = self.node(profile="private", port_mapping=True)
        self.assertEqual(node.network.enr.tcp_endpoint, ("10.9.9.9", 30304))
