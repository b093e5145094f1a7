"""A node of Node Discovery v5.1 under load, against ``@chainsafe/discv5`` under the same load.

Real UDP on loopback. The node has a process of its own; this process is the load (``discovery_load.py``) for both, by
turns. Answers a second are by wall clock with 32 requests in flight; the other lines are CPU time of the node's process
(all of its threads). Limits by address are off on both sides: theirs are by default, ours exempt loopback, but for the
limit of challenges, which is lifted here.

PING and FINDNODE come from one node. FINDNODE asks for a bucket of 16 live nodes: ours tells them in two or three
packets, theirs in six. A handshake is a packet that cannot be read, a challenge, a handshake with a record that the
node sees for the first time, and the answer to the PING that came along. Junk is 63 to 300 random bytes; what the PING
behind every sixteenth costs is taken off.

Without Node.js there is no yardstick, and nothing is measured.
"""

import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen
from child import input_ended
from discovery_load import BATCH, NEIGHBOURS, Neighbours, Peer, answered, handshakes, junk, swallowed
from measure import Measured, show
from twisted.internet.task import react

from chainp2p.discovery.discv5 import Discv5
from chainp2p.discovery.limits import Limits
from chainp2p.net.datagram import DiscoveryShell
from chainp2p.peer.enr import Enr, make_enr, node_pairs
from chainp2p.peer.key import NodeKey

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.integration.javascript import discv5_folder

SERVER = NodeKey(b"\x01" * 32)
GENESIS = b"\x11" * 32
IN_FLIGHT = 32
#: Handshakes at once: with more of them the receive buffer of theirs, 20 KiB, runs over.
SHAKING = 8
#: What one sample has of each: all together take two seconds of CPU.
PINGS, QUESTIONS, HANDSHAKES, BATCHES = 1_000, 300, 40, 60
ROUNDS = 7
AIMS = {"ping": 1.0, "findnode": 1.0, "handshake": 5.0}


class Unlimited(Limits):
    """As many challenges as are asked for."""

    def may_challenge(self, now: float) -> bool:
        return True


async def serve(reactor: Any) -> None:
    enr = make_enr(SERVER, 1, node_pairs(GENESIS, 1))
    core = Discv5(SERVER, lambda: enr, random.SystemRandom(), genesis=GENESIS, private=True, limits=Unlimited())
    shell = DiscoveryShell(reactor, core, live=lambda enr: None, voted=lambda *vote: None)
    shell.listen([("127.0.0.1", 0)])
    enr = make_enr(SERVER, 2, node_pairs(GENESIS, 1, "127.0.0.1", udp=shell.addresses[0][1]))
    shell.start([])
    print(json.dumps({"result": [enr.text]}), flush=True)
    await input_ended()


@frozen
class Node:
    """A node that is measured."""

    enr: Enr
    pid: int

    def cpu(self) -> float:
        """CPU seconds that its process has used (Linux: its clock id)."""
        return time.clock_gettime(~self.pid << 3 | 2)


@contextmanager
def running(command: list[str], folder: Path | None = None) -> Iterator[Node]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps({"n": 1, "verb": "start", "keys": [SERVER.private.hex()]}) + "\n")
        process.stdin.flush()
        yield Node(Enr.from_text(json.loads(process.stdout.readline())["result"][0]), process.pid)
    finally:
        process.stdin.close()
        process.wait()


class Bench:
    """The load of one node, and its samples: seconds an operation, by measure."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._random = random.Random(1)
        Neighbours(node.enr, self._random)
        self._peer = Peer(node.enr, self._random, NodeKey.generate(self._random.randbytes))
        self._peer.begin()
        self._packets, records = self._peer.read_nodes()
        while records < NEIGHBOURS:
            time.sleep(0.1)
            self._packets, records = self._peer.read_nodes()
        self.samples: dict[str, list[float]] = {}

    def _take(self, name: str, run: Callable[[], int]) -> float:
        wall, cpu = time.perf_counter(), self._node.cpu()
        done = run()
        wall, cpu = time.perf_counter() - wall, self._node.cpu() - cpu
        self.samples.setdefault(f"{name}, wall", []).append(wall / done)
        self.samples.setdefault(f"{name}, cpu", []).append(cpu / done)
        return cpu / done

    def round(self) -> None:
        peer, chance = self._peer, self._random
        pings, questions = peer.pings(PINGS), peer.questions(QUESTIONS)
        callers = [
            Peer(self._node.enr, chance, NodeKey.generate(chance.randbytes), number)
            for number in range(1, HANDSHAKES + 1)
        ]
        rubbish, barriers = junk(chance, BATCH * BATCHES), peer.pings(BATCHES)
        ping = self._take("ping", lambda: answered(peer, pings, 1, IN_FLIGHT))
        self._take("findnode", lambda: answered(peer, questions, self._packets, IN_FLIGHT))
        self._take("handshake", lambda: handshakes(callers, SHAKING))
        batch = self._take("batch", lambda: swallowed(peer, rubbish, barriers))
        self.samples.setdefault("junk, cpu", []).append(max(batch - ping, 1e-9) / BATCH)
        for caller in callers:
            caller.socket.close()
        # answers were counted and not read: they still are what they were
        assert peer.read_pong() and peer.read_nodes() == (self._packets, NEIGHBOURS)


LINES = (
    ("PING, 32 in flight, wall clock", "ping, wall", AIMS["ping"]),
    ("PING, CPU of the node", "ping, cpu", None),
    ("FINDNODE for 16 records, 32 in flight, wall clock", "findnode, wall", AIMS["findnode"]),
    ("FINDNODE for 16 records, CPU of the node", "findnode, cpu", None),
    ("handshake, 8 at once, wall clock", "handshake, wall", AIMS["handshake"]),
    ("handshake, CPU of the node", "handshake, cpu", None),
    ("junk dropped, CPU of the node", "junk, cpu", None),
)


def compare(folder: Path) -> None:
    with running([sys.executable, __file__, "serve"]) as ours, running(["node", "nodes.mjs"], folder) as theirs:
        own, other = Bench(ours), Bench(theirs)
        for turn in range(ROUNDS + 1):
            own.round()
            other.round()
            if not turn:  # caches and compilers are cold
                own.samples.clear()
                other.samples.clear()
    lines = [
        Measured(
            measure,
            statistics.median(own.samples[name]) * 1e6,
            "@chainsafe/discv5",
            statistics.median(other.samples[name]) * 1e6,
            statistics.median(b / a for a, b in zip(own.samples[name], other.samples[name], strict=True)),
            aim,
        )
        for measure, name, aim in LINES
    ]
    show(lines, ["twisted", "cryptography", "coincurve"])
    for measure, name, _ in LINES:
        rates = [1 / statistics.median(bench.samples[name]) for bench in (own, other)]
        print(f"{measure:<52} {rates[0]:>10,.0f}/s {rates[1]:>10,.0f}/s")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        react(serve, sys.argv[2:])
    elif folder := discv5_folder():
        compare(folder)
