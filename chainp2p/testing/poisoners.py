"""An attacker of discovery: a few addresses, any number of node ids, and nothing to tell but itself."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.protocol import DatagramProtocol

from chainp2p.discovery.answers import nodes_of
from chainp2p.discovery.conversations import Conversations
from chainp2p.discovery.events import Asked, Datagram, Event
from chainp2p.discovery.keys import SessionKeys
from chainp2p.discovery.messages import FindNode, Nodes, Ping, Pong, TalkResponse
from chainp2p.discovery.table import BUCKET_SIZE
from chainp2p.peer.enr import Enr, make_enr, node_pairs
from chainp2p.peer.handshake import VERSION
from chainp2p.peer.key import NodeKey

if TYPE_CHECKING:
    from chainp2p.testing.network import MemoryNetwork

__all__ = ["BUCKETS", "GENESIS", "Attack", "Crowd", "introduce", "is_enemy"]

#: The network that all records here belong to.
GENESIS = b"\x50" * 32
#: Ids among which the attacker finds those that fall where it wants: enough for each of the 8 farthest buckets of
#: anybody, which are all that have honest nodes in a network of a hundred, and some for a few more.
IDS = 2_048
#: Buckets in which it looks for places: for one nearer it has an id in one of eight cases.
BUCKETS = range(256, 242, -1)
#: The attacker's first port; each id of an address has one of its own.
_PORT = 20_000
#: Sequence number of its records: nobody can have a newer one.
_SEQ = 1 << 40
#: Ids offered to one bucket of a victim in the first assault (more than have places), how long it takes (seconds), and
#: how many more are offered to it in each later one.
_FIRST, _ASSAULT, _LATER = 18, 15.0, 1
#: Seconds between assaults.
_AGAIN = 20.0


@frozen
class Attack:
    """How many addresses, in how many /24 of how many /16 altogether."""

    addresses: int
    subnets: int
    groups: int

    @property
    def text(self) -> str:
        return f"{self.addresses} in {self.subnets} /24 of {self.groups} /16"

    def ip(self, number: int) -> str:
        """Return the address of the *number*-th id."""
        number %= self.addresses
        subnet = number % self.subnets
        group = subnet % self.groups
        return f"{130 + group % 32}.{group // 32}.{subnet // self.groups}.{number // self.subnets}"


def is_enemy(ip: str) -> bool:
    """Whether an address is the attacker's."""
    return 130 <= int(ip.partition(".")[0]) < 162


@lru_cache(maxsize=1)
def _keys() -> list[NodeKey]:
    """Its keys by their ids, the same in each seed: each victim's id is another one."""
    random = Random("poison")
    return sorted((NodeKey.generate(random.randbytes) for _ in range(IDS)), key=lambda key: key.peer_id)


@lru_cache(maxsize=IDS)
def _some(first: int, last: int, count: int) -> list[int]:
    """Some of the ids from *first* on, at any of its addresses."""
    return Random(f"{first}/{last}").sample(range(first, last), min(count, last - first))


@lru_cache(maxsize=8 * IDS)
def _record(attack: Attack, number: int) -> Enr:
    ip, port = attack.ip(number), _PORT + number
    return make_enr(_keys()[number], _SEQ, node_pairs(GENESIS, VERSION, ip, port, port))


def introduce(one: tuple[Enr, Conversations], other: tuple[Enr, Conversations], random: Random) -> None:
    """Let two have a session, as after a handshake: a game with all of these takes three times as long."""
    (near, here), (far, there) = one, other
    near_endpoint, far_endpoint = near.udp_endpoint, far.udp_endpoint
    assert near_endpoint is not None and far_endpoint is not None
    if here.sessions.get((far.peer_id, *far_endpoint)) is None:
        keys = SessionKeys(random.randbytes(16), random.randbytes(16))
        here.sessions.agreed((far.peer_id, *far_endpoint), keys, True, far)
        there.sessions.agreed((near.peer_id, *near_endpoint), keys, False, near)


