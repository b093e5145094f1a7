"""What the doctor of a node says of its network, in networks where just that is wrong."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import Reason
from chainp2p.ledger.formats.devkeys import DEV_KEYS
from chainp2p.node.facts import Finding, Severity
from chainp2p.peer.address import parse_node
from chainp2p.settings import Settings
from chainp2p.testing import Simulation, ledger_chain, ledger_genesis
from chainp2p.testing.machines import Machine


class DoctorCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.simulation = Simulation(11, make_chain=ledger_chain(ledger_genesis(4, 1.0)))
        self.addCleanup(self.simulation.close)

    def findings(self, machine: Machine) -> dict[str, Finding]:
        return {finding.code: finding for finding in self.simulation.wait(machine.node.findings())}

    def network(self, count: int, **options: Any) -> list[Machine]:
        machines = self.simulation.add_nodes(count, signers=4, **options)
        self.simulation.start()
        self.simulation.expect("linked", lambda: self.simulation.linked(count - 1), 60)
        return machines


class ClockTests(DoctorCase):
    def test_one_of_four_is_an_hour_off(self) -> None:
        simulation = self.simulation
        machines = [simulation.add_node(signer=DEV_KEYS[n], offset=3600.0 if n == 3 else 0.0) for n in range(4)]
        self._link(machines)
        good, wrong = machines[0], machines[3]
        finding = self.findings(wrong)["wrong_clock"]
        self.assertIs(finding.severity, Severity.WARNING)
        self.assertEqual(round(finding.evidence["offset"]), -3600)
        self.assertIn(wrong.key.peer_id.hex()[:8], self.findings(good)["peer_clock"].text)
        simulation.run_for(120)
        self.assertTrue(simulation.linked(3))
        self.assertEqual(self.reasons(*machines) & {Reason.MISBEHAVED, Reason.BANNED}, set())

    def _link(self, machines: list[Machine]) -> None:
        self.simulation.start()
        for machine in machines[1:]:
            self.simulation.machines[0].node.network.add_peer(parse_node(machine.address))
        self.simulation.expect("linked", lambda: self.simulation.linked(3), 60)

    def reasons(self, *machines: Machine) -> set[Reason]:
        return {end.reason for machine in machines for end in machine.node.network.ends()}

    def test_a_clock_that_jumps_while_the_links_stand(self) -> None:
        machines = self.network(4)
        self.assertNotIn("wrong_clock", self.findings(machines[1]))
        machines[1].offset -= 30
        self.assertEqual(round(self.findings(machines[1])["wrong_clock"].evidence["offset"]), 30)
        machines[1].offset += 30
        self.assertNotIn("wrong_clock", self.findings(machines[1]))
        self.assertEqual(self.findings(machines[0]), {})

    def test_in_public_five_peers_decide(self) -> None:
        simulation = self.simulation
        hub = simulation.add_node(profile="public", ip="52.1.0.1")
        others = [
            simulation.add_node(profile="public", ip=f"52.{n}.0.1", bootstrap=[hub], offset=60.0) for n in range(2, 7)
        ]
        simulation.start(hub, *others[:4])
        simulation.expect("four", lambda: hub.peers == 4, 60)
        self.assertEqual(list(self.findings(hub)), ["clocks_differ"])
        simulation.start(others[4])
        simulation.expect("five", lambda: hub.peers == 5, 60)
        self.assertEqual(list(self.findings(hub)), ["wrong_clock"])


class ReachTests(DoctorCase):
    def test_a_private_address_in_a_public_network(self) -> None:
        hub = self.simulation.add_node(profile="public", ip="52.1.0.1")
        inside = self.simulation.add_node(profile="public", bootstrap=[hub])
        self.simulation.start()
        self.simulation.expect("linked", lambda: hub.peers == 1, 60)
        self.assertIn("private_address", self.findings(inside))
        self.assertEqual(self.findings(hub), {})

    def external(self, address: str) -> Callable[[Settings], Settings]:
        return lambda made: evolve(made, node=evolve(made.node, external=address))

    def test_a_port_that_nobody_reaches(self) -> None:
        hub = self.simulation.add_node(ip="52.1.0.1")
        closed = self.simulation.add_node(bootstrap=[hub], settings=self.external("52.9.9.9:30303"))
        fine = self.simulation.add_node(bootstrap=[hub])
        self.simulation.start()
        self.simulation.expect("linked", lambda: hub.peers == 2, 60)
        self.assertNotIn("port_unreachable", self.findings(closed))
        closed.node.network.counters["callers"] = 0
        self.simulation.run_for(61)
        fine.node.network.counters["callers"] = 0
        self.assertIn("52.9.9.9:30303", self.findings(closed)["port_unreachable"].text)
        self.assertNotIn("port_unreachable", self.findings(fine))


class GenesisTests(DoctorCase):
    def test_the_one_with_another_genesis_is_told(self) -> None:
        machines = self.network(3)
        stray = self.simulation.add_node(bootstrap=machines[:1], make_chain=ledger_chain(ledger_genesis(2, 1.0)))
        self.simulation.start(stray)
        self.simulation.run_for(61)
        finding = self.findings(stray)["wrong_genesis"]
        self.assertIs(finding.severity, Severity.ERROR)
        self.assertIn("--genesis", finding.remedy)
        self.assertIs(self.findings(machines[0])["wrong_genesis"].severity, Severity.NOTE)


class AllowListTests(DoctorCase):
    """A consortium of three and its list."""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name) / "allowed"
        self.file.write_text("")

    def listed(self, made: Settings) -> Settings:
        return evolve(made, network=evolve(made.network, allow_list=self.file))

    def write(self, *machines: Machine) -> None:
        self.file.write_text("".join(f"{one.key.peer_id.hex()} bank {one.name}\n" for one in machines))

    def test_roles_reload_and_removal(self) -> None:
        simulation = self.simulation
        options: dict[str, Any] = {"profile": "consortium", "settings": self.listed}
        machines = simulation.add_nodes(3, signers=3, **options)
        stranger = simulation.add_node("stranger", bootstrap=machines)
        self.write(*machines)
        simulation.start()
        hub, second, third = machines
        simulation.expect("linked", lambda: all(one.peers == 2 for one in machines), 60)
        self.assertEqual(stranger.peers, 0)
        self.assertEqual({peer.role for peer in hub.node.peers()}, {"bank node2", "bank node3"})
        self.assertEqual(self.findings(hub), {})
        simulation.run_for(60)
        self.assertEqual(self.findings(stranger)["not_allowed"].severity, Severity.ERROR)

        self.file.write_text("nonsense\n")
        hub.node.reload()
        simulation.run_for(1)
        finding = self.findings(hub)["allow_list_unreadable"]
        self.assertIn("line 1", finding.text)
        self.assertEqual(hub.peers, 2)

        self.write(third)
        hub.node.reload()
        self.write(hub, second)
        hub.node.reload()
        simulation.expect("the third is out", lambda: hub.peers == 1, 5)
        self.assertNotIn("allow_list_unreadable", self.findings(hub))
        ends = [end for end in third.node.network.ends() if end.peer_id == hub.key.peer_id]
        self.assertEqual([(end.reason, end.by_us) for end in ends[-1:]], [(Reason.NOT_ALLOWED, False)])
        tries = len(hub.node.network.ends())
        simulation.run_for(60)
        dialled = [end for end in hub.node.network.ends()[:-tries] if end.outbound]
        self.assertEqual(dialled, [], "who is not on the list is not dialled")
        self.assertIn("delisted", {end.rule for end in hub.node.network.ends()})

        self.write(*machines)
        hub.node.reload()
        simulation.expect("and in again", lambda: hub.peers == 2, 60)
        self.assertEqual(hub.node.network.bans(), [])
        self.assertEqual(simulation.errors, [])
