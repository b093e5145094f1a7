"""``kill -9`` at random moments of what a ledger writes, and loss of power after it: nothing to repair, nothing wrong.

    python benchmarks/table_kills.py --kills 200 --seed 1

A child process runs a real ledger on real files: the first start, an import in batches, reorganisations of whole
branches, journaling of the pool, the download of a state. Its connections note in shared memory when a write
transaction begins and is committed, and it dies by SIGKILL at a statement or in a commit that was drawn (by a timer
of the kernel, in its middle), or after a time that was drawn. Then every row of the database is compared with a fresh
import up to the same head (``tests/integration/crash``), production opens it, and the next life goes on there. Copies
of what each life left lose their power: the part of the log that was not synced is cut, zeroed, torn by sectors or
filled with rubbish, pages that were being copied are torn, the shared memory is gone; they have to be whole too, at
some earlier block. Exit code 1 if anything is not as it should be.

At the end a signer is killed at each point between its turn and its block's leaving, half the time with a loss of
power, and starts again in the same slot with other transactions: it has to open, of no slot may two blocks leave, and
none may be signed twice for different blocks.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.integration.crash.death import Moment
from tests.integration.crash.killing import Row, run
from tests.integration.crash.signing import Signed, kill_signer
from tests.integration.crash.statework import StateDownload
from tests.integration.crash.workloads import Birth, Import, PoolWrites, Reorg, Workload

#: Signers and the periods of their networks in milliseconds.
SIGNERS = (("in slots of 1 s", 1000), ("on demand", 0))
#: Of all kills so many have to hit a transaction or its commit.
INSIDE_SHARE = 0.75


def table(rows: dict[str, Row]) -> list[str]:
    """What was seen, as text."""
    lines = [
        f"{'workload':<14} {'kills':>5} {'in transaction':>14} {'in commit':>9} {'outside':>7} {'half-written':>12}"
        f" {'in copying':>10} {'work done':>9} {'power losses':>12} {'lost blocks':>11}  result"
    ]
    for name, row in rows.items():
        kills, verdict = row.kills, f"{len(row.failures)} FAILED" if row.failures else "whole each time"
        lines.append(
            f"{name:<14} {kills.total():>5} {kills[Moment.INSIDE]:>14} {kills[Moment.COMMIT]:>9}"
            f" {kills[Moment.OUTSIDE]:>7} {row.torn_commits:>12} {row.mid_copy:>10} {row.finished:>9}"
            f" {row.losses.total():>12} {row.shorter:>11}  {verdict}"
        )
    return lines


def signer_table(signers: dict[str, Signed]) -> list[str]:
    """What became of the signers, as text."""
    lines = [
        f"{'signer':<16} {'kills':>5} {'power losses':>12} {'blocks sent':>11} {'slots signed twice':>18}"
        f" {'slots sent twice':>16}  killed"
    ]
    for name, one in signers.items():
        where = ", ".join(f"{count} {place}" for place, count in one.kills.most_common())
        lines.append(
            f"{name:<16} {one.kills.total():>5} {one.losses:>12} {one.blocks:>11} {one.twice:>18} {one.sent_twice:>16}"
            f"  {where}{'; FAILED' if one.failures else ''}"
        )
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--signer-kills", type=int, default=100, help="of each signer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="workloads whose name begins so")
    options = parser.parse_args()
    makers: dict[str, tuple[float, Callable[[], Workload]]] = {
        "first start": (0.1, Birth),
        "import": (0.25, lambda: Import(320, 40)),
        "reorg": (0.25, lambda: Reorg(24, (30, 60, 90, 120, 150), 12)),
        "pool writes": (0.2, lambda: PoolWrites(600)),
        "state sync": (0.2, lambda: StateDownload(400)),
    }
    chosen = {name: pair for name, pair in makers.items() if name.startswith(options.only)}
    whole = sum(share for share, _ in chosen.values())
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory(prefix="kills-") as scratch:
        for name, (share, make) in chosen.items():
            begun = time.perf_counter()
            kills = round(options.kills * share / whole)
            rows[name] = run(make(), kills, Random(f"{options.seed} {name}"), Path(scratch) / name.replace(" ", "-"))
            print(f"{name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
            for failure in rows[name].failures:
                print(failure, file=sys.stderr)
    print(f"seed {options.seed}")
    print("\n".join(table(rows)))
    every = sum((row.kills for row in rows.values()), Counter[Moment]())
    inside = every[Moment.INSIDE] + every[Moment.COMMIT]
    print(f"{every.total()} kills, {inside} inside a write transaction or its commit")
    kinds = sum((row.losses for row in rows.values()), Counter[str]())
    print("power losses: " + "; ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
    signers = {}
    for name, period in SIGNERS:
        with tempfile.TemporaryDirectory(prefix="kills-") as scratch:
            signers[name] = kill_signer(options.signer_kills, Random(f"{options.seed} {name}"), Path(scratch), period)
        for failure in signers[name].failures:
            print(failure, file=sys.stderr)
    print("\n".join(signer_table(signers)))
    failed = any(row.failures for row in rows.values()) or inside < INSIDE_SHARE * every.total()
    failed |= any(one.failures or one.sent_twice or one.twice for one in signers.values())
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
