"""Kills a workload over and over, and looks at what each life left, with the power on and with the power lost."""

import shutil
import time
from collections import Counter
from pathlib import Path
from random import Random

from attrs import Factory, define

from tests.integration.crash.damage import lose_power, read_log
from tests.integration.crash.death import Moment, Plan, Watch, live
from tests.integration.crash.workloads import Workload

__all__ = ["Row", "run"]

#: Each kill's leavings lose their power so many times, each time in another way.
LOSSES = 2


@define
class Row:
    """What became of one workload."""

    kills: Counter[Moment] = Factory(Counter)
    finished: int = 0
    torn_commits: int = 0
    mid_copy: int = 0
    losses: Counter[str] = Factory(Counter)
    shorter: int = 0
    failures: list[str] = Factory(list)


def run(workload: Workload, kills: int, chance: Random, scratch: Path, losses: int = LOSSES) -> Row:
    """Kill the workload so many times."""
    row, watch = Row(), Watch()
    folder, lost = scratch / "data", scratch / "lost"

    def life(watch: Watch, plan: Plan | None) -> None:
        workload.life(folder, watch, plan)

    def afresh() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        watch.noted = 0
        workload.begin(folder)

    afresh()
    begun = time.perf_counter()
    whole = live(watch, None, life)
    took = 1000 * (time.perf_counter() - begun)
    workload.check(folder, watch)
    afresh()
    while row.kills.total() < kills:
        # a whole piece of work has some four lives
        plan = Plan.drawn(chance, whole.statements // 2, whole.commits // 2, took / 2)
        death = live(watch, plan, life)
        if death.moment is None:
            row.finished += 1
            workload.check(folder, watch)
            afresh()
            continue
        row.kills[death.moment] += 1
        try:
            _examine(workload, folder, lost, watch, row, chance, losses)
        except Exception as error:
            row.failures.append(f"{workload.name}, {plan}, {death}: {error!r}")
            afresh()
    return row


def _examine(workload: Workload, folder: Path, lost: Path, watch: Watch, row: Row, chance: Random, losses: int) -> None:
    database = folder / "chain.sqlite"
    if not database.exists() or not database.stat().st_size:
        return  # it died before it had made anything
    log = read_log(database)
    row.torn_commits += log.unfinished > 0
    row.mid_copy += bool(log.copying)
    copies = []
    for number in range(losses):
        copy = lost / str(number)
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir(parents=True)
        copies.append((copy, lose_power(database, copy, chance)))
    found = workload.check(folder, watch)
    for copy, what in copies:
        row.losses[what] += 1
        try:
            after = workload.check_lost(copy)
        except Exception as error:
            raise AssertionError(f"after a loss of power ({what}): {error!r}") from error
        row.shorter += found is not None and (after is None or after.height < found.height)
