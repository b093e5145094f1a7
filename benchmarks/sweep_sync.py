"""Kills, restarts, stalls, cuts and lies about height at random, while blocks come every half second: nobody sticks.

    python benchmarks/sweep_sync.py --seeds 1000 --jobs 2

Networks have 2, 3 to 8, or 50 nodes. A witness who sees all machines checks every second what each of them says that it
waits for: the block, the peer and the deadline are right, no node comes to a stand for 60 s or does nothing while a
linked peer could serve it. In the end all have one head. Failures are told as they come, and how far it is every 50
seeds, so that what was stopped can go on with --first. Exit code 1 if a seed failed; it can be played again.
"""

import argparse
import gc
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import islice

from sweep_partition import start_logging

from chainp2p.testing.simulator import SimulationError
from chainp2p.testing.troubles import Outcome, play_troubles


def start() -> None:
    """Prepare a process: each seed ends with a collection, which need not look at what was imported (a fifth of it)."""
    start_logging()
    gc.freeze()


def run(seed: int) -> Outcome | str:
    """Play one seed; answer how it went, or why it did not."""
    try:
        return play_troubles(seed)
    except SimulationError as error:
        return str(error)


def main() -> int:
    """Play all seeds and print a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no seed after so long")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    began = time.perf_counter()
    outcomes: list[Outcome] = []
    failures: list[str] = []
    told = played = 0
    with ProcessPoolExecutor(options.jobs, initializer=start) as pool:
        seeds = iter(range(options.first, options.first + options.seeds))
        open = [pool.submit(run, seed) for seed in islice(seeds, 2 * options.jobs)]
        while open:
            outcome = open.pop(0).result()
            if isinstance(outcome, str):
                failures.append(outcome)
            else:
                outcomes.append(outcome)
                if not outcome.good:
                    failures.append(f"seed {outcome.seed}, {outcome.nodes} nodes: " + "\n  ".join(outcome.faults[:3]))
            if len(failures) > told:
                print(failures[-1], file=sys.stderr, flush=True)
            told, played = len(failures), played + 1
            if played % 50 == 0:
                next_seed = options.first + played
                print(f"below seed {next_seed}: {told} failed, {time.perf_counter() - began:.0f} s", flush=True)
            if time.perf_counter() - began < options.seconds and (seed := next(seeds, None)) is not None:
                open.append(pool.submit(run, seed))
    sizes = sorted({outcome.nodes for outcome in outcomes})
    print("nodes  seeds  good  waits heard  longest stand s  settled after s")
    for size in sizes:
        some = [outcome for outcome in outcomes if outcome.nodes == size]
        good, looks = sum(one.good for one in some), sum(one.looks for one in some)
        longest, settled = max(one.longest for one in some), max(one.settled for one in some)
        print(f"{size:>5}  {len(some):>5}  {good:>4}  {looks:>11}  {longest:>15.1f}  {settled:>15.1f}")
    print(f"{len(outcomes)} seeds, {len(failures)} failed, {time.perf_counter() - began:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
