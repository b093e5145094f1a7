"""A signer is added to a network of four running processes, and one removed, by restarting one after the other."""

import json
import time
import unittest
from pathlib import Path
from typing import Any

from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES, DEV_KEYS
from chainp2p.ledger.formats.genesis import genesis_json
from tests.integration.processes import Daemon, call, eventually, free_port, scratch
from tests.integration.test_consortium import chainp2p

NAMES = ("first", "second", "third", "fourth", "newcomer", "forgotten")
PERIOD = 0.5
#: Blocks from when all may have been restarted to the change, and from there to the second change.
AHEAD, AFTER = 20, 15
ADDRESSES = ["0x" + address.hex() for address in DEV_ADDRESSES[:5]]


class RollingTests(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = scratch(self)
        self.genesis, self.schedule = self.folder / "genesis.json", self.folder / "schedule.json"
        document = genesis_json(
            chain_id=4711, signers=DEV_ADDRESSES[:4], period_ms=round(PERIOD * 1000), alloc={}, timestamp=1_700_000_000
        )
        self.genesis.write_text(json.dumps(document))
        self.ports = {name: free_port() for name in NAMES}
        self.ids = {name: self.prepare(name) for name in NAMES}
        self.nodes: dict[str, Daemon] = {}
        self.facts: dict[str, dict[str, Any]] = {}

    def prepare(self, name: str) -> str:
        """A data directory with a key of its own; all but the last seal some day."""
        done = chainp2p("init", "--data-dir", self.folder / name, "--json")
        if name != NAMES[-1]:
            (self.folder / f"{name}.seal").write_text(DEV_KEYS[NAMES.index(name)].hex() + "\n")
        peer_id: str = json.loads(done.stdout)["peerId"]
        return peer_id

    def start(self, name: str, scheduled: bool) -> None:
        words: list[object] = ["--genesis", self.genesis, "--profile", "private", "--no-discovery", "--no-rpc"]
        words += ["--listen", f"tcp:{self.ports[name]}:interface=127.0.0.1"]
        words += ["--admin", "tcp:0:interface=127.0.0.1", "--admin-auth", "none"]
        for other in NAMES[:4]:
            if other != name:
                words += ["--static", f"{self.ids[other]}@127.0.0.1:{self.ports[other]}"]
        if name != NAMES[-1]:
            words += ["--seal", self.folder / f"{name}.seal"]
        if scheduled:
            words += ["--schedule", self.schedule]
        self.nodes[name] = Daemon(self, *words, data=self.folder / name)
        self.facts[name] = self.nodes[name].facts()

    def restart(self, name: str, scheduled: bool) -> float:
        """Stop a node, start it again, and wait until it follows; return how long that took. Seconds."""
        begun = time.monotonic()
        self.nodes[name].stop()
        self.start(name, scheduled)
        height = self.height(name)
        eventually(lambda: self.height(name) > height + 1, 60, f"{name} goes on")
        return time.monotonic() - begun

    def ask(self, name: str, method: str, *params: Any) -> Any:
        return call(self.facts[name]["admin"], method, *params, timeout=30.0)

    def height(self, name: str) -> int:
        height: int = self.ask(name, "chain_head")["height"]
        return height

    def miners(self, low: int, high: int) -> set[str]:
        return {self.ask("first", "eth_getBlockByNumber", hex(at), False)["miner"] for at in range(low, high)}

    def test_one_is_added_and_one_removed(self) -> None:
        for name in (*NAMES[:4], "forgotten"):
            self.start(name, scheduled=False)
        begun = eventually(lambda: self.height("first"), 90, "a block")
        took = self.restart("second", scheduled=False)  # what one takes on this machine
        change = self.height("first") + AHEAD + round(2 * len(NAMES) * took / PERIOD)
        second = change + AFTER
        signers = [*ADDRESSES[:4], ADDRESSES[4]], [ADDRESSES[0], *ADDRESSES[2:]]
        changes = [{"height": at, "signers": list(some)} for at, some in zip((change, second), signers, strict=True)]
        self.schedule.write_text(json.dumps({"changes": changes}))
        for name in NAMES[:4]:
            self.restart(name, scheduled=True)
        self.start("newcomer", scheduled=True)
        self.assertLess(self.height("first"), change, "the restarts took too long: nothing was tested")
        warnings = [peer["settingsWarning"] for peer in self.ask("forgotten", "admin_peers")]
        self.assertTrue(warnings and all(f"from height {change} on" in text for text in warnings), warnings)
        told = NAMES[:5]
        eventually(lambda: min(map(self.height, told)) >= second + 12, 300, "beyond both changes")
        self.assertNotIn(ADDRESSES[4], self.miners(begun, change))
        self.assertIn(ADDRESSES[4], self.miners(change, second + 12))
        self.assertNotIn(ADDRESSES[1], self.miners(second, second + 12))
        self.assertGreater(self.ask("first", "chain_info")["finalized"]["height"], second)
        common = min(map(self.height, told))
        hashes = {self.ask(name, "eth_getBlockByNumber", hex(common), False)["hash"] for name in told}
        self.assertEqual(len(hashes), 1)
        for name in NAMES:
            bans = self.ask(name, "admin_bans")
            self.assertEqual([ban for ban in bans if ban["kind"] not in ("redial", "REDIAL")], [], name)
            self.assertNotIn("Traceback", self.nodes[name].log())
        self.check_forgotten(change)

    def check_forgotten(self, change: int) -> None:
        """The node that was not told stands where its list of signers differs, and says why to whoever runs it."""
        height = self.height("forgotten")
        self.assertGreaterEqual(height, change - 1)
        for at in range(change, height + 1):  # a few slots may be the same signer's in both lists
            block = self.ask("first", "eth_getBlockByNumber", hex(at), False)
            self.assertEqual(block["miner"], ADDRESSES[int(block["nonce"], 16) % 4], at)
        self.assertLess(height, change + 4)
        ends = self.ask("forgotten", "admin_nodeInfo")["ends"]
        parted = [end for end in ends if end["reason"] == "wrong_settings"]
        self.assertGreaterEqual(len({end["id"] for end in parted}), 4)
        self.assertIn(f"from height {change} on", parted[0]["detail"])
        done = chainp2p("doctor", "--data-dir", Path(self.folder / "forgotten"))
        self.assertIn("wrong_settings", done.stdout)
