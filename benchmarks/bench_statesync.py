"""State sync between processes over TLS: against bare checking and storing, with liars, and with a kill in the middle.

The yardstick is what the client cannot do without: checking the same chunks and storing their accounts, in one process
that does nothing else, measured in the same run (aim of the design: at most twice its time). Then, on a virtual clock:
links so slow that the state that is aimed at passes several times while accounts change, and prefixes that somebody
ground (``chainp2p/testing/stateloads.py``).

    python benchmarks/bench_statesync.py --accounts 1000000 --peers 3 --liars 1
    python benchmarks/bench_statesync.py --accounts 100000 --peers 10 --liars 3
    python benchmarks/bench_statesync.py --only moving ground --accounts 1000000
"""

import argparse
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from json import dumps, loads
from pathlib import Path
from random import Random
from typing import Any

from attrs import frozen
from bench_download import DAEMON, ENDPOINTS, AtOnce, ask, cpu_seconds, peak_megabytes
from twisted.internet.defer import Deferred

from chainp2p.ledger.chain import Ledger
from chainp2p.ledger.consensus.poa import Slots, seal_header
from chainp2p.ledger.formats.block import assemble, transactions_root
from chainp2p.ledger.formats.genesis import DEV_ADDRESSES, DEV_KEYS, Genesis, genesis_json
from chainp2p.ledger.formats.header import Header, make_header
from chainp2p.ledger.formats.receipt import receipts_root
from chainp2p.ledger.state.accounts import State
from chainp2p.ledger.state.chunks import make_chunk
from chainp2p.ledger.state.download import StateDownload
from chainp2p.ledger.state.staged import StagedRows
from chainp2p.ledger.state.trie import HashedTrie
from chainp2p.testing.stateloads import accounts, load_state

#: Sixteen periods in ten minutes: the state of block 16 is served. Milliseconds, and Unix time.
PERIOD_MS, GRID, BEGUN, NOW = 37_500, 16, 1_600_000_000, 2e9
BLOCKS = GRID + 2
#: Chunks of a commit, as a node keeps them.
COMMIT = 8
#: Aims of the design: times the yardstick; factor of the time left, after the first fifth.
AIM, ETA_AIM = 2.0, 1.5
#: How often a client is started that is to be killed before it has all: a busy machine may look too late.
TRIES = 5
LIAR = """
import sys
from chainp2p.ledger.statedoor import StateDoor
honest = StateDoor._state_chunk
async def lie(self, root, base, prefix):
    chunk = await honest(self, root, base, prefix)
    return None if chunk is None else chunk[:-1] + bytes((chunk[-1] ^ 1,))
StateDoor._state_chunk = lie
from twisted.application.twist._twist import Twist
sys.argv[0] = "twist"
Twist.main()
"""


# -- the chain that is served


def write_genesis(file: Path) -> Genesis:
    text = dumps(
        genesis_json(
            chain_id=7, signers=DEV_ADDRESSES[:1], period_ms=PERIOD_MS, alloc={DEV_ADDRESSES[0]: 1}, timestamp=BEGUN
        )
    )
    file.write_text(text)
    return Genesis.parse(text)


def headers(genesis: Genesis, root: bytes) -> Iterator[Header]:
    """Headers of empty blocks; from :data:`GRID` on the state is another one. Nobody who begins there sees how."""
    slots, parent = Slots(genesis), genesis.hash
    entry = slots.first()
    for height in range(1, BLOCKS + 1):
        made = make_header(
            parent=parent,
            miner=DEV_ADDRESSES[0],
            state_root=root if height >= GRID else genesis.header.state_root,
            transactions_root=transactions_root(()),
            receipts_root=receipts_root(()),
            number=height,
            gas_limit=entry.gas_limit,
            gas_used=0,
            timestamp=slots.timestamp(height),
            nonce=height,
            base_fee=slots.base_fee_after(entry),
        )
        header = seal_header(made, DEV_KEYS[0])
        parent, entry = header.hash, slots.entry(header, entry, height, DEV_ADDRESSES[0])
        yield header


def result(deferred: "Deferred[Any]") -> Any:
    """What a Deferred of a chain whose jobs run at once has fired with."""
    found: list[Any] = []
    deferred.addBoth(found.append)
    if isinstance(found[0], BaseException) or hasattr(found[0], "raiseException"):
        found[0].raiseException()
    return found[0]


def write_chain(data: Path, genesis: Genesis, state: State) -> None:
    """A data directory whose chain has *state* from :data:`GRID` on."""
    data.mkdir(parents=True)

    def open_database(name: str) -> sqlite3.Connection:
        connection = sqlite3.connect(data / name)
        connection.execute("PRAGMA journal_mode=WAL")
        return connection

    chain = Ledger(genesis, executor=AtOnce(), now=lambda: NOW, random=Random(1), open_database=open_database)
    result(chain.start())
    made = list(headers(genesis, state.root))
    result(chain.add_headers([header.raw for header in made]))
    core, first = chain._core(), made[GRID - 1]

    def write() -> None:
        core.store.execute("DELETE FROM accounts")
        core.rows.write_accounts(state.rows())
        core.store.add_bodies([(first.hash, assemble(first.raw, ()))])
        core.store.set_best((header.number, header.hash) for header in made[:GRID])
        for name in ("head", "finalized", "base"):
            core.store.set_meta(name, first.hash)

    chain._apply(core.begin_at(first.hash, state, write))
    result(chain.submit_blocks([assemble(header.raw, ()) for header in made[GRID:]], made[-1].hash))
    if chain.head.height != BLOCKS:
        raise RuntimeError("the chain that is served was not made")
    result(chain.stop())


