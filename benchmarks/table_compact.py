"""Blocks in compact form: how many need no round trip, by what pools differ in, and what liars and collisions do.

    python benchmarks/table_compact.py --seeds 2

Fifty nodes, eight neighbours each, in virtual time. A row of transactions that are *fresh* (handed to the producer the
moment before) or *late* (handed to any nodes within the last 0.3 s) plays gossip as it is; in a row of *each* every
node's pool lacks its own, as if it had dropped them, which no neighbour knows: no prefill can help there. Exit code 1
if a block does not come to all honest nodes, if two honest nodes part, or if the share of blocks without a round trip
is below its aim in a row of gossip.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from attrs import evolve
from sweep_partition import start_logging

from chainp2p.testing.relaying import Lacking, Outcome, Relaying
from chainp2p.testing.tellers import colliding, invent, keep_silent

#: What share of blocks should need no round trip, by what pools differ in.
AIMS = {0.0: 0.99, 0.05: 0.95, 0.2: 0.85}
#: A typical block of transfers: 300 a second.
BLOCK = Relaying(nodes=50, transactions=300, size=110)


def rows(base: Relaying) -> dict[str, Relaying]:
    """Name each row."""
    found = {
        f"{lacking.value} {share:.0%}": evolve(base, lacking=lacking, share=share)
        for lacking in (Lacking.FRESH, Lacking.LATE, Lacking.EACH)
        for share in AIMS
        if share or lacking is Lacking.FRESH
    }
    found["30 % silent"] = evolve(base, lacking=Lacking.EACH, hostile=(0.3, keep_silent))
    found["30 % inventing"] = evolve(base, lacking=Lacking.EACH, hostile=(0.3, invent))
    found["colliding"] = evolve(base, lacking=Lacking.EACH, share=0.01, world=colliding, strangers=300)
    return found


def play(task: tuple[str, Relaying]) -> tuple[str, int, Outcome, float]:
    """Play one row."""
    start = time.perf_counter()
    return task[0], task[1].seed, task[1].run(), time.perf_counter() - start


def _row(cells: Sequence[object]) -> str:
    return f"{cells[0]!s:<18}" + "".join(f"{cell!s:>10}" for cell in cells[1:])


def main() -> int:
    """Play all rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--nodes", type=int, default=BLOCK.nodes)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--only", default="", help="rows whose names begin so")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    heads = (
        "seed",
        "lacked",
        "free",
        "asked",
        "fetched",
        "whole",
        "again",
        "p50 s",
        "all s",
        "bytes",
        "parted",
        "caught",
        "real s",
    )
    print(_row(("row", *heads)))
    tasks = [
        (name, row)
        for seed in range(options.first, options.first + options.seeds)
        for name, row in rows(evolve(BLOCK, seed=seed, nodes=options.nodes, blocks=options.blocks)).items()
        if name.startswith(options.only)
    ]
    good = True
    with ProcessPoolExecutor(options.jobs, initializer=start_logging) as pool:
        for (name, row), (_, seed, one, real) in zip(tasks, pool.map(play, tasks), strict=True):
            counts, got = one.counts, one.received
            times = sorted(spread.within(0.5) for spread in one.spreads)
            last = max(spread.within(1.0) for spread in one.spreads)
            shares = [f"{count / got:.1%}" for count in (counts.free, counts.asked, counts.fetched, counts.given_up)]
            lacked = f"{counts.lacked / max(1, counts.transactions):.1%}"
            more = f"{counts.again / got:.2f}", f"{times[len(times) // 2]:.2f}", f"{last:.2f}", round(one.bytes)
            print(_row((name, seed, lacked, *shares, *more, one.parted, one.caught, f"{real:.0f}")), flush=True)
            gossip = row.lacking is not Lacking.EACH
            good = good and not one.parted and (not gossip or one.free >= AIMS[row.share])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
