"""The experiment of a long split: signers cut in two halves seal for minutes, over bad links, and are joined again.

What must come out, whatever the seed: once one-way delays are below a quarter of the period, all nodes have one head
within two slots for each signer, nobody does anything for it, and no two finalized blocks ever contradict each other.
"""

from collections.abc import Callable
from math import ceil

from attrs import frozen

from chainp2p.chain.interfaces import FinalizedChanged, HeadChanged, HeaderInfo
from chainp2p.testing.machines import Machine
from chainp2p.testing.network import Weather
from chainp2p.testing.simulator import Simulation, SimulationError, ledger_chain, ledger_genesis

__all__ = ["Refusal", "SplitOutcome", "split_and_accept", "split_and_heal"]

#: Seconds between two slots: the shortest that a chain may have.
PERIOD = 0.25
#: Longest one-way delay while the weather is bad, and when it is good: two, and a quarter, of that. Seconds.
BAD, GOOD = 0.5, 0.06225
#: Virtual seconds that links may take to come back after the cut: the longest wait between dials and some more.
_RELINK_LIMIT = 120.0
#: How often heads are compared in a slot; and how long before its end the last time (seconds).
_LOOKS, _BEFORE_END = 20, 0.001


@frozen(kw_only=True)
class SplitOutcome:
    """How it went.

    :param slots: from the fall of the delays until all heads were equal, and were so at the end of each slot from then
        on, in periods; None: never.
    :param conflicts: finalized blocks that contradict others, and nodes that report a conflict.
    :param left: blocks that the longest reorganisation took back.
    :param relink: seconds that the links took to come back after the cut.
    """

    seed: int
    signers: int
    slots: float | None
    conflicts: int
    left: int
    relink: float
    height: int
    event_log: str

    @property
    def good(self) -> bool:
        """Whether what must come out came out."""
        return self.slots is not None and self.slots <= 2 * self.signers and not self.conflicts


def split_and_heal(seed: int, signers: int, blocks: int = 300, period: float = PERIOD) -> SplitOutcome:
    """Run it once: *blocks* on each side, *signers* nodes that all seal; SimulationError if links do not come back."""
    good, bad = Weather(high=GOOD), Weather(high=BAD)
    simulation = Simulation(seed, make_chain=ledger_chain(ledger_genesis(signers, period)), weather=good)
    try:
        return _run(simulation, simulation.add_nodes(signers, signers=signers), blocks, period, good, bad)
    finally:
        simulation.close()


@frozen(kw_only=True)
class Refusal:
    """How a split went that is deeper than what nodes follow by themselves.

    :param apart: blocks on either side since the cut, when it was healed.
    :param named: depths that were named by the nodes that refused, none by the others.
    :param held: no head left its side before an operator allowed it.
    :param left: blocks that each change of a head after the heal took back.
    :param healed: seconds from the operator's word to one head.
    """

    apart: tuple[int, int]
    named: tuple[int, ...]
    held: bool
    left: tuple[int, ...]
    healed: float
    conflicts: int


def split_and_accept(
    seed: int,
    signers: int,
    blocks: int,
    limit: int,
    accept: Callable[[Simulation, Machine], object],
    hold: float = 30.0,
    period: float = PERIOD,
) -> Refusal:
    """Cut *signers* nodes in halves for *blocks* each, deeper than the *limit* that operators set, and join them.

    For *hold* virtual seconds nobody does anything; then *accept* is called for each node that refuses a branch, again
    while it does: the branch grows meanwhile. SimulationError if no one head comes of it, or nothing final.
    """
    genesis = ledger_genesis(signers, period)
    simulation = Simulation(seed, make_chain=ledger_chain(genesis, limit), weather=Weather(high=GOOD))
    try:
        machines = simulation.add_nodes(signers, signers=signers)
        half = signers // 2
        simulation.start()
        simulation.expect("all linked", lambda: simulation.linked(signers - 1), _RELINK_LIMIT)
        simulation.expect("common blocks", lambda: simulation.height(4), _RELINK_LIMIT)
        base = min(machine.head.height for machine in machines)
        simulation.partition(machines[:half], machines[half:])
        simulation.expect(
            "both sides seal", lambda: simulation.height(base + blocks), 4 * blocks * period + 60, every=period
        )
        finalized, left = _watch(machines)
        sides = machines[0].head, machines[-1].head
        simulation.heal()
        simulation.expect("it is named", lambda: any(one.chain.refused for one in machines), _RELINK_LIMIT)
        simulation.run_for(hold)
        held = all(
            simulation.wait(machine.chain.hash_at(side.height)) == side.hash
            for side, those in zip(sides, (machines[:half], machines[half:]), strict=True)
            for machine in those
        )
        named = tuple(refused.depth for machine in machines for refused in machine.chain.refused)

        def joined() -> bool:
            for machine in machines:
                if machine.chain.refused:
                    accept(simulation, machine)
            return simulation.one_head()

        healed = simulation.expect("one head", joined, within=60, every=1.0)
        height = max(machine.head.height for machine in machines)
        simulation.expect(
            "finality goes on", lambda: min(one.chain.finalized.height for one in machines) >= height, within=60
        )
        if simulation.errors:
            raise SimulationError(f"seed {seed}: {simulation.errors[0]}")
        return Refusal(
            apart=(sides[0].height - base, sides[1].height - base),
            named=named,
            held=held,
            left=tuple(left),
            healed=healed,
            conflicts=_conflicts(simulation, machines, finalized),
        )
    finally:
        simulation.close()


