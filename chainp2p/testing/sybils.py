"""The experiment of a Sybil attack: one node, some honest peers, and a crowd of addresses that want all its slots.

The victim and a few honest peers are production nodes; the rest speak just enough of the protocol to be peers. Honest
ones dial again as seldom as the back-off of the public profile says, attackers at its shortest pause for ever. All
attackers are near (their pings are the shortest), answer everything at once, take a new key for each call, tell the
victim of all their addresses, and one in two says that it is far behind.
"""

from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from random import Random
from typing import Any, cast

from attrs import frozen
from twisted.internet.protocol import ClientFactory, Factory, Protocol

from chainp2p.ledger.formats.devkeys import DEV_KEYS
from chainp2p.net.network import Network
from chainp2p.peer.enr import make_enr, node_pairs
from chainp2p.peer.handshake import VERSION
from chainp2p.peer.key import NodeKey
from chainp2p.settings import PUBLIC
from chainp2p.testing.network import Weather
from chainp2p.testing.simulator import PORT, Simulation, ledger_chain, ledger_genesis
from chainp2p.wire.codec import CODEC
from chainp2p.wire.frames import FrameReader, Incoming, encode_frames
from chainp2p.wire.messages import (
    Ack,
    GetMempool,
    GetPeers,
    Hello,
    Mempool,
    Message,
    Peers,
    Ping,
    Pong,
    Refused,
    Status,
)
from chainp2p.wire.schema import Kind

__all__ = ["SybilOutcome", "sybil_attack"]

#: Inbound slots of a node (interface design).
SLOTS = 64
#: Honest peers with production nodes, the first one seals; light ones that are there before the attack, and that come
#: while it lasts; honest addresses that others tell the victim of.
FULL, EARLY, LATE, LISTENING = 4, 20, 8, 48
#: Seconds between blocks.
PERIOD = 30.0
#: So long the honest ones are alone with the victim (seconds).
QUIET = 120.0
#: So long after its link or attempt ended an attacker calls again (seconds): 17 new keys a second at the door, each of
#: which pushes somebody out or is refused; three times as many are allowed and change nothing but the time this takes.
CALL_AGAIN = 30.0
#: How often links are counted (seconds).
LOOK = 5.0
#: One-way delays in seconds; attackers are next door.
NEAR, FAR = Weather(low=0.0005, high=0.001), Weather(low=0.01, high=0.08)
#: Bytes of a peer id, with which :class:`chainp2p.testing.security.PlainSecurity` begins.
_ID = 32


@frozen(kw_only=True)
class SybilOutcome:
    """How it went.

    :param honest: fewest honest inbound links of the victim at any look while the attack lasted, and at its end.
    :param attackers: inbound links of attackers at the end.
    :param late: honest peers that came while it lasted and were ever let in.
    :param outbound: links that the victim opened, at the end; *outbound_bad*: to attackers.
    :param outbound_worst: the attackers' greatest share of outbound links at any look.
    :param rules: how often each rule refused or evicted somebody.
    """

    seed: int
    groups: int
    honest: tuple[int, int]
    attackers: int
    late: int
    outbound: int
    outbound_bad: int
    outbound_worst: float
    rules: Mapping[str, int]
    event_log: str

    @property
    def good(self) -> bool:
        """Whether what must come out came out; what a few netgroups can do outbound is bounded by their number."""
        full = self.honest[1] + self.attackers <= SLOTS
        return full and self.honest[0] >= 8 and (self.groups > 1 or self.outbound_worst <= 0.1)


