"""The experiment of table poisoning: an honest network of discovery, and an attacker who wants to be all of it.

The honest ones are production nodes of discovery in as many /16, and have known each other for long when the attacker
comes. It has filled what was free in their tables (as it would within hours, so that is not played), and assails two
of them: an old one, and a new one that knows three others and that it meets as soon as it is up. Some of the honest
leave in the middle. The two have an address book and choose whom to dial as production nodes do. The others only
answer, and most sessions stand: a game with all checks and handshakes takes five times as long and ends the same way.
"""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from random import Random

from attrs import define, frozen

from chainp2p.discovery.conversations import Conversations
from chainp2p.discovery.discv5 import Discv5
from chainp2p.discovery.limits import Limits
from chainp2p.discovery.records import VerifiedRecords
from chainp2p.discovery.table import BUCKET_SIZE
from chainp2p.errors import Reason
from chainp2p.net.datagram import DiscoveryShell
from chainp2p.peer.address import NodeAddress
from chainp2p.peer.book import AddressBook
from chainp2p.peer.ends import LinkEnd
from chainp2p.peer.enr import Enr, make_enr, node_pairs
from chainp2p.peer.handshake import VERSION
from chainp2p.peer.key import NodeKey
from chainp2p.peer.outbound import BLOCK_SLOTS, FULL_SLOTS, Line, Outbound, Purpose
from chainp2p.settings import PUBLIC
from chainp2p.testing.clock import HeapClock
from chainp2p.testing.network import MemoryNetwork, Weather
from chainp2p.testing.poisoners import BUCKETS, GENESIS, Attack, Crowd, introduce, is_enemy

__all__ = ["ATTACKS", "PoisonOutcome", "Share", "poison"]

#: Attackers by size: a machine; a rented /28, and machines in 16 places; a rented /24, a cloud, and a botnet.
ATTACKS = (
    Attack(1, 1, 1),
    Attack(16, 1, 1),
    Attack(16, 16, 16),
    Attack(256, 1, 1),
    Attack(256, 256, 4),
    Attack(256, 256, 256),
)
#: Honest nodes, how many of them leave, and how many a new one begins with.
HONEST, LEAVE, BOOTSTRAPS = 64, 16, 3
PORT = 30_303
#: The new one starts, others leave, and all is counted (seconds).
STARTS, LEAVES, ENDS = 12.0, 30.0, 70.0
#: A link lasts so long in the mean, whoever has the other end: the old and the new dial some 30 times (seconds).
LIFETIME = 60.0
#: Ids for each bucket that stand in honest tables where there is room, or wait for it.
OFFERED = 16
#: Lookups at the end, one of them for the own id.
LOOKUPS = 3
#: One-way delays in seconds; the attacker is everywhere.
WEATHER = Weather(low=0.02, high=0.08)


@define
class Share:
    """So many of so many are the attacker's."""

    bad: int = 0
    all: int = 0

    def add(self, bad: bool) -> None:
        self.bad += bad
        self.all += 1

    def count(self, records: Iterable[Enr]) -> None:
        """Add each of these nodes."""
        for enr in records:
            self.add(is_enemy(enr.ip or ""))

    @property
    def part(self) -> float:
        return self.bad / max(1, self.all)


@frozen(kw_only=True)
class PoisonOutcome:
    """What the attacker has.

    :param crowd: of the live entries of active honest nodes that it does not assail.
    :param old: of the live entries of the old victim, *new*: of the new one.
    :param lookups: of what lookups of the new one find.
    :param old_dials: of the dials of the old one, *new_dials*: of the new one, but for held peers and feelers.
    :param links: of the outbound links of both at the end.
    :param honest: fewest live honest entries of the two victims at the end.
    """

    seed: int
    attack: Attack
    crowd: Share
    old: Share
    new: Share
    lookups: Share
    old_dials: Share
    new_dials: Share
    links: Share
    honest: int


