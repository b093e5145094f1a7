"""Nodes inside another program: the listing, stop and start again, two at once."""

import json
import os
import signal
import subprocess
import sys
import unittest
from pathlib import Path

from tests.integration.processes import ROOT, call, eventually, scratch

#: What a host program does with nodes; it runs a reactor of its own in a process of its own.
PROGRAM = """
import sys
from pathlib import Path
from twisted.internet import reactor, task
from twisted.internet.defer import Deferred
import chainp2p
from chainp2p.settings import *
from chainp2p.errors import StartupError

LOOPBACK = ("tcp:0:interface=127.0.0.1",)

def make(name, *bootstrap):
    return chainp2p.Node(reactor, chainp2p.Settings(
        node=NodeSettings(data_dir=Path(sys.argv[1]) / name),
        network=NetworkSettings(listen_addr=LOOPBACK, bootstrap_nodes=bootstrap),
        rpc=RpcSettings(listen=LOOPBACK), admin=AdminSettings(listen=LOOPBACK, auth="none")))

async def wait(look):
    while not look():
        await task.deferLater(reactor, 0.05)

async def main(reactor):
    BODY

task.react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
"""


def run_program(test: unittest.TestCase, body: str) -> str:
    program = PROGRAM.replace("BODY", body.replace("\n", "\n    "))
    done = subprocess.run(
        [sys.executable, "-c", program, str(scratch(test))], capture_output=True, text=True, timeout=120
    )
    test.assertEqual(done.returncode, 0, done.stdout + done.stderr)
    return done.stdout


class EmbeddingTests(unittest.TestCase):
    def test_stopped_and_started_again_it_is_the_same_node(self) -> None:
        out = run_program(
            self,
            """
import threading, os
node = make("one")
seen = []
for turn in range(3):
    node.startService()
    bound = await node.ready()
    seen.append(bound.peer_id)
    assert len(bound.listening) == 1 and node.peers() == [] and node.chain.head.height == 0
    await node.stopService()
    assert not os.path.exists(bound.data_dir / "lock") and not os.path.exists(bound.data_dir / "node.json")
    assert [t.name for t in threading.enumerate() if t.name.startswith("chainp2p")] == [], threading.enumerate()
assert len(set(seen)) == 1
print("same")
""",
        )
        self.assertEqual(out, "same\n")

    def test_two_in_one_process_are_peers(self) -> None:
        out = run_program(
            self,
            """
first = make("one")
first.startService()
one = await first.ready()
twin = make("one")
twin.startService()
try:
    await twin.ready()
except StartupError as error:
    print("in use" in str(error))
await twin.stopService()
second = make("two", f"{one.peer_id.hex()}@127.0.0.1:{one.listening[0][1]}")
second.startService()
two = await second.ready()
await wait(lambda: first.peers() and second.peers())
print(first.peers()[0].peer_id == two.peer_id, second.peers()[0].peer_id == one.peer_id)
await second.stopService()
await wait(lambda: not first.peers())
await first.stopService()
""",
        )
        self.assertEqual(out, "True\nTrue True\n")

    def test_a_start_that_fails_leaves_nothing_open(self) -> None:
        out = run_program(
            self,
            """
import os, socket, attrs, threading
busy = socket.socket()
busy.bind(("127.0.0.1", 0))
busy.listen()
node = make("one")
good = node.settings
endpoint = f"tcp:{busy.getsockname()[1]}:interface=127.0.0.1"
node.settings = attrs.evolve(good, rpc=attrs.evolve(good.rpc, listen=(endpoint,)))
node.startService()
try:
    await node.ready()
except StartupError as error:
    print(str(busy.getsockname()[1]) in str(error))
await node.stopService()
assert not os.path.exists(good.node.data_dir / "lock")
node.settings = good
node.startService()
await node.ready()
await node.stopService()
""",
        )
        self.assertEqual(out, "True\n")

    def test_the_listing_runs(self) -> None:
        folder = scratch(self)
        data = folder / "data"
        command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "-y"]
        with (folder / "out").open("wb") as out:
            process = subprocess.Popen(
                [*command, str(ROOT / "docs/listings/embed.tac")],
                env={**os.environ, "EMBED_DATA": str(data)},
                cwd=folder,
                stdout=out,
                stderr=out,
            )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        log = Path(folder / "out")
        eventually(lambda: "listening on" in log.read_text(), 60, "the listing's own line")
        facts = json.loads((data / "node.json").read_text())
        self.assertEqual(call(facts["rpc"], "eth_chainId"), "0x7a69")
        self.assertIsNone(facts["admin"])
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        self.assertFalse((data / "node.json").exists())
        self.assertNotIn("Traceback", log.read_text())

    def test_two_nodes_talk_in_the_listing(self) -> None:
        command = [sys.executable, str(ROOT / "docs/listings/talk.py")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=scratch(self))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, "response: b'hello, world'\nunknown protocol: b''\n")
