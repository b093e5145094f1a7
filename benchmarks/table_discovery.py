"""Lets a thousand nodes find each other by datagram through one that they all know, and prints what they know.

    python benchmarks/table_discovery.py --nodes 1000 --seed 1

Production cores and bytes on a virtual clock; links take 20 to 200 ms one way and lose 5 % of the datagrams. All begin
within a minute. Five minutes after the first, random nodes look for random ids; then 30 % leave at once without a
word, and ten minutes later the rest look again. "told" counts live entries that name a node that has left: what is
live is told to others. Datagrams and bytes are those sent, a node and second, since the row before.

Exit code 1 unless after five minutes and at the end each node holds 16 live entries, no entry names a node that has
left, 99 % of the lookups find the very closest node, and none takes more than log2(nodes) rounds.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from math import log2

from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from chainp2p.testing.discovery import DiscoveryNetwork

#: What is wanted: live entries of each node, and the share of lookups that find the closest.
LIVE, FOUND = 16, 0.99
#: Minutes at which tables are looked at, after the first has begun and after many have left.
GROWN, LEFT = (1, 2, 5), (2, 5, 10)
HEADS = (
    "phase",
    "minute",
    "nodes",
    "live least",
    "median",
    "dead told",
    "dead kept",
    "datagrams/s",
    "bytes/s",
    "CPU s",
)


def start_logging() -> None:
    """Show errors only; without an observer Twisted would keep every event in memory."""
    errors = FilteringLogObserver(textFileLogObserver(sys.stderr), [LogLevelFilterPredicate(LogLevel.error)])
    globalLogBeginner.beginLoggingTo([errors], redirectStandardIO=False)


def _row(cells: Sequence[object]) -> str:
    return "".join(f"{cell!s:>13}" for cell in cells)


class Table:
    """Plays one network and prints a row for each look at it."""

    def __init__(self, nodes: int, seed: int, lookups: int) -> None:
        self.network = DiscoveryNetwork(seed)
        self.nodes = nodes
        self.lookups = lookups
        self.good = True
        self._since = (0.0, 0, 0)

    def _want(self, condition: bool, text: str) -> None:
        if not condition:
            self.good = False
            print(f"not so: {text}", file=sys.stderr, flush=True)

    def _look(self, phase: str, minute: int, last: bool) -> None:
        net, (then, datagrams, size) = self.network, self._since
        self._since = net.clock.seconds(), net.net.datagrams, net.net.datagram_bytes
        live, (told, kept) = net.live(), net.dead()
        per = max(1e-9, self._since[0] - then) * len(live)
        rates = (f"{(self._since[1] - datagrams) / per:.2f}", f"{(self._since[2] - size) / per:.0f}")
        cells = (phase, minute, len(live), live[0], live[len(live) // 2], told, kept, *rates)
        print(_row((*cells, f"{time.process_time():.0f}")), flush=True)
        if last:
            self._want(live[0] >= LIVE, f"each node has {LIVE} live entries")
            self._want(not kept, "no node that has left is in a table")

    def _find(self) -> None:
        found = self.network.lookups(self.lookups)
        limit = log2(len(self.network.up))
        print(
            f"{found.count} lookups: {found.share:.2%} find the closest, at most {found.rounds} rounds"
            f" (log2(n) = {limit:.1f}) and {found.seconds:.1f} s, {found.mean:.1f} s in the mean",
            flush=True,
        )
        self._want(found.share >= FOUND, f"{FOUND:.0%} of the lookups find the closest")
        self._want(found.rounds <= limit, "no lookup takes more than log2(n) rounds")

    def _watch(self, phase: str, minutes: Sequence[int]) -> None:
        start = self.network.clock.seconds()
        for minute in minutes:
            self.network.run_for(start + 60.0 * minute - self.network.clock.seconds())
            self._look(phase, minute, minute == minutes[-1])
        self._find()

    def play(self, within: float, share: float) -> bool:
        """Play it; tell whether all came out as it is wanted."""
        print(_row(HEADS), flush=True)
        self.network.join(self.nodes, within)
        self._watch("join", GROWN)
        self.network.leave(share)
        self._since = self.network.clock.seconds(), self.network.net.datagrams, self.network.net.datagram_bytes
        self._watch("leave", LEFT)
        return self.good


def main() -> int:
    """Play one network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lookups", type=int, default=1_000, help="each time")
    parser.add_argument("--within", type=float, default=60.0, help="seconds in which all begin")
    parser.add_argument("--leave", type=float, default=0.3, help="share of those that leave at once")
    options = parser.parse_args()
    start_logging()
    start = time.perf_counter()
    table = Table(options.nodes, options.seed, options.lookups)
    good = table.play(options.within, options.leave)
    virtual = table.network.clock.seconds()
    print(f"{virtual:.0f} virtual seconds in {time.perf_counter() - start:.0f} s, {time.process_time():.0f} s of CPU")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
