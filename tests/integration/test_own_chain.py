"""A chain of somebody's own, found as a plug-in on the path, in a devnet of real processes."""

import os
import unittest
from hashlib import sha256
from pathlib import Path
from unittest import mock

from tests.integration.processes import Devnet, call, eventually

EXAMPLE = Path(__file__).parents[2] / "examples" / "counter"


class OwnChainTests(unittest.TestCase):
    def test_three_nodes_count_apples(self) -> None:
        with mock.patch.dict(os.environ, {"PYTHONPATH": str(EXAMPLE)}):
            devnet = Devnet(self, "-n", 3, "--chain", "counter")
        self.assertEqual(devnet.document["accounts"], [])
        urls = [node["rpc"] for node in devnet.nodes]
        eventually(lambda: all(devnet.peers(number) for number in (1, 2, 3)), 30, "peers")
        raws = [b"apples 1 %d" % number for number in range(3)]
        for raw, url in zip(raws, urls, strict=True):
            call(url, "chain_submitTransaction", "0x" + raw.hex())
        ids = {"0x" + sha256(raw).hexdigest() for raw in raws}
        eventually(lambda: [self.included(url) for url in urls] == [ids] * 3, 60, "the three transactions everywhere")
        eventually(lambda: len({call(url, "chain_head")["hash"] for url in urls}) == 1, 30, "one head")

    def included(self, url: str) -> set[str]:
        """Ids of all transactions from the head down."""
        found: set[str] = set()
        block = call(url, "chain_getBlock", call(url, "chain_head")["hash"])
        while block["height"]:
            found.update(block["transactions"])
            block = call(url, "chain_getBlock", block["parent"])
        return found
