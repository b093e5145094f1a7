"""Blocks among attackers: how soon they are everywhere against the same network undisturbed, and who pays.

    python benchmarks/table_attacks.py

Twenty production nodes, six neighbours each, in virtual time; each has one core, on which checks take what those of the
reference chain were measured to. Attackers are undisturbed nodes of the other run, so that nothing else differs; in the
row *leaving* they go and do nothing else, which is what others lose with their links. *Pushed*: transactions and blocks
that came to honest nodes unasked; *core*: the share of its core that checks took where they took most, in virtual time;
what a bad signature really takes on this machine is printed below. Exit
code 1 if the blocks take more than a tenth longer (and more than 20 ms), if two honest nodes part, if an honest link is
asked last, if more blocks wait for their parents than may, or if attackers that are to pay do not. One signer of wrong
state roots among fifty nodes is ``tests/simulation/test_bad_blocks.py``.
"""

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from random import Random

from attrs import evolve, frozen
from sweep_partition import start_logging

from chainp2p.gossip.blocks.parked import BLOCKS
from chainp2p.primitives.secp256k1 import SignatureError, recover
from chainp2p.testing.machines import Machine
from chainp2p.testing.relaying import Lacking
from chainp2p.testing.siege import (
    Besieged,
    Siege,
    announce_nothing,
    behave,
    control,
    depart,
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
    :param came: so many things have to have come, or the row has not shown what it says.
    :param blocks: measured; of few the times differ by chance, and a flood of many takes long.
    """

    share: float
    attack: Callable[[Machine], None]
    pays: str = ""
    came: int = 0
    blocks: int = 12


ROWS = {
    "withholding, 30 %": Row(0.3, withhold, "last"),
    "announcing nothing, 10 %": Row(0.1, announce_nothing(400, 8), "last"),
    "control messages, 10 %": Row(0.1, control),
    "leaving, 5 %": Row(0.05, depart),
    "bad signatures, 20,000/s": Row(0.05, flood_invalid(20_000, 5), "ends"),
    "unpaid, 20,000/s": Row(0.05, flood_unpaid(20_000, 5), "last", blocks=4),
    "100,000 orphans": Row(0.05, orphans(10_000, 1), came=100_000, blocks=4),
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
    harmless = not loud.outcome.parted and not loud.wronged and loud.parked <= BLOCKS
    return soon and paid and harmless and loud.pushed >= row.came


def signature_micros() -> float:
    """What a bad signature takes on this machine, as the reference chain checks it (microseconds)."""
    chance = Random(1)
    # s is low, or nothing would be computed
    some = [
        (chance.randbytes(32) + bytes([chance.getrandbits(6)]) + chance.randbytes(31) + b"\0", chance.randbytes(32))
        for _ in range(4_000)
    ]
    start = time.process_time()
    for signature, digest in some:
        with suppress(SignatureError):
            recover(signature, digest)
    return (time.process_time() - start) / len(some) * 1e6


def main() -> int:
    """Play all rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--blocks", type=int, help="measured, in place of each row's own number")
    parser.add_argument("--only", default="", help="rows whose names begin so")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    tasks = [
        (evolve(BASE, seed=seed, blocks=options.blocks or ROWS[name].blocks), name)
        for seed in range(options.first, options.first + options.seeds)
        for name in ROWS
        if name.startswith(options.only)
    ]
    heads = (
        "calm 95%",
        "all",
        "attack 95%",
        "all",
        "parted",
        "ended",
        "last",
        "wronged",
        "parked",
        "pushed",
        "core",
        "real s",
    )
    print(f"{'attack':<26}{'seed':>5}" + "".join(f"{head:>11}" for head in heads))
    broken = []
    with ProcessPoolExecutor(options.jobs, initializer=start_logging) as pool:
        for (base, name), (calm, loud, real) in zip(tasks, pool.map(play, tasks), strict=True):
            seed = base.seed
            times = [f"{within(one, share):.3f}" for one in (calm, loud) for share in (0.95, 1.0)]
            counts = (
                loud.outcome.parted,
                loud.outcome.caught,
                loud.useless,
                loud.wronged,
                loud.parked,
                loud.pushed,
                f"{loud.busy:.1%}",
            )
            print(
                f"{name:<26}{seed:>5}" + "".join(f"{cell!s:>11}" for cell in (*times, *counts, f"{real:.0f}")),
                flush=True,
            )
            if not good(ROWS[name], calm, loud):
                broken.append(f"{name} ({seed})")
    micros = signature_micros()
    print(f"a bad signature takes {micros:.0f} us of this machine: 20,000 a second {micros * 0.02:.2f} cores")
    print("broken:" if broken else "all bounds kept", *broken)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
