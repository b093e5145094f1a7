"""Two heads of equal rank at once, with different transactions: all ledgers settle on one, and all sums are right.

    python benchmarks/sweep_ties.py --seeds 500 --jobs 2
    python benchmarks/sweep_ties.py --seeds 500 --jobs 2 --nodes

Three ledgers hear of both branches and of transactions, each in an order of its own. Heads, receipts, balances, nonces,
the events (what was left and entered, in order; what came back to the pool, and why something was dropped) and the pool
are compared with a model that runs the winning branch again from genesis, and follows the events one by one. With
``--nodes`` these are three or four whole nodes on a virtual clock: halves of the network hear of one branch each, and
of transactions anywhere at any time, and are joined. Exit code 1 if a seed failed; it is printed and can be played
again with ``--first``.
"""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.ledger.ties import Tie, Wrong, play
from tests.simulation import nodeties


def run(task: tuple[int, bool]) -> Tie | str:
    """Play one seed, on nodes or on ledgers; answer how it went, or what was wrong."""
    seed, nodes = task
    try:
        return nodeties.play(seed) if nodes else play(seed)
    except Wrong as error:
        return str(error)


def main() -> int:
    """Play all seeds and print a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--nodes", action="store_true", help="on whole nodes instead of ledgers")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    start = time.perf_counter()
    with ProcessPoolExecutor(options.jobs) as pool:
        tasks = [(seed, options.nodes) for seed in range(options.first, options.first + options.seeds)]
        outcomes = list(pool.map(run, tasks, chunksize=5))
    ties = [one for one in outcomes if isinstance(one, Tie)]
    moved = sum(tie.moved for tie in ties)
    for failure in outcomes:
        if isinstance(failure, str):
            print(failure, file=sys.stderr)
    print(f"{len(ties)} of {len(outcomes)} seeds good (from {options.first}), {time.perf_counter() - start:.0f} s")
    print(f"times that a head left its branch, of {sum(tie.chains for tie in ties)} chains: {moved}")
    print(f"transactions that came back to a pool: {sum(tie.returned for tie in ties)}")
    print(f"that did not, for another took their nonce: {sum(tie.lost for tie in ties)}")
    return 0 if len(ties) == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
