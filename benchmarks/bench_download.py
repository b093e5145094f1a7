"""Initial download: blocks of transfers from a file, and from four peers over TLS, against bare recovery.

The yardstick is coincurve recovering the same signatures in two threads and doing nothing else, measured in the same
run before and after (aim of the design: half of its rate). Both are told by wall clock, and by the CPU time a
transaction takes, which says what the ratio is where the machine has nothing else to do. Downloads are made with the
state root of each batch looked at, and with all of them. Then the same blocks are connected in one thread with each
part's CPU time told apart, which names where the rest goes. Last, blocks without transactions (aim: 3,000 a second).

    python benchmarks/bench_download.py --blocks 20000 --transfers 100 --empty 20000
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from coincurve import PublicKey
from make_chain import write_chain
from twisted.internet.defer import Deferred, execute

from chainp2p.chain.archive import ArchiveReader
from chainp2p.chain.store import ChainStore
from chainp2p.ledger import connected, core, execution, rows, senders
from chainp2p.ledger.branches import Branches
from chainp2p.ledger.chain import Ledger
from chainp2p.ledger.formats import block as blocks
from chainp2p.ledger.formats import transaction
from chainp2p.ledger.formats.genesis import Genesis
from chainp2p.ledger.state import accounts as state
from chainp2p.ledger.state import overlay
from chainp2p.node.transfer import Import

#: Signatures of the yardstick: enough for a second.
BARE = 20_000
THREADS = 2
#: Who serves the chain.
PEERS = 4
#: What is asked of the node while it downloads, in turns: the head, an account, a block with its transactions.
ASKED = (
    ("chain_head", []),
    ("eth_getBalance", ["0x" + "11" * 20, "latest"]),
    ("eth_getBlockByNumber", ["latest", True]),
)
#: Unix time for the chain of one thread: none of the blocks is from the future.
NOW = 2e9
DAEMON = [sys.executable, "-m", "twisted", "chainp2p", "--profile", "private", "--no-discovery", "--admin-auth", "none"]
ENDPOINTS = [word for name in ("listen", "rpc", "admin") for word in (f"--{name}", "tcp:0:interface=127.0.0.1")]


def signatures(file: Path) -> list[tuple[bytes, bytes]]:
    """(signature, hash) of the first transactions."""
    found: list[tuple[bytes, bytes]] = []
    with file.open("rb") as opened:
        reader = ArchiveReader(opened)
        while len(found) < BARE and (record := reader.next()) is not None:
            for raw in record.blocks:
                for _, one in blocks.split(raw)[1]:
                    decoded = transaction.Transaction.decode(one)
                    found.append((decoded.signature, decoded.signing_hash))
    return found


def bare(items: Sequence[tuple[bytes, bytes]]) -> tuple[float, float]:
    """(signatures a second, CPU seconds of each) of two threads that recover and do nothing else."""

    def work(part: Sequence[tuple[bytes, bytes]]) -> None:
        for signature, digest in part:
            PublicKey.from_signature_and_message(signature, digest, hasher=None)

    threads = [threading.Thread(target=work, args=(items[at::THREADS],)) for at in range(THREADS)]
    begun, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(items) / (time.perf_counter() - begun), (time.process_time() - cpu) / len(items)


# -- processes


def import_file(folder: Path, data: Path) -> tuple[float, int]:
    """(seconds, peak MB) of ``chainp2p chain import``."""
    command = [sys.executable, "-c", "from chainp2p.cli.main import main; main()", "chain", "import", "--json"]
    words = [folder / "chain.blocks", "--genesis", folder / "genesis.json", "--data-dir", data]
    done = subprocess.run([*command, *map(str, words)], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)["seconds"]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024


@contextmanager
def daemon(genesis: Path, data: Path, *words: str) -> Iterator[dict[str, Any]]:
    """A node as a process; yields ``node.json``."""
    data.mkdir(exist_ok=True)
    command = [*DAEMON, *ENDPOINTS, "--genesis", str(genesis), "--data-dir", str(data), *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not (data / "node.json").exists():
            if process.poll() is not None:
                raise RuntimeError(f"{command} ended with {process.returncode}")
            time.sleep(0.05)
        yield json.loads((data / "node.json").read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def ask(url: str, method: str, params: Sequence[Any] = ()) -> Any:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["result"]


def family(pid: int) -> Iterator[Path]:
    """Where /proc tells of a process and of its children."""
    yield Path(f"/proc/{pid}")
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield Path(f"/proc/{child}")


def peak_megabytes(pid: int) -> int:
    """Of a process with its children."""
    lines = [line for one in family(pid) for line in (one / "status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) // 1024


def cpu_seconds(pid: int) -> float:
    """Of a process with its children."""
    fields = [(one / "stat").read_text().rpartition(")")[2].split() for one in family(pid)]
    return sum(int(one[11]) + int(one[12]) for one in fields) / os.sysconf("SC_CLK_TCK")


def download(folder: Path, served: Path, data: Path, height: int, verify: str = "batch") -> dict[str, float]:
    """Let a fresh node take all blocks from four that have them, over TLS; all are processes of their own."""
    genesis = folder / "genesis.json"
    data.mkdir()
    settings = data / "settings.toml"
    settings.write_text(f'[sync]\nverify = "{verify}"\n')
    with ExitStack() as running:
        words = ["--config", str(settings)]
        for number in range(PEERS):
            copy = data / f"peer{number}"
            copy.mkdir()
            shutil.copy(served / "chain.sqlite", copy)
            server = running.enter_context(daemon(genesis, copy))
            words += ["--static", f"{server['peerId']}@{server['listening'][0]}"]
        client = running.enter_context(daemon(genesis, data / "node", *words))
        waits: list[float] = []
        idle: list[float] = []
        begun = now = time.perf_counter()
        first, turn = 0.0, 0
        while True:
            method, params = ASKED[turn % len(ASKED)]
            answer = ask(client["rpc"], method, params)
            waits.append(time.perf_counter() - now)
            turn += 1
            if method == "chain_head":
                if answer["height"] and not first:
                    first = time.perf_counter() - begun
                if answer["height"] >= height:
                    break
            now = time.perf_counter()
            ask(server["rpc"], method, params)  # what it takes on this machine where next to nothing is to be done
            idle.append(time.perf_counter() - now)
            time.sleep(0.02)
            now = time.perf_counter()
        seconds = time.perf_counter() - begun
        waits.sort()
        idle.sort()
        return {
            "rate": height / seconds,
            "to first": first,
            "cpu": cpu_seconds(client["pid"]),
            "megabytes": peak_megabytes(client["pid"]),
            "rpc p50 ms": waits[len(waits) // 2] * 1000,
            "rpc p99 ms": waits[int(len(waits) * 0.99)] * 1000,
            "peer p99 ms": idle[int(len(idle) * 0.99)] * 1000,
            "asked": len(waits),
        }


# -- parts


class Parts:
    """CPU time of the functions it wraps, each without what the others took inside it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stack: list[float] = []
        self._undo: list[tuple[Any, str, Any]] = []

    def wrap(self, owner: Any, name: str, part: str) -> None:
        found = owner.__dict__[name]
        inner = found.__func__ if isinstance(found, classmethod) else found
        seconds, stack = self.seconds, self._stack
        seconds.setdefault(part, 0.0)

        def timed(*args: Any, **fields: Any) -> Any:
            begun = time.thread_time()
            stack.append(0.0)
            try:
                return inner(*args, **fields)
            finally:
                spent = time.thread_time() - begun
                seconds[part] += spent - stack.pop()
                if stack:
                    stack[-1] += spent

        self._undo.append((owner, name, found))
        setattr(owner, name, classmethod(timed) if isinstance(found, classmethod) else timed)

    def unwrap(self) -> None:
        for owner, name, found in reversed(self._undo):
            setattr(owner, name, found)


