"""The experiment of a consortium in trouble: four signers, one thing goes wrong with one of them, the others work on.

What must come out, whatever the seed: no honest node is ever without peers, no honest node is ever banned by another's
rules, the nodes that nothing is wrong with seal, finalize and agree, and an operator's mistake can be taken back.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import evolve, frozen

from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES, DEV_CHAIN_ID, DEV_KEYS, ETHER
from chainp2p.ledger.formats.genesis import Genesis, genesis_json
from chainp2p.net.network import Network
from chainp2p.peer.conduct import SentenceKind
from chainp2p.settings import Settings
from chainp2p.testing.machines import Machine
from chainp2p.testing.network import Weather
from chainp2p.testing.simulator import EPOCH, Simulation, SimulationError, ledger_chain, ledger_genesis

__all__ = ["ConsortiumOutcome", "Trouble", "consortium_in_trouble"]

SIGNERS = 4
#: Seconds between blocks.
PERIOD = 1.0
#: Height from which the odd node's settings differ; all have met before.
ODD_HEIGHT = 15
#: Seconds by which a clock is wrong.
HOUR = 3_600.0
#: Seconds between restarts.
RESTART = 60.0
#: How long trouble lasts (seconds); a mistake of the operator is taken back in the middle.
LENGTH = 180.0
#: A node may be without peers so long after its start (seconds), and never again.
GREETING_TIME = 5.0
#: How often peers are counted (seconds).
LOOK = 0.25
#: The nodes that nothing is wrong with agree within so many seconds, once nothing new happens.
_AGREE = 20.0
_START_LIMIT = 60.0


class Trouble(Enum):
    """What goes wrong with one of the four."""

    CLOCK = "clock off by an hour"
    SETTINGS = "other settings"
    SLOW_LINK = "one slow link"
    RESTARTS = "restarted every minute"
    MISTAKE = "operator's mistake"


@frozen(kw_only=True)
class ConsortiumOutcome:
    """How it went.

    :param lonely: longest time that a running honest node had no peer, in seconds, its first :data:`GREETING_TIME`
        after a start left out.
    :param least: fewest peers that any of them had at a look.
    :param banned: bans by the rules among the four; the operator's are not counted.
    :param blocks: what the best chain grew by in the time of trouble; *finalized*: likewise.
    :param agree: seconds until the nodes that nothing is wrong with had one head at the end.
    """

    seed: int
    trouble: Trouble
    lonely: float
    least: int
    banned: int
    blocks: int
    finalized: int
    agree: float
    event_log: str

    @property
    def good(self) -> bool:
        """Whether what must come out came out: three of four signers fill three of four slots, less what is lost."""
        return not self.lonely and not self.banned and self.blocks >= LENGTH / PERIOD / 2 and self.finalized > 0


@contextmanager
def _list_file() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        yield Path(folder) / "allow-list"


def _odd_settings(without: int) -> Genesis:
    """The same genesis with another plan: from :data:`ODD_HEIGHT` on one signer is left out."""
    left = ["0x" + address.hex() for address in DEV_ADDRESSES[:SIGNERS] if address != DEV_ADDRESSES[without]]
    source = genesis_json(
        chain_id=DEV_CHAIN_ID,
        signers=DEV_ADDRESSES[:SIGNERS],
        period_ms=round(PERIOD * 1000),
        alloc=dict.fromkeys(DEV_ADDRESSES, 10_000 * ETHER),
        timestamp=int(EPOCH),
    )
    odd = Genesis.parse(source, {"changes": [{"height": ODD_HEIGHT, "signers": left}]})
    assert odd.hash == ledger_genesis(SIGNERS, PERIOD).hash
    return odd


def consortium_in_trouble(seed: int, trouble: Trouble, length: float = LENGTH) -> ConsortiumOutcome:
    """Run it once; SimulationError if the nodes that nothing is wrong with do not agree in the end."""
    simulation = Simulation(
        seed, make_chain=ledger_chain(ledger_genesis(SIGNERS, PERIOD)), weather=Weather(low=0.005, high=0.05)
    )
    with _list_file() as path:
        try:
            return _Run(simulation, trouble, path).play(length)
        finally:
            simulation.close()


class _Run:
    def __init__(self, simulation: Simulation, trouble: Trouble, path: Path) -> None:
        self.simulation = simulation
        self.trouble = trouble
        self.random = simulation.random
        odd = self.random.randrange(SIGNERS)
        self.machines = [self._machine(index, index == odd, path) for index in range(SIGNERS)]
        addresses = tuple(machine.address for machine in self.machines)
        for machine in self.machines:
            network = evolve(machine.settings.network, static_nodes=addresses)
            machine.settings = evolve(machine.settings, network=network)
        path.write_text("".join(f"{machine.key.peer_id.hex()} bank\n" for machine in self.machines))
        self.odd = self.machines[odd]
        self.others = [machine for machine in self.machines if machine is not self.odd]
        self.well = self.others if trouble in (Trouble.CLOCK, Trouble.SETTINGS) else self.machines
        #: A node whose settings differ is told so and left alone, as it must be.
        self.watched = self.others if trouble is Trouble.SETTINGS else self.machines
        self.since: dict[Machine, float] = {}
        self.lonely = 0.0
        self.least = SIGNERS

    def _machine(self, index: int, is_odd: bool, path: Path) -> Machine:
        offset, make_chain = 0.0, None
        if is_odd and self.trouble is Trouble.CLOCK:
            offset = self.random.choice([-HOUR, HOUR])
        if is_odd and self.trouble is Trouble.SETTINGS:
            make_chain = ledger_chain(_odd_settings(self.random.randrange(SIGNERS)))

        def settings(made: Settings) -> Settings:
            return evolve(made, network=evolve(made.network, allow_list=path))

        return self.simulation.add_node(
            signer=DEV_KEYS[index], profile="consortium", offset=offset, make_chain=make_chain, settings=settings
        )

    def play(self, length: float) -> ConsortiumOutcome:
        simulation = self.simulation
        simulation.start()
        simulation.expect("all linked", lambda: simulation.linked(SIGNERS - 1), _START_LIMIT)
        self.since = dict.fromkeys(self.machines, simulation.clock.seconds())
        head, finalized = self._height(), self._finalized()
        self._cause_trouble(length)
        blocks, finalized = self._height() - head, self._finalized() - finalized
        agree = simulation.expect("the others agree", self._agree, _AGREE)
        if simulation.errors:
            raise SimulationError(f"seed {simulation.seed}: {simulation.errors[0]}")
        return ConsortiumOutcome(
            seed=int(simulation.seed),
            trouble=self.trouble,
            lonely=self.lonely,
            least=self.least,
            banned=self._bans(),
            blocks=blocks,
            finalized=finalized,
            agree=agree,
            event_log=simulation.event_log_hash,
        )

    def _height(self) -> int:
        return max(machine.head.height for machine in self.well if machine.ready)

    def _finalized(self) -> int:
        height: int = max(machine.chain.finalized.height for machine in self.well if machine.ready)
        return height

    def _agree(self) -> bool:
        heads = {machine.head.hash for machine in self.well}
        return len(heads) == 1 and len({machine.chain.finalized.height for machine in self.well}) == 1

    def _bans(self) -> int:
        return sum(one.kind is SentenceKind.BAN for machine in self.machines for one in self._network(machine).bans())

    @staticmethod
    def _network(machine: Machine) -> Network:
        assert machine.node is not None
        network: Network = machine.node.network
        return network

    # -- trouble

    def _cause_trouble(self, length: float) -> None:
        match self.trouble:
            case Trouble.SLOW_LINK:
                self._slow_link()
                self._look(length)
            case Trouble.RESTARTS:
                for _ in range(int(length / RESTART)):
                    self._restart()
                    self._look(RESTART)
            case Trouble.MISTAKE:
                self._look(self.random.uniform(0, length / 4))
                correct = self._mistake()
                self._look(length / 2)
                correct()
                self._look(length / 2)
                if not self.simulation.linked(SIGNERS - 1):
                    raise SimulationError(f"seed {self.simulation.seed}: a mistake was not taken back")
            case _:
                self._look(length)

    def _slow_link(self) -> None:
        other = self.random.choice(self.others)
        slow = Weather(low=self.random.uniform(0.5, 2), high=3.0, loss=0.02, bandwidth=20_000)
        for source, target in ((self.odd, other), (other, self.odd)):
            self.simulation.network.set_weather(slow, source.name, target.name)

    def _restart(self) -> None:
        if self.random.random() < 0.5:
            self.odd.kill(silent=self.random.random() < 0.3)
        else:
            self.simulation.stop(self.odd)
        self._look(self.random.uniform(0, 5))
        self.simulation.start(self.odd)
        self.since[self.odd] = self.simulation.clock.seconds()

    def _mistake(self) -> Callable[[], object]:
        """The operator of one node sends another away; answers how that is taken back."""
        network, peer_id = self._network(self.random.choice(self.others)), self.odd.key.peer_id
        everybody = [machine.key.peer_id for machine in self.machines]
        what = self.random.randrange(3)
        if what == 0:
            network.ban_peer(peer_id)
        elif what == 1:
            network.remove_peer(peer_id)
        else:
            network.allow({one: "" for one in everybody if one != peer_id})
            return lambda: network.allow(dict.fromkeys(everybody, ""))
        return lambda: network.unban_peer(peer_id)

    def _look(self, seconds: float) -> None:
        """Let time pass and count the peers of all that run."""
        clock = self.simulation.clock
        end = clock.seconds() + seconds
        while clock.seconds() < end:
            self.simulation.run_for(min(LOOK, end - clock.seconds()))
            now = clock.seconds()
            for machine in self.watched:
                if not machine.ready:
                    continue
                if machine.peers:
                    self.since[machine] = max(now, self.since[machine])
                else:
                    self.lonely = max(self.lonely, now - self.since[machine] - GREETING_TIME)
                if now - self.since[machine] < LOOK:
                    self.least = min(self.least, machine.peers)
