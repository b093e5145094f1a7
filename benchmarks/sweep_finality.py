"""Signers under random delays and cuts, with an adversary who holds some keys: what is final never contradicts itself.

    python benchmarks/sweep_finality.py --seeds 10000 --jobs 2

Networks have 1 to 7 signers and a node or two that do not seal. In the first table at most (n-1)/3 keys are in the
adversary's hands: no two finalized blocks contradict, and all finalize again after the heal while it goes on. The
second one has more (``--beyond`` seeds): how often two nodes finalize what contradicts, and that this is reported,
with keys of the adversary only, and settled by an operator alone. Exit code 1 if a seed failed; it is printed, and can
be played again: ``--first SEED --seeds 1 --beyond 0``, or ``--seeds 0 --beyond 1``.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice

from chainp2p.testing.finality import SETTLED_MAX, FinalityOutcome, play_finality

#: Seeds that one process takes at a time.
CHUNK = 10


def run(first: int, count: int, beyond: bool) -> list[FinalityOutcome]:
    """Play some seeds."""
    return [play_finality(seed, beyond) for seed in range(first, first + count)]


def sweep(
    pool: ProcessPoolExecutor, first: int, count: int, beyond: bool, seconds: float, jobs: int
) -> list[FinalityOutcome]:
    """Play *count* seeds in turn; begin none after so many *seconds*."""
    deadline, outcomes = time.perf_counter() + seconds, list[FinalityOutcome]()
    parts = iter([(at, min(CHUNK, first + count - at), beyond) for at in range(first, first + count, CHUNK)])
    open = [pool.submit(run, *part) for part in islice(parts, 2 * jobs)]
    while open:
        outcomes += open.pop(0).result()
        if time.perf_counter() < deadline and (part := next(parts, None)) is not None:
            open.append(pool.submit(run, *part))
    return outcomes


def _row(cells: Sequence[object]) -> str:
    return "".join(f"{cell!s:>13}" for cell in cells)


def _within(outcomes: Sequence[FinalityOutcome]) -> list[object]:
    slots = [outcome.settled for outcome in outcomes if outcome.settled is not None]
    return [
        sum(one.conflicting for one in outcomes),
        sum(one.reported > 0 for one in outcomes),
        max(slots, default="-"),
    ]


def _table(outcomes: Sequence[FinalityOutcome], beyond: bool) -> None:
    """Print a row for each number of signers, and one for all."""
    names = ("signers", "keys taken", "seeds", "good", "moved before", "contradict", "reported", "worst slots", "bound")
    print("more than a third of the keys taken" if beyond else "at most (n-1)/3 of the keys taken")
    print(_row(names))
    for n in (*sorted({one.n for one in outcomes}), 0):
        some = [one for one in outcomes if n in (one.n, 0)]
        taken = sorted({one.faulty for one in some})
        keys = f"{taken[0]}-{taken[-1]}" if len(taken) > 1 else taken[0]
        good, moved = sum(one.good for one in some), sum(one.moved for one in some)
        print(_row((n or "all", keys, len(some), good, moved, *_within(some), SETTLED_MAX * n or "")))


def main() -> int:
    """Play all seeds and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10_000, help="of at most (n-1)/3 keys")
    parser.add_argument("--beyond", type=int, default=1_000, help="seeds of more keys")
    parser.add_argument("--first", type=int, default=1, help="the first seed of both")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no seed of a table after so long")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    failures: list[str] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for beyond, count in ((False, options.seeds), (True, options.beyond)):
            if not count:
                continue
            start = time.perf_counter()
            outcomes = sweep(pool, options.first, count, beyond, options.seconds, options.jobs)
            _table(outcomes, beyond)
            seconds = time.perf_counter() - start
            print(f"seeds {options.first} to {options.first + len(outcomes) - 1}, {seconds:.0f} s\n", flush=True)
            failures += [f"{'beyond' if beyond else 'within'}: {one}" for one in outcomes if not one.good]
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
