"""The simulator's clock against twisted's task.Clock: calls that plan themselves again, 1,000 of them pending."""

import random
from collections.abc import Callable
from typing import Any

from measure import Aim, compare, show
from twisted.internet.task import Clock

from chainp2p.testing.clock import HeapClock

PENDING = 1_000
EVENTS = 100


def filled(clock: Any) -> Any:
    """Plan calls that come again after a random delay."""
    chance = random.Random(1)
    delays = [chance.random() for _ in range(997)]
    turn = 0

    def again() -> None:
        nonlocal turn
        turn += 1
        clock.callLater(0.001 + delays[turn % 997], again)

    for _ in range(PENDING):
        again()
    return clock


def own() -> Callable[[], object]:
    clock = filled(HeapClock())

    def run() -> None:
        for _ in range(EVENTS):
            clock.step()

    return run


def twisted() -> Callable[[], object]:
    clock = filled(Clock())

    def run() -> None:
        for _ in range(EVENTS):
            clock.advance(max(0.0, clock.calls[0].getTime() - clock.seconds()))

    return run


def main() -> None:
    show(
        compare(
            "simulator event, 1,000 pending", own(), [Aim("task.Clock", twisted(), 100.0)], operations=EVENTS, rounds=7
        ),
        ["twisted"],
    )


if __name__ == "__main__":
    main()