class _Id(DatagramProtocol):
    """One id at its endpoint: it answers everything, and all that it names are the attacker's."""

    noisy = False

    def __init__(self, crowd: "Crowd", number: int) -> None:
        self._crowd = crowd
        self.enr = _record(crowd.attack, number)
        self.core = Conversations(_keys()[number], lambda: self.enr, lambda node_id: None, crowd.random)

    def ping(self, victim: Enr) -> None:
        endpoint = victim.udp_endpoint
        assert endpoint is not None
        ping = Ping(self.core.new_id(), _SEQ)
        self._take(self.core.request(victim, endpoint, ping, None, self._crowd.now()))

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._take(self.core.received(datagram, (addr[0], addr[1]), self._crowd.now()))

    def _take(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Datagram):
                assert self.transport is not None
                self.transport.write(event.data, event.address)
            elif isinstance(event, Asked):
                for answer in self._answers(event):
                    self._take(self.core.reply(event.peer, answer))

    def _answers(self, asked: Asked) -> Sequence[Pong | Nodes | TalkResponse]:
        request = asked.request
        if isinstance(request, Ping):
            return [Pong(request.id, _SEQ, *asked.peer[1:])]
        if isinstance(request, FindNode):
            told = self._crowd.told(self.enr.peer_id, request.distances)
            return nodes_of(request.id, [self._crowd.id(number, asked.peer[0]).enr.raw for number in told])
        return [TalkResponse(request.id, b"")]


class Crowd:
    """All ids of the attacker.

    1. It knows whom it attacks: to each bucket of a victim it offers more ids than there are places, and some more for
       ever, which keeps those that wait for a place its own.
    2. Whoever asks an id for nodes at some distances is told of ids there, at as many addresses as there are, and
       never of honest ones.
    3. Every id answers every PING from then on, and its records have higher numbers than any other.
    """

    def __init__(self, network: "MemoryNetwork", attack: Attack, seed: str) -> None:
        self.attack = attack
        self.seed = seed
        self._network = network
        self.now: Callable[[], float] = network.clock.seconds
        self.random = Random(f"{seed}/crowd")
        self._ids = [key.peer_id for key in _keys()]
        self._here: dict[int, _Id] = {}
        self._victims: dict[bytes, tuple[Enr, Conversations]] = {}
        for number in range(attack.addresses):
            ip = attack.ip(number)
            network.host(ip, ip)

    def id(self, number: int, victim: bytes | None = None) -> _Id:
        """Return an id that listens; *victim* will have to do with it."""
        one = self._here.get(number)
        if one is None:
            one = self._here[number] = _Id(self, number)
            host = self._network.find(self.attack.ip(number))
            assert host is not None
            host.listenUDP(_PORT + number, one, interface=host.ip)
        met = self._victims.get(victim) if victim is not None else None
        if met is not None:
            introduce((one.enr, one.core), met, self.random)
        return one

    def _range(self, node_id: bytes, distance: int) -> tuple[int, int]:
        """Which ids are at a distance from a node: they share all bits above with it, and differ in one."""
        low = (int.from_bytes(node_id, "big") ^ 1 << distance - 1) >> distance - 1 << distance - 1
        first = bisect_left(self._ids, low.to_bytes(32, "big"))
        return first, bisect_left(self._ids, (low + (1 << distance - 1) - 1).to_bytes(32, "big"), first)

    def told(self, node_id: bytes, distances: Sequence[int]) -> list[int]:
        """Return whom an id names: the same for each part of the id space."""
        told: list[int] = []
        for distance in distances:
            if distance:
                told += _some(*self._range(node_id, distance), BUCKET_SIZE - len(told))
        return told

    def offers(self, node_id: bytes, distance: int, count: int) -> list[Enr]:
        """Return up to *count* of its records for a bucket of a node."""
        first, last = self._range(node_id, distance)
        numbers = self.random.sample(range(first, last), min(count, last - first))
        return [_record(self.attack, number) for number in numbers]

    def assail(self, victim: Enr, core: Conversations) -> None:
        """Offer a victim ids for all its buckets, from now on."""
        self._victims[victim.peer_id] = victim, core
        self._offer(victim, _FIRST)

    def _offer(self, victim: Enr, each: int) -> None:
        for distance in BUCKETS:
            for enr in self.offers(victim.peer_id, distance, each):
                one = self.id(self.number(enr), victim.peer_id)
                self._network.clock.callLater(self.random.uniform(0, _ASSAULT), one.ping, victim)
        self._network.clock.callLater(_AGAIN, self._offer, victim, _LATER)

    def number(self, enr: Enr) -> int:
        """Return which id a record is of."""
        return bisect_left(self._ids, enr.peer_id)
