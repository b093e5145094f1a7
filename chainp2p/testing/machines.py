"""One simulated machine with a production node on it: it can be started, stopped and killed."""

import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred, succeed

from chainp2p.chain.executor import Executor
from chainp2p.chain.interfaces import (
    BlockProduced,
    FinalityConflict,
    FinalizedChanged,
    HeadChanged,
    HeaderInfo,
    TransactionAdded,
    TransactionDropped,
)
from chainp2p.node.node import Bound, Node
from chainp2p.node.platform import Platform
from chainp2p.peer.key import NodeKey
from chainp2p.peer.link import PeerJoined, PeerLeft
from chainp2p.settings import Settings
from chainp2p.testing.databases import MemoryDisk
from chainp2p.testing.executor import SimExecutor
from chainp2p.testing.hosts import MemoryHost
from chainp2p.testing.names import MemoryResolver
from chainp2p.testing.traces import traces

if TYPE_CHECKING:
    from chainp2p.testing.simulator import Simulation

__all__ = ["ChainMaker", "ChainParts", "Machine"]


@frozen(kw_only=True)
class ChainParts:
    """What a chain is built from, as ``IChainPlugin.make`` gets it.

    :param now: the machine's clock (Unix seconds).
    :param open_database: opens a database of the machine's disk.
    :param signer: private key to seal with, if this machine seals.
    """

    executor: Executor
    now: Callable[[], float]
    random: Random
    open_database: Callable[[str], sqlite3.Connection]
    signer: bytes | None


ChainMaker = Callable[[ChainParts], Any]


class _MemoryHome:
    """Stands for the data directory (``chainp2p.node.home.Home``)."""

    path: Path | None = None

    def __init__(self, key: NodeKey, disk: MemoryDisk) -> None:
        self._key = key
        self._disk = disk
        self.facts: Mapping[str, Any] = {}

    def node_key(self, entropy: Callable[[int], bytes]) -> NodeKey:
        return self._key

    def token_secret(self, entropy: Callable[[int], bytes]) -> bytes:
        return entropy(32)

    def open_database(self, name: str) -> sqlite3.Connection:
        return self._disk.open(name)

    def publish(self, facts: Mapping[str, Any]) -> None:
        self.facts = facts

    def close(self) -> None:
        self.facts = {}


