"""Lets 500 Sybil addresses of 1, 4 and 64 netgroups attack one node for an hour, and prints what they got.

    python benchmarks/table_sybil.py --seeds 1 --jobs 2

Honest inbound: fewest at any look while the attack lasted, and at its end; of 64 slots 8 must stay theirs. Outbound:
the attacker's share at its worst; at most 10 % with one netgroup. Exit code 1 if something else came out.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from chainp2p.testing.simulator import SimulationError
from chainp2p.testing.sybils import SybilOutcome, sybil_attack


def start_logging() -> None:
    """Show errors only; without an observer Twisted would keep every event in memory."""
    errors = FilteringLogObserver(textFileLogObserver(sys.stderr), [LogLevelFilterPredicate(LogLevel.error)])
    globalLogBeginner.beginLoggingTo([errors], redirectStandardIO=False)


def run(task: tuple[int, int, int, float]) -> tuple[SybilOutcome | str, float]:
    """Play one (seed, netgroups, addresses, seconds); answer how it went, or why it did not, and CPU seconds."""
    start = time.process_time()
    try:
        outcome: SybilOutcome | str = sybil_attack(*task)
    except SimulationError as error:
        outcome = str(error)
    return outcome, time.process_time() - start


def _row(cells: Sequence[object]) -> str:
    return "".join(f"{cell!s:>15}" for cell in cells)


def main() -> int:
    """Play all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--groups", type=int, nargs="+", default=[1, 4, 64])
    parser.add_argument("--sybils", type=int, default=500, help="addresses")
    parser.add_argument("--seconds", type=float, default=3_600.0, help="how long they attack")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    tasks = [(seed, groups, options.sybils, options.seconds) for groups in options.groups for seed in seeds]
    heads = ("netgroups", "seed", "honest least", "honest end", "late let in", "sybils end", "outbound", "bad outbound")
    print(_row((*heads, "worst share", "evicted", "refused", "CPU seconds")), flush=True)
    good = True
    with ProcessPoolExecutor(options.jobs, initializer=start_logging) as pool:
        for outcome, seconds in pool.map(run, tasks):
            if isinstance(outcome, str):
                print(outcome, file=sys.stderr)
                good = False
                continue
            good = good and outcome.good
            evicted = sum(count for rule, count in outcome.rules.items() if rule.startswith("evicted"))
            refused = sum(outcome.rules.values()) - evicted
            here = (outcome.groups, outcome.seed, *outcome.honest, outcome.late, outcome.attackers)
            dialled = (outcome.outbound, outcome.outbound_bad, f"{outcome.outbound_worst:.1%}")
            print(_row((*here, *dialled, evicted, refused, f"{seconds:.0f}")), flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
