"""Plants every fault of ``chainp2p.testing.faults`` in simulated networks and prints what ``why`` names as the cause.

    python benchmarks/table_why.py --seeds 10 --jobs 2

The faults are shuffled by the seed and a third of them are planted in pairs, both in one network. An answer counts if
its code is one of those by which the fault should be named. Exit code 1 if a seed has fewer than 28 of 30.
"""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from chainp2p.testing.faults import FAULTS
from chainp2p.testing.planting import plant, rounds

#: The share of faults that has to be named.
WANTED = 28 / 30


def start_logging() -> None:
    """Show critical errors only: some of what is planted is logged as an error, which is right."""
    critical = FilteringLogObserver(textFileLogObserver(sys.stderr), [LogLevelFilterPredicate(LogLevel.critical)])
    globalLogBeginner.beginLoggingTo([critical], redirectStandardIO=False)


def run(seed: int) -> list[tuple[str, str, bool, str, str]]:
    """Play one seed; a row for each fault: name, planted beside, named, code, line."""
    rows = []
    for number, faults in enumerate(rounds(seed, FAULTS)):
        for one in plant(f"{seed}/{number}", faults):
            beside = ", ".join(fault.name for fault in faults if fault is not one.fault)
            rows.append((one.fault.name, beside, one.named, one.answer.code, one.answer.line))
    return rows


def main() -> int:
    """Play all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--lines", action="store_true", help="show every answer, not only those of the first seed")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    start, worst, missed = time.perf_counter(), 1.0, []
    with ProcessPoolExecutor(options.jobs, initializer=start_logging) as pool:
        for seed, rows in zip(seeds, pool.map(run, seeds), strict=True):
            named = sum(row[2] for row in rows)
            worst = min(worst, named / len(rows))
            if options.lines or seed == options.first:
                for name, beside, good, code, line in sorted(rows):
                    with_ = f" (with {beside})" if beside else ""
                    print(f"{'named ' if good else 'MISSED'}  {name + with_:<45}  {code:<18}  {line}")
            missed += [(seed, *row) for row in rows if not row[2]]
            pairs = sum(bool(row[1]) for row in rows)
            print(f"seed {seed}: {named} of {len(rows)} named, {pairs} of them planted in pairs", flush=True)
    for seed, name, beside, _, code, line in missed:
        print(f"seed {seed}: {name} with {beside or 'nothing else'} was called {code}: {line}", file=sys.stderr)
    print(f"worst {worst:.1%}, wanted {WANTED:.1%}, {time.perf_counter() - start:.0f} s")
    return 0 if worst >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
