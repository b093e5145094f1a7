"""The experiment of a block that spreads over slow links: how soon it is everywhere, for how many bytes."""

import heapq
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from functools import partial
from random import Random

from attrs import frozen
from zope.interface import implementer_only

from chainp2p.chain.interfaces import BlockProduced, HeadChanged, IBodyCheck, IChain, IHeaderRuns
from chainp2p.gossip.blocks.rebuilding import Counts
from chainp2p.peer.link import PeerLeft
from chainp2p.settings import Settings
from chainp2p.testing.copies import Copies
from chainp2p.testing.machines import Machine
from chainp2p.testing.network import Weather
from chainp2p.testing.planting import with_network
from chainp2p.testing.simulator import Simulation
from chainp2p.testing.toychain import ToyChain

__all__ = ["Bare", "Lacking", "Outcome", "Relaying", "Spread", "at_share", "diameter", "distances", "edges_of"]

#: One-way delay of a link (seconds), its share of jitter, and bytes a second of each direction (20 Mbit/s).
DELAYS, JITTER, BANDWIDTH = (0.02, 0.2), 0.1, 2_500_000.0
#: Seconds in which links are made, and between two blocks, by which all is quiet again.
MEETING, QUIET = 8.0, 3.0
#: A block that is not everywhere by then (seconds) is lost.
LIMIT = 120.0
#: Small blocks beforehand: three peers are chosen by who was first.
WARM_UP = 12

#: What comes late is handed in within so many seconds before the block.
LATE = 0.3

Edges = dict[tuple[int, int], float]


@implementer_only(IChain, IBodyCheck, IHeaderRuns)
class Bare(ToyChain):
    """A toy chain without a pool: its blocks travel whole."""