class AtOnce:
    """An executor whose jobs run in the caller."""

    spare_cores = 0

    def run(self, f: Callable[..., Any], /, *args: Any) -> "Deferred[Any]":
        return execute(f, *args)

    def lane(self, name: str) -> "AtOnce":
        return self


def parts_of(folder: Path, data: Path) -> tuple[dict[str, float], float]:
    """CPU seconds of each part, and in all, where one thread does it all."""
    data.mkdir()

    def open_database(name: str) -> sqlite3.Connection:
        connection = sqlite3.connect(data / name)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    genesis = Genesis.parse((folder / "genesis.json").read_text())
    chain = Ledger(genesis, executor=AtOnce(), now=lambda: NOW, random=random.Random(1), open_database=open_database)
    outcome: list[Any] = []
    chain.start().addBoth(outcome.append)
    parts = Parts()
    for owner, name, part in (
        (transaction, "recover", "recovering signatures"),
        (transaction.Transaction, "decode", "decoding transactions"),
        (transaction, "_signing_hash", "hashing what was signed"),
        (blocks, "split", "splitting blocks"),
        (senders, "split", "splitting blocks"),
        (core, "decode_block", "splitting blocks"),
        (blocks, "transactions_root", "transactions roots"),
        (execution, "receipts_root", "receipts roots"),
        (connected, "run_block", "executing transfers"),
        (overlay.Overlay, "changes", "encoding accounts"),
        (state.State, "updated", "state trie"),
        (Branches, "add", "headers"),
        (Branches, "candidate", "headers"),
        (rows.LedgerRows, "add_receipts", "rows: receipts, index of transactions"),
        (rows.LedgerRows, "add_undo", "rows: undo"),
        (rows.LedgerRows, "write_accounts", "rows: accounts"),
        (ChainStore, "add_bodies", "rows: bodies"),
        (senders.SenderRecovery, "look", "looking into the pool"),
    ):
        parts.wrap(owner, name, part)
    begun = time.thread_time()
    Deferred.fromCoroutine(Import(chain, AtOnce(), folder / "chain.blocks").run()).addBoth(outcome.append)
    total = time.thread_time() - begun
    parts.unwrap()
    if outcome != [None, None]:
        raise RuntimeError(f"the import failed: {outcome}")
    chain.stop()
    return parts.seconds, total


