"""Calls a second of the node's JSON-RPC over HTTP, against twisted.web, aiohttp and anvil.

The node is the daemon with a chain of some blocks; the yardsticks (``rpc_yardsticks.py``) answer from memory and check
next to nothing, and anvil (npm) is a node too, in Rust; without npm its lines are left out. Each is one process on the
first core, this process is the load on another (``rpc_load.py``): 64 connections that are kept, each with one request
in flight; ids count up to 1,000, so that requests are not all of one length. A batch repeats the three calls, or asks
for the balances of as many accounts: only the node looks anything up then. The kinds take turns. Times are
microseconds for a call, of which a batch has 100: by wall clock, and by CPU of the server, which should be the same (it
is not where others want its core). ``fixed bytes`` says what the load reaches where nothing is read or made.

    python benchmarks/bench_rpc.py --rounds 9 --seconds 0.5
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from attrs import frozen
from bench_download import DAEMON, ENDPOINTS, ask, family, import_file
from bench_libp2p import cpu_of
from make_chain import accounts, write_chain
from measure import Measured, show
from rpc_load import Load, post

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.integration.npm import npm_folder
from tests.integration.processes import eventually, free_port

HERE = Path(__file__).parent
CONNECTIONS = 64
BATCH = 100
#: Requests made beforehand.
IDS = 1_000
#: The node's chain: enough that heads, balances and states are those of a chain.
BLOCKS, TRANSFERS, PEOPLE = 100, 10, 1_000
ANVIL = "1.7.1"
FIXED = "fixed bytes"
#: How many times as fast as the yardsticks a call should be, and a call of a batch.
AIMS = {"call": {"twisted.web": 2.5, "aiohttp": 1.0}, "batch": {"aiohttp": 1.5}}

#: A method and its parameters.
Asked: TypeAlias = tuple[str, list[Any]]


@frozen
class Case:
    """What is asked, and how many calls it is."""

    name: str
    kind: str
    calls: int
    requests: Sequence[bytes]


def cases() -> list[Case]:
    balances: list[Asked] = [("eth_getBalance", ["0x" + one.hex(), "latest"]) for _, one in accounts(BATCH)]
    asked: list[Asked] = [("eth_chainId", []), ("eth_blockNumber", []), balances[0]]

    def call(id: int, method: str, params: list[Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}

    def request(content: Any) -> bytes:
        return post("/", json.dumps(content).encode())

    ids = range(1, IDS + 1)

    def batches(asked: Sequence[Asked]) -> list[bytes]:
        calls = [call(id, *asked[id % len(asked)]) for id in ids]
        return [request(calls[at : at + BATCH]) for at in range(0, IDS, BATCH)]

    return [
        *(Case(method, "call", 1, [request(call(id, method, params)) for id in ids]) for method, params in asked),
        Case(f"batch of {BATCH}, each of its calls", "batch", BATCH, batches(asked)),
        Case(f"batch of {BATCH} balances, each of its calls", "distinct", BATCH, batches(balances)),
    ]


# -- servers


def pinned(core: int | None) -> Any:
    """What a child does first: it and all its threads keep to one core."""
    return None if core is None else lambda: os.sched_setaffinity(0, {core})


@contextmanager
def yardstick(kind: str, core: int | None) -> Iterator[tuple[int, int]]:
    """Yields its port and its process, as the others do."""
    command = [sys.executable, str(HERE / "rpc_yardsticks.py"), kind]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=pinned(core)
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield int(process.stdout.readline()), process.pid
    finally:
        process.stdin.close()
        process.wait()


@contextmanager
def node(
    folder: Path, core: int | None, blocks: int = BLOCKS, transfers: int = TRANSFERS, people: int = PEOPLE
) -> Iterator[tuple[int, int]]:
    """The daemon with a chain; *folder* is its own."""
    genesis, _ = write_chain(folder, blocks, transfers, people)
    data = folder / "data"
    import_file(folder, data)
    command = [*DAEMON, *ENDPOINTS, "--genesis", str(genesis), "--data-dir", str(data)]
    log = (folder / "log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=pinned(core))
    try:
        facts = eventually(lambda: _facts(process, data, folder / "log"), 60, "node.json")
        height = int(ask(facts["rpc"], "eth_blockNumber"), 16)
        if height != blocks:
            raise RuntimeError(f"the node has {height} blocks, not {blocks}")
        yield int(facts["rpc"].rpartition(":")[2]), process.pid
    finally:
        process.terminate()
        process.wait()
        log.close()


def _facts(process: "subprocess.Popen[bytes]", data: Path, log: Path) -> dict[str, Any] | None:
    if process.poll() is not None:
        raise RuntimeError(f"the node ended with {process.returncode}: {log.read_text()}")
    file = data / "node.json"
    facts: dict[str, Any] | None = json.loads(file.read_text()) if file.exists() else None
    return facts


@contextmanager
def anvil(folder: Path, core: int | None) -> Iterator[tuple[int, int]]:
    port = free_port()
    command = [str(folder / "node_modules" / ".bin" / "anvil"), "--port", str(port), "--silent"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=pinned(core))
    try:
        eventually(lambda: ask(f"http://127.0.0.1:{port}", "eth_chainId"), 20, "anvil's first answer")
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


# -- measuring


def cpu_seconds(pid: int) -> float:
    """Of a process with its children, to the nanosecond."""
    return sum(cpu_of(int(one.name)) for one in family(pid))


class Server:
    """One of the kinds, its connections, and its samples: (wall, CPU) seconds of a call, by case."""

    def __init__(self, name: str, port: int, pid: int) -> None:
        self.name = name
        self._pid = pid
        self._load = Load(port, CONNECTIONS)
        self.samples: dict[str, list[tuple[float, float]]] = {}

    def measure(self, case: Case, seconds: float) -> None:
        """Take a sample; each of the last answers must have a result for each call."""
        cpu = cpu_seconds(self._pid)
        sample = self._load.run(case.requests, seconds)
        cpu, calls = cpu_seconds(self._pid) - cpu, sample.answers * case.calls
        self.samples.setdefault(case.name, []).append((sample.seconds / calls, cpu / calls))
        for body in self._load.bodies():
            answers = json.loads(body)
            results = [one["result"] for one in (answers if isinstance(answers, list) else [answers])]
            if len(results) != case.calls:
                raise RuntimeError(f"{self.name} answered {len(results)} of {case.calls} calls: {body[:500]!r}")

    def times(self, case: Case, clock: int) -> list[float]:
        """All but the first sample, by wall clock (0) or CPU (1)."""
        return [sample[clock] for sample in self.samples[case.name][1:]]

    def close(self) -> None:
        self._load.close()


def line(case: Case, own: Sequence[float], name: str, theirs: Sequence[float]) -> Measured:
    return Measured(
        case.name,
        statistics.median(own) * 1e6,
        name,
        statistics.median(theirs) * 1e6,
        statistics.median(one / mine for mine, one in zip(own, theirs, strict=True)),
        AIMS.get(case.kind, {}).get(name),
    )


def compare(rounds: int, seconds: float, with_anvil: bool) -> list[list[Measured]]:
    """The lines by wall clock, and those by CPU of the server."""
    cores = sorted(os.sched_getaffinity(0))
    core = cores[0] if len(cores) > 1 else None
    if core is not None:
        os.sched_setaffinity(0, set(cores[1:]))
    folder = Path(tempfile.mkdtemp(prefix="bench-rpc-"))
    with ExitStack() as running:
        running.callback(shutil.rmtree, folder, ignore_errors=True)
        running_at = {"own": running.enter_context(node(folder, core))}
        for kind in ("twisted.web", "aiohttp", FIXED):
            running_at[kind] = running.enter_context(yardstick(kind, core))
        packages = with_anvil and npm_folder("anvil", json.dumps({"dependencies": {"@foundry-rs/anvil": ANVIL}}))
        if packages:
            running_at["anvil"] = running.enter_context(anvil(packages, core))
        servers = [Server(name, *at) for name, at in running_at.items()]
        for server in servers:
            running.callback(server.close)
        asked = cases()
        for round in range(rounds + 1):  # the first one warms up
            for case in asked:
                for server in servers:
                    if server.name != FIXED or case.calls == 1:
                        server.measure(case, seconds if round else seconds / 5)
        own, *others = servers
        return [
            [
                line(case, own.times(case, clock), other.name, other.times(case, clock))
                for case in asked
                for other in others
                if case.name in other.samples
            ]
            for clock in (0, 1)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="of one sample")
    parser.add_argument("--no-anvil", action="store_true")
    options = parser.parse_args()
    wall, cpu = compare(options.rounds, options.seconds, not options.no_anvil)
    print("by wall clock")
    show(wall)
    print("\nby CPU of the server")
    show(cpu, ["twisted", "aiohttp"])


if __name__ == "__main__":
    main()
