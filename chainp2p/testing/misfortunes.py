"""Faults to plant where nobody means harm: wrong settings, broken ways, ends, and what operators do."""

from typing import Any, cast

from attrs import evolve
from twisted.internet.protocol import Factory, Protocol

from chainp2p.testing.network import Weather
from chainp2p.testing.planting import Fault, Question, Scene, asked, entered_in, toy_chain

__all__ = ["MISFORTUNES"]

HOUR = 3_600.0
#: Seconds that what a stalled peer sends is late.
STALL = 1_000.0
#: A ban that is over when the observer is asked (seconds).
SHORT_BAN = 60.0
#: A certificate of a clock so far ahead (seconds) is not valid yet: certificates begin a week before.
MONTH = 30 * 86_400.0

MISFORTUNES: list[Fault] = []
fault = entered_in(MISFORTUNES)


# -- settings that are wrong


@fault("its chain has other settings", "wrong_settings")
def wrong_settings(scene: Scene) -> Question:
    def change(chain: Any) -> None:
        chain.settings_hashes = lambda: [(0, bytes(32))]

    machine = scene.add(make_chain=toy_chain(change))
    scene.hold(machine)
    return asked(machine)


@fault("its settings will differ from a height that nobody has reached", "wrong_settings")
def settings_ahead(scene: Scene) -> Question:
    def change(chain: Any) -> None:
        ours = chain.settings_hashes()
        chain.settings_hashes = lambda: [*ours, (1_000, bytes(32))]

    machine = scene.add(make_chain=toy_chain(change))
    scene.hold(machine)
    return asked(machine)


@fault("it is of another network", "wrong_genesis")
def wrong_genesis(scene: Scene) -> Question:
    def change(chain: Any) -> None:
        chain.genesis_hash = bytes(range(32))

    machine = scene.add(make_chain=toy_chain(change))
    scene.hold(machine)
    return asked(machine)


@fault("it speaks a version of the protocol that is not known here", "wrong_version")
def wrong_version(scene: Scene) -> Question:
    machine = scene.add()
    assert machine.node is not None
    network: Any = machine.node.network
    hello = network.host.hello
    network.host.hello = lambda: evolve(hello(), version=99)
    scene.hold(machine)
    return asked(machine)


@fault("the two nodes' operators named each other's address wrongly: it is our own", "self")
def self_dial(scene: Scene) -> Question:
    return Question("peer", scene.hold(f"{scene.stranger()}@{scene.observer.host.ip}:{scene.simulation.port}"))


@fault("another node lives at its address now", "wrong_peer_id")
def earlier_owner(scene: Scene) -> Question:
    machine = scene.add()
    return Question("peer", scene.hold(f"{scene.stranger()}@{machine.host.ip}:{scene.simulation.port}"))


@fault("its certificate begins in the future: its clock is a month ahead", "bad_certificate", tls=True)
def bad_certificate(scene: Scene) -> Question:
    machine = scene.add(start=False)
    scene.securities[machine.name] = lambda it, key: scene.tls(it, key, ahead=MONTH)
    scene.simulation.start(machine)
    scene.hold(machine)
    return asked(machine)


@fault("its clock is an hour ahead", "peer_clock")
def wrong_clock(scene: Scene) -> Question:
    machine = scene.add(offset=HOUR)
    scene.hold(machine)
    return asked(machine)


# -- the way there


@fault("no machine has its address", "timed_out")
def no_machine(scene: Scene) -> Question:
    return Question("peer", scene.hold(f"{scene.stranger()}@10.99.0.{scene.chance.randint(1, 250)}:30303"))


@fault("no way leads to its network", "no_route")
def no_route(scene: Scene) -> Question:
    ip = f"10.97.0.{scene.chance.randint(1, 250)}"
    scene.simulation.network.unreachable.add(ip)
    return Question("peer", scene.hold(f"{scene.stranger()}@{ip}:30303"))


@fault("nothing listens at its port", "refused")
def refused_port(scene: Scene) -> Question:
    machine = scene.add()
    return Question("peer", scene.hold(f"{machine.key.peer_id.hex()}@{machine.host.ip}:1"))


@fault("nobody knows its name", "name_unknown")
def name_unknown(scene: Scene) -> Question:
    return Question("peer", scene.hold(f"{scene.stranger()}@no-such-host.invalid:30303"))


@fault("whatever listens at its port says nothing", "handshake_timeout")
def mute_listener(scene: Scene) -> Question:
    host = scene.simulation.network.host(scene.name(), f"10.98.0.{scene.chance.randint(1, 250)}")
    host.listenTCP(30303, cast(Any, Factory.forProtocol(Protocol)))
    return Question("peer", scene.hold(f"{scene.stranger()}@{host.ip}:30303"))


@fault("the network is cut between it and us", "ping_timeout", "timed_out")
def partition(scene: Scene) -> Question:
    machine = scene.caller()
    scene.hold(machine)
    scene.simulation.partition([machine])
    return asked(machine)


@fault("a box on the way cut the connection", "connection_lost")
def connection_cut(scene: Scene) -> Question:
    machine = scene.caller()
    scene.run(100.0)
    scene.simulation.network.drop_links(machine.name, scene.observer.name)
    return asked(machine)


@fault("what it sends arrives a quarter of an hour later", "ping_timeout")
def stalled_peer(scene: Scene) -> Question:
    machine = scene.caller()
    weather = Weather(low=STALL)
    scene.simulation.network.set_weather(weather, machine.name, scene.observer.name)
    return asked(machine)


# -- its end


@fault("its power went off", "ping_timeout", "timed_out")
def power_cut(scene: Scene) -> Question:
    machine = scene.caller()
    scene.hold(machine)
    machine.kill(silent=True)
    return asked(machine)


@fault("its process was killed", "connection_lost", "refused", "timed_out")
def killed_process(scene: Scene) -> Question:
    machine = scene.caller()
    scene.hold(machine)
    machine.kill()
    return asked(machine)


@fault("its operator stopped it", "shutdown")
def stopped(scene: Scene) -> Question:
    machine = scene.caller()
    scene.hold(machine)
    scene.simulation.stop(machine)
    return asked(machine)


# -- what an operator did


@fault("our operator banned it", "ban_by_operator")
def banned(scene: Scene) -> Question:
    machine = scene.caller()
    scene.network.ban_peer(machine.key.peer_id, HOUR)
    return asked(machine)


@fault("our operator's ban of it is over", "ban_expired")
def expired_ban(scene: Scene) -> Question:
    machine = scene.caller()
    scene.network.ban_peer(machine.key.peer_id, SHORT_BAN)
    return Question("ban", machine.key.peer_id)


@fault("its operator banned us", "banned")
def banned_by_it(scene: Scene) -> Question:
    machine = scene.caller()
    assert machine.node is not None
    machine.node.network.ban_peer(scene.observer.key.peer_id, HOUR)
    return asked(machine)


@fault("our operator removed it", "removed")
def removed(scene: Scene) -> Question:
    machine = scene.caller()
    scene.network.remove_peer(machine.key.peer_id)
    return asked(machine)


@fault("we are not on its allow-list", "not_allowed")
def not_allowed(scene: Scene) -> Question:
    machine = scene.caller()
    assert machine.node is not None
    machine.node.network.allow({bytes(32): "another"})
    return asked(machine)


# -- nothing at all


@fault("nobody has ever heard of it", "unknown")
def never_known(scene: Scene) -> Question:
    return Question("peer", bytes.fromhex(scene.stranger()))
