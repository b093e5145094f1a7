"""Downloads a chain from 16 peers of which 5 stall and 1 lies, over links of which 30 % are slow, in virtual time.

    python benchmarks/table_sync.py --seeds 10 --jobs 2

The ideal time is that in which all links together, those of peers that stall until they do, carry all headers and
bodies, with nothing for dialling, for asking, nor for finding out who is what. Exit code 1 if a download takes more
than 1.3 times that, if an honest peer is banned or its link ends, or if the liar is not found.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache

from sweep_partition import start_logging

from chainp2p.testing.downloads import Download, download, long_chain
from chainp2p.testing.toychain import ToyChain

#: Times the ideal.
BOUND = 1.3


@cache
def _chain(blocks: int, size: int) -> ToyChain:
    return long_chain(blocks, size)


def run(task: tuple[int, int, int]) -> Download:
    """Play one (seed, blocks, bytes of a block)."""
    seed, blocks, size = task
    return download(seed, _chain(blocks, size))


def _row(cells: Sequence[object]) -> str:
    return "".join(f"{cell!s:>12}" for cell in cells)


def main() -> int:
    """Play all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--blocks", type=int, default=8_000)
    parser.add_argument("--size", type=int, default=25_000, help="bytes of a block")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    print(_row(("seed", "ideal s", "took s", "ratio", "twice", "honest end", "banned", "liar found", "real s")))
    outcomes: list[Download] = []
    start = time.perf_counter()
    tasks = [(seed, options.blocks, options.size) for seed in range(options.first, options.first + options.seeds)]
    with ProcessPoolExecutor(options.jobs, initializer=start_logging) as pool:
        for one in pool.map(run, tasks):
            outcomes.append(one)
            real = f"{time.perf_counter() - start:.0f}"
            took = f"{one.seconds:.1f}", f"{one.ratio:.2f}", f"{one.wasted:.1%}"
            print(_row((one.seed, f"{one.ideal:.1f}", *took, one.ended, one.banned, one.caught, real)), flush=True)
    ratios = [one.ratio for one in outcomes]
    print(f"ratio: median {statistics.median(ratios):.2f}, worst {max(ratios):.2f}")
    good = all(one.ratio <= BOUND and not one.ended and not one.banned and one.caught for one in outcomes)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
