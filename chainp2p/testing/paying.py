"""The experiment of transactions that spread over slow links: how soon each is everywhere, for how many copies and
bytes; and whether a spy with a link to every node can tell where they began their way."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from hashlib import sha256
from random import Random
from typing import Any

from attrs import Factory, define, frozen

from chainp2p.chain.interfaces import TransactionAdded
from chainp2p.gossip.redundancy import Redundancy, Way
from chainp2p.gossip.seen import push_count
from chainp2p.gossip.transactions import announcing
from chainp2p.peer.link import Link
from chainp2p.settings import Settings
from chainp2p.testing.machines import Machine
from chainp2p.testing.network import Weather
from chainp2p.testing.planting import with_network
from chainp2p.testing.relaying import BANDWIDTH, DELAYS, JITTER, Edges, at_share, edges_of
from chainp2p.testing.simulator import Simulation
from chainp2p.testing.toychain import ToyChain
from chainp2p.wire.messages import AnnounceTransactions, NewTransaction

__all__ = ["Outcome", "Paying", "by_square_root"]

#: Seconds in which links are made, and after the last transaction, by which all is quiet.
MEETING, QUIET = 8.0, 12.0
#: Bytes of one announcement, and of a message of them beside that: tag, count, and the frame around it.
ANNOUNCEMENT, MESSAGE = 36, 4 + 8 + 10
#: A way of five links, as slow as they are on average (seconds).
FIVE_HOPS = 5 * sum(DELAYS) / 2


@contextmanager
def by_square_root() -> Iterator[None]:
    """Let nodes push to the square root of their peers, whoever dialled, fetched ones too, and announce to each on a
    beat of its own. What a spy sees then, and what it costs, is the yardstick."""
    before = announcing.chosen_by_us, announcing.pushes, announcing.DIALLED_BEAT, announcing.OTHERS_BEAT
    added = announcing.Announcing.added

    def pushed(self: announcing.Announcing, hash: bytes, raw: bytes, new: bool, again: bool) -> None:
        added(self, hash, raw, new=not again, again=again)

    announcing.chosen_by_us, announcing.pushes = lambda link: True, lambda key, hash, peers: push_count(peers)
    announcing.DIALLED_BEAT = announcing.OTHERS_BEAT = 2.0
    announcing.Announcing.added = pushed  # type: ignore[method-assign]
    try:
        yield
    finally:
        announcing.chosen_by_us, announcing.pushes, announcing.DIALLED_BEAT, announcing.OTHERS_BEAT = before
        announcing.Announcing.added = added  # type: ignore[method-assign]


@frozen(kw_only=True)
class Paying:
    """A network in which transactions are handed in, each at any node and any time.

    :param rate: transactions a second, for so many *seconds*, of so many bytes (*size*).
    :param interval: ``network.gossip_interval``.
    :param spies: machines that dial every node, listen, and pass nothing on.
    :param dialled: share of the nodes that are such spies too, and are dialled as others are.
    :param world: entered while it runs.
    """

    seed: int = 1
    nodes: int = 100
    degree: int = 8
    rate: float = 200.0
    seconds: float = 5.0
    size: int = 110
    interval: float = 1.0
    spies: int = 0
    dialled: float = 0.0
    world: Callable[[], AbstractContextManager[None]] = nullcontext

    def run(self) -> "Outcome":
        """Play it."""
        with self.world():
            return _Play(self).run()


@frozen(kw_only=True)
class Outcome:
    """What came of it.

    :param sent: transactions handed in.
    :param missing: pairs of a transaction and an honest node to which it did not come.
    :param delays: seconds from handing in until it was in another node's pool, ascending.
    :param bytes: that left each node for each transaction, everything included.
    :param copies: whole copies that came to each other node of each transaction.
    :param announcements: bytes of announcements over each link, both ways together, for each transaction.
    :param first: transactions by the way in which they came first, at all nodes.
    :param guessed: share of the transactions whose origin was named by the node that told a spy first.
    :param places: average place of the origin among the nodes by when they told a spy.
    """

    sent: int
    missing: int
    delays: list[float]
    bytes: float
    copies: float
    announcements: float
    first: Mapping[Way, int]
    guessed: float = 0.0
    places: float = 0.0

    def delay(self, share: float) -> float:
        """What that share of the delays is not above."""
        return at_share(self.delays, share)


@define
class _Seen:
    """What spies saw of a transaction: the nodes that told them, in order."""

    tellers: dict[int, None] = Factory(dict)


class _Play:
    def __init__(self, setup: Paying) -> None:
        self.setup = setup
        self.chance = Random(f"{setup.seed}/paying")
        self.simulation = Simulation(setup.seed, make_chain=lambda parts: ToyChain(now=parts.now))
        self.edges = edges_of(self.chance, setup.nodes, setup.degree)
        self.machines = [self.simulation.add_node(f"n{n}", settings=self.quiet) for n in range(setup.nodes)]
        self.spies = [self.simulation.add_node(f"spy{n}", settings=self.quiet) for n in range(setup.spies)]
        self.numbers = {machine.key.peer_id: n for n, machine in enumerate(self.machines)}
        count = round(setup.dialled * setup.nodes)
        self.listening = set(self.chance.sample(range(setup.nodes), count))
        self.honest = [n for n in range(setup.nodes) if n not in self.listening]
        self.begun: dict[bytes, tuple[float, int]] = {}
        self.arrived: Counter[bytes] = Counter()
        self.delays: list[float] = []
        self.seen: dict[bytes, _Seen] = {}

    def quiet(self, settings: Settings) -> Settings:
        """Links to those that are named, and nobody else."""
        return with_network(settings, enable_pex=False, max_peers=400, gossip_interval=self.setup.interval)

    def run(self) -> Outcome:
        try:
            self.join()
            before, bytes_before = self.counts(), self.sent()
            self.hand_in()
            self.simulation.run_for(QUIET)
            return self.outcome(before, bytes_before)
        finally:
            self.simulation._end()

    def join(self) -> None:
        simulation, setup, chance = self.simulation, self.setup, self.chance
        edges: Edges = dict(self.edges)
        for spy in range(setup.spies):
            edges |= {(setup.nodes + spy, number): chance.uniform(*DELAYS) for number in range(setup.nodes)}
        everybody = [*self.machines, *self.spies]
        dials: dict[int, list[str]] = {}
        for (one, other), delay in edges.items():
            # spies dial; of others either end does
            dialler, dialled = (one, other) if one >= setup.nodes or chance.random() < 0.5 else (other, one)
            dials.setdefault(dialler, []).append(everybody[dialled].address)
            weather = Weather(low=delay * (1 - JITTER), high=delay * (1 + JITTER), bandwidth=BANDWIDTH)
            for ends in ((one, other), (other, one)):
                simulation.network.set_weather(weather, *(everybody[end].name for end in ends))
        for number, addresses in dials.items():
            machine = everybody[number]
            machine.settings = with_network(machine.settings, static_nodes=tuple(addresses))
        simulation.start()
        simulation.run_for(MEETING)
        for number in self.honest:
            self.node(number).events.subscribe(TransactionAdded, partial(self.came, number))
        for machine in [*self.spies, *(self.machines[number] for number in sorted(self.listening))]:
            self.listen(machine)

    def node(self, number: int) -> Any:
        return self.machines[number].node

    def listen(self, spy: Machine) -> None:
        """Let *spy* note who tells it of what, and tell nobody."""
        assert spy.node is not None
        handlers: Any = spy.node.network.host.handlers

        def pushed(link: Link, message: NewTransaction) -> None:
            self.noted(link, sha256(message.transaction).digest())

        def announced(link: Link, message: AnnounceTransactions) -> None:
            for hash, _ in message.transactions:
                self.noted(link, hash)

        handlers.update({NewTransaction: pushed, AnnounceTransactions: announced})

    def noted(self, link: Link, hash: bytes) -> None:
        number = self.numbers.get(link.peer_id)
        if number is not None:
            self.seen.setdefault(hash, _Seen()).tellers.setdefault(number)

    def hand_in(self) -> None:
        setup, chance, simulation = self.setup, self.chance, self.simulation
        start = simulation.clock.seconds()
        times = sorted(start + setup.seconds * chance.random() for _ in range(round(setup.rate * setup.seconds)))
        pad = bytes(setup.size - 8)
        for n, when in enumerate(times):
            simulation.run_for(when - simulation.clock.seconds())
            number = chance.choice(self.honest)
            raw = n.to_bytes(8, "big") + pad
            self.begun[sha256(raw).digest()] = when, number
            self.machines[number].chain.admit(raw, True)

    def came(self, number: int, event: TransactionAdded) -> None:
        when, origin = self.begun[event.hash]
        self.arrived[event.hash] += 1
        if number != origin:
            self.delays.append(self.simulation.clock.seconds() - when)

    def counts(self) -> Redundancy:
        """Those of honest nodes, together."""
        total = Redundancy()
        for number in self.honest:
            one = self.node(number).gossip.transactions
            total.first.update(one.first)
            total.copies.update(one.copies)
            total.told += one.told
            total.messages += one.messages
        return total

    def sent(self) -> int:
        return sum(self.machines[number].host.sent_bytes for number in self.honest)

    def outcome(self, before: Redundancy, bytes_before: int) -> Outcome:
        counts, sent, nodes = self.counts(), len(self.begun), len(self.honest)
        told, messages = counts.told - before.told, counts.messages - before.messages
        guesses = [(list(seen.tellers), self.begun[hash][1]) for hash, seen in self.seen.items()]
        places = [tellers.index(origin) + 1 if origin in tellers else len(tellers) + 1 for tellers, origin in guesses]
        return Outcome(
            sent=sent,
            missing=sent * nodes - sum(self.arrived.values()),
            delays=sorted(self.delays),
            bytes=(self.sent() - bytes_before) / nodes / sent,
            copies=(sum(counts.copies.values()) - sum(before.copies.values())) / max(1, len(self.delays)),
            announcements=(told * ANNOUNCEMENT + messages * MESSAGE) / len(self.edges) / sent,
            first=counts.first,
            guessed=sum(place == 1 for place in places) / max(1, len(places)),
            places=sum(places) / max(1, len(places)),
        )
