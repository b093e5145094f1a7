"""Transactions at 200 a second among 100 nodes: how soon each is everywhere, for how many copies and bytes; and what a
spy with a link to every node can tell of where they began.

    python benchmarks/table_transactions.py

Eight neighbours each, links of 20 to 200 ms, virtual time. Beside gossip as it is stands the yardstick: pushed to the
square root of the peers, whoever dialled, and pushed on by all. Rows of *spied* have one more machine, which dials all
nodes and passes nothing on; in rows of *among* a tenth of the nodes are spies as well, which others dial. *Origin*:
the share of transactions whose first teller was where they began; *place*: the average place of that node among those
that told a spy; by guessing it would be 1 % and 50. Exit code 1 if a transaction does not come to all honest nodes, or
an aim is missed in the first row: that is gossip with the interval of public networks.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from attrs import evolve
from sweep_partition import start_logging

from chainp2p.testing.paying import FIVE_HOPS, Outcome, Paying, by_square_root

#: Full copies of each transaction that come to a node; bytes of announcements over a link, both ways together; the
#: delay in which 95 % are there: two intervals and five links.
COPIES, ANNOUNCED, INTERVALS = 1.5, 60.0, 2.0


def rows(base: Paying, spied: float) -> dict[str, Paying]:
    """Name each row; those with spies have a rate of their own."""
    watched = evolve(base, spies=1, rate=spied)
    return {
        "gossip": base,
        "gossip, 0.1 s": evolve(base, interval=0.1),
        "square root": evolve(base, world=by_square_root),
        "spied": watched,
        "spied, square root": evolve(watched, world=by_square_root),
        "among": evolve(watched, dialled=0.1),
    }


def missed(row: Paying, one: Outcome) -> bool:
    """Whether an aim is missed."""
    late = one.delay(0.95) > INTERVALS * row.interval + FIVE_HOPS
    return bool(one.missing) or one.copies > COPIES or one.announcements > ANNOUNCED or late


def play(task: tuple[str, Paying]) -> tuple[Outcome, float]:
    """Play one row."""
    start = time.perf_counter()
    return task[1].run(), time.perf_counter() - start


def _row(cells: Sequence[object]) -> str:
    return f"{cells[0]!s:<20}" + "".join(f"{cell!s:>9}" for cell in cells[1:])


def main() -> int:
    """Play all rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--rate", type=float, default=200.0, help="transactions a second")
    parser.add_argument("--spied", type=float, default=100.0, help="the same in rows with spies")
    parser.add_argument("--seconds", type=float, default=5.0, help="of virtual time in which they are handed in")
    parser.add_argument("--only", default="", help="rows whose names begin so")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    heads = ("sent", "missing", "copies", "bytes", "told B", "p50 s", "p95 s", "all s", "origin", "place", "real s")
    print(_row(("row", *heads)))
    base = Paying(seed=options.seed, nodes=options.nodes, rate=options.rate, seconds=options.seconds)
    tasks = [task for task in rows(base, options.spied).items() if task[0].startswith(options.only)]
    good = True
    with ProcessPoolExecutor(options.jobs, initializer=start_logging) as pool:
        for (name, row), (one, real) in zip(tasks, pool.map(play, tasks), strict=True):
            delays = [f"{one.delay(share):.2f}" for share in (0.5, 0.95, 1.0)]
            spied = (f"{one.guessed:.1%}", f"{one.places:.1f}") if row.spies else ("", "")
            told = f"{one.announcements:.1f}"
            print(
                _row(
                    (
                        name,
                        one.sent,
                        one.missing,
                        f"{one.copies:.2f}",
                        round(one.bytes),
                        told,
                        *delays,
                        *spied,
                        f"{real:.0f}",
                    )
                ),
                flush=True,
            )
            good = good and not one.missing and not (name == "gossip" and missed(row, one))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
