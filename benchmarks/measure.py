"""How the benchmarks measure: rows run round robin in one process, CPU time, median of the pairwise ratios.

Absolute times depend on the machine and are shown only for orientation; the ratios repeat within about 10 %.
"""

import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version

from attrs import frozen

#: CPU seconds of one sample: long against the clock's resolution, short against drift of the machine.
SAMPLE = 0.012
#: Samples of each row; the median of 15 pairs is not moved by a few disturbed ones.
ROUNDS = 15


@frozen
class Aim:
    """A yardstick and how many times as fast as it the measured code should be (None: shown, no aim)."""

    name: str
    run: Callable[[], object]
    ratio: float | None


@frozen
class Measured:
    """One line of a table; times are CPU microseconds per operation."""

    measure: str
    own: float
    yardstick: str
    other: float
    ratio: float
    aim: float | None


def cpu(run: Callable[[], object], times: int) -> float:
    """CPU seconds that *times* calls take."""
    calls = range(times)
    start = time.process_time()
    for _ in calls:
        run()
    return time.process_time() - start


def times_for(run: Callable[[], object], seconds: float = SAMPLE) -> int:
    """How many calls fill one sample."""
    times = 1
    while (spent := cpu(run, times)) < seconds / 4:
        times *= 4
    return max(1, round(times * seconds / spent))


def compare(
    measure: str, own: Callable[[], object], aims: Sequence[Aim], *, operations: int = 1, rounds: int = ROUNDS
) -> list[Measured]:
    """Run all rows in turn; a ratio of 2 means that *own* takes half of the yardstick's time.

    :param operations: how many operations one call is, for the times shown.
    """
    rows = [own, *(aim.run for aim in aims)]
    counts = [times_for(run) for run in rows]
    samples: list[list[float]] = [[] for _ in rows]
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for run, count, taken in zip(rows, counts, samples, strict=True):
                taken.append(cpu(run, count) / count / operations * 1e6)
            gc.collect()
    finally:
        gc.enable()
    return [
        Measured(
            measure,
            statistics.median(samples[0]),
            aim.name,
            statistics.median(taken),
            statistics.median(other / mine for mine, other in zip(samples[0], taken, strict=True)),
            aim.ratio,
        )
        for aim, taken in zip(aims, samples[1:], strict=True)
    ]


def show(lines: Sequence[Measured], packages: Sequence[str] = ()) -> None:
    """Print the table, and the versions that it holds for."""
    print(f"{'measure':<52} {'own us':>10}  {'yardstick':<24} {'its us':>10} {'ratio':>7} {'aim':>6}")
    for line in lines:
        aim = "" if line.aim is None else f"{line.aim:g}x"
        verdict = "" if line.aim is None else "met" if line.ratio >= line.aim else "missed"
        print(
            f"{line.measure:<52} {line.own:>10.2f}  {line.yardstick:<24} {line.other:>10.2f}"
            f" {line.ratio:>6.2f}x {aim:>6} {verdict}"
        )
    versions = [f"{name} {version(name)}" for name in packages]
    print("; ".join([f"CPython {sys.version.split()[0]}", *versions]), flush=True)