def edges_of(chance: Random, nodes: int, degree: int) -> Edges:
    """Join *nodes* by random rings, so that each has *degree* neighbours (a few one less); the delay of each link."""
    edges: Edges = {}
    for _ in range(degree // 2):
        ring = list(range(nodes))
        chance.shuffle(ring)
        for one, other in zip(ring, [*ring[1:], ring[0]], strict=True):
            edges.setdefault((min(one, other), max(one, other)), chance.uniform(*DELAYS))
    return edges


def _neighbours(edges: Edges) -> dict[int, list[tuple[int, float]]]:
    near: dict[int, list[tuple[int, float]]] = {}
    for (one, other), delay in edges.items():
        near.setdefault(one, []).append((other, delay))
        near.setdefault(other, []).append((one, delay))
    return near


def distances(edges: Edges, source: int) -> dict[int, float]:
    """Return the delay of the shortest way to each node: nothing spreads faster."""
    near, found, heap = _neighbours(edges), dict[int, float](), [(0.0, source)]
    while heap:
        delay, one = heapq.heappop(heap)
        if one not in found:
            found[one] = delay
            for other, more in near[one]:
                if other not in found:
                    heapq.heappush(heap, (delay + more, other))
    return found


def diameter(edges: Edges) -> float:
    """Return the longest of all shortest ways, in seconds."""
    return max(max(distances(edges, one).values()) for one in _neighbours(edges))


class Lacking(Enum):
    """Which transactions a node does not have when a block comes."""

    EACH = "each"  #: each node lacks its own, as if its pool had dropped them; nobody knows
    FRESH = "fresh"  #: those that the producer was handed the moment before
    LATE = "late"  #: those that any nodes were handed in the last :data:`LATE` seconds, and that are on their way


@frozen(kw_only=True)
class Spread:
    """How one block spread.

    :param times: when it was at each node, ascending (seconds since it was made).
    :param ideal: the delay of the shortest way to each node, ascending.
    :param bytes: that left each node, on average.
    """

    times: list[float]
    ideal: list[float]
    bytes: float

    def within(self, share: float) -> float:
        """When it was at that share of the nodes."""
        return at_share(self.times, share)


def at_share(values: Sequence[float], share: float) -> float:
    """The smallest of ascending *values* that so many are not above."""
    return values[min(len(values) - 1, max(0, round(share * len(values)) - 1))]


@frozen(kw_only=True)
class Relaying:
    """A network in which blocks are made.

    :param transactions: in a block, of so many bytes (*size*) each.
    :param share: of them that are lacking somewhere when the block comes; *lacking* tells which.
    :param told: each knows which of the others its neighbours have, as after gossip.
    :param make: the chain of each node.
    :param hostile: share of nodes that misbehave, and how; they make no blocks.
    :param world: entered while it runs.
    :param producers: nodes that make blocks, any of them each time.
    :param strangers: transactions in each pool that are in no block.
    :param warm_up: small blocks beforehand, from any node, by which peers learn who is near.
    """

    seed: int = 1
    nodes: int = 100
    degree: int = 8
    transactions: int = 2_000
    size: int = 500
    share: float = 0.05
    lacking: Lacking = Lacking.EACH
    told: bool = True
    blocks: int = 3
    make: type[ToyChain] = ToyChain
    hostile: tuple[float, Callable[[Machine], None]] | None = None
    world: Callable[[], AbstractContextManager[None]] = nullcontext
    producers: int = 4
    strangers: int = 0
    warm_up: int = WARM_UP

    def run(self) -> "Outcome":
        """Play it."""
        with self.world():
            return _Play(self).run()


@frozen(kw_only=True)
class Outcome:
    """What came of it.

    :param diameter: of the network, in seconds.
    :param counts: what became of compact forms at honest nodes, together.
    :param parted: ends of links between two honest nodes.
    :param caught: ends of links of honest nodes with hostile ones.
    """

    spreads: list[Spread]
    diameter: float
    counts: Counts
    parted: int
    caught: int

    @property
    def free(self) -> float:
        """The share of blocks that were rebuilt without a round trip, at all nodes but their producers."""
        return self.counts.free / max(1, self.received)

    @property
    def received(self) -> int:
        """Blocks that came to nodes."""
        return sum(len(spread.times) - 1 for spread in self.spreads)

    @property
    def bytes(self) -> float:
        """That left each node for a block, on average."""
        return sum(spread.bytes for spread in self.spreads) / len(self.spreads)


class _Play:
    def __init__(self, setup: Relaying) -> None:
        self.setup = setup
        self.chance = Random(f"{setup.seed}/relaying")
        self.edges = edges_of(self.chance, setup.nodes, setup.degree)
        copies = Copies()
        self.simulation = Simulation(setup.seed, make_chain=lambda parts: setup.make(now=parts.now, copies=copies))
        self.arrived: dict[int, float] = {}
        count = 0 if setup.hostile is None else round(setup.hostile[0] * setup.nodes)
        self.hostile = sorted(self.chance.sample(range(setup.nodes), count))
        self.honest = [number for number in range(setup.nodes) if number not in self.hostile]
        self.producers = self.chance.sample(self.honest, setup.producers)
        self.parted = self.caught = 0

    def run(self) -> Outcome:
        try:
            self.build()
            for number in self.hostile:
                assert self.setup.hostile is not None
                self.setup.hostile[1](self.machines[number])
            for _ in range(self.setup.warm_up):
                self.spread([])
            before = self.counts()
            spreads = [self.spread(self.fresh(number)) for number in range(self.setup.blocks)]
            return Outcome(
                spreads=spreads,
                diameter=diameter(self.edges),
                counts=_combined(self.counts(), before, -1),
                parted=self.parted,
                caught=self.caught,
            )
        finally:
            self.simulation._end()

    def build(self) -> None:
        simulation, setup = self.simulation, self.setup
        dialled: dict[int, list[int]] = {}
        for one, other in self.edges:
            dialled.setdefault(one, []).append(other)
        # who is dialled is there before who dials
        made: dict[int, Machine] = {}
        for number in reversed(range(setup.nodes)):
            static = [made[other] for other in dialled.get(number, ())]
            made[number] = simulation.add_node(f"n{number}", static=static, settings=_quiet)
        self.machines = [made[number] for number in range(setup.nodes)]
        for (one, other), delay in self.edges.items():
            weather = Weather(low=delay * (1 - JITTER), high=delay * (1 + JITTER), bandwidth=BANDWIDTH)
            for ends in ((one, other), (other, one)):
                simulation.network.set_weather(weather, *(self.machines[end].name for end in ends))
        simulation.start()
        simulation.run_for(MEETING)
        for number, machine in enumerate(self.machines):
            assert machine.node is not None
            strange = [b"%d %d" % (number, n) for n in range(setup.strangers)]
            machine.chain._pool.update({machine.chain.transaction_hash(raw): raw for raw in strange})
            machine.node.events.subscribe(HeadChanged, partial(self.came, number))
            if number in self.honest:
                machine.node.events.subscribe(PeerLeft, self.left)

    def came(self, number: int, event: HeadChanged) -> None:
        self.arrived.setdefault(number, self.simulation.clock.seconds())

    def left(self, event: PeerLeft) -> None:
        bad = {self.machines[number].key.peer_id for number in self.hostile}
        if event.peer_id in bad:
            self.caught += 1
        else:
            self.parted += 1

    def counts(self) -> Counts:
        total = Counts()
        for number in self.honest:
            node = self.machines[number].node
            counts = None if node is None else node.gossip.compact
            total = total if counts is None else _combined(total, counts, 1)
        return total

    def fresh(self, number: int) -> list[bytes]:
        """Transactions that nobody has seen yet."""
        start = number * self.setup.transactions
        pad = bytes(self.setup.size - 8)
        return [(start + n).to_bytes(8, "big") + pad for n in range(self.setup.transactions)]

    def spread(self, raws: list[bytes]) -> Spread:
        """Let somebody make a block of *raws*, which the others have but for what they lack."""
        simulation, chance = self.simulation, self.chance
        producer = chance.choice(self.producers)
        chain: ToyChain = self.machines[producer].chain
        raws = self.plant(raws, producer)
        raw = chain.make(transactions=raws, time=int(simulation.clock.seconds() * 1000))
        self.arrived.clear()
        before, start = self.sent(), simulation.clock.seconds()
        chain._submit(raw)
        chain.events.publish(BlockProduced(chain.head, raw))
        simulation.expect("the block is everywhere", lambda: all(n in self.arrived for n in self.honest), LIMIT)
        simulation.run_for(QUIET)
        ideal = distances(self.edges, producer)
        return Spread(
            times=sorted(self.arrived[n] - start for n in self.honest),
            ideal=sorted(ideal[n] for n in self.honest),
            bytes=(self.sent() - before) / len(self.machines),
        )

    def plant(self, raws: list[bytes], producer: int) -> list[bytes]:
        """Put *raws* into the pools; answers what the producer has of them."""
        setup, chance, simulation = self.setup, self.chance, self.simulation
        hash = self.machines[producer].chain.transaction_hash
        pairs = {hash(raw): raw for raw in raws}
        ids = list(pairs)
        count = round(setup.share * len(ids))
        if setup.lacking is Lacking.EACH:
            for number, machine in enumerate(self.machines):
                lacked = frozenset(chance.sample(ids, count if number != producer else 0))
                self.give(machine, {id: raw for id, raw in pairs.items() if id not in lacked}, ids)
            return raws
        early, late = ids[count:], ids[:count]
        for machine in self.machines:
            self.give(machine, {id: pairs[id] for id in early}, early)
        if setup.lacking is Lacking.FRESH:
            for id in late:
                self.machines[producer].chain.admit(pairs[id], True)
            return raws
        start = simulation.clock.seconds()
        for when, id in sorted((start + LATE * chance.random(), id) for id in late):
            simulation.run_for(when - simulation.clock.seconds())
            self.machines[chance.choice(self.honest)].chain.admit(pairs[id], True)
        simulation.run_for(start + LATE - simulation.clock.seconds())
        pool = self.machines[producer].chain
        return [raw for id, raw in pairs.items() if pool.transaction(id) is not None]

    def give(self, machine: Machine, pairs: dict[bytes, bytes], ids: Sequence[bytes]) -> None:
        machine.chain._pool.update(pairs)
        relay = None if machine.node is None else machine.node.gossip._transactions
        if relay is not None and self.setup.told:
            for peer in relay.announcing._peers.values():
                peer.told.known.update(ids)

    def sent(self) -> int:
        return sum(machine.host.sent_bytes for machine in self.machines)


def _quiet(settings: Settings) -> Settings:
    """Links to those that are named, and nobody else."""
    return with_network(settings, enable_pex=False, max_peers=200)


def _combined(one: Counts, other: Counts, sign: int) -> Counts:
    return Counts(*(getattr(one, name) + sign * getattr(other, name) for name in Counts.__annotations__))
