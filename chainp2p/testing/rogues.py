"""Faults to plant where somebody takes what others need: slots, keys, memory, patience."""

from typing import Any, cast

from chainp2p.peer.address import parse_node
from chainp2p.peer.quota import FACTOR, quotas_of
from chainp2p.peer.slots import Slots
from chainp2p.settings import Settings
from chainp2p.testing.network import Weather
from chainp2p.testing.planting import FEW, HONEST, Fault, Question, Scene, asked, entered_in, with_network
from chainp2p.wire.codec import CODEC
from chainp2p.wire.frames import HEADER, encode_frames
from chainp2p.wire.messages import AnnounceBlocks, GetBlocks, Hello, NewBlock, PeerRecord, Pong
from chainp2p.wire.schema import Kind

__all__ = ["ROGUES"]

HOUR = 3_600.0
#: A way so long that two who dial each other at about the same time do not know of each other (seconds).
FAR = 0.5
#: Of blocks that fill every buffer between two nodes (bytes).
LARGE = 1_000_000
LARGE_BLOCKS = 4
REQUESTS = 8
#: How much more than what ends a link a flood is, for some of its quota comes back while it lasts.
FLOODED = 1.5
#: Codes of the rules by which a peer has to go for another one.
EVICTED = ("evicted_youngest_of_group", "evicted_useless")
#: An id of a frame that no link has come to.
FRAME_ID = 1_000_001

ROGUES: list[Fault] = []
fault = entered_in(ROGUES)


# -- slots and keys


@fault("all its slots are taken", "too_many_peers")
def full_table(scene: Scene) -> Question:
    machine = scene.add(change=lambda settings: with_network(settings, max_peers=2))
    for _ in range(2):
        scene.add(bootstrap=[machine])
    scene.simulation.expect("it is full", lambda: machine.peers >= 2, 30.0)
    scene.hold(machine)
    return asked(machine)


def _crowd(scene: Scene) -> None:
    """Let callers of one group take all slots that they can have; nobody can dial them."""
    slots = Slots.of(HONEST + FEW, HONEST)
    for number in range(1, slots.general + slots.fresh + 1):
        scene.caller(ip=f"10.96.0.{number}", change=_unreachable)


def _unreachable(settings: Settings) -> Settings:
    return with_network(settings, listen_addr=())


@fault("it had to go for another one, when all our slots were taken", *EVICTED, "inbound_full", alone=True)
def evicted(scene: Scene) -> Question:
    _crowd(scene)
    scene.caller(ip="10.95.0.1", change=_unreachable)
    scene.run(1.0)
    victim = next(end.peer_id for end in scene.network.ends() if end.rule in EVICTED)
    return Question("peer", victim)


@fault("all our slots are taken, and its group has most of them", "inbound_full", alone=True)
def no_slot_here(scene: Scene) -> Question:
    _crowd(scene)
    return asked(scene.add(ip="10.96.0.200", bootstrap=[scene.observer], change=_unreachable))


@fault("two machines have its key", "duplicate_key")
def duplicate_key(scene: Scene) -> Question:
    machine = scene.caller()
    for _ in range(4):
        twin = scene.add(start=False, bootstrap=[scene.observer])
        twin.key = machine.key
        scene.simulation.start(twin)
        scene.run(5.0)
    return asked(machine)


@fault("it and we dialled each other at once", "duplicate")
def duplicate_link(scene: Scene) -> Question:
    machine = scene.add()
    for ends in ((machine.name, scene.observer.name), (scene.observer.name, machine.name)):
        scene.simulation.network.set_weather(Weather(low=FAR), *ends)
    assert machine.node is not None
    machine.node.network.add_peer(parse_node(scene.observer.address))
    scene.hold(machine)
    return asked(machine)


# -- peers that break the protocol


def _rogue(scene: Scene, data: bytes) -> Question:
    machine = scene.caller()
    scene.say(machine, data)
    return asked(machine)


@fault("it sends a message that cannot be read", "malformed_message")
def malformed_message(scene: Scene) -> Question:
    return _rogue(scene, encode_frames(Kind.NOTIFICATION, FRAME_ID, CODEC.encode(PeerRecord(b""))[:-1])[0])


@fault("it sends bytes that are no frame", "malformed_frame")
def malformed_frame(scene: Scene) -> Question:
    return _rogue(scene, HEADER.pack(10, FRAME_ID, 99, 0) + bytes(4))


@fault("it sends more than a message may have", "oversize")
def oversize(scene: Scene) -> Question:
    tag = CODEC.encode(PeerRecord(b""))[:4]
    return _rogue(scene, encode_frames(Kind.NOTIFICATION, FRAME_ID, tag + bytes(60_000))[0])


@fault("it replies to nothing that was asked", "unexpected_reply")
def unexpected_reply(scene: Scene) -> Question:
    return _rogue(scene, encode_frames(Kind.REPLY, FRAME_ID, CODEC.encode(Pong(0)))[0])


@fault("it greets twice", "out_of_order")
def out_of_order(scene: Scene) -> Question:
    hello = Hello(1, scene.observer.chain.genesis_hash, 0)
    return _rogue(scene, encode_frames(Kind.NOTIFICATION, FRAME_ID, CODEC.encode(hello))[0])


@fault("it sends a block whose transactions are not those of its header", "misbehaved")
def bad_block(scene: Scene) -> Question:
    raw = scene.observer.chain.make(transactions=[b"transfer"])
    block = NewBlock(raw[:-1] + b"!")
    return _rogue(scene, encode_frames(Kind.NOTIFICATION, FRAME_ID, CODEC.encode(block))[0])


@fault("it asks for much and reads nothing", "not_reading")
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
    return asked(machine)


@fault("it says far more than any node has to say", "message_quota")
def flood(scene: Scene) -> Question:
    message = AnnounceBlocks(())
    nothing = CODEC.encode(message)
    quota = quotas_of(CODEC)[AnnounceBlocks]
    count = round(FLOODED * FACTOR * quota.burst / quota.cost(message, len(nothing)))
    return _rogue(scene, b"".join(encode_frames(Kind.NOTIFICATION, FRAME_ID + at, nothing)[0] for at in range(count)))
