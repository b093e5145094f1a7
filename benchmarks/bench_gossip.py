"""Items of 600 bytes among ten nodes over TLS on loopback, against py-libp2p's and js-libp2p's gossipsub.

    python benchmarks/bench_gossip.py

Ours are whole production nodes, in two rows. *Ledger*: signed transactions of the reference chain, each of which every
node decodes, recovers the sender of, checks against its account, and keeps in a pool on disk. *Items*: the same nodes
with a foreign chain (``item_chain.py``) whose pool does what gossipsub does with a message, which is to check the
signature of so many opaque bytes. Theirs are hosts with gossipsub (D = 8, heartbeat 1 s, py-libp2p's limit of ten a
second lifted) and signed messages. Ten of one kind run in one process, all linked with all. First ten items a second
are published in turn, then as many as keep 160 on their way, 32 of js-libp2p and 16 of py-libp2p. A delivery is an item
that arrives at a node which did not publish it; CPU is that of the whole process. The kinds take turns; ratios are
medians of the rounds'.
py-libp2p runs in ``.venv-libp2p``, js-libp2p where Node.js is. Exit code 1 if one of our items is lost.
"""

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

from attrs import define, evolve, frozen
from bench_libp2p import LIBP2P, libp2p_python
from item_chain import ItemChain, sign_item
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

sys.path.insert(0, str(Path(__file__).parents[1]))

from chainp2p import Node, Settings
from chainp2p.chain.interfaces import TransactionAdded
from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES
from chainp2p.ledger.formats.genesis import genesis_json
from chainp2p.ledger.formats.transaction import sign_transaction
from chainp2p.node.pauses import shorten_pauses
from chainp2p.node.threads import ThreadExecutor
from chainp2p.primitives.keccak import keccak256
from chainp2p.primitives.secp256k1 import public_key
from chainp2p.settings import AdminSettings, NetworkSettings, NodeSettings, RpcSettings
from tests.integration.npm import npm_folder

HERE = Path(__file__).parent
#: What is installed for js-libp2p: the newest of October 2026, and what fits it.
PACKAGES = {
    "libp2p": "3.3.11",
    "@libp2p/gossipsub": "17.1.1",
    "@libp2p/tcp": "11.0.28",
    "@libp2p/identify": "4.1.14",
    "@libp2p/yamux": "8.0.3",
    "@chainsafe/libp2p-noise": "17.0.0",
}
OWN = ("ledger", "items")
#: Deliveries for each CPU second, how many times theirs; and the p99 of a delivery, what part of theirs at most.
AIMS = {"py-libp2p": 30.0, "js-libp2p": 10.0}
P99 = 0.5
CHAIN_ID, GWEI = 771_771, 10**9
LOOPBACK = ("tcp:0:interface=127.0.0.1",)
#: Of one sender without a gap; each node's pool holds 5,000.
OF_A_SENDER = 16
#: Seconds in which links are made, and after which an item that is not everywhere is lost.
MEETING, LOST = 30.0, 20.0