class Machine:
    """A host with a disk and a node; made by :meth:`Simulation.add_node`.

    :param offset: how many seconds its clock is ahead of the true time.
    """

    def __init__(
        self,
        simulation: "Simulation",
        host: MemoryHost,
        key: NodeKey,
        settings: Settings,
        make_chain: ChainMaker,
        signer: bytes | None,
        offset: float,
    ) -> None:
        self.simulation = simulation
        self.name = host.name
        self.host = host
        self.key = key
        self.settings = settings
        self.disk = MemoryDisk()
        self.signer = signer
        self.offset = offset
        #: The running node, if it runs.
        self.node: Node | None = None
        self._make_chain = make_chain
        self._runs = 0
        self._bound: Bound | None = None
        #: What was killed is kept: collecting it in the middle of the simulation would run the ``finally`` blocks of
        #: its coroutines, at a moment that no seed decides.
        self._dead: list[tuple[Node | None, MemoryHost]] = []

    def now(self) -> float:
        """The time that this machine's clock shows (Unix seconds)."""
        return self.simulation.epoch + self.host.seconds() + self.offset

    @property
    def address(self) -> str:
        """How others are told of it: ``PEERID@host:port``."""
        return f"{self.key.peer_id.hex()}@{self.host.ip}:{self.simulation.port}"

    @property
    def ready(self) -> bool:
        """Whether the node has started."""
        return self._bound is not None

    @property
    def chain(self) -> Any:
        """The running node's chain."""
        return self._running().chain

    @property
    def head(self) -> HeaderInfo:
        """Its head."""
        head: HeaderInfo = self.chain.head
        return head

    @property
    def peers(self) -> int:
        """How many peers it has."""
        return len(self._running().network.links())

    def traces(self, peer_id: bytes | None = None) -> list[str]:
        """Return the ways to what is left in the running node of a peer (None: of all) that is gone; see
        :meth:`chainp2p.testing.simulator.Simulation.check_empty`.
        """
        node = self._running()
        network = node.network
        here = {known for link in network._roster.open for known in (link.peer_id, link.expected or b"")}
        here |= {dial.address.peer_id for dial in network._dialer.attempts}
        ids = set(self.simulation.names) | {end.peer_id for end in network.ends() if end.peer_id}
        calls = self.host.clock.planned(self.host.owner)
        wrappers = [transport.protocol for transport in self.host.transports]
        wrappers += [
            wrapper for port in self.host._ports.values() for wrapper in getattr(port.factory, "protocols", ())
        ]
        roots = {
            "network": network,
            "sync": node.sync,
            "gossip": node.gossip,
            "node": node._run,
            "connections": [getattr(wrapper, "wrappedProtocol", None) for wrapper in wrappers],
            "timers": [(call.func, call.args, call.kw) for call in calls],
        }
        gone = frozenset(ids - here - {self.key.peer_id})
        return traces(roots, gone if peer_id is None else gone & {peer_id}, peer_id)

    def _running(self) -> Node:
        if self.node is None:
            raise RuntimeError(f"{self.name} does not run")
        return self.node

    def start(self) -> "Deferred[Bound]":
        """Start a node on what the disk holds; fires once it is ready."""
        if self.node is not None:
            raise RuntimeError(f"{self.name} runs already")
        if not self.host.up:
            self.host = self.host.boot()
        self._runs += 1
        # chance of its own for each run: what a dead run would have drawn must not matter to the next
        random = Random(f"{self.simulation.seed}/{self.name}/{self._runs}")
        executor = SimExecutor(self.host)
        chain = self._make_chain(
            ChainParts(executor=executor, now=self.now, random=random, open_database=self.disk.open, signer=self.signer)
        )
        platform = Platform(
            reactor=self.host,
            now=self.now,
            random=random,
            entropy=random.randbytes,
            executor=lambda: executor,
            home=lambda _: _MemoryHome(self.key, self.disk),
            security=lambda key: self.simulation.security(self, key),
            resolver=lambda: MemoryResolver(self.host, self.simulation.texts),
        )
        self.node = node = Node(self.host, self.settings, chain=chain, platform=platform)
        self._watch(node)
        self._say("started")
        node.startService()
        return node.ready().addCallbacks(self._started, self._failed)

    def _started(self, bound: Bound) -> Bound:
        self._say(f"ready at height {bound.head_height} {bound.head_hash.hex()}")
        self._bound = bound
        return bound

    def _failed(self, failure: Any) -> Any:
        self._say(f"failed to start: {failure.getErrorMessage()}")
        self.node = None
        return failure

    def stop(self) -> "Deferred[None]":
        """Stop the node cleanly; fires when everything is closed."""
        node, self.node, self._bound = self.node, None, None
        if node is None:
            return succeed(None)
        self._say("stopping")
        return node.stopService().addCallback(lambda _: self._say("stopped"))

    def kill(self, silent: bool = False) -> None:
        """End the node as ``kill -9`` does (*silent*: as a power cut does); committed data stay on the disk."""
        self._say("killed")
        self._dead.append((self.node, self.host))
        self.node = self._bound = None
        self.host.kill(silent)
        self.disk.crash()

    def bury(self) -> None:
        """Let go of runs that were killed; only :meth:`Simulation.close` may."""
        for _, host in self._dead:
            host.bury()
        self._dead.clear()

    def _say(self, what: str) -> None:
        simulation = self.simulation
        simulation.log.add(simulation.clock.seconds(), self.name, what)

    def _watch(self, node: Node) -> None:
        names = self.simulation.names

        def head(event: HeadChanged) -> None:
            reorg = f" left {len(event.left)}" if event.left else ""
            self._say(f"head {event.head.height} {event.head.hash.hex()}{reorg}")

        kinds: tuple[tuple[type[Any], Callable[[Any], None]], ...] = (
            (HeadChanged, head),
            (FinalizedChanged, lambda e: self._say(f"finalized {e.header.height} {e.header.hash.hex()}")),
            (BlockProduced, lambda e: self._say(f"sealed {e.header.height} {e.header.hash.hex()}")),
            (FinalityConflict, lambda e: self._say(f"conflict {e.ours.hash.hex()} {e.theirs.hash.hex()}")),
            (TransactionAdded, lambda e: self._say(f"pooled {e.hash.hex()}")),
            (TransactionDropped, lambda e: self._say(f"dropped {e.hash.hex()} {e.reason}")),
            (PeerJoined, lambda e: self._say(f"joined {names.get(e.peer_id, e.peer_id.hex())}")),
            (PeerLeft, lambda e: self._say(f"left {names.get(e.peer_id, e.peer_id.hex())} {e.reason.code}")),
        )
        for kind, callback in kinds:
            node.events.subscribe(kind, callback)
