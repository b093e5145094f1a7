"""Plays a scenario with a seed and tells how it went."""

from collections.abc import Callable

from attrs import frozen

from chainp2p.errors import SettingsError
from chainp2p.ledger.formats.devkeys import DEV_KEYS
from chainp2p.testing.machines import Machine
from chainp2p.testing.scenario import Scenario, Step
from chainp2p.testing.simulator import Simulation, SimulationError, ledger_chain, ledger_genesis

__all__ = ["Outcome", "play"]

#: Seconds that an expectation may take unless it says so.
_WITHIN = 30.0
#: Seconds between two transfers of a step.
_EVERY = 0.1


@frozen(kw_only=True)
class Outcome:
    """How a scenario went with one seed.

    :param event_log: hash over all events.
    :param seconds: virtual time that passed.
    :param steps: (step, seconds that it took).
    :param failure: what did not come true; None: all did.
    :param lines: the event log, if it was kept.
    """

    scenario: str
    seed: int
    nodes: int
    event_log: str
    seconds: float
    events: int
    height: int
    steps: tuple[tuple[str, float], ...]
    failure: str | None
    lines: tuple[str, ...]


def play(scenario: Scenario, seed: int, *, nodes: int | None = None, keep_log: bool = False) -> Outcome:
    """Run *scenario*.

    :param nodes: another number of nodes than it says.
    :raises SettingsError: if a step names a node that there is not.
    """
    count = scenario.nodes if nodes is None else nodes
    signers = min(scenario.signers, count)
    simulation = Simulation(
        seed,
        make_chain=ledger_chain(ledger_genesis(signers, scenario.period)),
        weather=scenario.weather,
        keep_log=keep_log,
    )
    player = _Player(simulation)
    try:
        simulation.add_nodes(count, signers=signers, profile=scenario.profile)
        failure = player.play(scenario)
        running = simulation.running
        return Outcome(
            scenario=scenario.name,
            seed=seed,
            nodes=count,
            event_log=simulation.event_log_hash,
            seconds=simulation.clock.seconds(),
            events=simulation.clock.events,
            height=max((machine.head.height for machine in running), default=0),
            steps=tuple(player.took),
            failure=failure,
            lines=tuple(simulation.log.lines or ()),
        )
    finally:
        simulation.close()


class _Player:
    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._transfers = 0
        self.took: list[tuple[str, float]] = []
        self._verbs: dict[str, Callable[[Step], None]] = {
            "run": lambda step: simulation.run_for(step.value),
            "expect": self._expect,
            "transfers": self._transfer,
            "partition": self._partition,
            "heal": lambda step: simulation.heal(),
            "weather": lambda step: simulation.set_weather(step.value),
            "drop": lambda step: simulation.drop_links(),
            "kill": self._kill,
            "start": lambda step: simulation.start(*self._machines(step.value)),
            "stop": lambda step: simulation.stop(*self._machines(step.value)),
        }

    def play(self, scenario: Scenario) -> str | None:
        simulation = self._simulation
        clock = simulation.clock
        simulation.start()
        for step in scenario.steps:
            start = clock.seconds()
            try:
                self._verbs[step.verb](step)
            except SimulationError as error:
                return str(error)
            self.took.append((str(step), clock.seconds() - start))
        if simulation.errors:
            return f"seed {simulation.seed}: {len(simulation.errors)} failures were logged, {simulation.errors[0]}"
        return None

    def _machines(self, numbers: list[int]) -> list[Machine]:
        machines = self._simulation.machines
        for number in numbers:
            if number > len(machines):
                raise SettingsError(f"there is no node {number}: the network has {len(machines)}")
        return [machines[number - 1] for number in numbers]

    def _expect(self, step: Step) -> None:
        simulation, more = self._simulation, step.more
        conditions: dict[str, Callable[[], object]] = {
            "linked": lambda: simulation.linked(more.get("peers", 1)),
            "one head": simulation.one_head,
            "heads": lambda: len({machine.head.hash for machine in simulation.running}) >= more.get("heads", 1),
            "height": lambda: simulation.height(more.get("height", 1)),
            "included": simulation.included,
            "agreement": simulation.finalized_agree,
        }
        simulation.expect(str(step), conditions[step.value], more.get("within", _WITHIN))

    def _transfer(self, step: Step) -> None:
        """Senders take turns, and so do the nodes that they use."""
        simulation, more = self._simulation, step.more
        for _ in range(step.value):
            running = simulation.running
            machine = self._machines([more["at"]])[0] if "at" in more else running[self._transfers % len(running)]
            simulation.transfer(machine, self._transfers % len(DEV_KEYS))
            self._transfers += 1
            simulation.run_for(more.get("every", _EVERY))

    def _partition(self, step: Step) -> None:
        machines = self._simulation.machines
        if step.value == "alternate":
            groups = [machines[::2], machines[1::2]]
        else:
            groups = [self._machines(group) for group in step.value]
        self._simulation.partition(*groups)

    def _kill(self, step: Step) -> None:
        for machine in self._machines(step.value):
            machine.kill()