# -- the yardstick


def chunks_of(trie: HashedTrie) -> list[tuple[str, bytes]]:
    """All chunks, as a client asks for them."""
    found, download = [], StateDownload(StagedRows(sqlite3.connect(":memory:")), trie.root)
    download.begin(trie.root)
    todo = [""]
    while todo:
        prefix = todo.pop(0)
        chunk = make_chunk(trie, prefix)
        found.append((prefix, chunk))
        todo[:0] = [one.prefix for one in download.take(prefix, chunk).open]
    return found


def bare(folder: Path, root: bytes, chunks: list[tuple[str, bytes]]) -> tuple[float, float]:
    """Seconds, and seconds of CPU, to check *chunks* and store their accounts."""
    connection = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    begun, spent = time.perf_counter(), time.process_time()
    download = StateDownload(StagedRows(connection), root)
    download.begin(root)
    for at in range(0, len(chunks), COMMIT):
        connection.execute("BEGIN IMMEDIATE")
        for prefix, chunk in chunks[at : at + COMMIT]:
            download.take(prefix, chunk)
        connection.execute("COMMIT")
    taken = time.perf_counter() - begun, time.process_time() - spent
    if download.state() is None:
        raise RuntimeError("the chunks are not the state")
    connection.close()
    return taken


# -- processes


@contextmanager
def daemon(genesis: Path, data: Path, *words: str, lies: bool = False) -> Iterator[dict[str, Any]]:
    """A node as a process; yields ``node.json``, and the process as ``process``."""
    data.mkdir(exist_ok=True)
    command = [*DAEMON, *ENDPOINTS, "--genesis", str(genesis), "--data-dir", str(data), *words]
    if lies:
        command = [sys.executable, "-c", LIAR, *command[3:]]
    (data / "node.json").unlink(missing_ok=True)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not (data / "node.json").exists():
            if process.poll() is not None:
                raise RuntimeError(f"{command} ended with {process.returncode}")
            time.sleep(0.05)
        yield {**loads((data / "node.json").read_text()), "process": process}
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait()


@frozen(kw_only=True)
class Run:
    """One life of a client; *notes*: (seconds, share, time left)."""

    seconds: float
    cpu: float
    megabytes: int
    chunks: int
    share: float
    first_share: float
    notes: list[tuple[float, float, float | None]]
    linked: int

    @property
    def eta(self) -> float:
        """The worst factor between the time told and the time left, after the first fifth and before the end."""
        fifth, late = self.seconds / 5, self.seconds / 20
        told = [(self.seconds - at, eta) for at, share, eta in self.notes if share >= 0.2 and at >= fifth and eta]
        return max((max(left / eta, eta / left) for left, eta in told if left > late), default=0.0)


def watch(client: dict[str, Any], kill_at: float = 2.0) -> Run:
    """Follow a client until it has the state, or kill it at a share of it."""
    begun, spent, notes, chunks, first = 0.0, 0.0, [], 0, -1.0
    process = client["process"]
    while True:
        now = time.perf_counter()
        explained = ask(client["admin"], "admin_explainSync")
        state = explained["state"]
        if state is not None:
            if not begun:
                begun, spent = now, cpu_seconds(client["pid"])
            if first < 0 and state["share"] > 0:
                first = state["share"]
            chunks = state["chunks"]
            notes.append((now - begun, state["share"], state["eta"]))
        killed = state is not None and state["share"] >= kill_at
        if killed or explained["current"] >= GRID:
            break
        if process.poll() is not None:
            raise RuntimeError("the client ended")
        time.sleep(0.05)
    done = Run(
        seconds=time.perf_counter() - begun,
        cpu=cpu_seconds(client["pid"]) - spent,
        megabytes=peak_megabytes(client["pid"]),
        chunks=chunks,
        share=notes[-1][1] if killed else 1.0,
        first_share=first,
        notes=notes,
        linked=len(ask(client["admin"], "admin_peers")),
    )
    if killed:
        process.kill()
    return done