def _run(
    simulation: Simulation, machines: list[Machine], blocks: int, period: float, good: Weather, bad: Weather
) -> SplitOutcome:
    count, random = len(machines), simulation.random
    simulation.start()
    finalized, left = _watch(machines)
    simulation.expect("all linked", lambda: simulation.linked(count - 1), _RELINK_LIMIT)
    common = random.randint(1, 4 * count)
    simulation.expect("common blocks", lambda: simulation.height(common), _RELINK_LIMIT)
    simulation.set_weather(bad)
    simulation.run_for(random.uniform(0, 4) * period)
    base = max(machine.head.height for machine in machines)
    simulation.partition(machines[: count // 2], machines[count // 2 :])
    # a side fills half of the slots at best
    limit = 4 * blocks * period + 60
    simulation.expect("both sides seal", lambda: simulation.height(base + blocks), limit, every=period)
    simulation.heal()
    relink = simulation.expect("linked again", lambda: simulation.linked(count - 1), _RELINK_LIMIT)
    simulation.run_for(random.uniform(0, 80) * period)
    simulation.set_weather(good)
    slots = _slots_until_one_head(simulation, period)
    if simulation.errors:
        raise SimulationError(f"seed {simulation.seed}: {simulation.errors[0]}")
    return SplitOutcome(
        seed=int(simulation.seed),
        signers=count,
        slots=slots,
        conflicts=_conflicts(simulation, machines, finalized),
        left=max(left),
        relink=relink,
        height=max(machine.head.height for machine in machines),
        event_log=simulation.event_log_hash,
    )


def _watch(machines: list[Machine]) -> tuple[list[HeaderInfo], list[int]]:
    """Collect every block that any node ever finalizes, and how many blocks each change of a head took back."""
    finalized: list[HeaderInfo] = []
    left = [0]
    for machine in machines:
        assert machine.node is not None
        machine.node.events.subscribe(FinalizedChanged, lambda event: finalized.append(event.header))
        machine.node.events.subscribe(HeadChanged, lambda event: left.append(len(event.left)))
    return finalized, left


def _slots_until_one_head(simulation: Simulation, period: float) -> float | None:
    """Compare heads many times in a slot, long enough to see that they are equal at the end of each slot from then on.

    In the middle of a slot they may differ rightly: its block is under way.
    """
    start = simulation.clock.seconds()
    tick = ceil(start / period * _LOOKS)
    agreed: float | None = None
    for _ in range(6 * len(simulation.machines) * _LOOKS):
        simulation.clock.run_until(max(start, tick / _LOOKS * period - _BEFORE_END))
        if not simulation.one_head():
            agreed = None if tick % _LOOKS == 0 else agreed
        elif agreed is None:
            agreed = simulation.clock.seconds()
        tick += 1
    return None if agreed is None else (agreed - start) / period


def _conflicts(simulation: Simulation, machines: list[Machine], finalized: list[HeaderInfo]) -> int:
    chain = machines[0].chain
    stray: int = sum(simulation.wait(chain.hash_at(header.height)) != header.hash for header in finalized)
    return stray + sum(machine.chain.conflict is not None for machine in machines)
