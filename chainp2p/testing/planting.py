"""A small network in which faults are planted, and an observer that is asked why."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Protocol, cast

from attrs import evolve, frozen

from chainp2p.net.protocol import PeerProtocol
from chainp2p.net.security import TlsSecurity
from chainp2p.peer.address import parse_node
from chainp2p.peer.key import NodeKey
from chainp2p.peer.why import Answer
from chainp2p.settings import Settings
from chainp2p.testing.machines import ChainMaker, ChainParts, Machine
from chainp2p.testing.security import PlainSecurity
from chainp2p.testing.simulator import Simulation
from chainp2p.testing.toychain import ToyChain

__all__ = [
    "Fault",
    "Planted",
    "Question",
    "Scene",
    "asked",
    "entered_in",
    "plant",
    "rounds",
    "toy_chain",
    "with_network",
]

#: Honest peers of the observer: enough that a ban is not spared for want of others.
HONEST = 4
#: Inbound slots of an observer whose slots are to be taken: as many as the smallest node has.
FEW = 16
#: Seconds between planting and asking: longer than a silent peer is waited for (90) and a short ban lasts.
WAIT = 200.0
#: Seconds that a link may take to be ready.
MEETING = 30.0


@frozen
class Question:
    """What the observer is asked: ``why KIND``, and about whom."""

    kind: str
    peer_id: bytes


@frozen
class Fault:
    """Something that goes wrong on purpose.

    :param words: what goes wrong, for people.
    :param codes: answers that name it; several, where the observer cannot tell them apart.
    :param act: plants it in a scene that runs, and answers what to ask afterwards.
    :param tls: whether it needs real transport security.
    :param alone: whether it fills the observer's slots, and so leaves no room for another one.
    """

    name: str
    words: str
    codes: frozenset[str]
    act: "Callable[[Scene], Question]"
    tls: bool = False
    alone: bool = False


Act = Callable[["Scene"], Question]


def entered_in(faults: list[Fault]) -> Callable[..., Callable[[Act], Act]]:
    """Return a decorator that enters a function in *faults* under its own name; it takes what :class:`Fault` does."""

    def fault(words: str, *codes: str, tls: bool = False, alone: bool = False) -> Callable[[Act], Act]:
        def enter(act: Act) -> Act:
            faults.append(Fault(act.__name__, words, frozenset(codes), act, tls, alone))
            return act

        return enter

    return fault


def asked(machine: Machine) -> Question:
    """Ask why that machine is here or is not."""
    return Question("peer", machine.key.peer_id)


@frozen
class Planted:
    """A fault that was planted and asked about."""

    fault: Fault
    answer: Answer

    @property
    def named(self) -> bool:
        """Whether the answer names the cause, by its code."""
        return self.answer.code in self.fault.codes


class _Speaks(Protocol):
    """Makes the transport security of a machine."""

    def __call__(self, machine: Machine, key: NodeKey) -> Any: ...


def toy_chain(change: Callable[[ToyChain], None] = lambda chain: None) -> ChainMaker:
    """Makes toy chains; *change* may spoil them."""

    def make(parts: ChainParts) -> ToyChain:
        chain = ToyChain(now=parts.now)
        change(chain)
        return chain

    return make


class Scene:
    """An observer with honest peers, and whatever goes wrong around it.

    :param tls: real TLS on all links, not the plain stand-in.
    :param peers: how many the observer may have.
    """

    def __init__(self, seed: int | str, *, tls: bool = False, peers: int = 80) -> None:
        self.chance = Random(f"{seed}/faults")
        #: Machines with a transport security of their own.
        self.securities: dict[str, _Speaks] = {}
        self._tls = tls
        self.simulation = Simulation(seed, make_chain=toy_chain(), security=self._security)
        honest = [self.simulation.add_node(f"honest{number}") for number in range(1, HONEST + 1)]
        self.observer = self.simulation.add_node(
            "observer", bootstrap=honest, settings=lambda settings: with_network(settings, max_peers=peers)
        )
        self._count = 0
        self.simulation.start()
        self.simulation.expect("the observer has its peers", lambda: self.observer.peers >= HONEST, MEETING)

    def _security(self, machine: Machine, key: NodeKey) -> Any:
        own = self.securities.get(machine.name)
        if own is not None:
            return own(machine, key)
        return self.tls(machine, key) if self._tls else PlainSecurity(key)

    @staticmethod
    def tls(machine: Machine, key: NodeKey, ahead: float = 0.0) -> TlsSecurity:
        """Return real TLS, with a certificate by a clock that is *ahead* seconds ahead."""
        return TlsSecurity(key, lambda: machine.now() + ahead, 1, cast(Any, machine.host))

    def close(self) -> None:
        """End the simulation."""
        self.simulation.close()

    @property
    def network(self) -> Any:
        """The observer's side of the network."""
        assert self.observer.node is not None
        return self.observer.node.network

    # -- culprits

    def name(self) -> str:
        """Return a new name."""
        self._count += 1
        return f"culprit{self._count}"

    def add(
        self, *, start: bool = True, change: Callable[[Settings], Settings] | None = None, **options: Any
    ) -> Machine:
        """Add a machine, and start it."""
        machine = self.simulation.add_node(self.name(), settings=change, **options)
        if start:
            self.simulation.start(machine)
        return machine

    def caller(self, **options: Any) -> Machine:
        """Add a machine that calls the observer, and wait for the link."""
        machine = self.add(bootstrap=[self.observer], **options)
        self.meet(machine)
        return machine

    def meet(self, machine: Machine) -> None:
        """Wait for a ready link between the observer and this machine."""
        self.simulation.expect(f"a link with {machine.name}", lambda: self.link(machine) is not None, MEETING)

    def hold(self, machine: Machine | str) -> bytes:
        """Let the observer hold a machine, or ``PEERID@host:port``; answers the id."""
        address = parse_node(machine if isinstance(machine, str) else machine.address)
        self.network.add_peer(address)
        return address.peer_id

    def stranger(self) -> str:
        """Return an id that nobody has."""
        return NodeKey(self.chance.randbytes(32)).peer_id.hex()

    def link(self, machine: Machine) -> PeerProtocol | None:
        """Return the machine's link with the observer, as the machine sees it; None without one on both sides."""
        if machine.node is None or not any(one.peer_id == machine.key.peer_id for one in self.network.links()):
            return None
        found = [one for one in machine.node.network.links() if one.peer_id == self.observer.key.peer_id]
        return cast(PeerProtocol, found[0]) if found else None

    def say(self, machine: Machine, data: bytes) -> None:
        """Let the machine send these bytes to the observer, whatever they mean."""
        link = self.link(machine)
        assert link is not None, f"{machine.name} has no link"
        cast(Any, link.transport).write(data)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.simulation.run_for(seconds)

    def ask(self, question: Question) -> Answer:
        """Ask the observer why."""
        answer: Answer = self.network.explainer.why(question.kind, question.peer_id)
        return answer


