"""Many nodes that do nothing but find each other by datagram: what their tables hold, and what their lookups find."""

from collections.abc import Sequence
from random import Random

from attrs import define, frozen

from chainp2p.discovery.discv5 import Discv5
from chainp2p.discovery.outputs import Found
from chainp2p.discovery.records import VerifiedRecords
from chainp2p.net.datagram import DiscoveryShell
from chainp2p.peer.enr import Enr, make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from chainp2p.testing.clock import HeapClock
from chainp2p.testing.hosts import MemoryHost
from chainp2p.testing.network import MemoryNetwork, Weather

__all__ = ["DiscoveryNetwork", "DiscoveryNode", "Lookups"]

#: Links across the world: 20 to 200 ms one way, and one datagram of twenty gets lost.
WIDE = Weather(low=0.02, high=0.2, loss=0.05)
_PORT = 30_303
_RECORDS_MAX = 65_536
#: Seconds that the last lookup has.
PATIENCE = 600.0


class DiscoveryNode:
    """One node: its machine, its key, its record, and the production core and shell that run on it."""

    def __init__(
        self, host: MemoryHost, key: NodeKey, genesis: bytes, random: Random, verified: VerifiedRecords
    ) -> None:
        self.host = host
        self.key = key
        self.enr = make_enr(key, 1, node_pairs(genesis, 1, host.ip, _PORT, _PORT))
        self.core = Discv5(key, lambda: self.enr, random, genesis=genesis, private=False, verified=verified)
        #: Nodes that have ever answered it.
        self.met: set[bytes] = set()
        self.shell = DiscoveryShell(
            host, self.core, live=lambda enr: self.met.add(enr.peer_id), voted=lambda *vote: None
        )

    def start(self, seeds: Sequence[Enr]) -> None:
        """Begin to ask around."""
        self.shell.listen([("", _PORT)])
        self.shell.start(seeds)


@define(eq=False)
class _Look:
    """A lookup for *target* by *node*, begun at *at*. *found*: what came of it, *seconds* later."""

    node: DiscoveryNode
    target: bytes
    at: float
    found: Found | None = None
    seconds: float = 0.0

    def begin(self) -> None:
        self.node.shell.find(self.target).addCallback(self._end)

    def _end(self, found: Found) -> None:
        self.found, self.seconds = found, self.node.host.seconds() - self.at

    def hit(self, ids: Sequence[bytes]) -> bool:
        """Whether it found the closest of *ids* but for the node's own."""
        if self.found is None or not self.found.records:
            return False
        wanted = int.from_bytes(self.target, "big")
        others = (peer_id for peer_id in ids if peer_id != self.node.key.peer_id)
        return self.found.records[0].peer_id == min(others, key=lambda one: int.from_bytes(one, "big") ^ wanted)


@frozen
class Lookups:
    """How many lookups there were, how many of them found the very closest node, the rounds of the longest chain of
    questions, and seconds at most and in the mean.
    """

    count: int
    closest: int
    rounds: int
    seconds: float
    mean: float

    @property
    def share(self) -> float:
        """Of those that found it."""
        return self.closest / self.count


class DiscoveryNetwork:
    """A network of nodes of Node Discovery v5.1, each with a public address in a subnet of its own.

    :param seed: one seed gives one course of events.
    :param weather: of all links.
    """

    def __init__(self, seed: int, weather: Weather = WIDE, genesis: bytes = b"\x07" * 32) -> None:
        self.random = Random(seed)
        self.clock = HeapClock()
        self.net = MemoryNetwork(self.clock, Random(self.random.random()), weather)
        self._genesis = genesis
        #: Signatures are verified once for all nodes, not once for each.
        self._verified = VerifiedRecords(_RECORDS_MAX)
        self._subnets: set[tuple[int, int, int]] = set()
        #: All nodes that have ever been, in the order in which they joined.
        self.nodes: list[DiscoveryNode] = []

    def _address(self) -> str:
        while True:
            # all of 20/8 to 99/8 is public
            net = (self.random.randrange(20, 100), self.random.randrange(256), self.random.randrange(256))
            if net not in self._subnets:
                self._subnets.add(net)
                return ".".join(map(str, (*net, self.random.randrange(1, 255))))

    def make(self) -> DiscoveryNode:
        """Return a node that has not begun."""
        host = self.net.host(f"n{len(self.nodes)}", self._address())
        key = NodeKey.generate(self.random.randbytes)
        node = DiscoveryNode(host, key, self._genesis, Random(self.random.random()), self._verified)
        self.nodes.append(node)
        return node

    def join(self, count: int, within: float = 0.0) -> None:
        """Let so many nodes begin, evenly over so many seconds; all know the first node of the network only."""
        for number in range(count):
            node = self.make()
            seeds = [] if node is self.nodes[0] else [self.nodes[0].enr]
            node.host.callLater(within * number / count, node.start, seeds)

    def run_for(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.run_for(seconds)

    @property
    def up(self) -> list[DiscoveryNode]:
        """The nodes that run."""
        return [node for node in self.nodes if node.host.up]

    def leave(self, share: float) -> None:
        """Cut the power of so many of the running ones (0 to 1), whomever it hits."""
        up = self.up
        for node in self.random.sample(up, round(share * len(up))):
            node.host.kill(silent=True)

    # -- what is seen

    def live(self) -> list[int]:
        """Return how many running nodes each running node holds as live, in ascending order."""
        up = self.up
        ids = {node.key.peer_id for node in up}
        return sorted(sum(entry.enr.peer_id in ids for entry in node.core.table.live) for node in up)

    def dead(self) -> tuple[int, int]:
        """Return how many entries of running nodes' tables name one that has left: held as live and told to others,
        and in all.
        """
        up = self.up
        gone = {node.key.peer_id for node in self.nodes} - {node.key.peer_id for node in up}
        told = sum(entry.enr.peer_id in gone for node in up for entry in node.core.table.live)
        return told, sum(peer_id in node.core.table for node in up for peer_id in gone)

    def lookups(self, count: int, every: float = 0.1) -> Lookups:
        """Let random nodes look for random targets, one each *every* seconds, and wait for the last."""
        begun = []
        for number in range(count):
            look = _Look(self.random.choice(self.up), self.random.randbytes(32), self.clock.seconds() + number * every)
            look.node.host.callLater(number * every, look.begin)
            begun.append(look)
        self.run_for(count * every)
        self.clock.run_while(lambda: any(look.found is None for look in begun), PATIENCE)
        ids = [node.key.peer_id for node in self.up]
        times = [look.seconds for look in begun]
        return Lookups(
            count,
            sum(look.hit(ids) for look in begun),
            max(look.found.rounds if look.found is not None else 0 for look in begun),
            max(times),
            sum(times) / count,
        )
