"""The experiment of an initial download from sixteen peers of which some stall, one lies and some are far away."""

import copy
from collections.abc import Callable
from random import Random
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.events import EventBus
from chainp2p.testing.machines import Machine
from chainp2p.testing.network import Weather
from chainp2p.testing.planting import toy_chain, with_network
from chainp2p.testing.simulator import Simulation
from chainp2p.testing.toychain import ToyChain

__all__ = ["Download", "download"]

#: Peers; of them, who answers no request for blocks any more from some moment on, and who sends forged bodies.
PEERS, STALLING, LYING = 16, 5, 1
#: The share of links that are slow, whoever is at their end.
SLOW_SHARE = 0.3
#: One-way delay (seconds) and bytes a second of a link, and of a slow one.
GOOD = Weather(low=0.02, high=0.03, bandwidth=1_000_000.0)
SLOW = Weather(low=0.15, high=0.30, bandwidth=100_000.0)
#: Who stalls does so at once, or after a share of the time that the honest alone would take, drawn from 0 to here.
STALLS_BEFORE = 0.8
#: A download that takes so many times the ideal time has failed.
LIMIT = 20.0


@frozen(kw_only=True)
class Download:
    """How it went.

    :param seconds: virtual time from the start of the new node to the last block.
    :param ideal: the time in which all links, each at its full rate from the start, carry the bytes of all headers and
        bodies; those of peers that stall only until they do, that of the liar nothing. Nobody can be faster, and it
        leaves nothing for dialling, for asking, nor for finding out who is what.
    :param ended: honest peers whose link has ended.
    :param banned: honest peers that are banned.
    :param caught: liars whose link has ended.
    :param wasted: bytes that came more than once, as a share of all.
    """

    seed: int
    seconds: float
    ideal: float
    ended: int
    banned: int
    caught: int
    wasted: float

    @property
    def ratio(self) -> float:
        """How many times the ideal time it took."""
        return self.seconds / self.ideal


def long_chain(blocks: int, size: int) -> ToyChain:
    """A chain of so many blocks of *size* bytes each."""
    chain = ToyChain()
    for number in range(blocks):
        chain._submit(chain.make(transactions=[number.to_bytes(8, "big") + bytes(size - 8)]))
    return chain


def download(seed: int, source: ToyChain) -> Download:
    """Let a new node download *source* from :data:`PEERS` peers that have it."""
    chance = Random(f"{seed}/download")
    head: HeaderInfo = source.head
    raws = [source._bodies[node.info.hash] for node in source._chain[1:]]
    amount = sum(map(len, raws)) + len(raws) * len(source._tree.best.data)
    slow = set(chance.sample(range(PEERS), round(SLOW_SHARE * PEERS)))
    bad = chance.sample(range(PEERS), STALLING + LYING)
    stalling, lying = set(bad[:STALLING]), set(bad[STALLING:])
    honest = [number for number in range(PEERS) if number not in bad]
    rates = [(SLOW if number in slow else GOOD).bandwidth or 0.0 for number in range(PEERS)]
    # by how long the honest alone would take, so that they stall while it goes on
    alone = amount / sum(rates[number] for number in honest)
    stalls_at = {n: 0.0 if chance.random() < 0.5 else chance.uniform(0, STALLS_BEFORE * alone) for n in stalling}
    ideal = _ideal(amount, [rates[n] for n in honest], [(rates[n], stalls_at[n]) for n in stalling])
    simulation = Simulation(seed, make_chain=toy_chain())
    served = [0]

    def serving(number: int) -> Callable[[Any], ToyChain]:
        def make(_: Any) -> ToyChain:
            chain = copy.copy(source)
            chain.events = EventBus()
            blocks_from = source.blocks_from

            def serve(hash: bytes, count: int, max_bytes: int) -> "Deferred[list[bytes] | None]":
                if number in stalling and simulation.clock.seconds() - began >= stalls_at[number]:
                    return Deferred()
                answer = blocks_from(hash, count, max_bytes)
                if number in lying:
                    return answer.addCallback(lambda found: found and [raw[:-1] + b"!" for raw in found])
                return answer.addCallback(_count)

            chain.blocks_from = serve  # type: ignore[method-assign]
            return chain

        return make

    def _count(found: list[bytes] | None) -> list[bytes] | None:
        served[0] += sum(map(len, found or ()))
        return found

    began = 0.0
    try:
        peers = [simulation.add_node(f"peer{number}", make_chain=serving(number)) for number in range(PEERS)]
        simulation.start()
        new = simulation.add_node("new", static=peers, settings=lambda made: with_network(made, max_peers=PEERS + 4))
        for number, peer in enumerate(peers):
            for ends in ((peer.name, new.name), (new.name, peer.name)):
                simulation.network.set_weather(SLOW if number in slow else GOOD, *ends)
        began = simulation.clock.seconds()
        simulation.start(new)
        simulation.expect("all blocks", lambda: new.head.hash == head.hash, LIMIT * ideal)
        seconds = simulation.clock.seconds() - began
        return Download(
            seed=seed,
            seconds=seconds,
            ideal=ideal,
            ended=sum(not _linked(new, peers[number]) for number in honest),
            banned=sum(_banned(new, peers[number]) for number in honest),
            caught=sum(not _linked(new, peers[number]) for number in lying),
            wasted=served[0] / amount - 1,
        )
    finally:
        simulation.close()


def _ideal(amount: float, rates: list[float], until: list[tuple[float, float]]) -> float:
    """When *amount* has come at these rates, and at those others that end then."""
    passed = 0.0
    for moment in sorted({end for _, end in until} | {float("inf")}):
        rate = sum(rates) + sum(one for one, end in until if end >= moment)
        if amount <= rate * (moment - passed):
            return passed + amount / rate
        amount, passed = amount - rate * (moment - passed), moment
    raise AssertionError("the last moment is never")


def _linked(new: Machine, peer: Machine) -> bool:
    assert new.node is not None
    return any(link.peer_id == peer.key.peer_id for link in new.node.network.links())


def _banned(new: Machine, peer: Machine) -> bool:
    assert new.node is not None
    return any(ban.peer_id == peer.key.peer_id for ban in new.node.network.bans())
