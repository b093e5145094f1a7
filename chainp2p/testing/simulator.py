"""Networks of production nodes in virtual time, on one thread, from one seed."""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher

from chainp2p.chain.interfaces import AdmissionResult, HeaderInfo
from chainp2p.ledger.chain import Ledger
from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES, DEV_CHAIN_ID, DEV_KEYS, ETHER
from chainp2p.ledger.formats.genesis import Genesis, make_genesis
from chainp2p.ledger.formats.transaction import DYNAMIC_FEE, sign_transaction
from chainp2p.peer.key import NodeKey
from chainp2p.settings import AdminSettings, NetworkSettings, NodeSettings, RpcSettings, Settings
from chainp2p.testing.clock import HeapClock
from chainp2p.testing.eventlog import EventLog
from chainp2p.testing.machines import ChainMaker, ChainParts, Machine
from chainp2p.testing.network import MemoryNetwork, Weather
from chainp2p.testing.security import PlainSecurity

__all__ = ["EPOCH", "Simulation", "SimulationError", "ledger_chain", "ledger_genesis"]

#: Unix time at which simulations begin, unless told otherwise: a round number of the past.
EPOCH = 1_700_000_000.0
#: Every machine listens there.
PORT = 30_303
#: Virtual seconds that a node may take to start.
_START_LIMIT = 30.0
#: Of a transfer: all of the gas that one costs, wei of tip, and wei of fee that no simulation reaches.
_TRANSFER_GAS, _TIP, _FEE = 21_000, 10**9, 100 * 10**9


@contextmanager
def _silence() -> Iterator[None]:
    """Let nobody hear what is logged."""
    observers, globalLogPublisher._observers = globalLogPublisher._observers, []
    try:
        yield
    finally:
        globalLogPublisher._observers = observers


class SimulationError(AssertionError):
    """What a simulation promised did not happen."""


def ledger_genesis(signers: int, period: float, epoch: float = EPOCH) -> Genesis:
    """A genesis in which the first *signers* dev accounts seal in turn every *period* seconds."""
    return make_genesis(
        chain_id=DEV_CHAIN_ID,
        signers=DEV_ADDRESSES[:signers],
        period_ms=round(period * 1000),
        alloc=dict.fromkeys(DEV_ADDRESSES, 10_000 * ETHER),
        timestamp=int(epoch),
    )


def ledger_chain(genesis: Genesis, max_reorg_depth: int | None = None) -> ChainMaker:
    """Makes the reference chain for each machine; with proof of work a machine's signer is the address it mines for."""

    def make(parts: ChainParts) -> Ledger:
        return Ledger(
            genesis,
            executor=parts.executor,
            now=parts.now,
            random=parts.random,
            open_database=parts.open_database,
            signer=parts.signer,
            mine=parts.signer,
            max_reorg_depth=max_reorg_depth,
        )

    return make


