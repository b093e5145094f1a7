"""Brings trouble to consortia of four signers and prints whether they worked on.

    python benchmarks/sweep_consortium.py --seeds 200 --jobs 2

Each seed is played with each trouble, and one that failed can be played again. Exit code 1 if one failed.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from sweep_partition import start_logging

from chainp2p.testing.consortium import ConsortiumOutcome, Trouble, consortium_in_trouble
from chainp2p.testing.simulator import SimulationError

#: Seeds that one process takes at a time: few, so that both finish together.
CHUNK = 4


def run(task: tuple[int, Trouble]) -> ConsortiumOutcome | str:
    """Play one (seed, trouble); answer how it went, or why it did not."""
    try:
        return consortium_in_trouble(*task)
    except SimulationError as error:
        return str(error)


def _row(cells: Sequence[object]) -> str:
    first, *others = cells
    return f"{first!s:<24}" + "".join(f"{cell!s:>12}" for cell in others)


def main() -> int:
    """Play all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    print(
        _row(
            ("trouble", "seeds", "good", "lonely s", "least peers", "banned", "blocks", "finalized", "agree s", "secs")
        )
    )
    failures: list[str] = []
    with ProcessPoolExecutor(options.jobs, initializer=start_logging) as pool:
        for trouble in Trouble:
            start = time.perf_counter()
            outcomes: list[ConsortiumOutcome] = []
            tasks = [(seed, trouble) for seed in seeds]
            for outcome in pool.map(run, tasks, chunksize=CHUNK):
                if isinstance(outcome, str):
                    failures.append(f"{trouble.value}: {outcome}")
                    continue
                outcomes.append(outcome)
                if not outcome.good:
                    failures.append(str(outcome))
            print(_table_row(trouble, len(tasks), outcomes, time.perf_counter() - start), flush=True)
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


def _table_row(trouble: Trouble, seeds: int, outcomes: list[ConsortiumOutcome], seconds: float) -> str:
    """The worst of each column."""
    return _row(
        (
            trouble.value,
            seeds,
            sum(outcome.good for outcome in outcomes),
            f"{max((outcome.lonely for outcome in outcomes), default=0):.1f}",
            min((outcome.least for outcome in outcomes), default="-"),
            sum(outcome.banned for outcome in outcomes),
            min((outcome.blocks for outcome in outcomes), default="-"),
            min((outcome.finalized for outcome in outcomes), default="-"),
            f"{max((outcome.agree for outcome in outcomes), default=0):.1f}",
            f"{seconds:.0f}",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