def with_network(settings: Settings, **changes: Any) -> Settings:
    """Return settings with other values in ``network``."""
    return evolve(settings, network=evolve(settings.network, **changes))


def plant(seed: int | str, faults: Sequence[Fault]) -> list[Planted]:
    """Plant these faults in one network, one after the other, wait, and ask about each."""
    few = any(fault.alone for fault in faults)
    scene = Scene(seed, tls=any(fault.tls for fault in faults), peers=HONEST + FEW if few else 80)
    try:
        questions = [fault.act(scene) for fault in faults]
        scene.run(WAIT)
        return [Planted(fault, scene.ask(question)) for fault, question in zip(faults, questions, strict=True)]
    finally:
        scene.close()


def rounds(seed: int, faults: Sequence[Fault]) -> list[tuple[Fault, ...]]:
    """Shuffle *faults*, and join a third of them in pairs."""
    shuffled = sorted(faults, key=lambda fault: fault.name)
    Random(f"{seed}/rounds").shuffle(shuffled)
    shuffled.sort(key=lambda fault: fault.alone)
    paired = round(len(faults) / 6) * 2
    pairs = [tuple(shuffled[at : at + 2]) for at in range(0, paired, 2)]
    return [*pairs, *((fault,) for fault in shuffled[paired:])]
