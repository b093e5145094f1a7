"""``init``, ``key``, ``enr``, ``genesis`` and ``config``."""

import json
import stat
import tempfile
import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.cli.devnet_plan import checksummed
from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES, DEV_KEYS
from chainp2p.ledger.formats.genesis import genesis_json
from chainp2p.peer.enr import endpoint_pairs, make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from tests.cli.command import run


class ToolTests(SynchronousTestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def ask(self, *words: object):
        outcome = run(*words, "--json")
        self.assertEqual((outcome.code, outcome.err), (0, ""))
        return json.loads(outcome.out)

    def test_a_key_is_made_private_and_never_overwritten(self) -> None:
        file = self.folder / "signer.key"
        made = self.ask("key", "new", file)
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        self.assertEqual(self.ask("key", "show", file), made)
        self.assertNotIn(file.read_text().strip(), json.dumps(made))
        self.assertIn("exists already", run("key", "new", file).err)
        self.assertIn("No such file", run("key", "new", self.folder / "none" / "key").err)

    def test_the_address_of_a_key_is_ethereums(self) -> None:
        file = self.folder / "dev.key"
        file.write_text(DEV_KEYS[0].hex())
        self.assertEqual(self.ask("key", "show", file)["address"], "0x" + DEV_ADDRESSES[0].hex())
        self.assertIn("address", run("key", "show", file).out)

    def test_init_makes_what_a_node_would_make(self) -> None:
        folder = self.folder / "data"
        first = self.ask("init", "--data-dir", folder)
        self.assertEqual(self.ask("init", "--data-dir", folder), first)
        self.assertEqual(sorted(file.name for file in folder.iterdir()), ["jwt.hex", "node.key"])
        self.assertEqual(self.ask("key", "show", "--data-dir", folder)["peerId"], first["peerId"])

    def test_show_wants_one_key(self) -> None:
        self.assertEqual(run("key", "show").code, 2)

    def test_a_record_is_decoded(self) -> None:
        key = NodeKey(DEV_KEYS[0])
        record = make_enr(key, 7, node_pairs(b"\1" * 32, 1, "10.1.2.3", 30303))
        facts = self.ask("enr", record.text)
        self.assertEqual((facts["peerId"], facts["seq"], facts["ip"]), (key.peer_id.hex(), 7, "10.1.2.3"))
        self.assertEqual((facts["tcp"], facts["udp"], facts["genesis"]), (30303, None, "01010101"))
        self.assertIn("udp", run("enr", record.text).out)

    def test_record_of_both_families(self):
        key = NodeKey(b"\5" * 32)
        pairs = endpoint_pairs("10.1.2.3", 1, 2) | endpoint_pairs("2001:db8::1", 3, 4)
        facts = self.ask("enr", make_enr(key, 1, pairs).text)
        self.assertEqual((facts["ip"], facts["tcp"], facts["udp"]), ("10.1.2.3", 1, 2))
        self.assertEqual((facts["ip6"], facts["tcp6"], facts["udp6"]), ("2001:db8::1", 3, 4))
        facts = self.ask("enr", make_enr(key, 1, endpoint_pairs("2001:db8::1", 3, 4)).text)
        self.assertEqual((facts["ip"], facts["tcp"], facts["udp"]), ("2001:db8::1", 3, 4))
        self.assertNotIn("ip6", facts)

    def test_a_genesis_file_is_checked(self) -> None:
        file = self.folder / "genesis.json"
        document = genesis_json(chain_id=5, signers=DEV_ADDRESSES[:2], period_ms=1000, alloc={}, timestamp=1)
        file.write_text(json.dumps(document))
        facts = self.ask("genesis", "check", file)
        self.assertEqual((facts["chainId"], facts["hash"][2:10]), (5, facts["network"]))
        self.assertIn("chainId", run("genesis", "check", file).out)
        document["gaslimit"] = "0x1"
        file.write_text(json.dumps(document))
        outcome = run("genesis", "check", file)
        self.assertEqual(outcome.code, 2)
        self.assertIn("gaslimit", outcome.err)

    def test_config_prints_a_file_that_says_the_same(self) -> None:
        file = self.folder / "node.toml"
        file.write_text("[network]\nmax_peers = 3\n")
        outcome = run("config", "--config", file, "--gossip-interval", "0.5", "--no-rpc")
        self.assertEqual(outcome.code, 0, outcome.err)
        parsed = tomllib.loads(outcome.out)
        self.assertEqual((parsed["network"]["max_peers"], parsed["network"]["gossip_interval"]), (3, 0.5))
        self.assertEqual(parsed["rpc"]["listen"], [])
        file.write_text(outcome.out)
        self.assertEqual(run("config", "--config", file).out, outcome.out)
        shown = run("config", "--json", "--max-peers", "7").out
        self.assertEqual(json.loads(shown)["network"]["max_peers"], 7)

    def test_checksums_are_those_of_eip_55(self) -> None:
        for text in (
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
            "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        ):
            self.assertEqual(checksummed(bytes.fromhex(text[2:])), text)
