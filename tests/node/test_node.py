"""Node on the virtual clock: its life, its doors, and what a failed start leaves behind."""

import json
import tempfile
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.interfaces import Admission, BlockProduced, HeadChanged
from chainp2p.errors import Reason, SettingsError, StartupError
from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES, DEV_KEYS
from chainp2p.ledger.formats.genesis import genesis_json
from chainp2p.node.node import Bound, Node
from chainp2p.peer.link import PeerJoined
from chainp2p.settings import SealSettings, Settings
from chainp2p.testing.executor import SimExecutor
from chainp2p.testing.simulator import EPOCH, Simulation
from tests.integration.traffic import transfer


class NodeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.simulation = Simulation(3)
        self.addCleanup(self.simulation.close)

    def test_before_the_start_nothing_is_there(self) -> None:
        machine = self.simulation.add_node()
        self.simulation.start()
        node = Node(machine.host, machine.settings, chain=machine.chain, platform=machine.node._platform)
        self.assertEqual(node.peers(), [])
        self.assertFalse(node.running)
        node.reload()
        for name in ("chain", "network", "sync", "gossip", "health", "discovery"):
            self.assertRaises(RuntimeError, getattr, node, name)
        self.assertRaises(RuntimeError, node.submit_transaction, b"")
        waiting = node.ready()
        self.assertNoResult(waiting)
        waiting.cancel()
        self.failureResultOf(waiting)
        self.assertRaises(SettingsError, Node, machine.host, Settings(), chain=object())

    def plugin_node(self, *, seals: bool = True, **network: Any) -> Node:
        """A node whose chain the plug-in makes anew at each start, from files of this machine."""
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        folder = Path(temporary.name)
        document = genesis_json(chain_id=7, signers=DEV_ADDRESSES[:1], period_ms=1000, alloc={}, timestamp=int(EPOCH))
        (folder / "genesis.json").write_text(json.dumps(document))
        (folder / "key").write_text(DEV_KEYS[0].hex())
        machine = self.simulation.add_node()
        self.simulation.start(machine)
        platform, settings = machine.node._platform, machine.settings
        self.simulation.stop(machine)
        machine.disk.erase()
        node = Node(
            machine.host,
            evolve(
                settings,
                node=evolve(settings.node, genesis=folder / "genesis.json"),
                network=evolve(settings.network, **network),
                seal=SealSettings(keyfile=folder / "key") if seals else SealSettings(),
            ),
            platform=evolve(platform, executor=lambda: SimExecutor(machine.host)),
        )
        self.addCleanup(lambda: self.simulation.wait(node.stopService()))
        return node

    def test_it_starts_stops_and_starts_again(self) -> None:
        node, height = self.plugin_node(), 0
        for _ in range(3):
            node.startService()
            bound = self.simulation.wait(node.ready())
            self.assertGreaterEqual(bound.head_height, height)
            self.assertEqual((bound.rpc, bound.admin), ((), ()))
            self.assertEqual(node.health.livez(), [])
            self.simulation.run_for(4)
            height = node.chain.head.height
            self.assertGreater(height, bound.head_height)
            self.simulation.wait(node.stopService())
            self.assertRaises(RuntimeError, lambda: node.chain)
            self.assertEqual(node.peers(), [])

    def test_events_of_chain_and_network_come_on_one_bus(self) -> None:
        first = self.simulation.add_node(signer=DEV_KEYS[0])
        second = self.simulation.add_node(bootstrap=[first])
        self.simulation.start()
        seen: dict[type, list] = {kind: [] for kind in (HeadChanged, BlockProduced, PeerJoined)}
        for kind, events in seen.items():
            first.node.events.subscribe(kind, events.append)
        first.node.events.subscribe(HeadChanged, lambda event: 1 / 0)
        self.simulation.run_for(15)
        self.assertTrue(all(seen.values()), {kind: len(events) for kind, events in seen.items()})
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))
        self.assertEqual([peer.peer_id for peer in first.node.peers()], [second.key.peer_id])

    def test_other_protocols_talk_by_datagram_over_a_stop_and_a_start(self) -> None:
        node, other = self.plugin_node(enable_discovery=True), self.plugin_node(seals=False, enable_discovery=True)
        node.startService()
        enr = self.simulation.wait(node.ready()).enr
        other.settings = evolve(other.settings, network=evolve(other.settings.network, bootstrap_nodes=(enr,)))
        other.startService()
        self.simulation.wait(other.ready())
        self.simulation.run_for(20)
        self.assertRaises(TypeError, node.discovery.register_talk, "echo", len)
        node.discovery.register_talk(b"echo", lambda node_id, request: node_id[:2] + request)
        answer = other.network.own_id[:2] + b"hi"
        self.assertEqual(self.heard(other, enr), answer)
        found = self.simulation.wait(other.discovery.lookup(node.network.own_id))
        self.assertEqual([one.peer_id for one in found], [node.network.own_id])
        self.simulation.wait(node.stopService())
        self.assertRaises(RuntimeError, lambda: node.discovery)
        self.assertIsNone(self.heard(other, enr))
        node.startService()
        self.simulation.wait(node.ready())
        self.assertEqual(self.heard(other, enr), answer)
        node.discovery.register_talk(b"echo", None)
        self.assertEqual(self.heard(other, enr), b"")
        self.assertRaises(ValueError, other.discovery.talk, "enr:nothing", b"echo", b"")

    def heard(self, node: Node, enr: str) -> bytes | None:
        return self.simulation.wait(node.discovery.talk(enr, b"echo", b"hi"))

    def test_switched_off_there_is_no_discovery(self) -> None:
        machine = self.simulation.add_node()
        self.simulation.start()
        error = self.assertRaises(RuntimeError, lambda: machine.node.discovery)
        self.assertIn("network.enable_discovery", str(error))

    def test_a_transaction_goes_from_one_node_into_the_others_block(self) -> None:
        sealer = self.simulation.add_node(signer=DEV_KEYS[0])
        follower = self.simulation.add_node(bootstrap=[sealer])
        self.simulation.start()
        self.simulation.expect("linked", lambda: self.simulation.linked(1), within=20)
        raw = bytes.fromhex(transfer(1, 0)[2:])
        result = self.simulation.wait(follower.node.submit_transaction(raw))
        self.assertIs(result.outcome, Admission.ADMITTED)
        self.simulation.expect("included", lambda: self.simulation.included([result.hash]), within=20)

    def test_a_start_that_fails_closes_what_it_opened_and_may_be_tried_again(self) -> None:
        machine = self.simulation.add_node()

        def settings(given: Settings) -> Settings:
            listen = given.network.listen_addr
            return evolve(given, network=evolve(given.network, listen_addr=(*listen, *listen)))

        machine.settings = settings(good := machine.settings)
        failure = self.failureResultOf(self.run_until(machine.start()), StartupError)
        self.assertIn("30303", str(failure.value))
        machine.settings = good
        self.simulation.start(machine)
        node = machine.node
        self.assertIsInstance(self.successResultOf(node.ready()), Bound)

    def run_until(self, done):
        for _ in range(200):
            self.simulation.run_for(0.05)
        return done

    def test_nobody_asked_so_the_failure_is_logged(self) -> None:
        node = self.plugin_node()
        good = node.settings
        node.settings = evolve(good, network=evolve(good.network, listen_addr=good.network.listen_addr * 2))
        node.startService()
        self.simulation.run_for(2)
        self.assertEqual(len(self.flushLoggedErrors(StartupError)), 1)
        self.failureResultOf(node.ready(), StartupError)
        self.simulation.wait(node.stopService())
        node.settings = good
        node.startService()
        self.assertIsInstance(self.simulation.wait(node.ready()), Bound)

    def test_stopping_while_it_starts_waits_and_stops(self) -> None:
        node = self.plugin_node()
        node.startService()
        self.simulation.wait(node.stopService())
        self.assertRaises(RuntimeError, lambda: node.chain)


