"""Two heads of equal rank at once on whole nodes: halves of a network hear of one branch each, and are joined."""

from random import Random
from typing import Any

from chainp2p.chain.interfaces import Invalid, TransactionAdded
from chainp2p.ledger.formats.transaction import Transaction
from chainp2p.testing.machines import Machine
from chainp2p.testing.network import Weather
from chainp2p.testing.simulator import Simulation, SimulationError, ledger_chain
from tests.ledger.forge import Made
from tests.ledger.network import EVENTS, TIME
from tests.ledger.ties import Branches, Tie, Wrong, branches, check, compare

__all__ = ["play"]

#: Two halves of two, or of two and one.
NODES = (3, 4)
#: Virtual seconds: in which the halves hear of everything, until one head, and until all is quiet.
HEARD, JOINED, QUIET = 10.0, 60.0, 15.0


def play(seed: int) -> Tie:
    """Play one seed; raises Wrong."""
    chance = Random(f"{seed}/nodes")
    made = branches(seed, chance)
    weather = Weather(low=0.005, high=0.2, loss=0.01)
    simulation = Simulation(seed, make_chain=ledger_chain(made.forge.genesis), weather=weather, epoch=TIME + 1_000)
    try:
        return _play(seed, chance, made, simulation)
    except SimulationError as error:
        raise Wrong(f"seed {seed}: {error}") from None
    finally:
        simulation.close()


def _play(seed: int, chance: Random, made: Branches, simulation: Simulation) -> Tie:
    count = chance.choice(NODES)
    nodes = simulation.add_nodes(count, signers=0)
    simulation.start()
    simulation.expect("linked", lambda: simulation.linked(count - 1), 30)
    seen: dict[str, list[Any]] = {}
    for node in nodes:
        events = seen.setdefault(node.name, [])
        for kind in EVENTS:
            node.chain.events.subscribe(kind, events.append)

    def hear(node: Machine, one: Made | bytes) -> None:
        if isinstance(one, bytes):
            assert node.node is not None
            simulation.wait(node.node.submit_transaction(one))
        else:
            before = one.header.parent
            simulation.expect("its parent", lambda: node.head.hash == before, JOINED)
            verdict = simulation.wait(node.chain.submit_block(one.raw))
            check(not isinstance(verdict, Invalid), seed, "a good block is invalid")

    for one in made.common:
        hear(chance.choice(nodes), one)
    height = len(made.common)
    simulation.expect("the common blocks", lambda: simulation.height(height), JOINED)
    halves = nodes[:2], nodes[2:]
    simulation.partition(*halves)
    sides = [made.winner[height:], made.loser]
    chance.shuffle(sides)
    raws = chance.sample(made.transactions, chance.randint(5, len(made.transactions)))
    todo: list[tuple[float, Machine, Made | bytes]]
    todo = [(chance.uniform(0, HEARD), chance.choice(nodes), raw) for raw in raws]
    for half, side in zip(halves, sides, strict=True):
        times = sorted(chance.uniform(0, HEARD) for _ in side)
        todo += [(at, chance.choice(half), block) for at, block in zip(times, side, strict=True)]
    start = simulation.clock.seconds()
    for at, node, what in sorted(todo, key=lambda entry: entry[0]):
        simulation.clock.run_until(max(simulation.clock.seconds(), start + at))
        hear(node, what)
    tips = [side[-1].hash for side in sides]
    for half, tip in zip(halves, tips, strict=True):
        simulation.expect("each half has its head", lambda: {one.head.hash for one in half} == {tip}, JOINED)  # noqa: B023
    simulation.heal()
    simulation.expect("one head", simulation.one_head, JOINED)
    simulation.run_for(QUIET)
    check(not simulation.errors, seed, "; ".join(simulation.errors[:1]))
    known = {one.hash: one for one in map(Transaction.decode, made.transactions)}
    outcome = []
    for node in nodes:
        events = seen[node.name]
        pooled = {event.hash: known[event.hash] for event in events if isinstance(event, TransactionAdded)}
        outcome.append(compare(seed, node.name, node.chain, made, events, pooled, simulation.wait))
    return Tie(len(made.loser), count, *(sum(column) for column in zip(*outcome, strict=True)))
