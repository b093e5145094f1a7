"""Faults that can be planted in a simulated network: bad luck, bad settings, and bad peers.

Each is an injection from outside, by what the simulator offers in public, and the codes by which a node should name it.
"""

from collections.abc import Callable
from typing import Any, cast

from attrs import evolve
from twisted.internet.protocol import Factory, Protocol

from chainp2p.peer.address import parse_node
from chainp2p.peer.slots import Slots
from chainp2p.settings import Settings
from chainp2p.testing.machines import Machine
from chainp2p.testing.network import Weather
from chainp2p.testing.planting import FEW, HONEST, Fault, Question, Scene, toy_chain, with_network
from chainp2p.wire.codec import CODEC
from chainp2p.wire.frames import HEADER, encode_frames
from chainp2p.wire.messages import AnnounceBlocks, GetBlocks, Hello, NewBlock, PeerRecord, Pong
from chainp2p.wire.schema import Kind

__all__ = ["FAULTS"]

HOUR = 3_600.0
#: Seconds that what a stalled peer sends is late.
STALL = 1_000.0
#: A way so long that two who dial each other at about the same time do not know of each other (seconds).
FAR = 0.5
#: A ban that is over when the observer is asked (seconds).
SHORT_BAN = 60.0
#: A certificate of a clock so far ahead (seconds) is not valid yet: certificates begin a week before.
MONTH = 30 * 86_400.0
#: Of blocks that fill every buffer between two nodes (bytes).
LARGE = 1_000_000
LARGE_BLOCKS = 4
REQUESTS = 8
#: More than ten times as many messages as may come at once.
FLOOD = 6_000
#: Codes of the rules by which a peer has to go for another one.
EVICTED = ("evicted_youngest_of_group", "evicted_useless")
#: An id of a frame that no link has come to.
FRAME_ID = 1_000_001

FAULTS: list[Fault] = []


def _fault(
    words: str, *codes: str, tls: bool = False, alone: bool = False
) -> Callable[[Callable[[Scene], Question]], Callable[[Scene], Question]]:
    """Enter a function in :data:`FAULTS` under its own name."""

    def enter(act: Callable[[Scene], Question]) -> Callable[[Scene], Question]:
        FAULTS.append(Fault(act.__name__, words, frozenset(codes), act, tls, alone))
        return act

    return enter


def _peer(machine: Machine) -> Question:
    return Question("peer", machine.key.peer_id)


# -- settings that are wrong


@_fault("its chain has other settings", "wrong_settings")
def wrong_settings(scene: Scene) -> Question:
    def change(chain: Any) -> None:
        chain.settings_hashes = lambda: [(0, bytes(32))]

    machine = scene.add(make_chain=toy_chain(change))
    scene.hold(machine)
    return _peer(machine)


@_fault("its settings will differ from a height that nobody has reached", "wrong_settings")
def settings_ahead(scene: Scene) -> Question:
    def change(chain: Any) -> None:
        ours = chain.settings_hashes()
        chain.settings_hashes = lambda: [*ours, (1_000, bytes(32))]

    machine = scene.add(make_chain=toy_chain(change))
    scene.hold(machine)
    return _peer(machine)


@_fault("it is of another network", "wrong_genesis")
def wrong_genesis(scene: Scene) -> Question:
    def change(chain: Any) -> None:
        chain.genesis_hash = bytes(range(32))

    machine = scene.add(make_chain=toy_chain(change))
    scene.hold(machine)
    return _peer(machine)


@_fault("it speaks a version of the protocol that is not known here", "wrong_version")
def wrong_version(scene: Scene) -> Question:
    machine = scene.add()
    assert machine.node is not None
    network: Any = machine.node.network
    hello = network.hello
    network.hello = lambda: evolve(hello(), version=99)
    scene.hold(machine)
    return _peer(machine)


@_fault("the two nodes' operators named each other's address wrongly: it is our own", "self")
def self_dial(scene: Scene) -> Question:
    return Question("peer", scene.hold(f"{scene.stranger()}@{scene.observer.host.ip}:{scene.simulation.port}"))


@_fault("another node lives at its address now", "wrong_peer_id")
def earlier_owner(scene: Scene) -> Question:
    machine = scene.add()
    return Question("peer", scene.hold(f"{scene.stranger()}@{machine.host.ip}:{scene.simulation.port}"))


@_fault("its certificate begins in the future: its clock is a month ahead", "bad_certificate", tls=True)
def bad_certificate(scene: Scene) -> Question:
    machine = scene.add(start=False)
    scene.securities[machine.name] = lambda it, key: scene.tls(it, key, ahead=MONTH)
    scene.simulation.start(machine)
    scene.hold(machine)
    return _peer(machine)