@frozen
class Plan:
    """What each kind is to do; it travels as JSON."""

    nodes: int = 10
    size: int = 600
    rate: float = 10.0
    paced: int = 50
    flat: int = 2_000
    window: int = 32
    ledger: bool = True

    def items(self) -> list[bytes]:
        """Signed transactions of that size, of senders that have a few each; or signed bytes, so many of them."""
        count = self.paced + self.flat
        if not self.ledger:
            key = keccak256(b"publisher")
            return [sign_item(key, n.to_bytes(8, "big") + bytes(self.size - 8)) for n in range(count)]
        keys = [keccak256(b"sender %d" % n) for n in range(count // OF_A_SENDER + 1)]
        short = len(self._item(keys[0], 0, b"\x01" * 300))
        data = b"\x01" * (300 + self.size - short)
        return [self._item(keys[n // OF_A_SENDER], n % OF_A_SENDER, data) for n in range(count)]

    def _item(self, key: bytes, nonce: int, data: bytes) -> bytes:
        fields = {"chain_id": CHAIN_ID, "to": DEV_ADDRESSES[0], "gas": 60_000, "max_fee": 3 * GWEI}
        return sign_transaction(key, nonce=nonce, max_priority_fee=GWEI, data=data, **fields)  # type: ignore[arg-type]

    def genesis(self) -> str:
        """The network on which all these senders have money."""
        count = (self.paced + self.flat) // OF_A_SENDER + 1
        addresses = [keccak256(public_key(keccak256(b"sender %d" % n)))[12:] for n in range(count)]
        alloc = dict.fromkeys(addresses, 10**20)
        signers = DEV_ADDRESSES[:1]
        return json.dumps(
            genesis_json(chain_id=CHAIN_ID, signers=signers, period_ms=1_000, alloc=alloc, timestamp=1_700_000_000)
        )


@define
class Own:
    """Ten production nodes."""

    plan: Plan
    reactor: Any
    nodes: list[Any]
    began: dict[bytes, float]
    missing: dict[bytes, int]
    delays: list[float]
    changed: "Deferred[None] | None" = None
    clocks: tuple[float, float] = (0.0, 0.0)

    @classmethod
    async def make(cls, reactor: Any, plan: Plan, folder: Path) -> "Own":
        genesis = folder / "genesis.json"
        genesis.write_text(plan.genesis())

        def database(_: str) -> sqlite3.Connection:
            return sqlite3.connect(":memory:")

        def chain() -> ItemChain | None:
            executor = ThreadExecutor(reactor, 1)
            return None if plan.ledger else ItemChain(executor=executor, now=time.time, open_database=database)  # noqa: TID251

        nodes: list[Any] = []
        urls: list[str] = []
        for number in range(plan.nodes):
            node = Node(
                reactor,
                Settings(
                    node=NodeSettings(data_dir=folder / str(number), genesis=genesis, profile="private"),
                    network=NetworkSettings(
                        listen_addr=LOOPBACK, static_nodes=tuple(urls), enable_discovery=False, enable_pex=False
                    ),
                    rpc=RpcSettings(listen=LOOPBACK),
                    admin=AdminSettings(listen=LOOPBACK, auth="none"),
                ),
                chain=chain(),
            )
            node.startService()
            bound = await node.ready()
            urls.append(f"{bound.peer_id.hex()}@127.0.0.1:{bound.listening[0][1]}")
            nodes.append(node)
        own = cls(plan, reactor, nodes, {}, {}, [])
        for node in nodes:
            node.events.subscribe(TransactionAdded, own.heard)
        end = time.perf_counter() + MEETING
        while any(len(node.peers()) < plan.nodes - 1 for node in nodes) and time.perf_counter() < end:
            await deferLater(reactor, 0.1, lambda: None)
        await deferLater(reactor, 1.0, lambda: None)
        return own

    def heard(self, event: TransactionAdded) -> None:
        if not event.local and event.hash in self.missing:
            self.delays.append(time.perf_counter() - self.began[event.hash])
            self.missing[event.hash] -= 1
            if not self.missing[event.hash]:
                del self.missing[event.hash]
                changed, self.changed = self.changed, None
                if changed is not None:
                    changed.callback(None)

    def publish(self, number: int, raw: bytes) -> None:
        node = self.nodes[number % self.plan.nodes]
        hash = node.chain.transaction_hash(raw)
        self.began[hash] = time.perf_counter()
        self.missing[hash] = self.plan.nodes - 1
        node.submit_transaction(raw)

    async def until(self, most: int) -> None:
        """Wait until at most so many are on their way."""
        end = time.perf_counter() + LOST
        while len(self.missing) > most and (left := end - time.perf_counter()) > 0:
            self.changed = changed = Deferred(lambda _: None)
            changed.addTimeout(left, self.reactor).addErrback(lambda _: None)
            await changed
        if len(self.missing) > most:
            self.missing.clear()

    def begin(self) -> None:
        self.began, self.missing, self.delays = {}, {}, []
        self.clocks = time.perf_counter(), time.process_time()

    def figures(self, items: int) -> dict[str, Any]:
        wall, cpu = time.perf_counter() - self.clocks[0], time.process_time() - self.clocks[1]
        return {"items": items, "delays": self.delays, "wall": wall, "cpu": cpu}

    async def run(self) -> dict[str, Any]:
        plan, raws = self.plan, self.plan.items()
        self.begin()
        for number in range(plan.paced):
            self.publish(number, raws[number])
            left = self.clocks[0] + (number + 1) / plan.rate - time.perf_counter()
            await deferLater(self.reactor, max(0.0, left), lambda: None)
        await self.until(0)
        paced = self.figures(plan.paced)
        self.begin()
        for number in range(plan.flat):
            await self.until(plan.window - 1)
            self.publish(number, raws[plan.paced + number])
        await self.until(0)
        return {"paced": paced, "flat": self.figures(plan.flat)}


async def own(reactor: Any, text: str) -> None:
    """Run ours, as ``chainp2p run`` runs a node, and print what the others print."""
    shorten_pauses()
    with tempfile.TemporaryDirectory() as folder:
        network = await Own.make(reactor, Plan(**json.loads(text)), Path(folder))
        print(json.dumps(await network.run()), flush=True)
        for node in network.nodes:
            await node.stopService()


@frozen
class Figures:
    """Of one run: seconds, and deliveries for each CPU second."""

    share: float
    p50: float
    p99: float
    per_cpu: float
    per_second: float

    @classmethod
    def of(cls, told: dict[str, Any], nodes: int) -> "Figures":
        delays = sorted(told["delays"]) or [float("inf")]
        count = len(told["delays"])
        return cls(
            count / (told["items"] * (nodes - 1)),
            delays[len(delays) // 2],
            delays[int(len(delays) * 0.99)],
            count / told["cpu"],
            count / told["wall"],
        )


def play(command: list[str], plan: Plan, cwd: Path | None = None) -> dict[str, Figures]:
    """Run one kind."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=cwd, timeout=600)
    told = json.loads(done.stdout.splitlines()[-1])
    return {phase: Figures.of(told[phase], plan.nodes) for phase in ("paced", "flat")}


def kinds(plan: Plan, theirs: Plan, slow: Plan) -> dict[str, tuple[list[str], Plan, Path | None]]:
    """How each kind is run; slower ones publish less, or a round would take minutes."""

    def text(one: Plan) -> str:
        return json.dumps({name: getattr(one, name) for name in Plan.__annotations__})

    found: dict[str, tuple[list[str], Plan, Path | None]] = {
        "ledger": ([sys.executable, __file__, text(plan)], plan, None),
        "items": ([sys.executable, __file__, text(evolve(plan, ledger=False))], plan, None),
        "py-libp2p": ([libp2p_python(), str(HERE / "libp2p_gossip.py"), text(slow)], slow, None),
    }
    package = json.dumps({"private": True, "type": "module", "dependencies": PACKAGES})
    folder = npm_folder("gossip", package)
    if folder is not None:
        script = folder / "libp2p_gossip.mjs"  # modules are looked for beside the script
        script.write_text((HERE / "libp2p_gossip.mjs").read_text())
        found["js-libp2p"] = (["node", str(script), text(theirs)], theirs, folder)
    return found


def main() -> int:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--paced", type=int, default=50, help="items at ten a second")
    parser.add_argument("--flat", type=int, default=2_000, help="items as fast as they go; js 300 and py 60 at most")
    options = parser.parse_args()
    plans = [
        Plan(paced=options.paced, flat=min(options.flat, most), window=window)
        for most, window in ((options.flat, 160), (300, 32), (60, 16))
    ]
    runs: dict[str, list[dict[str, Figures]]] = {}
    for _ in range(options.rounds):
        for name, (command, plan, folder) in kinds(*plans).items():
            runs.setdefault(name, []).append(play(command, plan, folder))
    print(f"{'':<12}{'arrived':>9}{'p50 ms':>9}{'p99 ms':>9}{'/CPU s':>9}{'/s':>8}   (medians of {options.rounds})")
    for phase in ("paced", "flat"):
        for name, figures in runs.items():
            share, p50, p99, per_cpu, per_second = (
                statistics.median(getattr(one[phase], field) for one in figures)
                for field in ("share", "p50", "p99", "per_cpu", "per_second")
            )
            row = f"{share:>9.1%}{p50 * 1e3:>9.1f}{p99 * 1e3:>9.1f}{per_cpu:>9.0f}{per_second:>8.0f}"
            print(f"{name:<12}{row}   {phase}")
    good = all(one[phase].share == 1.0 for own in OWN for one in runs[own] for phase in one)
    for own, (name, aim) in product(OWN, AIMS.items()):
        if name not in runs:
            continue
        pairs = list(zip(runs[own], runs[name], strict=True))
        ratio = statistics.median(ours["flat"].per_cpu / others["flat"].per_cpu for ours, others in pairs)
        parts = [statistics.median(ours[at].p99 / others[at].p99 for ours, others in pairs) for at in ("paced", "flat")]
        verdict = "met" if ratio >= aim and max(parts) <= P99 else "missed"
        print(
            f"{own} against {name}: {ratio:.1f} times the deliveries for each CPU second (aim {aim:g}), p99"
            f" {parts[0]:.2f} of theirs when paced and {parts[1]:.2f} flat out (aim {P99:g}): {verdict}"
        )
    print(f"py-libp2p {LIBP2P}, js-libp2p {PACKAGES['libp2p']} with gossipsub {PACKAGES['@libp2p/gossipsub']}")
    return 0 if good else 1


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        react(lambda reactor: Deferred.fromCoroutine(own(reactor, sys.argv[1])))
    else:
        os.environ.setdefault("PYTHONWARNINGS", "ignore")
        sys.exit(main())
