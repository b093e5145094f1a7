"""Lets islands of two and one miners grow apart, joins them, and prints how they converged: one chain, by work.

    python benchmarks/sweep_mining.py --seeds 100 --jobs 2

Each seed is played twice: with the usual limit of depth, and with one that refuses the winning branch until it is
accepted. Exit code 1 if one failed; it can be played again.
"""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from sweep_partition import start_logging

from chainp2p.testing.mining import MinedSplit, mine_apart
from chainp2p.testing.simulator import SimulationError

#: A limit that the longer islands pass.
TIGHT = 10


def run(task: tuple[int, float, int | None]) -> MinedSplit | str:
    """Play one (seed, seconds apart, limit); answer how it went, or why it did not."""
    try:
        return mine_apart(*task)
    except SimulationError as error:
        return str(error)


def main() -> int:
    """Play all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seconds", type=float, default=200.0, help="how long the islands are apart")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    failures: list[str] = []
    print(f"{'limit':>8}{'seeds':>8}{'by work':>9}{'refused':>9}{'deepest':>9}{'longest s':>11}{'seconds':>9}")
    with ProcessPoolExecutor(options.jobs, initializer=start_logging) as pool:
        for limit in (None, TIGHT):
            start, good = time.perf_counter(), []
            tasks = [(seed, options.seconds, limit) for seed in range(options.first, options.first + options.seeds)]
            for outcome in pool.map(run, tasks):
                if isinstance(outcome, str) or not outcome.good:
                    failures.append(str(outcome))
                else:
                    good.append(outcome)
            print(
                f"{limit or 'usual':>8}{options.seeds:>8}{len(good):>9}{sum(one.refused > 0 for one in good):>9}"
                f"{max((one.left for one in good), default=0):>9}{max((one.seconds for one in good), default=0):>11.0f}"
                f"{time.perf_counter() - start:>9.0f}",
                flush=True,
            )
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
