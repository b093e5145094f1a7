"""Floods at ten times what a peer may send, and peers that never read, against a real node; what the others notice.

    python benchmarks/table_floods.py

The node runs on one core, floods and measuring peers on the others. Before the floods, and while a peer does not read,
it seals ten blocks a second: each takes it some 40 ms, so that during floods they would hide what those cost. A flood
lasts for every second window of two seconds, and times within and outside of floods are compared, so that whatever else
the machine does falls on both. Each flood is then repeated at twenty times its limit, which ends the link. Exit code 1
if a bound is broken.
"""

import argparse
import os
import sys
import threading
import time
import unittest
from contextlib import ExitStack, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.integration.floods import FLOODS, NEVER_READS, WINDOW, Flood, Honest, connects_within, is_flooding
from tests.integration.processes import Daemon, call
from tests.integration.test_abuse import QUIET, resident_kib
from tests.integration.traffic import Traffic

#: Just below where the link ends.
FACTOR = 9.5
#: What has to hold: rise of the p99 of others, seconds to connect, growth of the node's memory in MiB.
P99_RISE, CONNECT, MEMORY = 1.2, 10.0, 32
#: Peers that measure, each 40 times a second at most.
HONEST = 8
#: A peer that does not read is given up after 60 s without a byte. Seconds.
NOT_READING = 76.0
#: Seconds after a window's begin that belong to none: what was sent before is still being answered.
MARGIN = 0.2


def percentile(times: list[float], share: float) -> float:
    """In milliseconds."""
    return sorted(times)[int(len(times) * share)] * 1e3


def prefer(pid: int, priority: int) -> None:
    """Run a process, and what it starts, before other work of the machine, where that may be asked for.

    Floods come after those that measure: who waits for a core on this side has not been delayed by the node.
    """
    with suppress(OSError):
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(priority))


def cpu_seconds(pid: int) -> float:
    """That a process has used, where the system tells."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    return sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")


def split(times: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Times outside of floods and within."""
    parts: tuple[list[float], list[float]] = ([], [])
    for when, took in times:
        if when % WINDOW > MARGIN:
            parts[is_flooding(when)].append(took)
    return parts


def main() -> int:
    """Run each flood and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=6, help="of flood, for each kind")
    parser.add_argument("--kinds", nargs="+", default=[*FLOODS, NEVER_READS], choices=[*FLOODS, NEVER_READS])
    options = parser.parse_args()
    case = unittest.TestCase()
    try:
        return run(case, options.windows, options.kinds)
    finally:
        case.doCleanups()


def run(case: unittest.TestCase, windows: int, kinds: list[str]) -> int:
    prefer(0, 2)
    node = Daemon(case, *QUIET, "--admin-auth", "none")
    facts = node.facts()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(node.process.pid, cores[:1])
        os.sched_setaffinity(0, cores[1:])
    port = int(facts["listening"][0].rpartition(":")[2])
    broken, seed = [], 1_000
    print(
        f"{'flood':<20}{'sent/s':>8}{'p50 calm':>10}{'flood':>7}{'p99 calm':>10}{'flood':>7}{'ratio':>7}"
        f"{'CPU':>6}{'connect':>9}{'MiB':>6}  at 20 times"
    )
    pausing = threading.Event()
    urls = lambda: [] if pausing.is_set() else [facts["rpc"]]  # noqa: E731
    crowd = [Honest(port, seed) for seed in range(1, 1 + HONEST)]
    with ExitStack() as stack:
        for one in (Traffic(0, urls, 0.1), *crowd):
            stack.enter_context(one)
        time.sleep(20)  # some blocks, so that there is something to ask for
        for kind in kinds:
            if kind == NEVER_READS:
                pausing.clear()
            else:
                pausing.set()
            before, slowest = resident_kib(node.process.pid), 0.0
            for one in crowd:
                one.times.clear()
            spent = cpu_seconds(node.process.pid)
            seconds = NOT_READING if kind == NEVER_READS else 2 * WINDOW * windows
            flood = Flood(kind, port, seconds, FACTOR, calm=True)
            prefer(flood.process.pid, 1)
            while flood.process.poll() is None:
                seed += 1
                slowest = max(slowest, connects_within(port, seed))
                time.sleep(WINDOW - (time.monotonic() - WINDOW / 2) % WINDOW)  # one in each window: it costs 5 ms
            done = flood.result()
            spent = (cpu_seconds(node.process.pid) - spent) / seconds
            calm, loud = split([pair for one in crowd for pair in one.times])
            grown = (resident_kib(node.process.pid) - before) / 1024
            p99 = percentile(calm, 0.99), percentile(loud, 0.99)
            end = "" if kind == NEVER_READS else Flood(kind, port, 30, 20).result()["reason"]
            row = f"{percentile(calm, 0.5):>10.2f}{percentile(loud, 0.5):>7.2f}{p99[0]:>10.2f}{p99[1]:>7.2f}"
            ratio = p99[1] / p99[0]
            print(
                f"{kind:<20}{done['sent'] / seconds * 2:>8.0f}{row}{ratio:>7.2f}{spent:>6.0%}"
                f"{slowest:>8.2f}s{grown:>6.1f}"
                f"  {'' if end == '' else 'stayed' if end is None else f'ended: {end}'}",
                flush=True,
            )
            if slowest > CONNECT or grown > MEMORY or ratio > P99_RISE or end is None:
                broken.append(kind)
        broken += [f"an honest peer was cut off: {one.error}" for one in crowd if one.error is not None]
        info = call(facts["admin"], "admin_nodeInfo")
    print("ends:", info["counters"]["ends"], "above quota:", info["counters"]["over_quota"])
    print(
        "queues:",
        {
            metric["labels"]["queue"]: metric["value"]
            for metric in info["metrics"]
            if metric["name"] == "chainp2p_queue_highest_bytes"
        },
    )
    print("broken:" if broken else "all bounds kept", *broken)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
