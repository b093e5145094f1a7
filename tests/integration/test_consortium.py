"""A consortium of real processes: who is listed, who is not, and changing the list while they run."""

import json
import signal
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any

from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES
from chainp2p.ledger.formats.genesis import genesis_json
from tests.integration.processes import Daemon, call, eventually, run_door, scratch

QUIET = (
    "--listen",
    "tcp:0:interface=127.0.0.1",
    "--admin",
    "tcp:0:interface=127.0.0.1",
    "--admin-auth",
    "none",
    "--no-rpc",
)


def chainp2p(*words: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from chainp2p.cli.main import main; main()", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


class ConsortiumTests(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = scratch(self)
        self.genesis, self.file = self.folder / "genesis.json", self.folder / "members"
        document = genesis_json(
            chain_id=4711, signers=DEV_ADDRESSES[:1], period_ms=1000, alloc={}, timestamp=1_700_000_000
        )
        self.genesis.write_text(json.dumps(document))

    def data(self, name: str) -> tuple[Path, str]:
        """A data directory with a key, and its peer id."""
        done = chainp2p("init", "--data-dir", self.folder / name, "--json")
        return self.folder / name, json.loads(done.stdout)["peerId"]

    def start(self, data: Path, *words: object) -> tuple[Daemon, dict[str, Any]]:
        node = Daemon(self, "--genesis", self.genesis, *QUIET, *words, data=data)
        return node, node.facts()

    def ids(self, facts: dict[str, Any]) -> list[str]:
        return sorted(peer["id"] for peer in call(facts["admin"], "admin_peers"))

    def test_only_the_listed_keys_until_the_list_changes(self) -> None:
        (hub_data, _), (member_data, member_id), (stranger_data, stranger_id) = map(
            self.data, ("hub", "member", "stranger")
        )
        self.file.write_text(f"{member_id} bank of A\n")
        hub, facts = self.start(hub_data, "--profile", "consortium", "--allow-list", self.file)
        address = f"{facts['peerId']}@{facts['listening'][0]}"
        _, member = self.start(member_data, "--profile", "private", "--static", address)
        _, stranger = self.start(stranger_data, "--profile", "private", "--static", address)
        eventually(lambda: self.ids(facts) == [member_id], 30, "the member is in")
        self.assertEqual(call(facts["admin"], "admin_peers")[0]["role"], "bank of A")

        def refused() -> Any:
            ends = call(stranger["admin"], "admin_nodeInfo")["ends"]
            return [end for end in ends if end["reason"] == "not_allowed" and not end["byUs"]]

        # the alert of TLS tells the stranger in the middle of the handshake
        self.assertIn("TLS", eventually(refused, 30, "the stranger hears why")[0]["detail"])

        self.file.write_text("nonsense\n")
        hub.process.send_signal(signal.SIGHUP)
        eventually(lambda: "the allow-list stays as it was" in hub.log(), 30, "the log")
        done = chainp2p("doctor", "--data-dir", hub_data)
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("error: allow_list_unreadable", done.stdout)
        self.assertIn("note: own_key_unlisted", done.stdout)
        self.assertEqual(self.ids(facts), [member_id])

        self.file.write_text(f"{stranger_id} newcomer\n")
        hub.process.send_signal(signal.SIGHUP)
        eventually(lambda: self.ids(facts) == [stranger_id], 60, "the one is out and the other in")

        def put_out() -> bool:
            ends = call(member["admin"], "admin_nodeInfo")["ends"]
            return ("not_allowed", False) in {(end["reason"], end["byUs"]) for end in ends}

        eventually(put_out, 30, "the member hears why")

        self.file.write_text(f"{stranger_id}\n{member_id}\n")
        self.assertEqual(call(facts["admin"], "admin_reload"), 2)
        eventually(lambda: self.ids(facts) == sorted([member_id, stranger_id]), 60, "both are in")
        self.assertNotIn("Traceback", hub.log())

    def test_without_a_list_there_is_no_consortium(self) -> None:
        done = run_door("twistd", "--genesis", self.genesis, "--profile", "consortium", *QUIET)
        self.assertEqual(done.returncode, 2)
        self.assertIn("consortium needs a list of keys (--allow-list", done.stderr)