class _Talk(Protocol):
    """One connection of a light peer, either way."""

    def __init__(self, peer: "_Peer", id: bytes) -> None:
        self._peer = peer
        self._id = id
        self._first = b""
        self._reader: FrameReader | None = None
        self._sent = 0

    def connectionMade(self) -> None:
        self._write(self._id)

    def _write(self, data: bytes) -> None:
        cast(Any, self.transport).write(data)

    def _send(self, message: Message, kind: Kind = Kind.NOTIFICATION, to: int = 0) -> None:
        self._sent += 1
        self._write(b"".join(encode_frames(kind, to or self._sent, CODEC.encode(message))))

    def dataReceived(self, data: bytes) -> None:
        if self._reader is None:
            self._first += data
            if len(self._first) < _ID:
                return
            data, self._reader = self._first[_ID:], FrameReader()
            self._send(self._peer.world.hello())
        for received in self._reader.feed(data):
            if isinstance(received, Incoming):
                self._answer(received)

    def _answer(self, received: Incoming) -> None:
        message = received.message
        if isinstance(message, Hello):
            self._send(Ack(self._id))
            self._send(self._peer.status())
        elif isinstance(message, Ping):
            self._send(Pong(0), Kind.REPLY, received.id)
        elif isinstance(message, GetPeers):
            self._send(Peers(self._peer.told()), Kind.REPLY, received.id)
        elif isinstance(message, GetMempool):
            self._send(Mempool(()), Kind.REPLY, received.id)
        elif received.kind is Kind.REQUEST:
            self._send(Refused(0, 1_000), Kind.REPLY, received.id)

    def connectionLost(self, reason: Any = None) -> None:
        self._peer.lost(self)


class _Dial(ClientFactory):
    """One attempt of a light peer."""

    noisy = False

    def __init__(self, peer: "_Peer") -> None:
        self._peer = peer

    def buildProtocol(self, addr: Any) -> _Talk:
        return self._peer.connected()

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
        self._peer.later()


class _Peer:
    """One address that speaks for itself."""

    def __init__(self, world: "_World", number: int, ip: str, bad: bool) -> None:
        self.world = world
        self.ip = ip
        self.bad = bad
        self.behind = bad and number % 2 == 0
        self.key = NodeKey(sha256(f"{world.seed}/{ip}".encode()).digest())
        self.record = make_enr(self.key, 1, node_pairs(world.genesis, VERSION, ip, PORT)).raw
        self.host = world.simulation.network.host(ip, ip)
        self._random = Random(f"{world.seed}/{ip}/calls")
        self._calls = 0
        self._call: _Talk | None = None
        if bad:
            world.simulation.network.set_weather(NEAR, ip, world.victim.name)
            world.simulation.network.set_weather(NEAR, world.victim.name, ip)
        accept = Factory.forProtocol(lambda: _Talk(self, self.key.peer_id))
        accept.noisy = False
        self.host.listenTCP(PORT, accept, interface=ip)

    def status(self) -> Status:
        return self.world.status(self.behind)

    def told(self) -> tuple[bytes, ...]:
        """Records of its own kind: many at first, later a few (telling the same again has no effect)."""
        known = self.world.bad_records if self.bad else self.world.good_records
        return tuple(self._random.sample(known, min(100 if self._calls == 1 else 4, len(known))))

    def call(self) -> None:
        """Dial the victim, now and whenever the link is gone."""
        self._calls += 1
        self.host.connectTCP(self.world.victim.host.ip, PORT, _Dial(self), timeout=10)

    def connected(self) -> _Talk:
        """Begin a call; who attacks takes a new key for each, for keys cost nothing."""
        self._call = _Talk(self, self._random.randbytes(_ID) if self.bad else self.key.peer_id)
        return self._call

    def lost(self, talk: _Talk) -> None:
        if talk is self._call:
            self._call = None
            self.later()

    def later(self) -> None:
        """Call again after a pause."""
        pause = CALL_AGAIN
        if not self.bad:
            pause = min(PUBLIC.redial_min * 2.0 ** min(self._calls - 1, 30), PUBLIC.redial_max)
            pause *= self._random.uniform(0.75, 1.25)
        self.host.callLater(pause, self.call)


