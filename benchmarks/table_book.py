"""Floods the address book of a victim, restarts it, and prints how many of its outbound picks are the attacker's.

    python benchmarks/table_book.py --seeds 200 --jobs 2

The victim holds 500 tried and 2,000 new honest addresses that 50 sources told it; the attacker sends 100,000 addresses
from 3 sources, no intake limit holds it back; then 16 peers are picked, one of each netgroup. "uniform" is what picks
among all new addresses alike would give. Exit code 1 if a share is above 5 %.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from attrs import evolve

from chainp2p.testing.flooding import Flood, FloodOutcome, flood_book

#: Of all picks, at most so many may be the attacker's.
SHARE_LIMIT = 0.05
#: Floods by name.
FLOODS = {
    "as it is": Flood(),
    "repeats honest ones": Flood(repeats=True),
}


def _row(cells: Sequence[object]) -> str:
    return f"{cells[0]!s:<22}" + "".join(f"{cell!s:>14}" for cell in cells[1:])


def _table_row(name: str, outcomes: list[FloodOutcome], seconds: float) -> str:
    picks, bad = sum(one.picks for one in outcomes), sum(one.bad for one in outcomes)
    new = sum(one.kept_new for one in outcomes)
    enemy = sum(one.attacker_new for one in outcomes)
    cells = (
        name,
        len(outcomes),
        picks,
        f"{bad / picks:.2%}",
        f"{max(one.bad for one in outcomes)} of 16",
        f"{enemy / (enemy + new) / 2:.0%}",
        min(one.kept_tried for one in outcomes),
        min(one.kept_new for one in outcomes),
        max(one.attacker_new for one in outcomes),
        f"{seconds:.0f}",
    )
    return _row(cells)


def main() -> int:
    """Play all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--addresses", type=int, default=Flood().attacker, help="that the attacker sends")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    heads = ("flood", "seeds", "picks", "attacker's", "worst seed", "uniform")
    print(_row((*heads, "tried kept", "new kept", "attacker new", "seconds")))
    good = True
    with ProcessPoolExecutor(options.jobs) as pool:
        for name, flood in FLOODS.items():
            start = time.perf_counter()
            play = partial(flood_book, flood=evolve(flood, attacker=options.addresses))
            outcomes = list(pool.map(play, seeds))
            print(_table_row(name, outcomes, time.perf_counter() - start), flush=True)
            good = good and sum(one.bad for one in outcomes) <= SHARE_LIMIT * sum(one.picks for one in outcomes)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