@lru_cache(maxsize=1)
def _verified() -> VerifiedRecords:
    """Records that have been verified, for all games of a process: the attacker's are the same in each."""
    return VerifiedRecords(16_384)


class _Member:
    """An honest node: discovery only."""

    def __init__(self, world: "_World", number: int) -> None:
        self.world = world
        self.ip = f"{11 + number % 80}.{1 + number // 80}.{number}.1"
        self.host = world.network.host(self.ip, self.ip)
        key = NodeKey(sha256(f"{world.seed}/{number}".encode()).digest())
        self.enr = make_enr(key, 1, node_pairs(GENESIS, VERSION, self.ip, PORT, PORT))
        self.random = Random(f"{world.seed}/{number}/chance")
        self.core = Discv5(
            key,
            lambda: self.enr,
            self.random,
            genesis=GENESIS,
            private=PUBLIC.private_addresses,
            limits=Limits(False),
            verified=_verified(),
        )
        self.shell = DiscoveryShell(self.host, self.core, live=self.live, voted=lambda *vote: None)

    @property
    def voice(self) -> tuple[Enr, Conversations]:
        """Who it is, and what it says and hears."""
        return self.enr, self.core.conversations

    def live(self, enr: Enr) -> None:
        """A node of our network has answered."""

    def knows(self, enr: Enr, ip: str, port: int, now: float) -> bool:
        """It has answered before the game began; False if there was no place for it."""
        placed = self.core.table.add(enr, ip, port)
        if placed:
            self.core.table.answered(enr.peer_id, now)
        return placed

    def answers(self) -> None:
        """Answer, and ask nothing."""
        self.shell.listen([(self.ip, PORT)])

    def starts(self, seeds: list[Enr]) -> None:
        self.answers()
        self.shell.start(seeds)

    def leaves(self) -> None:
        self.host.kill()

    def share(self) -> Share:
        entries = self.core.table.live
        return Share(sum(is_enemy(entry.ip) for entry in entries), len(entries))


class _Victim(_Member):
    """An honest node that dials: whoever has answered goes into its address book."""

    def __init__(self, world: "_World", number: int) -> None:
        super().__init__(world, number)
        self.book = AddressBook(PUBLIC, self.random, self.enr.peer_id)
        self._outbound = Outbound(self.book, PUBLIC, self.random)
        self._lines: dict[bytes, tuple[Line, float]] = {}
        self.dials = Share()

    def live(self, enr: Enr) -> None:
        endpoint = enr.udp_endpoint
        assert endpoint is not None
        if enr.tcp_endpoint is not None and self.book.learn(enr, endpoint[0], self.world.now()).useful:
            self._outbound.changed()

    def knows(self, enr: Enr, ip: str, port: int, now: float) -> bool:
        placed = super().knows(enr, ip, port, now)
        if placed:
            self.live(enr)
        return placed

    def starts(self, seeds: list[Enr]) -> None:
        for enr in seeds:
            endpoint = enr.tcp_endpoint
            assert endpoint is not None
            self.book.hold(NodeAddress(enr.peer_id, *endpoint, enr))
        super().starts(seeds)
        self._outbound.start(self.world.now())
        self._round()

    @property
    def links(self) -> Share:
        share = Share()
        for line, _ in self._lines.values():
            if line.purpose not in (Purpose.HELD, Purpose.FEELER):
                share.add(is_enemy(line.host))
        return share

    def _round(self) -> None:
        now = self.world.now()
        for peer_id, (line, until) in list(self._lines.items()):
            if until <= now:
                del self._lines[peer_id]
                self.book.ended(peer_id, _end(line.purpose, ready=True), now)
        lines = [line for line, _ in self._lines.values()]
        for dial in self._outbound.dials(now, lines, self._lines, FULL_SLOTS + BLOCK_SLOTS):
            peer_id, host = dial.address.peer_id, dial.address.host
            if dial.purpose not in (Purpose.HELD, Purpose.FEELER):
                self.dials.add(is_enemy(host))
            if not self.world.runs(host):
                self.book.ended(peer_id, _end(dial.purpose, ready=False), now)
                continue
            self.book.met(peer_id)
            self.book.reached(peer_id, now)
            lasts = 0.0 if dial.purpose is Purpose.FEELER else self.random.expovariate(1 / LIFETIME)
            self._lines[peer_id] = Line(peer_id, dial.purpose, host, now), now + lasts
        self.host.callLater(1.0, self._round)


