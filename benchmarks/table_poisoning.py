"""Lets attackers with 1, 16 and 256 addresses poison the tables of an honest network, and prints what they got.

    python benchmarks/table_poisoning.py --seeds 200 --jobs 2

64 honest nodes of discovery in as many /16; the attacker has any number of node ids, answers everything at once, and
names nobody but itself. Shares are the attacker's, over all seeds, with the worst seed behind the stroke: of live
entries of honest tables; of those of an old and of a new node that it assails; of what lookups of the new one find;
of whom each of the two dials; and of their outbound links at the end. "fair": its /16 among all /16, of each of which
one is dialled. Exit code 1 if one address has more than 12.5 % of anything, or anybody has all of somebody's table.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from chainp2p.testing.poisoning import ATTACKS, HONEST, LEAVE, PoisonOutcome, Share, poison

#: Of anything, one address may have at most so much in the mean of all seeds: two of the sixteen that a lookup finds.
ONE_LIMIT = 2 / 16


def cell(shares: Iterable[Share]) -> str:
    """Return the share over all seeds and that of the worst one."""
    all_of_them = list(shares)
    bad, count = sum(share.bad for share in all_of_them), sum(share.all for share in all_of_them)
    return f"{bad / max(1, count):.1%} | {max(share.part for share in all_of_them):.0%}"


def _row(cells: Sequence[object]) -> str:
    return f"{cells[0]!s:<28}" + "".join(f"{cell!s:>15}" for cell in cells[1:])


def columns(outcome: PoisonOutcome) -> list[Share]:
    """Return what is printed of one seed."""
    one = outcome
    return [one.crowd, one.old, one.new, one.lookups, one.old_dials, one.new_dials, one.links]


def main() -> int:
    """Play all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--attacks", type=int, nargs="+", default=list(range(len(ATTACKS))), help="which, from 0 on")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    heads = ("addresses", "seeds", "tables", "old", "new", "lookups", "old dials", "new dials", "links")
    print(_row((*heads, "fair", "honest least", "seconds")), flush=True)
    good = True
    with ProcessPoolExecutor(options.jobs) as pool:
        for attack in (ATTACKS[number] for number in options.attacks):
            start = time.perf_counter()
            outcomes = list(pool.map(partial(poison, attack=attack), seeds))
            shares = list(zip(*map(columns, outcomes), strict=True))
            fair = f"{attack.groups / (attack.groups + HONEST - LEAVE):.1%}"
            least = min(outcome.honest for outcome in outcomes)
            seconds = f"{time.perf_counter() - start:.0f}"
            print(_row((attack.text, len(outcomes), *map(cell, shares), fair, least, seconds)), flush=True)
            good = good and least > 0
            if attack.addresses == 1:
                means = [sum(one.bad for one in column) / max(1, sum(one.all for one in column)) for column in shares]
                good = good and max(means) <= ONE_LIMIT
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
