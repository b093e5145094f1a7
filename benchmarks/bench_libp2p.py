"""Requests and replies between two processes over TLS, against py-libp2p with one stream a request.

A request has 50 bytes and its reply 74 on either side. py-libp2p (TCP, its default security and muxer) runs in an
environment of its own, ``.venv-libp2p``, made on first use, because its packages need an older protobuf. With 64 in
flight the time is by wall clock, with one in flight it is the CPU time of both processes.
"""

import json
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench_requests import Host, requests
from child import input_ended
from measure import Measured, show
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.task import react

from chainp2p.net.factory import PeerFactory
from chainp2p.peer.key import NodeKey

LIBP2P = "0.8.1"
SERVER, CLIENT = NodeKey(b"\x01" * 32), NodeKey(b"\x02" * 32)
#: (in flight, exchanges) of one round, ours and theirs: each sample takes about half a second.
OWN_PLAN = ((64, 20_000), (1, 2_000))
LIBP2P_PLAN = ((64, 512), (1, 128))
ROUNDS = 7

HERE = Path(__file__).parent


def cpu_of(pid: int) -> float:
    """CPU seconds that a process of this machine has used (Linux: its clock id)."""
    return time.clock_gettime(~pid << 3 | 2)


async def serve(reactor: Any) -> None:
    host = Host(reactor, SERVER)
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(host.security.server(PeerFactory(host)))
    print(port.getHost().port, flush=True)
    await input_ended()


async def ask(reactor: Any, port: str, pid: str, plan: str) -> None:
    host = Host(reactor, CLIENT)
    ready = host.ready
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", int(port))
    await endpoint.connect(host.security.client(PeerFactory(host, SERVER.peer_id)))
    exchange = requests(await ready)
    results = []
    for in_flight, exchanges in json.loads(plan):
        start = time.perf_counter(), time.process_time(), cpu_of(int(pid))
        await exchange(exchanges, in_flight)
        wall = time.perf_counter() - start[0]
        cpu = time.process_time() - start[1] + cpu_of(int(pid)) - start[2]
        results.append([in_flight, exchanges, wall, cpu])
    print(json.dumps(results), flush=True)


@contextmanager
def server(command: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Run a server; gives its address and its process id."""
    process = subprocess.Popen([*command, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process.stdout.readline().strip(), process.pid
    finally:
        process.stdin.close()
        process.wait()


def figures(command: Sequence[str], address: str, pid: int, plan: object) -> tuple[float, float]:
    """Wall seconds an exchange with many in flight, and CPU seconds an exchange with one."""
    line = subprocess.run(
        [*command, "ask", address, str(pid), json.dumps(plan)], check=True, capture_output=True, text=True
    ).stdout
    (_, many, wall, _), (_, few, _, cpu) = json.loads(line)
    return wall / many, cpu / few


def libp2p_python() -> str:
    """The interpreter that has py-libp2p; makes its environment."""
    folder = HERE.parent / ".venv-libp2p"
    python = folder / "bin" / "python"
    if not (folder / f".{LIBP2P}").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"libp2p=={LIBP2P}"], check=True
        )
        (folder / f".{LIBP2P}").touch()
    return str(python)


def compare() -> None:
    own = [sys.executable, __file__]
    theirs = [libp2p_python(), str(HERE / "libp2p_peer.py")]
    samples = []
    with server(own) as (port, pid), server(theirs) as (address, their_pid):
        for _ in range(ROUNDS):
            samples.append((figures(own, port, pid, OWN_PLAN), figures(theirs, address, their_pid, LIBP2P_PLAN)))
    lines = [
        Measured(
            measure,
            statistics.median(ours[index] for ours, _ in samples) * 1e6,
            f"py-libp2p {LIBP2P}",
            statistics.median(other[index] for _, other in samples) * 1e6,
            statistics.median(other[index] / ours[index] for ours, other in samples),
            aim,
        )
        for index, (measure, aim) in enumerate(
            (("request, 64 in flight, two processes, wall clock", 60.0), ("request, one in flight, CPU of both", 4.0))
        )
    ]
    show(lines, ["twisted", "pyopenssl"])


if __name__ == "__main__":
    if len(sys.argv) == 1:
        compare()
    else:
        react(serve if sys.argv[1] == "serve" else ask, sys.argv[2:])
