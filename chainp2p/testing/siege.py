"""The experiment of blocks that spread among nodes some of which attack, where each node has one core to work with."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import count
from typing import Any, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from chainp2p.chain.interfaces import AdmissionResult, HeaderInfo, Verdict
from chainp2p.errors import Reason
from chainp2p.gossip.checks import HEADER, block_cost, body_cost, transaction_cost
from chainp2p.gossip.redundancy import Way
from chainp2p.testing.machines import Machine
from chainp2p.testing.relaying import WARM_UP, Outcome, Relaying, Spread, _Play
from chainp2p.testing.tellers import keep_silent
from chainp2p.testing.toyblocks import ToyHeader
from chainp2p.testing.toychain import IGNORED, REJECTED, ToyChain
from chainp2p.wire import encode
from chainp2p.wire.messages import (
    AnnounceBlocks,
    AnnounceTransactions,
    DoNotSend,
    GetTransactions,
    Graft,
    Message,
    NewBlock,
    NewTransaction,
    Prune,
    PushBlocks,
)

__all__ = [
    "Besieged",
    "Siege",
    "Toiling",
    "announce_nothing",
    "behave",
    "control",
    "depart",
    "flood_invalid",
    "flood_unpaid",
    "orphans",
    "withhold",
]

#: How often an attacker sends what is due (seconds).
TICK = 0.02

T = TypeVar("T")


class Toiling(ToyChain):
    """A toy chain whose checks take time, one after the other on one core: what the reference chain's were measured to.

    :param fields: see :class:`ToyChain`.
    """

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self._core: IReactorTime | None = None
        self._free_at = 0.0
        #: What its checks took since work takes time (seconds of its core).
        self.toiled = 0.0

    def works_on(self, core: IReactorTime) -> None:
        """From now on work takes time."""
        self._core = core

    def _toil(self, micros: float, work: Callable[[], T]) -> "Deferred[T]":
        core = self._core
        if core is None:
            return succeed(None).addCallback(lambda _: work())
        self._free_at = max(core.seconds(), self._free_at) + micros / 1e6
        self.toiled += micros / 1e6
        done: Deferred[T] = Deferred(lambda _: call.cancel())

        def run() -> None:
            try:
                done.callback(work())
            except Exception:
                done.errback(Failure())  # type: ignore[no-untyped-call]

        call = core.callLater(self._free_at - core.seconds(), run)
        return done

    def check_headers(self, raws: Sequence[bytes]) -> "Deferred[list[HeaderInfo]]":
        return self._toil(HEADER * len(raws), lambda: self._check(raws))

    def body_matches(self, raw: bytes) -> "Deferred[bool]":
        matches = super().body_matches
        return self._toil(body_cost(len(raw)), lambda: None).addCallback(lambda _: matches(raw))

    def submit_block(self, raw: bytes) -> "Deferred[Verdict]":
        return self._toil(block_cost(len(raw)), lambda: self._submit(raw))

    def admit(self, raw: bytes, local: bool) -> "Deferred[AdmissionResult]":
        return self._toil(transaction_cost(len(raw)), lambda: self._admit(raw, local))


@frozen(kw_only=True)
class Besieged:
    """What came of it.

    :param useless: links of honest nodes to attackers that are asked last by the end; *wronged*: to honest ones.
    :param parked: blocks that wait at one node for their parents, at most.
    :param pushed: transactions and blocks that came whole to honest nodes unasked, all together.
    :param busy: the share of its core that checks took at the honest node where they took most, while blocks were
        measured.
    """

    outcome: Outcome
    useless: int
    wronged: int
    parked: int
    pushed: int
    busy: float


@frozen(kw_only=True)
class Siege(Relaying):
    """A network under attack; attackers begin with the first block that is measured."""

    make: type[ToyChain] = Toiling

    def play(self) -> Besieged:
        """Play it."""
        with self.world():
            siege = _Siege(self)
            outcome = siege.run()
            return Besieged(
                outcome=outcome,
                useless=siege.useless,
                wronged=siege.wronged,
                parked=siege.parked,
                pushed=siege.pushed,
                busy=siege.busy,
            )


class _Siege(_Play):
    useless = wronged = parked = pushed = 0
    busy = 0.0
    _since: float | None = None

    def build(self) -> None:
        super().build()
        for machine in self.machines:
            machine.chain.works_on(self.simulation.clock)

    def spread(self, raws: list[bytes]) -> Spread:
        chains: list[Toiling] = [self.machines[number].chain for number in self.honest]
        if raws and self._since is None:
            self._since = self.simulation.clock.seconds()
            for chain in chains:
                chain.toiled = 0.0
        found = super().spread(raws)
        if self._since is not None:
            seconds = self.simulation.clock.seconds() - self._since
            self.busy = max(chain.toiled for chain in chains) / seconds
        bad = {self.machines[number].key.peer_id for number in self.hostile}
        honest = [self.machines[number].node for number in self.honest]
        links = [link for node in honest if node is not None for link in node.network.links() if link.useless]
        self.useless = sum(link.peer_id in bad for link in links)
        self.wronged = len(links) - self.useless
        waiting = [len(node.gossip._blocks._later) for node in honest if node is not None]
        self.parked = max(self.parked, *waiting)
        parts = [part for node in honest if node is not None for part in (node.gossip.blocks, node.gossip.transactions)]
        self.pushed = sum(part.copies[Way.PUSHED] for part in parts)
        return found


# attackers


def behave(machine: Machine) -> None:
    """What an undisturbed run is compared by: the same nodes, and they do nothing."""


def depart(machine: Machine) -> None:
    """Leave when measuring begins: what the loss of its links alone costs the others."""
    network = None if machine.node is None else machine.node.network
    if network is None:
        return
    if machine.chain.head.height < WARM_UP:
        machine.host.callLater(TICK, depart, machine)
        return
    for link in network.links():
        link.close(Reason.SHUTDOWN)


def withhold(machine: Machine) -> None:
    """Announce and push all, and give nothing of it."""
    keep_silent(machine)
    assert machine.node is not None
    handlers = machine.node.network.host.handlers
    handlers[GetTransactions] = lambda link, message: Deferred()


def _repeat(machine: Machine, rate: float, victims: int, make: Callable[[int], Message]) -> None:
    """Send *rate* messages a second in all to the first peers, once measuring has begun."""
    assert machine.node is not None
    network, host = machine.node.network, machine.host
    numbers = count()
    owed = 0.0

    def tick() -> None:
        nonlocal owed
        if machine.node is None:
            return
        if machine.chain.head.height >= WARM_UP:
            owed += rate * TICK
            links = sorted(network.links(), key=lambda link: link.peer_id)[:victims]
            for link in links:
                for _ in range(int(owed / len(links))):
                    link.send_raw(encode(make(next(numbers))))
            owed -= int(owed / max(1, len(links))) * len(links)
        host.callLater(TICK, tick)

    tick()


def _name(machine: Machine, number: int) -> bytes:
    return machine.key.peer_id[:8] + number.to_bytes(8, "big")


def announce_nothing(rate: float, victims: int) -> Callable[[Machine], None]:
    """Announce transactions that there are not, 50 in a message, and now and then blocks likewise."""

    def made(machine: Machine, number: int) -> Message:
        if number % 10:
            return AnnounceTransactions(tuple((_name(machine, number * 50 + n) * 2, 110) for n in range(50)))
        return AnnounceBlocks(((_name(machine, number) * 2, WARM_UP + 1),))

    return lambda machine: _repeat(machine, rate, victims, lambda number: made(machine, number))


def flood_unpaid(rate: float, victims: int) -> Callable[[Machine], None]:
    """Push transactions with good signatures of senders without money: nobody's fault, and each is to be checked."""
    pad = bytes(80)
    return lambda machine: _repeat(
        machine, rate, victims, lambda number: NewTransaction(IGNORED + _name(machine, number) + pad)
    )


def flood_invalid(rate: float, victims: int) -> Callable[[Machine], None]:
    """Push transactions with bad signatures."""
    pad = bytes(80)
    return lambda machine: _repeat(
        machine, rate, victims, lambda number: NewTransaction(REJECTED + _name(machine, number) + pad)
    )


def control(machine: Machine) -> None:
    """Send control messages without sense."""
    kinds: list[Callable[[int], Message]] = [
        lambda number: Graft(),
        lambda number: Prune(60),
        lambda number: PushBlocks(number & 1),
        lambda number: DoNotSend(tuple(_name(machine, number * 16 + n) * 2 for n in range(16))),
    ]
    _repeat(machine, 240.0, 8, lambda number: kinds[number // 8 % len(kinds)](number))


def orphans(rate: float, victims: int) -> Callable[[Machine], None]:
    """Send blocks whose parents nobody has."""

    nothing = sha256(b"").digest()

    def made(machine: Machine, number: int) -> Message:
        name = _name(machine, number)
        return NewBlock(ToyHeader(name * 2, WARM_UP + 2, 1, 0, nothing, name[8:]).raw)

    return lambda machine: _repeat(machine, rate, victims, lambda number: made(machine, number))