@_fault("its clock is an hour ahead", "peer_clock")
def wrong_clock(scene: Scene) -> Question:
    machine = scene.add(offset=HOUR)
    scene.hold(machine)
    return _peer(machine)


# -- the way there


@_fault("no machine has its address", "timed_out")
def no_machine(scene: Scene) -> Question:
    return Question("peer", scene.hold(f"{scene.stranger()}@10.99.0.{scene.chance.randint(1, 250)}:30303"))


@_fault("no way leads to its network", "no_route")
def no_route(scene: Scene) -> Question:
    ip = f"10.97.0.{scene.chance.randint(1, 250)}"
    scene.simulation.network.unreachable.add(ip)
    return Question("peer", scene.hold(f"{scene.stranger()}@{ip}:30303"))


@_fault("nothing listens at its port", "refused")
def refused_port(scene: Scene) -> Question:
    machine = scene.add()
    return Question("peer", scene.hold(f"{machine.key.peer_id.hex()}@{machine.host.ip}:1"))


@_fault("nobody knows its name", "name_unknown")
def name_unknown(scene: Scene) -> Question:
    return Question("peer", scene.hold(f"{scene.stranger()}@no-such-host.invalid:30303"))


@_fault("whatever listens at its port says nothing", "handshake_timeout")
def mute_listener(scene: Scene) -> Question:
    host = scene.simulation.network.host(scene.name(), f"10.98.0.{scene.chance.randint(1, 250)}")
    host.listenTCP(30303, cast(Any, Factory.forProtocol(Protocol)))
    return Question("peer", scene.hold(f"{scene.stranger()}@{host.ip}:30303"))


@_fault("the network is cut between it and us", "ping_timeout", "timed_out")
def partition(scene: Scene) -> Question:
    machine = scene.caller()
    scene.hold(machine)
    scene.simulation.partition([machine])
    return _peer(machine)


@_fault("a box on the way cut the connection", "connection_lost")
def connection_cut(scene: Scene) -> Question:
    machine = scene.caller()
    scene.run(100.0)
    scene.simulation.network.drop_links(machine.name, scene.observer.name)
    return _peer(machine)


@_fault("what it sends arrives a quarter of an hour later", "ping_timeout")
def stalled_peer(scene: Scene) -> Question:
    machine = scene.caller()
    weather = Weather(low=STALL)
    scene.simulation.network.set_weather(weather, machine.name, scene.observer.name)
    return _peer(machine)


# -- its end


@_fault("its power went off", "ping_timeout", "timed_out")
def power_cut(scene: Scene) -> Question:
    machine = scene.caller()
    scene.hold(machine)
    machine.kill(silent=True)
    return _peer(machine)


@_fault("its process was killed", "connection_lost", "refused", "timed_out")
def killed_process(scene: Scene) -> Question:
    machine = scene.caller()
    scene.hold(machine)
    machine.kill()
    return _peer(machine)


@_fault("its operator stopped it", "shutdown")
def stopped(scene: Scene) -> Question:
    machine = scene.caller()
    scene.hold(machine)
    scene.simulation.stop(machine)
    return _peer(machine)


# -- what an operator did


@_fault("our operator banned it", "ban_by_operator")
def banned(scene: Scene) -> Question:
    machine = scene.caller()
    scene.network.ban_peer(machine.key.peer_id, HOUR)
    return _peer(machine)


@_fault("our operator's ban of it is over", "ban_expired")
def expired_ban(scene: Scene) -> Question:
    machine = scene.caller()
    scene.network.ban_peer(machine.key.peer_id, SHORT_BAN)
    return Question("ban", machine.key.peer_id)


@_fault("its operator banned us", "banned")
def banned_by_it(scene: Scene) -> Question:
    machine = scene.caller()
    assert machine.node is not None
    machine.node.network.ban_peer(scene.observer.key.peer_id, HOUR)
    return _peer(machine)


@_fault("our operator removed it", "removed")
def removed(scene: Scene) -> Question:
    machine = scene.caller()
    scene.network.remove_peer(machine.key.peer_id)
    return _peer(machine)


@_fault("we are not on its allow-list", "not_allowed")
def not_allowed(scene: Scene) -> Question:
    machine = scene.caller()
    assert machine.node is not None
    machine.node.network.allow({bytes(32): "another"})
    return _peer(machine)


@_fault("all its slots are taken", "too_many_peers")
def full_table(scene: Scene) -> Question:
    machine = scene.add(change=lambda settings: with_network(settings, max_peers=2))
    for _ in range(2):
        scene.add(bootstrap=[machine])
    scene.simulation.expect("it is full", lambda: machine.peers >= 2, 30.0)
    scene.hold(machine)
    return _peer(machine)


def _crowd(scene: Scene) -> None:
    """Let callers of one group take all slots that they can have; nobody can dial them."""
    slots = Slots.of(HONEST + FEW, HONEST)
    for number in range(1, slots.general + slots.fresh + 1):
        scene.caller(ip=f"10.96.0.{number}", change=_unreachable)