def _end(purpose: Purpose, ready: bool) -> LinkEnd:
    return LinkEnd(0.0, None, ("", 0), Reason.CONNECTION_LOST, purpose.value, False, True, ready)


class _World:
    def __init__(self, seed: int, attack: Attack) -> None:
        self.seed = f"poisoning/{seed}"
        self.clock = HeapClock()
        self.now = self.clock.seconds
        self.network = MemoryNetwork(self.clock, Random(f"{self.seed}/network"), WEATHER)
        self.random = Random(f"{self.seed}/script")
        self.old, self.new = _Victim(self, 0), _Victim(self, 1)
        self.others = [_Member(self, number) for number in range(2, HONEST)]
        self.crowd = Crowd(self.network, attack, self.seed)

    def runs(self, ip: str) -> bool:
        host = self.network.find(ip)
        return host is not None and host.up

    def stand(self) -> None:
        """Let the network be an old one, and the attacker have come after all others."""
        members = [self.old, *self.others]
        for member in members:
            for other in self.random.sample(members, len(members)):
                if other is not member:
                    member.knows(other.enr, other.ip, PORT, -self.random.uniform(0, 60))
        for member in self.others:
            self._fill(member)
        for member in self.others:
            introduce(self.old.voice, member.voice, self.random)
            introduce(self.new.voice, member.voice, self.random)

    def _fill(self, member: _Member) -> None:
        """Give the attacker what places of a table the honest have left."""
        sizes = member.core.table.sizes()
        for distance in BUCKETS:
            if sizes.get(distance, (0, 0))[0] == BUCKET_SIZE:
                continue
            for enr in self.crowd.offers(member.enr.peer_id, distance, OFFERED):
                endpoint = enr.udp_endpoint
                assert endpoint is not None
                if member.knows(enr, *endpoint, -self.random.uniform(0, 60)):
                    self.crowd.id(self.crowd.number(enr))


def poison(seed: int, attack: Attack) -> PoisonOutcome:
    """Play one seed."""
    world = _World(seed, attack)
    old, new, crowd, clock = world.old, world.new, world.crowd, world.clock
    world.stand()
    old.starts([])
    for member in world.others:
        member.answers()
    crowd.assail(*old.voice)
    clock.run_for(STARTS)
    new.starts([member.enr for member in world.random.sample(world.others[LEAVE:], BOOTSTRAPS)])
    crowd.assail(*new.voice)
    clock.run_for(LEAVES - STARTS)
    for member in world.others[:LEAVE]:
        member.leaves()
    clock.run_for(ENDS - LEAVES)
    lookups = Share()
    for number in range(LOOKUPS):
        target = world.random.randbytes(32) if number else new.enr.peer_id
        new.shell.lookup(target).addCallback(lookups.count)
    clock.run_for(10.0)
    if clock.failures:
        raise AssertionError(f"seed {seed}: {clock.failures} calls failed, as the log tells")
    shares = [member.share() for member in world.others[LEAVE:]]
    victims = [old.share(), new.share()]
    links = [old.links, new.links]
    return PoisonOutcome(
        seed=seed,
        attack=attack,
        crowd=_sum(shares),
        old=victims[0],
        new=victims[1],
        lookups=lookups,
        old_dials=old.dials,
        new_dials=new.dials,
        links=_sum(links),
        honest=min(share.all - share.bad for share in victims),
    )


def _sum(shares: list[Share]) -> Share:
    return Share(sum(share.bad for share in shares), sum(share.all for share in shares))
