"""What the bootstrap texts of the settings mean, and which of them are refused."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.bootstrap import Bootstrap, parse_bootstrap
from chainp2p.discovery.tree import TreeUrl
from chainp2p.errors import SettingsError
from chainp2p.peer.address import NodeAddress
from chainp2p.peer.enr import make_enr, node_pairs
from chainp2p.peer.key import NodeKey

KEY = NodeKey(b"\x05" * 32)
URL = TreeUrl(KEY.compressed, "nodes.example.org")
PLAIN = f"{'ab' * 32}@example.org:30303"


def record(number, tcp=30303, udp=30303):
    return make_enr(NodeKey(number.to_bytes(32, "big")), 1, node_pairs(b"\x07" * 32, 1, "5.6.7.8", tcp, udp))


class BootstrapTest(SynchronousTestCase):
    def refused(self, *texts, discovery=True):
        return str(self.assertRaises(SettingsError, parse_bootstrap, texts, discovery))

    def test_all_kinds_at_once(self):
        both, dialled, asked = record(1), record(2, udp=None), record(3, tcp=None)
        found = parse_bootstrap([str(URL), asked.text, PLAIN, both.text, dialled.text, str(URL), both.text])
        self.assertEqual(
            found,
            Bootstrap(
                (
                    NodeAddress(bytes.fromhex("ab" * 32), "example.org", 30303),
                    NodeAddress(both.peer_id, "5.6.7.8", 30303, both),
                    NodeAddress(dialled.peer_id, "5.6.7.8", 30303, dialled),
                ),
                (asked, both),
                (URL,),
            ),
        )
        self.assertEqual(parse_bootstrap([]), Bootstrap())

    def test_without_discovery_nobody_is_asked_by_datagram(self):
        both = record(1)
        found = parse_bootstrap([both.text, str(URL)], discovery=False)
        self.assertEqual((len(found.nodes), found.records, found.trees), (1, (), (URL,)))
        self.assertIn("no address and TCP port to dial", self.refused(record(3, tcp=None).text, discovery=False))

    def test_what_is_wrong_is_named(self):
        self.assertIn("no address and TCP port to dial", self.refused(record(3, tcp=None, udp=None).text))
        self.assertIn("bad signature", self.refused(record(1).text[:-1] + ("A" if record(1).text[-1] != "A" else "Q")))
        self.assertIn("PEERID@host:port", self.refused("https://example.org"))
        self.assertIn("the key that signs the tree is missing", self.refused("enrtree://nodes.example.org"))
        self.assertIn("a tree begins with enrtree://", self.refused("enrtree:nodes.example.org"))
        self.assertIn("secp256k1 key", self.refused("enrtree://AAAA@nodes.example.org"))
        self.assertIn("is no domain", self.refused(f"{str(URL).partition('@')[0]}@nodes_example..org"))
        self.assertIn("is no domain", self.refused(f"{str(URL).partition('@')[0]}@10.0.0.1"))