class Simulation:
    """A network of machines and the clock that drives it.

    The same seed and the same calls give the same events, in any process: :attr:`event_log_hash`. ::

        simulation = Simulation(7, make_chain=ledger_chain(ledger_genesis(signers=1, period=1.0)))
        first = simulation.add_node(signer=DEV_KEYS[0])
        for _ in range(3):
            simulation.add_node(bootstrap=[first])
        simulation.start()
        simulation.run_for(60)
        simulation.expect("one head", simulation.one_head, within=5)

    :param seed: where all chance comes from.
    :param make_chain: builds each machine's chain; default: the reference chain with one signer and a period of 1 s.
    :param weather: delay, jitter and loss of all links.
    :param security: makes the transport security of a machine from its key; default: :class:`PlainSecurity`.
    :param epoch: Unix time at virtual time 0.
    :param keep_log: keep the lines of the event log, for a report.
    """

    port = PORT

    def __init__(
        self,
        seed: int | str = 0,
        *,
        make_chain: ChainMaker | None = None,
        weather: Weather | None = None,
        security: Callable[[Machine, NodeKey], Any] | None = None,
        epoch: float = EPOCH,
        keep_log: bool = False,
    ) -> None:
        self.seed = seed
        self.epoch = epoch
        self.clock = HeapClock()
        self.random = Random(f"{seed}/script")
        self.network = MemoryNetwork(self.clock, Random(f"{seed}/network"), weather)
        self.log = EventLog(keep_log)
        self.machines: list[Machine] = []
        #: Peer id -> name of the machine.
        self.names: dict[bytes, str] = {}
        self.security = security or (lambda _, key: PlainSecurity(key))
        #: Failures that were logged since, by whatever code: none of them is expected.
        self.errors: list[str] = []
        globalLogPublisher.addObserver(cast(ILogObserver, self._observe))
        self._make_chain = make_chain or ledger_chain(ledger_genesis(1, 1.0, epoch))
        self._nonces: dict[int, int] = {}
        #: TXT records of the world, name -> text, such as :func:`chainp2p.discovery.treemaking.make_tree` makes them.
        self.texts: dict[str, str] = {}
        #: Hashes of the transactions that were submitted.
        self.submitted: list[bytes] = []

    @property
    def event_log_hash(self) -> str:
        """SHA-256 over all events so far."""
        return self.log.hash

    def _observe(self, event: LogEvent) -> None:
        if "log_failure" in event:
            failure = event["log_failure"]
            self.errors.append(f"at {self.clock.seconds():.6f}: {formatEvent(event)}: {failure.getTraceback()}")

    # -- machines

    def add_node(
        self,
        name: str | None = None,
        *,
        signer: bytes | None = None,
        bootstrap: Sequence[Machine] = (),
        static: Sequence[Machine] = (),
        ip: str | None = None,
        profile: str = "private",
        offset: float = 0.0,
        make_chain: ChainMaker | None = None,
        settings: Callable[[Settings], Settings] | None = None,
    ) -> Machine:
        """Add a machine; it runs once it is started.

        :param signer: private key with which it seals.
        :param bootstrap: machines whose addresses it knows.
        :param ip: where it lives; default: an address of its own in 10.0.0.0/8, a private range.
        :param offset: seconds by which its clock is wrong.
        :param settings: changes the settings that it would have.
        """
        number = len(self.machines) + 1
        name = name if name is not None else f"node{number}"
        ip = ip or f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        key = NodeKey(sha256(f"{self.seed}/{name}/key".encode()).digest())
        made = Settings(
            node=NodeSettings(data_dir=Path(name), profile=profile),
            network=NetworkSettings(
                listen_addr=(f"tcp:{PORT}:interface={ip}",),
                enable_discovery=False,
                bootstrap_nodes=tuple(machine.address for machine in bootstrap),
                static_nodes=tuple(machine.address for machine in static),
            ),
            rpc=RpcSettings(listen=()),
            admin=AdminSettings(listen=()),
        )
        if settings is not None:
            made = settings(made)
        host = self.network.host(name, ip)
        machine = Machine(self, host, key, made, make_chain or self._make_chain, signer, offset)
        self.machines.append(machine)
        self.names[key.peer_id] = name
        return machine

    def add_nodes(self, count: int, *, signers: int = 1, **options: Any) -> list[Machine]:
        """Add *count* machines of which the first *signers* seal with dev keys; all know the first one only."""
        added: list[Machine] = []
        for index in range(count):
            signer = DEV_KEYS[index] if index < signers else None
            added.append(self.add_node(signer=signer, bootstrap=added[:1], **options))
        return added

    @property
    def running(self) -> list[Machine]:
        """The machines whose nodes have started."""
        return [machine for machine in self.machines if machine.ready]

    def start(self, *machines: Machine) -> None:
        """Start these machines (all that do not run), and wait until they are ready."""
        waiting = machines or [machine for machine in self.machines if machine.node is None]
        for machine in waiting:
            self.wait(machine.start(), _START_LIMIT)

    def stop(self, *machines: Machine) -> None:
        """Stop these machines (all that run) cleanly, and wait until they are closed."""
        stopping = [machine.stop() for machine in machines or self.running]
        for done in stopping:
            self.wait(done, _START_LIMIT)

    def check_empty(self, peer: Machine | bytes | None = None) -> None:
        """See that nothing is left in any running node of a peer that is gone, apart from what
        :data:`chainp2p.testing.traces.OUTLIVES` names: no reference to its link, nowhere its id.

        :param peer: a machine or a peer id; None: every peer without a link, and every link that has ended.
        :raise SimulationError: with the way to each thing that is left.
        """
        peer_id = peer.key.peer_id if isinstance(peer, Machine) else peer
        left = [f"{machine.name}.{way}" for machine in self.running for way in machine.traces(peer_id)]
        if left:
            raise SimulationError(f"seed {self.seed}: left of peers that are gone:\n" + "\n".join(left))

    def close(self) -> None:
        """See that no peer that is gone has left anything, then end everything at once and drop all databases."""
        try:
            self.check_empty()
        finally:
            self._end()

    def _end(self) -> None:
        globalLogPublisher.removeObserver(cast(ILogObserver, self._observe))
        with _silence():
            # coroutines of dead programs end here, whatever they say to that
            for machine in self.machines:
                if machine.node is not None:
                    machine.kill()
                machine.disk.erase()
                machine.bury()
            self.machines.clear()
            self.network.clear()
            self.clock.clear()
            gc.collect()

    # -- time

    def run_for(self, seconds: float) -> None:
        """Let so much virtual time pass."""
        self.clock.run_for(seconds)

    def wait(self, done: "Deferred[Any]", limit: float = 60.0) -> Any:
        """Run until *done* has fired, and return its result or raise its failure."""
        outcome: list[Any] = []
        failures: list[Any] = []
        done.addCallbacks(outcome.append, failures.append)
        if not self.clock.run_while(lambda: not (outcome or failures), limit):
            raise SimulationError(f"{done} has not fired within {limit:g} virtual seconds")
        if failures:
            failures[0].raiseException()
        return outcome[0]

    def expect(self, what: str, condition: Callable[[], object], within: float, every: float = 0.05) -> float:
        """Run until *condition* holds, and return how many seconds it took; SimulationError if it does not in time.

        :param every: seconds between two looks.
        """
        start = self.clock.seconds()
        while not condition():
            if self.clock.seconds() - start >= within:
                raise SimulationError(f"seed {self.seed}: not within {within:g} s: {what}\n{self.describe()}")
            self.clock.run_for(every)
        return self.clock.seconds() - start

    def describe(self) -> str:
        """The state of all machines, a line each."""
        lines = []
        for machine in self.machines:
            if not machine.ready or machine.node is None:
                lines.append(f"{machine.name}: does not run")
                continue
            chain = machine.chain
            lines.append(
                f"{machine.name}: head {chain.head.height} {chain.head.hash.hex()[:8]}, "
                f"finalized {chain.finalized.height}, {machine.peers} peers, {machine.node.sync.explain().text}"
            )
        return "\n".join(lines)

    # -- the network

    def partition(self, *groups: Iterable[Machine]) -> None:
        """Cut the network; connections across the cut fall silent."""
        named = [[machine.name for machine in group] for group in groups]
        self.log.add(self.clock.seconds(), "network", "cut " + " / ".join(" ".join(group) for group in named))
        self.network.partition(*named)

    def heal(self) -> None:
        """Join it again."""
        self.log.add(self.clock.seconds(), "network", "healed")
        self.network.heal()

    def set_weather(self, weather: Weather) -> None:
        """Change delay, jitter and loss of all links."""
        self.log.add(self.clock.seconds(), "network", f"delay {weather.low:g} to {weather.high:g}")
        self.network.set_weather(weather)

    def drop_links(self) -> None:
        """Cut all open connections for good; both ends notice."""
        self.log.add(self.clock.seconds(), "network", f"dropped {self.network.drop_links()} links")

    # -- conditions

    def linked(self, least: int) -> bool:
        """Whether each running node has at least *least* peers (all others, where there are fewer)."""
        running = self.running
        least = min(least, len(running) - 1)
        return all(machine.ready and machine.peers >= least for machine in running)

    def one_head(self) -> bool:
        """Whether all running nodes have the same head."""
        return len({machine.head.hash for machine in self.running}) == 1

    def height(self, least: int) -> bool:
        """Whether all running nodes have reached that height."""
        return all(machine.head.height >= least for machine in self.running)

    def included(self, hashes: Sequence[bytes] | None = None) -> bool:
        """Whether all these transactions (all submitted ones) are on each running node's best chain."""
        wanted = self.submitted if hashes is None else hashes
        # nodes with one head have one chain
        by_head = {machine.head.hash: machine for machine in self.running}
        return all(self._has(machine, hash) for machine in by_head.values() for hash in wanted)

    def _has(self, machine: Machine, hash: bytes) -> bool:
        found: list[Any] = []
        machine.chain.reader.transaction(hash).addBoth(found.append)
        self.clock.run_for(0)
        return bool(found) and found[0] is not None

    def finalized_agree(self) -> bool:
        """Whether no two running nodes have finalized conflicting blocks, and none reports a conflict."""
        by_height: dict[int, HeaderInfo] = {}
        for machine in self.running:
            if getattr(machine.chain, "conflict", None) is not None:
                return False
            finalized = machine.chain.finalized
            other = by_height.setdefault(finalized.height, finalized)
            if other.hash != finalized.hash:
                return False
        top = max(self.running, key=lambda machine: machine.chain.finalized.height)
        return all(self.wait(top.chain.hash_at(height)) == header.hash for height, header in sorted(by_height.items()))

    # -- transactions of the reference chain

    def transfer(self, machine: Machine, sender: int, to: bytes = DEV_ADDRESSES[9], value: int = 1) -> bytes:
        """Submit a transfer of dev account *sender* (0 to 9) at *machine*; return its hash."""
        nonce = self._nonces.get(sender, 0)
        self._nonces[sender] = nonce + 1
        raw = sign_transaction(
            DEV_KEYS[sender],
            type=DYNAMIC_FEE,
            chain_id=DEV_CHAIN_ID,
            nonce=nonce,
            max_priority_fee=_TIP,
            max_fee=_FEE,
            gas=_TRANSFER_GAS,
            to=to,
            value=value,
        )
        result = self.submit(machine, raw)
        self.submitted.append(result.hash)
        return result.hash

    def submit(self, machine: Machine, raw: bytes) -> AdmissionResult:
        """Submit a raw transaction of any chain, as the node's own user does."""
        if machine.node is None:
            raise RuntimeError(f"{machine.name} does not run")
        result: AdmissionResult = self.wait(machine.node.submit_transaction(raw))
        return result
