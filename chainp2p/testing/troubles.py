"""The experiment that nothing sticks: kills, restarts, stalls, cuts and lies about height, at random, while blocks come
every half second; somebody who sees everything checks what each node says of itself.
"""

import copy
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred

from chainp2p.events import EventBus
from chainp2p.testing.machines import Machine
from chainp2p.testing.network import Weather
from chainp2p.testing.planting import with_network
from chainp2p.testing.simulator import Simulation
from chainp2p.testing.toychain import ToyChain
from chainp2p.testing.witness import Witness

__all__ = ["Outcome", "play_troubles"]

#: Seconds between two blocks.
PERIOD = 0.5
#: Blocks that exist before everybody else starts.
BEFORE = 400
#: Blows, and the longest pause between two (seconds).
BLOWS, PAUSE = 10, 8.0
#: Within so many seconds after the last blow and the last block all have one head.
RECOVERY = 150.0
#: How long each answer of a chain takes, where disks are slow; and the share of networks where they are (seconds).
SLOW_DISK, SLOW_DISK_SHARE = (0.02, 0.3), 0.3
#: A large network, and the share of seeds that have one; a pair is what goes wrong most easily.
LARGE, LARGE_SHARE, PAIR_SHARE = 50, 0.02, 0.4


@frozen(kw_only=True)
class Outcome:
    """How it went.

    :param height: of the common head; None: there is none.
    :param looks: how often a node was heard to await something.
    :param longest: how long a node at most came to a stand while a peer could have served it. Seconds.
    :param settled: how long it took after the last block. Seconds.
    """

    seed: int
    nodes: int
    height: int | None
    looks: int
    longest: float
    settled: float
    faults: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether nothing was false, and all have one head."""
        return self.height is not None and not self.faults


@define
class _World:
    """What is wrong with whom.

    :param delay: how long each answer of a chain takes (seconds).
    :param judging: of each machine, the blocks that its chain was given and has not judged.
    """

    simulation: Simulation
    chance: Random
    delay: float = 0.0
    judging: dict[str, set[bytes]] = field(factory=dict)
    disks: dict[str, ToyChain] = field(factory=dict)
    stalled: set[str] = field(factory=set)
    liars: set[str] = field(factory=set)

    def chain_of(self, name: str) -> Callable[[Any], ToyChain]:
        """Makes the chain of a machine, as its disk has it."""

        def make(parts: Any) -> ToyChain:
            chain = copy.copy(self.disks.get(name) or ToyChain(now=parts.now))
            chain.events = EventBus()
            self.disks[name] = chain
            if self.delay:
                chain._reactor, chain._delay = self._host(name), self.delay
            self.judging[name] = set()
            blocks_from, headers_after = chain.blocks_from, chain.headers_after
            served: Any = chain
            served.blocks_from = lambda *args: self._answer(name, blocks_from, args)
            served.headers_after = lambda *args: self._answer(name, headers_after, args)
            served.submit_blocks = self._judge(self.judging[name], chain)
            return chain

        return make

    def _host(self, name: str) -> Any:
        return next(machine.host for machine in self.simulation.machines if machine.name == name)

    @staticmethod
    def _judge(judging: set[bytes], chain: ToyChain) -> Callable[..., Any]:
        def submit_blocks(raws: Sequence[bytes], header_tip: bytes) -> Any:
            given = {chain.block_hash(raw) for raw in raws}
            judging.update(given)

            def judged(verdicts: Any) -> Any:
                judging.difference_update(given)
                return verdicts

            return ToyChain.submit_blocks(chain, raws, header_tip).addBoth(judged)

        return submit_blocks

    def _answer(self, name: str, answer: Callable[..., Any], args: Any) -> Any:
        return Deferred() if name in self.stalled else answer(*args)

    def start(self, machine: Machine) -> None:
        """Let a machine run; one that lies says that it is a million blocks ahead."""
        chain = self.disks.get(machine.name)
        if chain is not None:  # what was bound to the run before goes
            for bound in ("blocks_from", "headers_after", "submit_blocks"):
                chain.__dict__.pop(bound, None)
        self.simulation.start(machine)
        assert machine.node is not None
        host: Any = machine.node.network.host
        honest = host.status
        fake = self.chance.randbytes(32)

        def status(observed: Any) -> Any:
            true = honest(observed)
            if machine.name not in self.liars:
                return true
            return evolve(true, head=fake, height=true.height + 1_000_000, rank=b"\xff" * 32)

        host.status = status


def play_troubles(seed: int, nodes: int | None = None, blows: int = BLOWS) -> Outcome:
    """Play one seed, with so many nodes, or a number that the seed decides."""
    chance = Random(f"{seed}/troubles")
    if nodes is None:
        kind = chance.random()
        nodes = LARGE if kind < LARGE_SHARE else 2 if kind < LARGE_SHARE + PAIR_SHARE else chance.randint(3, 8)
    simulation = Simulation(seed, weather=_weather(chance))
    delay = chance.uniform(*SLOW_DISK) if chance.random() < SLOW_DISK_SHARE else 0.0
    world = _World(simulation, chance, delay)
    witness = Witness(
        simulation, lambda machine: machine.name not in world.stalled | world.liars, lambda one: world.judging[one.name]
    )
    try:
        machines: list[Machine] = []
        for number in range(nodes):
            name = f"node{number}"
            machines.append(
                simulation.add_node(
                    name,
                    make_chain=world.chain_of(name),
                    bootstrap=machines[:2],
                    settings=lambda made: with_network(made, max_peers=20),
                )
            )
        world.start(machines[0])
        for _ in range(chance.randint(0, BEFORE)):
            machines[0].chain._submit(machines[0].chain.make())
        for machine in machines[1:]:
            world.start(machine)
        for _ in range(blows if nodes < LARGE else max(1, blows // 3)):
            _blow(world, machines, witness)
            _pass(world, witness, chance.uniform(0, PAUSE))
        simulation.heal()
        simulation.set_weather(Weather(low=0.001, high=0.05))
        world.stalled.clear()
        world.liars.clear()
        simulation.drop_links()  # what they said when the links were made holds as long as those
        for machine in machines:
            if machine.node is None:
                world.start(machine)
                witness.restarted(machine)
        _pass(world, witness, 5.0)
        settled = _settle(simulation, witness)
        faults = (*witness.faults, *simulation.errors)
        height = machines[0].head.height if simulation.one_head() else None
        if height is None:
            faults = (*faults, simulation.describe())
        return Outcome(
            seed=seed,
            nodes=nodes,
            height=height,
            looks=witness.looks,
            longest=witness.longest,
            settled=settled,
            faults=faults,
        )
    finally:
        simulation._end()


def _weather(chance: Random) -> Weather:
    return Weather(low=0.001, high=chance.choice([0.01, 0.1, 0.5]), loss=chance.choice([0.0, 0.05]))


def _pass(world: _World, witness: Witness, seconds: float) -> None:
    """Let time pass; somebody makes a block every :data:`PERIOD`."""
    simulation, chance = world.simulation, world.chance
    for number in range(round(seconds / PERIOD)):
        running = simulation.running
        producer = running[0] if chance.random() < 0.9 else chance.choice(running)
        producer.chain.produce(salt=chance.getrandbits(60))
        simulation.run_for(PERIOD)
        if number % 2:
            witness.look()


def _settle(simulation: Simulation, witness: Witness) -> float:
    start = simulation.clock.seconds()
    while simulation.clock.seconds() - start < RECOVERY and not simulation.one_head():
        simulation.run_for(1.0)
        witness.look()
    return simulation.clock.seconds() - start


def _blow(world: _World, machines: list[Machine], witness: Witness) -> None:
    simulation, chance = world.simulation, world.chance
    running = simulation.running
    down = [machine for machine in machines if machine.node is None]
    match chance.randrange(8):
        case 0 | 1 if len(running) > 1:
            machine = chance.choice(running)
            machine.kill(silent=chance.random() < 0.3)
            if chance.random() < 0.3 and any(one is not machine for one in simulation.running):
                world.disks.pop(machine.name, None)
        case 2 | 3 if down:
            machine = chance.choice(down)
            world.start(machine)
            witness.restarted(machine)
        case 4:
            world.stalled.add(chance.choice(machines).name)
        case 5:
            world.stalled.clear()
        case 6:
            world.liars.add(chance.choice(machines).name)
            simulation.drop_links()
        case _:
            if chance.random() < 0.5:
                half = chance.sample(machines, chance.randint(1, len(machines) - 1))
                simulation.partition(half, [machine for machine in machines if machine not in half])
            else:
                simulation.heal()
                simulation.set_weather(_weather(chance))