def between_processes(folder: Path, count: int, peers: int, liars: int) -> None:
    genesis_file = folder / "genesis.json"
    genesis = write_genesis(genesis_file)
    state = State.load(accounts(count, 1))
    root = state.root
    write_chain(folder / "served", genesis, state)
    chunks = chunks_of(state.trie)
    size = sum(len(chunk) for _, chunk in chunks)
    (folder / "state.toml").write_text('[sync]\nmode = "state"\n')
    del state
    print(f"{count:,} accounts, {size / 1e6:.1f} MB in {len(chunks)} chunks; {peers} peers, {liars} of them lie")
    runs = [bare(folder, root, chunks)]
    (folder / "bare.sqlite").unlink()
    with ExitStack() as stack:
        named: list[str] = []
        for number in range(peers):
            data = folder / f"peer{number}"
            shutil.copytree(folder / "served", data)
            peer = stack.enter_context(daemon(genesis_file, data, lies=number < liars))
            named += ["--static", f"{peer['peerId']}@{peer['listening'][0]}"]
        words = ["--config", str(folder / "state.toml"), *named]
        with daemon(genesis_file, folder / "whole", *words) as client:
            whole = watch(client)
            root_there = ask(client["rpc"], "eth_getBlockByNumber", ["latest", False])["stateRoot"]
        for _ in range(TRIES):
            with daemon(genesis_file, folder / "killed", *words) as client:
                first = watch(client, 0.5)
            if first.share < 1.0:
                break
            shutil.rmtree(folder / "killed")  # it was done before anybody had looked
        with daemon(genesis_file, folder / "killed", *words) as client:
            second = watch(client)
    (folder / "bare.sqlite").unlink(missing_ok=True)
    runs.append(bare(folder, root, chunks))
    seconds, cpu = (sum(run[at] for run in runs) / len(runs) for at in (0, 1))
    if root_there != "0x" + root.hex():
        raise RuntimeError(f"the state root is {root_there}")
    rate = f"{count / seconds:,.0f} accounts a second"
    print(f"  bare checking and storing    {seconds:8.1f} s, {cpu:.1f} s of CPU ({rate})")
    for name, ratio in (("time", whole.seconds / seconds), ("CPU of the client", whole.cpu / cpu)):
        print(f"  state sync, {name:<17}{ratio:8.2f} times that  aim {AIM:g}: {'met' if ratio <= AIM else 'missed'}")
    left = f"{whole.linked} of {peers} links are left"
    print(f"  {whole.seconds:.1f} s, {whole.cpu:.1f} s of CPU, peak {whole.megabytes} MB; {left}")
    met = "met" if whole.eta <= ETA_AIM else "missed"
    print(f"  time left was told within a factor of {whole.eta:.2f} after the first fifth; aim {ETA_AIM:g}: {met}")
    again = first.chunks + second.chunks - len(chunks)
    print(f"  killed at {first.share:.0%} ({first.chunks} chunks): it went on from {second.first_share:.0%}, and took")
    print(
        f"  {second.seconds:.1f} s more; {again} chunks more than without a kill (open requests, and the way down);"
        f" the time left was told within a factor of {second.eta:.2f}",
        flush=True,
    )


# -- on a virtual clock


def show(name: str, **settings: Any) -> None:
    load = load_state(settings.pop("rows"), **settings)
    eta = f"{load.eta:.2f}"
    print(
        f"  {name:<34} {load.seconds:9.0f} {load.seconds / load.line:6.2f} {load.passed:6} {load.chunks:7}"
        f" {load.bytes / load.whole:6.2f} {eta:>5} {load.caught:6} {load.blamed:6} {load.backwards:5} {load.good!s:>5}",
        flush=True,
    )


def virtual(count: int, only: list[str]) -> None:
    rows = accounts(count, 1)
    print(f"{count:,} accounts on a virtual clock, 10 peers; a state is served at each 512th second, the last two are")
    print(
        f"  {'':<34} {'seconds':>9} {'ideal':>6} {'passed':>6} {'chunks':>7} {'bytes':>6} {'eta':>5} {'caught':>6}"
        f" {'blamed':>6} {'back':>5} {'good':>5}"
    )
    size = 45 * count
    if "liars" in only:
        show("3 liars, nothing changes", rows=rows, seed=1, liars=3, bandwidth=size / 10 / 120)
    if "moving" in only:
        slow = size / 10 / 1400
        show("1,000 changes a second, of 20,000", rows=rows, seed=2, bandwidth=slow, changes=1_000, hot=count // 50)
        show("1,000 changes a second, of all", rows=rows, seed=3, bandwidth=size / 10 / 700, changes=1_000)
    if "ground" in only:
        ground = accounts(count, 4, min(20_000, count // 5))
        show("20,000 ground into 5 nibbles", rows=ground, seed=4, bandwidth=size / 10 / 120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--accounts", type=int, default=20_000)
    parser.add_argument("--peers", type=int, default=3)
    parser.add_argument("--liars", type=int, default=1)
    names = ["processes", "liars", "moving", "ground"]
    default = [name for name in names if name != "moving"]  # that takes many accounts to say anything, and minutes
    parser.add_argument("--only", nargs="+", choices=names, default=default)
    parser.add_argument("--folder", type=Path, help="where the chains are made (default: a directory that goes again)")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if "processes" in options.only:
            between_processes(folder, options.accounts, options.peers, options.liars)
        if set(options.only) - {"processes"}:
            virtual(options.accounts, options.only)
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
