"""Blocks among attackers: how soon they are everywhere against the same network undisturbed, and who pays.

    python benchmarks/table_attacks.py --seeds 2

Twenty production nodes, six neighbours each, in virtual time; each has one core, on which checks take what those of the
reference chain were measured to. Attackers are undisturbed nodes of the other run, so that nothing else differs. Exit
code 1 if the blocks take more than a tenth longer (and more than 20 ms), if two honest nodes part, if an honest link is
asked last, if more blocks wait for their parents than may, or if attackers that are to pay do not. One signer of wrong
state roots among fifty nodes is ``tests/simulation/test_bad_blocks.py``.
"""

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

from attrs import evolve, frozen
from sweep_partition import start_logging

from chainp2p.gossip.blocks.parked import BLOCKS
from chainp2p.testing.machines import Machine
from chainp2p.testing.relaying import Lacking
from chainp2p.testing.siege import (
    Besieged,
    Siege,
    announce_nothing,
    behave,
    control,
    flood_invalid,
    flood_unpaid,
    orphans,
    withhold,
)

BASE = Siege(nodes=20, degree=6, transactions=100, size=110, lacking=Lacking.LATE, share=0.05)
#: How much later a block may be: this part, or (seconds) one short hop, where the links to attackers have ended over
#: which it came before.
LATER, HOP = 1.1, 0.02


@frozen
class Row:
    """An attack.

    :param share: of the nodes that attack.
    :param pays: what has to happen to attackers: ``ends`` of links, that they are asked ``last``, or nothing.
    """

    share: float
    attack: Callable[[Machine], None]
    pays: str = ""


ROWS = {
    "withholding, 30 %": Row(0.3, withhold, "last"),
    "announcing nothing, 10 %": Row(0.1, announce_nothing(400, 8), "last"),
    "control messages, 10 %": Row(0.1, control),
    "bad signatures, 20,000/s": Row(0.05, flood_invalid(20_000, 5), "ends"),
    "unpaid, 20,000/s": Row(0.05, flood_unpaid(20_000, 5), "last"),
    "100,000 orphans": Row(0.05, orphans(10_000, 1)),
}


def play(task: tuple[Siege, str]) -> tuple[Besieged, Besieged, float]:
    """Play the row of that name and what it is compared with."""
    start = time.perf_counter()
    base, row = task[0], ROWS[task[1]]
    calm, loud = (evolve(base, hostile=(row.share, attack)).play() for attack in (behave, row.attack))
    return calm, loud, time.perf_counter() - start


def within(played: Besieged, share: float) -> float:
    """When blocks were at that share of the nodes, on average (seconds)."""
    spreads = played.outcome.spreads
    return sum(spread.within(share) for spread in spreads) / len(spreads)


def good(row: Row, calm: Besieged, loud: Besieged) -> bool:
    """Whether all holds that has to."""
    soon = within(loud, 0.95) <= max(within(calm, 0.95) * LATER, within(calm, 0.95) + HOP)
    paid = {"": True, "ends": loud.outcome.caught > 0, "last": loud.useless > 0}[row.pays]
    return soon and paid and not loud.outcome.parted and not loud.wronged and loud.parked <= BLOCKS


def main() -> int:
    """Play all rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--blocks", type=int, default=3, help="measured; 100,000 orphans take ten seconds")
    parser.add_argument("--only", default="", help="rows whose names begin so")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    tasks = [
        (evolve(BASE, seed=seed, blocks=options.blocks), name)
        for seed in range(options.first, options.first + options.seeds)
        for name in ROWS
        if name.startswith(options.only)
    ]
    heads = ("calm 95%", "all", "attack 95%", "all", "parted", "ended", "last", "wronged", "parked", "real s")
    print(f"{'attack':<26}{'seed':>5}" + "".join(f"{head:>11}" for head in heads))
    broken = []
    with ProcessPoolExecutor(options.jobs, initializer=start_logging) as pool:
        for (base, name), (calm, loud, real) in zip(tasks, pool.map(play, tasks), strict=True):
            seed = base.seed
            times = [f"{within(one, share):.3f}" for one in (calm, loud) for share in (0.95, 1.0)]
            counts = (loud.outcome.parted, loud.outcome.caught, loud.useless, loud.wronged, loud.parked)
            print(
                f"{name:<26}{seed:>5}" + "".join(f"{cell!s:>11}" for cell in (*times, *counts, f"{real:.0f}")),
                flush=True,
            )
            if not good(ROWS[name], calm, loud):
                broken.append(f"{name} ({seed})")
    print("broken:" if broken else "all bounds kept", *broken)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
