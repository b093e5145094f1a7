"""Proof of work as its users meet it: genesis file, ``--mine``, a node that follows, files, and the command."""

import json
import os
import signal
import subprocess
import sys
import unittest
from pathlib import Path

import pytest

from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES
from tests.cli.command import run
from tests.integration.processes import Daemon, call, eventually, process_exists, run_door, scratch

LOCAL = "tcp:0:interface=127.0.0.1"
MINER = "0x" + DEV_ADDRESSES[0].hex()
ETHER = 10**18


def children(pid: int) -> list[int]:
    """The processes that *pid* started and that run."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for file in found for word in file.read_text().split()]


@pytest.mark.integration
@unittest.skipUnless(Path("/proc/self/task").exists(), "asks Linux which children a process has")
class MiningDaemons(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = scratch(self)
        self.genesis = self.folder / "pow.json"
        self.genesis.write_text(
            json.dumps(
                {
                    "config": {"chainId": 5, "pow": {"periodMs": 1000, "halfLife": 60, "reward": hex(2 * ETHER)}},
                    "difficulty": "0x8000",
                    "timestamp": hex(1_700_000_000),
                }
            )
        )

    def daemon(self, *words: object, data: Path | None = None) -> Daemon:
        ports = ("--listen", LOCAL, "--rpc", LOCAL, "--admin", LOCAL, "--admin-auth", "none", "--no-discovery")
        return Daemon(self, "--genesis", self.genesis, "--profile", "private", *ports, *words, data=data)

    def test_a_miner_a_follower_and_what_a_kill_leaves(self) -> None:
        miner = self.daemon("--mine", MINER)
        facts = miner.facts()
        rpc, admin = facts["rpc"], facts["admin"]
        height = lambda url: int(call(url, "eth_blockNumber"), 16)  # noqa: E731
        eventually(lambda: height(rpc) >= 3, 120, "three blocks are mined")
        (child,) = children(miner.process.pid)
        block = call(rpc, "eth_getBlockByNumber", "0x2", False)
        self.assertEqual((block["miner"], block["seal"], block["mixHash"]), (MINER, "0x", "0x" + "00" * 32))
        self.assertGreater(int(block["difficulty"], 16), 0)
        self.assertEqual(call(rpc, "eth_getBlockByNumber", "finalized", False)["number"], "0x0")
        mined = int(call(rpc, "eth_getBalance", MINER, "0x2"), 16)
        self.assertEqual(mined, 4 * ETHER)

        follower = self.daemon("--static", f"{facts['peerId']}@{facts['listening'][0]}")
        there = follower.facts()
        eventually(lambda: height(there["rpc"]) >= 3, 60, "the follower has them")
        self.assertEqual(call(there["rpc"], "eth_getBlockByNumber", "0x2", False)["hash"], block["hash"])
        self.assertEqual(children(follower.process.pid), [])

        os.kill(child, signal.SIGKILL)
        before = height(rpc)
        eventually(lambda: height(rpc) > before + 2, 120, "the miner is started again")
        (second,) = children(miner.process.pid)
        self.assertNotEqual(child, second)
        self.assertEqual(call(admin, "admin_reorgs"), [])
        outcome = run("reorg", "--admin-url", admin)
        self.assertIn("no reorganisation", outcome.out)
        outcome = run("reorg", "accept", block["hash"], "--admin-url", admin)
        self.assertEqual(outcome.code, 1)
        self.assertIn("it is not refused", outcome.err)
        outcome = run("reorg", "invalidate", call(there["rpc"], "eth_getBlockByNumber", "0x3", False)["hash"],
                      "--admin-url", there["admin"])  # fmt: skip
        self.assertEqual((outcome.code, outcome.out), (0, "done\n"))
        self.assertEqual(height(there["rpc"]), 2)
        (turn,) = call(there["admin"], "admin_reorgs")
        self.assertEqual((turn["refused"], turn["head"]["height"]), (False, 2))
        self.assertIn("done", run("reorg", "--admin-url", there["admin"]).out)

        miner.stop(signal.SIGKILL)
        eventually(lambda: not process_exists(second), 30, "no miner is left")
        again = self.daemon("--mine", MINER, data=miner.data)
        facts = again.facts()
        self.assertGreaterEqual(facts["head"]["height"], 3)
        (third,) = eventually(lambda: children(again.process.pid), 30, "it mines again")
        self.assertLess(again.stop(), 6)
        self.assertFalse(process_exists(third))
        self.files(miner.data)

    def files(self, data: Path) -> None:
        """Export what was mined, and import it elsewhere."""
        file, other, facts = self.folder / "chain.bin", self.folder / "other", []
        for words in (("export", file, "--data-dir", data), ("import", file, "--data-dir", other)):
            command = [sys.executable, "-c", "from chainp2p.cli.main import main; main()", "chain", *map(str, words)]
            done = subprocess.run(
                [*command, "--genesis", str(self.genesis), "--json"], capture_output=True, text=True, timeout=120
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            facts.append(json.loads(done.stdout))
        self.assertGreaterEqual(facts[0]["done"], 3)
        self.assertEqual(facts[0]["done"], facts[1]["done"])

    def test_what_does_not_fit_is_refused(self) -> None:
        key = self.folder / "signer.key"
        key.write_text("11" * 32 + "\n")
        key.chmod(0o600)
        for words, text in (
            (("--mine", "me"), "seal.mine: 'me' is no address"),
            (("--seal", key), "seal.keyfile: this network has proof of work"),
        ):
            done = run_door("python -m twisted", "--genesis", self.genesis, *words)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)
            self.assertIn(text, done.stderr)
        outcome = run("genesis", "check", self.genesis, "--json")
        facts = json.loads(outcome.out)
        self.assertEqual((facts["consensus"], facts["periodMs"], facts["halfLife"]), ("proof of work", 1000, 60))