def _unreachable(settings: Settings) -> Settings:
    return with_network(settings, listen_addr=())


@_fault("it had to go for another one, when all our slots were taken", *EVICTED, "inbound_full", alone=True)
def evicted(scene: Scene) -> Question:
    _crowd(scene)
    scene.caller(ip="10.95.0.1", change=_unreachable)
    scene.run(1.0)
    victim = next(end.peer_id for end in scene.network.ends() if end.rule in EVICTED)
    return Question("peer", victim)


@_fault("all our slots are taken, and its group has most of them", "inbound_full", alone=True)
def no_slot_here(scene: Scene) -> Question:
    _crowd(scene)
    return _peer(scene.add(ip="10.96.0.200", bootstrap=[scene.observer], change=_unreachable))


# -- two of one


@_fault("two machines have its key", "duplicate_key")
def duplicate_key(scene: Scene) -> Question:
    machine = scene.caller()
    for _ in range(4):
        twin = scene.add(start=False, bootstrap=[scene.observer])
        twin.key = machine.key
        scene.simulation.start(twin)
        scene.run(5.0)
    return _peer(machine)


@_fault("it and we dialled each other at once", "duplicate")
def duplicate_link(scene: Scene) -> Question:
    machine = scene.add()
    for ends in ((machine.name, scene.observer.name), (scene.observer.name, machine.name)):
        scene.simulation.network.set_weather(Weather(low=FAR), *ends)
    assert machine.node is not None
    machine.node.network.add_peer(parse_node(scene.observer.address))
    scene.hold(machine)
    return _peer(machine)


# -- peers that break the protocol


def _rogue(scene: Scene, data: bytes) -> Question:
    machine = scene.caller()
    scene.say(machine, data)
    return _peer(machine)


@_fault("it sends a message that cannot be read", "malformed_message")
def malformed_message(scene: Scene) -> Question:
    return _rogue(scene, encode_frames(Kind.NOTIFICATION, FRAME_ID, CODEC.encode(PeerRecord(b""))[:-1])[0])


@_fault("it sends bytes that are no frame", "malformed_frame")
def malformed_frame(scene: Scene) -> Question:
    return _rogue(scene, HEADER.pack(10, FRAME_ID, 99, 0) + bytes(4))


@_fault("it sends more than a message may have", "oversize")
def oversize(scene: Scene) -> Question:
    tag = CODEC.encode(PeerRecord(b""))[:4]
    return _rogue(scene, encode_frames(Kind.NOTIFICATION, FRAME_ID, tag + bytes(60_000))[0])


@_fault("it replies to nothing that was asked", "unexpected_reply")
def unexpected_reply(scene: Scene) -> Question:
    return _rogue(scene, encode_frames(Kind.REPLY, FRAME_ID, CODEC.encode(Pong(0)))[0])


@_fault("it greets twice", "out_of_order")
def out_of_order(scene: Scene) -> Question:
    hello = Hello(1, scene.observer.chain.genesis_hash, 0)
    return _rogue(scene, encode_frames(Kind.NOTIFICATION, FRAME_ID, CODEC.encode(hello))[0])


@_fault("it sends a block whose transactions are not those of its header", "misbehaved")
def bad_block(scene: Scene) -> Question:
    raw = scene.observer.chain.make(transactions=[b"transfer"])
    block = NewBlock(raw[:-1] + b"!")
    return _rogue(scene, encode_frames(Kind.NOTIFICATION, FRAME_ID, CODEC.encode(block))[0])


@_fault("it asks for much and reads nothing", "not_reading")
def never_reading(scene: Scene) -> Question:
    machine = scene.caller()
    chain = scene.observer.chain
    for _ in range(LARGE_BLOCKS):
        scene.simulation.wait(chain.submit_block(chain.make(transactions=[bytes(LARGE)])))
    scene.run(30.0)
    link = scene.link(machine)
    assert link is not None
    for _ in range(REQUESTS):
        link.request(GetBlocks(chain.genesis_hash, LARGE_BLOCKS), HOUR).addErrback(lambda _: None)
    cast(Any, link.transport).pauseProducing()
    return _peer(machine)


@_fault("it says far more than any node has to say", "message_quota")
def flood(scene: Scene) -> Question:
    nothing = CODEC.encode(AnnounceBlocks(()))
    return _rogue(scene, b"".join(encode_frames(Kind.NOTIFICATION, FRAME_ID + at, nothing)[0] for at in range(FLOOD)))


# -- nothing at all


@_fault("nobody has ever heard of it", "unknown")
def never_known(scene: Scene) -> Question:
    return Question("peer", bytes.fromhex(scene.stranger()))
