"""Nodes that know a list in DNS and nothing else find the network: production code, names in memory."""

from attrs import evolve
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.tree import TreeUrl
from chainp2p.discovery.treemaking import make_tree
from chainp2p.discovery.treewalk import RECHECK, RETRY
from chainp2p.errors import SettingsError
from chainp2p.peer.enr import make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from chainp2p.settings import Settings
from chainp2p.testing import Simulation, Weather

KEY = NodeKey(b"\x05" * 32)


def url(domain="nodes.example.org", key=KEY):
    return TreeUrl(key.compressed, domain)


def knows(*texts, udp=False, pex=True):
    """Settings of a node that knows these bootstrap texts."""

    def change(settings: Settings) -> Settings:
        network = evolve(
            settings.network,
            bootstrap_nodes=tuple(map(str, texts)),
            enable_discovery=udp,
            enable_pex=pex,
        )
        return evolve(settings, network=network)

    return change


class DnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.simulation = Simulation(11, weather=Weather(low=0.01, high=0.05))
        self.addCleanup(self.simulation.close)

    def record(self, machine, **endpoint):
        """What a list says of a machine."""
        pairs = node_pairs(machine.chain.genesis_hash, 1, machine.host.ip, **endpoint)
        return make_enr(machine.key, 1, pairs)

    def publish(self, *records, domain="nodes.example.org", key=KEY, seq=1, links=()):
        self.simulation.texts.update(make_tree(key, domain, seq, records, links))

    def test_by_tcp_alone(self) -> None:
        first, second = self.simulation.add_nodes(2)
        self.simulation.start()
        self.publish(self.record(first, tcp=30303), self.record(second, tcp=30303))
        third = self.simulation.add_node(settings=knows(url()))
        self.simulation.start(third)
        self.simulation.expect("linked", lambda: third.peers == 2, within=5)
        # hearsay under the name of the list, and nothing that the operator named
        known = [third.node.network._book.get(machine.key.peer_id) for machine in (first, second)]
        self.assertEqual([one.held for one in known], [False, False])
        self.assertTrue(any("nodes.example.org" in one.sources for one in known))

    def test_by_datagram_alone(self) -> None:
        first = self.simulation.add_node(settings=knows(udp=True))
        self.simulation.start()
        self.publish(self.record(first, udp=30303))
        second = self.simulation.add_node(settings=knows(url(), udp=True, pex=False))
        self.simulation.start(second)
        self.simulation.expect("linked", lambda: second.peers == 1, within=30)

    def test_a_record_without_tcp_is_a_seed(self) -> None:
        first = self.simulation.add_node(settings=knows(udp=True))
        self.simulation.start()
        seed = self.record(first, udp=30303)
        second = self.simulation.add_node(settings=knows(seed.text, udp=True, pex=False))
        self.simulation.start(second)
        self.simulation.expect("linked", lambda: second.peers == 1, within=30)
        third = self.simulation.add_node(settings=knows(seed.text))
        self.assertRaises(SettingsError, self.simulation.start, third)
        self.simulation.machines.remove(third)

    def test_a_record_with_both_is_dialled_and_asked(self) -> None:
        first = self.simulation.add_node(settings=knows(udp=True))
        self.simulation.start()
        # nobody is at that TCP port
        seed = self.record(first, tcp=1, udp=30303)
        second = self.simulation.add_node(settings=knows(seed.text, udp=True))
        self.simulation.start(second)
        self.simulation.expect("asked", lambda: second.node.network.discovered == 1, within=5)
        self.assertTrue(second.node.network._book.is_held(first.key.peer_id))
        self.simulation.run_for(2)
        self.assertIn("nobody listens at this port", [end.detail for end in second.node.network.ends()])

    def test_a_bad_list_beside_a_good_one(self) -> None:
        first = self.simulation.add_node()
        self.simulation.start()
        # one is signed by another key, one is not there, one names nobody, one is good
        self.publish(self.record(first, tcp=30303), domain="forged.example.org", key=NodeKey(b"\x06" * 32))
        self.publish(domain="empty.example.org")
        self.publish(self.record(first, tcp=30303))
        names = ("forged.example.org", "absent.example.org", "empty.example.org", "nodes.example.org")
        second = self.simulation.add_node(settings=knows(*map(url, names)))
        with capturedLogs() as logs:
            self.simulation.start(second)
            self.simulation.expect("linked", lambda: second.peers == 1, within=5)
        lines = [formatEvent(event) for event in logs if "list of nodes" in event.get("log_format", "")]
        self.assertIn("list of nodes at absent.example.org: there is no such name", lines)
        self.assertTrue(any(line.startswith("list of nodes at forged.example.org: bad signature") for line in lines))
        self.assertEqual(self.simulation.errors, [])
        unreadable = second.node.network.discovery.unreadable
        self.assertEqual(sorted(unreadable), ["absent.example.org", "forged.example.org"])
        codes = [finding.code for finding in self.simulation.wait(second.node.findings())]
        self.assertEqual(codes.count("list_unreadable"), 2)

    def test_a_list_that_grows_is_looked_at_again(self) -> None:
        first = self.simulation.add_node()
        self.simulation.start()
        second = self.simulation.add_node(settings=knows(url()))
        self.simulation.start(second)
        self.simulation.run_for(1)
        self.publish(self.record(first, tcp=30303))
        self.assertEqual(list(second.node.network.discovery.unreadable), ["nodes.example.org"])
        self.simulation.expect("linked", lambda: second.peers == 1, within=RETRY + 5)
        self.assertEqual(second.node.network.discovery.unreadable, {})
        metrics = {name: value for name, _, value in second.node.network.metrics()}
        self.assertIn("chainp2p_dns_names_total", metrics)

    def test_an_older_list_is_refused_over_a_restart(self) -> None:
        first, other = self.simulation.add_node(), self.simulation.add_node()
        self.simulation.start()
        self.publish(seq=9)
        second = self.simulation.add_node(settings=knows(url()))
        self.simulation.start(second)
        self.simulation.run_for(5)
        self.simulation.stop(second)
        self.publish(self.record(first, tcp=30303), seq=8)
        self.simulation.start(second)
        self.simulation.run_for(300)
        self.assertEqual(second.peers, 0)
        self.publish(self.record(other, tcp=30303), seq=10)
        self.simulation.expect("linked", lambda: second.peers == 1, within=RECHECK)
        self.assertEqual(second.node.network.peers()[0].peer_id, other.key.peer_id)