# -- tables


def show_rate(name: str, rate: float, aim: float, note: str = "") -> None:
    print(f"  {name:<28}  {rate:10,.0f}{note}  {'met' if rate >= aim else 'missed'}")


def full(folder: Path, count: int, transfers: int, people: int) -> None:
    if not (folder / "chain.blocks").exists():
        write_chain(folder, count, transfers, people)
    items = signatures(folder / "chain.blocks")
    amount = count * transfers
    runs = [bare(items)]
    imported, memory = import_file(folder, folder / "served")
    runs.append(bare(items))
    print(f"{count} blocks of {transfers} transfers, {people} accounts; transactions a second", flush=True)
    loaded = {}
    for verify in ("batch", "all"):
        loaded[verify] = download(folder, folder / "served", folder / f"loaded {verify}", count, verify)
        shutil.rmtree(folder / f"loaded {verify}")
        runs.append(bare(items))
    yardstick, recovery = statistics.median(rate for rate, _ in runs), statistics.median(cpu for _, cpu in runs)
    told = ", ".join(f"{rate:,.0f}" for rate, _ in runs)
    print(f"  {f'bare, {THREADS} threads':<28}  {yardstick:10,.0f}  (runs: {told}; {recovery * 1e6:.1f} us of CPU)")
    rates = {"import from file": count / imported}
    rates |= {f"download, verify {verify}": one["rate"] for verify, one in loaded.items()}
    for name, rate in rates.items():
        rate *= transfers
        show_rate(name, rate, yardstick / 2, f"  ratio {rate / yardstick:.2f}, aim 0.5")
    print(f"  peak memory: import {memory} MB (aim 400)")
    for verify, one in loaded.items():
        print(
            f"  download, verify {verify}: first blocks after {one['to first']:.1f} s, {one['megabytes']} MB,"
            f" {one['cpu'] / amount * 1e6:.0f} us of CPU a transaction, bare recovery is"
            f" {recovery * amount / one['cpu']:.2f} of that; RPC p50 {one['rpc p50 ms']:.0f} ms,"
            f" p99 {one['rpc p99 ms']:.0f} ms (aim 50) of {one['asked']}, that of a peer {one['peer p99 ms']:.0f} ms"
        )
    parts, total = parts_of(folder, folder / "parts")
    parts["the rest"] = total - sum(parts.values())
    print(f"where the CPU time of one thread goes ({total / amount * 1e6:.0f} us a transaction)")
    for name, seconds in sorted(parts.items(), key=lambda item: -item[1]):
        print(f"  {name:<40} {seconds / amount * 1e6:8.1f} us {seconds / total:6.1%}")


def empty(folder: Path, count: int) -> None:
    if not (folder / "chain.blocks").exists():
        write_chain(folder, count, 0, 10)
    imported, _ = import_file(folder, folder / "served")
    loaded = download(folder, folder / "served", folder / "loaded", count)
    print(f"{count} blocks without transactions; blocks a second (aim 3,000)")
    show_rate("import from file", count / imported, 3000)
    show_rate("download over TLS", loaded["rate"], 3000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--blocks", type=int, default=100)
    parser.add_argument("--transfers", type=int, default=100, help="a block")
    parser.add_argument("--accounts", type=int, default=2000)
    parser.add_argument("--empty", type=int, default=1500, help="blocks of the chain without transactions; 0: none")
    parser.add_argument(
        "--folder", type=Path, help="where the chains are made, or were (default: a directory that goes again)"
    )
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    try:
        full(folder / "full", options.blocks, options.transfers, options.accounts)
        if options.empty:
            empty(folder / "empty", options.empty)
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