class AllowListTests(SynchronousTestCase):
    def test_only_listed_keys_connect_and_the_list_is_read_again(self) -> None:
        simulation = Simulation(4)
        self.addCleanup(simulation.close)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        file = Path(folder.name) / "allowed"
        file.write_text("")

        def with_list(given: Settings) -> Settings:
            return evolve(given, network=evolve(given.network, allow_list=file))

        guarded = simulation.add_node("guarded", settings=with_list)
        member = simulation.add_node("member", bootstrap=[guarded])
        stranger = simulation.add_node("stranger", bootstrap=[guarded])
        file.write_text(f"# who may\n{member.key.peer_id.hex()} signer of bank A\n\n")
        simulation.start()
        simulation.expect("the member is in", lambda: guarded.peers == 1, within=20)
        simulation.run_for(5)
        self.assertEqual([peer.peer_id for peer in guarded.node.peers()], [member.key.peer_id])
        self.assertIn(Reason.NOT_ALLOWED, {end.reason for end in guarded.node.network.ends()})
        file.write_text("nonsense\n")
        guarded.node.reload()
        self.assertEqual(guarded.peers, 1)
        file.write_text(f"{stranger.key.peer_id.hex()}\n")
        guarded.node.reload()
        simulation.expect("the stranger is in", lambda: guarded.peers == 1 and stranger.peers >= 1, within=60)
        simulation.expect(
            "and the member out",
            lambda: [peer.peer_id for peer in guarded.node.peers()] == [stranger.key.peer_id],
            within=60,
        )
        member.node.reload()
