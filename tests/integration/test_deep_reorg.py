"""A reorganisation that is too deep between real miners: refused, named, and taken at an operator's word."""

import json
import unittest
from typing import Any

import pytest

from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES
from tests.cli.command import run
from tests.integration.processes import Daemon, call, eventually, scratch

LOCAL = "tcp:0:interface=127.0.0.1"
LIMIT = 5


@pytest.mark.integration
class DeepReorg(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = scratch(self)
        self.genesis, self.config = self.folder / "pow.json", self.folder / "node.toml"
        consensus = {"periodMs": 1000, "halfLife": 3600}
        self.genesis.write_text(
            json.dumps({"config": {"chainId": 6, "pow": consensus}, "difficulty": "0x4000", "timestamp": "0x6553f100"})
        )
        self.config.write_text(f"[chain]\nmax_reorg_depth = {LIMIT}\n")

    def start(self, name: str, *words: object) -> tuple[Daemon, dict[str, Any]]:
        data = self.folder / name
        data.mkdir(exist_ok=True)
        ports = ("--listen", LOCAL, "--rpc", LOCAL, "--admin", LOCAL, "--admin-auth", "none", "--no-discovery")
        known = ("--genesis", self.genesis, "--config", self.config, "--profile", "private")
        node = Daemon(self, *known, *ports, *words, data=data)
        return node, node.facts()

    def head(self, facts: dict[str, Any]) -> dict[str, Any]:
        head: dict[str, Any] = call(facts["admin"], "chain_head")
        return head

    def test_refused_named_and_accepted(self) -> None:
        weaker, facts = self.start("weaker", "--mine", "0x" + DEV_ADDRESSES[0].hex())
        eventually(lambda: self.head(facts)["height"] > LIMIT, 120, "the weaker side is deep enough")
        weaker.stop()
        _, stronger = self.start("stronger", "--mine", "0x" + DEV_ADDRESSES[1].hex())
        weaker, facts = self.start("weaker")
        ours = self.head(facts)
        eventually(lambda: self.head(stronger)["rank"] > ours["rank"], 120, "the other side has more work")
        self.assertTrue(call(facts["admin"], "admin_addPeer", f"{stronger['peerId']}@{stronger['listening'][0]}"))

        (refused,) = eventually(lambda: call(facts["admin"], "admin_reorgs"), 60, "it is named")
        self.assertEqual((refused["refused"], refused["depth"]), (True, ours["height"]))
        self.assertEqual((refused["ancestor"]["height"], refused["head"]["hash"]), (0, ours["hash"]))
        listed = run("reorg", "--admin-url", facts["admin"])
        self.assertIn("refused", listed.out)
        self.assertIn(ours["hash"], listed.out)
        self.assertIn("refused", call(facts["admin"], "admin_explainSync")["text"])
        self.assertEqual(self.head(facts)["hash"], ours["hash"])

        tip = call(facts["admin"], "admin_reorgs")[0]["tip"]["hash"]
        accepted = run("reorg", "accept", tip, "--admin-url", facts["admin"])
        self.assertEqual((accepted.code, accepted.out), (0, "done\n"), accepted.err)
        eventually(lambda: self.head(facts)["height"] >= self.head(stronger)["height"] - 1, 60, "it follows")
        below = call(stronger["rpc"], "eth_getBlockByNumber", hex(LIMIT), False)["hash"]
        self.assertEqual(call(facts["rpc"], "eth_getBlockByNumber", hex(LIMIT), False)["hash"], below)
        turns = call(facts["admin"], "admin_reorgs")
        self.assertEqual([(turn["refused"], turn["depth"]) for turn in turns], [(False, ours["height"])])
