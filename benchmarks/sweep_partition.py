"""Splits networks of 2 and 4 signers for 300 blocks a side over bad links, joins them, and prints how they converged.

    python benchmarks/sweep_partition.py --seeds 1000 --jobs 2

Each seed is played with each number of signers, and one that failed can be played again. Exit code 1 if one failed.
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
from chainp2p.testing.splits import SplitOutcome, split_and_heal

#: Seeds that one process takes at a time: few, so that both finish together.
CHUNK = 4


def start_logging() -> None:
    """Show errors only; without an observer Twisted would keep every event in memory, which slows each run down."""
    errors = FilteringLogObserver(textFileLogObserver(sys.stderr), [LogLevelFilterPredicate(LogLevel.error)])
    globalLogBeginner.beginLoggingTo([errors], redirectStandardIO=False)


def run(task: tuple[int, int, int, float]) -> SplitOutcome | str:
    """Play one (seed, signers, blocks, period); answer how it went, or why it did not."""
    try:
        return split_and_heal(*task)
    except SimulationError as error:
        return str(error)


def _row(cells: Sequence[object]) -> str:
    return "".join(f"{cell!s:>14}" for cell in cells)


def main() -> int:
    """Play all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--blocks", type=int, default=300, help="blocks that each side seals")
    parser.add_argument("--period", type=float, default=0.25, help="seconds between two slots")
    parser.add_argument("--signers", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    print(_row(("signers", "seeds", "converged", "worst slots", "bound", "conflicts", "longest reorg", "seconds")))
    failures: list[str] = []
    with ProcessPoolExecutor(options.jobs, initializer=start_logging) as pool:
        for signers in options.signers:
            start = time.perf_counter()
            outcomes: list[SplitOutcome] = []
            tasks = [(seed, signers, options.blocks, options.period) for seed in seeds]
            for outcome in pool.map(run, tasks, chunksize=CHUNK):
                if isinstance(outcome, str):
                    failures.append(f"n = {signers}: {outcome}")
                    continue
                outcomes.append(outcome)
                if not outcome.good:
                    failures.append(f"n = {signers}: {outcome}")
            print(_table_row(signers, len(tasks), outcomes, time.perf_counter() - start), flush=True)
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


def _table_row(signers: int, seeds: int, outcomes: list[SplitOutcome], seconds: float) -> str:
    slots = [outcome.slots for outcome in outcomes if outcome.slots is not None]
    return _row(
        (
            signers,
            seeds,
            sum(outcome.good for outcome in outcomes),
            f"{max(slots):.1f}" if slots else "-",
            2 * signers,
            sum(outcome.conflicts for outcome in outcomes),
            max((outcome.left for outcome in outcomes), default=0),
            f"{seconds:.0f}",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