class _World:
    def __init__(self, seed: int, groups: int, sybils: int) -> None:
        self.seed = seed
        self.simulation = simulation = Simulation(
            f"sybils/{seed}/{groups}", make_chain=ledger_chain(ledger_genesis(1, PERIOD)), weather=FAR
        )
        self.victim = simulation.add_node("victim", ip="20.1.0.1", profile="public")
        self.full = [
            simulation.add_node(
                f"full{number}",
                ip=f"21.{number}.0.1",
                profile="public",
                signer=None if number else DEV_KEYS[0],
                bootstrap=[self.victim],
            )
            for number in range(FULL)
        ]
        self.genesis = ledger_genesis(1, PERIOD).hash
        self.good_records: list[bytes] = []
        self.bad_records: list[bytes] = []
        self.early = [_Peer(self, number, f"22.{number}.0.1", bad=False) for number in range(EARLY)]
        self.late = [_Peer(self, number, f"23.{number}.0.1", bad=False) for number in range(LATE)]
        listening = [_Peer(self, number, f"24.{number}.0.1", bad=False) for number in range(LISTENING)]
        self.sybils = [
            _Peer(
                self, number, f"99.{number % groups}.{number // groups // 200}.{number // groups % 200 + 1}", bad=True
            )
            for number in range(sybils)
        ]
        self.good_records += [peer.record for peer in listening]
        self.bad_records += [peer.record for peer in self.sybils]

    @property
    def network(self) -> Network:
        assert self.victim.node is not None
        network: Network = self.victim.node.network
        return network

    def hello(self) -> Hello:
        return Hello(VERSION, self.genesis, self.victim.head.height)

    def status(self, behind: bool) -> Status:
        head = self.victim.head
        return Status(
            agent="light/1",
            features=0,
            flags=0,
            port=PORT,
            head=self.genesis if behind else head.hash,
            height=0 if behind else head.height,
            rank=bytes(32) if behind else head.rank,
            enr=b"",
            settings=tuple(self.victim.chain.settings_hashes()),
            observed=(b"\x14\x01\x00\x01", PORT),
            extra=(),
        )

    def count(self) -> Counter[str]:
        """Links of the victim by kind."""
        links = self.network.links()
        return Counter(
            ("out" if link.outbound else "in") + (" bad" if link.address[0].startswith("99.") else " good")
            for link in links
        )


def sybil_attack(seed: int, groups: int, sybils: int = 500, length: float = 3_600.0) -> SybilOutcome:
    """Let *sybils* addresses of so many netgroups attack one node for *length* seconds, and count."""
    world = _World(seed, groups, sybils)
    simulation = world.simulation
    try:
        simulation.start()
        for peer in world.early:
            simulation.clock.callLater(simulation.random.uniform(0, QUIET / 2), peer.call)
        simulation.run_for(QUIET)
        for peer in world.late:
            simulation.clock.callLater(simulation.random.uniform(0, length / 2), peer.call)
        for peer in world.sybils:
            simulation.clock.callLater(simulation.random.uniform(0, CALL_AGAIN), peer.call)
        least, worst, late = SLOTS, 0.0, set[str]()
        here: Counter[str] = Counter()
        for _ in range(round(length / LOOK)):
            simulation.run_for(LOOK)
            here = world.count()
            least = min(least, here["in good"])
            worst = max(worst, here["out bad"] / max(1, here["out bad"] + here["out good"]))
            late |= {link.address[0] for link in world.network.links() if link.address[0].startswith("23.")}
        return SybilOutcome(
            seed=seed,
            groups=groups,
            honest=(least, here["in good"]),
            attackers=here["in bad"],
            late=len(late),
            outbound=here["out bad"] + here["out good"],
            outbound_bad=here["out bad"],
            outbound_worst=worst,
            rules={labels["rule"]: int(count) for _, labels, count in world.network.metrics() if "rule" in labels},
            event_log=simulation.event_log_hash,
        )
    finally:
        simulation.close()
