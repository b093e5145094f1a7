"""The loss-free stream of a real network: clients that come back rebuild its chain. Figures: table_stream.py."""

import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.integration.followers import Followers
from tests.integration.npm import wallets_folder
from tests.integration.processes import ROOT, Devnet, call, eventually, scratch

CLIENTS = 12
#: Seconds of the partition.
PARTED = 4.0


def stored(store: Path) -> list[str]:
    """The chain in the store of an example."""
    chain: list[str] = []
    text = store.read_text()
    for line in text[: text.rfind("\n") + 1].splitlines():  # more may be being written
        for height, hash in json.loads(line)[1:]:
            chain[height:] = [hash]
    return chain


class Example:
    """One of the two example clients as a process that is killed and started again."""

    def __init__(self, test: unittest.TestCase, command: list[str], store: Path, urls: list[str], cwd: Path) -> None:
        self._command, self._cwd, self.store = [*command, str(store), *urls], cwd, store
        self.process = self._start()
        test.addCleanup(self.kill)

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command, stderr=subprocess.DEVNULL, cwd=self._cwd)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def again(self) -> None:
        self.kill()
        with self.store.open("a") as file:
            file.write('["half a li')
        self.process = self._start()

    def has(self, chain: list[str]) -> bool:
        return self.store.exists() and stored(self.store)[: len(chain)] == chain


def examples_of(test: unittest.TestCase, urls: list[str]) -> list[Example]:
    """Both example clients, the one for Node.js where that and npm are."""
    folder = scratch(test)
    python = [sys.executable, str(ROOT / "examples/follow.py")]
    found = [Example(test, python, folder / "python", urls, ROOT)]
    npm = wallets_folder()
    if npm is not None:
        shutil.copy(ROOT / "examples/follow.mjs", npm / "follow.mjs")
        found.append(Example(test, ["node", "follow.mjs"], folder / "node", urls[::-1], npm))
    return found


class StreamTests(unittest.TestCase):
    def subscribe(self, socket: ClientConnection, *params: object) -> Any:
        socket.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "chain_subscribe", "params": params}))
        return json.loads(socket.recv(timeout=10))

    def peers_of(self, socket: ClientConnection) -> set[str]:
        """What became of peers, as far as it was told by now."""
        states = set()
        with contextlib.suppress(TimeoutError):
            while True:
                event = json.loads(socket.recv(timeout=0.5))["params"]["result"]
                if event["type"] == "peer":
                    self.assertRegex(event["id"], "^0x[0-9a-f]{64}$")
                    states.add(event["state"])
        return states

    def test_the_examples_are_short(self) -> None:
        for name in ("follow.py", "follow.mjs"):
            self.assertLess(len((ROOT / "examples" / name).read_text().splitlines()), 80)

    def test_the_cost_of_readers_can_be_measured(self) -> None:
        words = ["--only=imports", "--clients=4", "--segments=1", "--blocks=5", "--transfers=1", "--pause=0.01"]
        command = [sys.executable, str(ROOT / "benchmarks/table_stream.py"), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        self.assertIn(done.returncode, (0, 1), done.stderr)  # whether the bound holds says nothing for five blocks
        self.assertIn("p99 with readers to p99 without", done.stdout, done.stderr)

    def test_partition_kill_reconnect_freeze(self) -> None:
        devnet = Devnet(self, "--period", "0.25")
        chance = random.Random(8)
        down: set[int] = set()

        def urls() -> list[str]:
            return [node["ws"] for number, node in enumerate(devnet.nodes, 1) if number not in down]

        genesis = call(devnet.nodes[0]["rpc"], "chain_info")["genesis"]
        examples = examples_of(self, urls())
        admin = self.enterContext(connect(devnet.nodes[0]["admin"].replace("http", "ws")))
        self.assertIn("result", self.subscribe(admin, ["peers"]))
        with self.enterContext(connect(devnet.nodes[0]["ws"])) as public:
            self.assertEqual(self.subscribe(public, ["peers"])["error"]["code"], -32602)
        with Followers(CLIENTS, genesis, urls) as followers:
            eventually(followers.ready, 90, "blocks")
            followers.freeze(0)
            devnet.verb("partition", "1,2", "/", "3,4")
            time.sleep(PARTED)
            followers.tear(chance.sample(range(CLIENTS), CLIENTS // 2))
            for example in examples:
                example.again()
            devnet.verb("heal")
            eventually(lambda: followers.counts["rollback"], 90, "a rollback")
            down.add(4)
            devnet.verb("kill", 4)
            followers.tear(chance.sample(range(CLIENTS), CLIENTS // 2))
            devnet.verb("start", 4)
            down.clear()
            eventually(lambda: followers.frozen_for, 90, "blocks that the frozen one does not read")
            height = eventually(followers.agree_with(devnet.nodes[0]["rpc"]), 120, "all have the chain")
            self.assertGreater(height, 10)
            chain = followers.all[0].client.chain[: height + 1]
            for example in examples:
                eventually(lambda example=example: example.has(chain), 90, f"{example.store.name} has it")
            print(f"height {height}, {len(examples)} examples, {dict(followers.counts)}", file=sys.stderr)
            (gap,) = followers.frozen.gaps
            self.assertEqual((gap["topic"], gap["reason"]), ("heads", "slow"))
            self.assertGreater(gap["lost"], 0)
            self.assertGreaterEqual(followers.counts["torn"], CLIENTS // 2)
            self.assertGreater(followers.counts["moves"], 0)
        self.assertEqual(self.peers_of(admin), {"joined", "left"})
