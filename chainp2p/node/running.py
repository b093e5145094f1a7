"""One start of a node: what is opened, in which order, and how it is closed again."""

import contextlib
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, TimeoutError, gatherResults, maybeDeferred
from twisted.logger import Logger

from chainp2p import __version__
from chainp2p.chain.interfaces import (
    BlockProduced,
    FailedBlock,
    FinalityConflict,
    FinalizedChanged,
    HeadChanged,
    HeaderAdded,
    IBlockProducer,
    IChain,
    ITransactionPool,
    TransactionAdded,
    TransactionDropped,
)
from chainp2p.discovery.service import PeerExchange
from chainp2p.errors import SettingsError, StartupError, StorageError
from chainp2p.events import EventBus
from chainp2p.gossip.service import GossipService
from chainp2p.namespaces import Namespace
from chainp2p.net.network import Network
from chainp2p.net.store import PeerStore
from chainp2p.net.talking import TalkHandler
from chainp2p.node.allowlist import AllowList
from chainp2p.node.assembly import data_folder, find_plugin, make_chain
from chainp2p.node.checkup import Checkup
from chainp2p.node.health import Health
from chainp2p.node.home import Home
from chainp2p.node.jobs import Jobs
from chainp2p.node.parts import Parts
from chainp2p.node.platform import Platform
from chainp2p.node.production import Production
from chainp2p.node.readiness import readiness_checks
from chainp2p.node.router import make_mapping
from chainp2p.node.threads import OwnedExecutor
from chainp2p.settings import Settings
from chainp2p.sync.headers.quests import parse_rank
from chainp2p.sync.service import SyncService

__all__ = ["Bound", "Running"]

AGENT = f"chainp2p/{__version__}"
#: The chain's events that are published on the node's bus as well.
_FORWARDED = (
    HeadChanged,
    FinalizedChanged,
    HeaderAdded,
    BlockProduced,
    FailedBlock,
    FinalityConflict,
    TransactionAdded,
    TransactionDropped,
)
#: How long (seconds) each part may take to close; together less than the five that SIGTERM may take.
_RPC, _SEALING, _SERVICE, _PEERS, _CHAIN, _STORE, _THREADS = 1.2, 0.4, 0.1, 1.3, 1.0, 0.2, 0.3


@frozen(kw_only=True)
class Bound:
    """Where a node that has started can be reached. URLs of RPC and admin may be empty."""

    peer_id: bytes
    enr: str
    listening: tuple[tuple[str, int], ...]
    rpc: tuple[str, ...]
    admin: tuple[str, ...]
    head_height: int
    head_hash: bytes
    data_dir: Path


class Running:
    """The parts of a node between a start and the stop after it.

    Each part that has been opened leaves behind how to close it; closing goes backwards through them, so a start that
    fails half way closes exactly what it had opened. The order of opening is therefore the order of closing reversed:
    RPC, sealing, peers, the chain's writer, databases, threads, lock.
    """

    log = Logger()

    def __init__(
        self,
        settings: Settings,
        chain: Any,
        platform: Platform,
        events: EventBus,
        talk: MutableMapping[bytes, TalkHandler],
    ) -> None:
        self.settings = settings
        self.chain: Any = chain
        self._own_chain = chain is not None
        self.events = events
        self._platform = platform
        self._talk = talk
        self._closing: list[tuple[str, float, Callable[[], Any]]] = []
        self._home: Home | None = None
        self._executor: OwnedExecutor
        self.network: Network
        self.sync: SyncService
        self.gossip: GossipService
        self.exchange: PeerExchange
        self.production: Production | None = None
        self.parts: Parts
        self.health: Health
        self.checkup: Checkup

    def _open(self, name: str, seconds: float, close: Callable[[], Any]) -> None:
        self._closing.append((name, seconds, close))

    async def start(self) -> Bound:
        """Open everything; StartupError, with everything closed again, if something cannot be had."""
        try:
            return await self._start()
        except StorageError as error:
            await self.stop()
            raise StartupError(str(error)) from None
        except Exception:
            await self.stop()
            raise

    async def _start(self) -> Bound:
        platform, settings = self._platform, self.settings
        self._executor = executor = platform.executor()
        self._open("threads", _THREADS, executor.stop)
        if self.chain is None:
            self.chain = make_chain(settings, executor, platform.now, platform.random, self._open_database)
        chain = IChain(self.chain)
        folder = data_folder(settings, chain.genesis_hash)
        self._home = home = await executor.run(platform.home, folder)
        # the lock is the last to go, after the threads that write below it
        self._closing.insert(0, ("lock", _THREADS, home.close))
        key = await executor.run(home.node_key, platform.entropy)
        secret = await executor.run(home.token_secret, platform.entropy)
        store = PeerStore(home.open_database, executor.lane("node.sqlite"))
        self._open("node.sqlite", _STORE, store.close)
        await chain.start()
        self._open("chain", _CHAIN, chain.stop)
        jobs = Jobs(chain, executor, home.path, platform.reactor.seconds)
        self._open("jobs", _SERVICE, jobs.stop)
        self._forward()
        self._build_services(executor, key, store)
        for name in ("sync", "gossip", "exchange"):
            service = getattr(self, name)
            service.start()
            self._open(name, _SERVICE, service.stop)
        allow_list = AllowList(settings.network.allow_list, executor, self.network.allow)
        await allow_list.read()
        mapping = make_mapping(platform.reactor, platform.router, settings, key, self.network)
        self.parts = parts = Parts(
            settings=settings,
            chain=chain,
            events=self.events,
            network=self.network,
            sync=self.sync,
            gossip=self.gossip,
            allow_list=allow_list,
            mapping=mapping,
            jobs=jobs,
            now=platform.now,
        )
        self._open("peers", _PEERS, lambda: _leave(parts))
        await self.network.start()
        if mapping is not None:
            mapping.start(self.network.addresses, self.network.discovery.addresses)
        if self.production is not None:
            self._open("sealing", _SEALING, self.production.stop)
            self.production.start()
        self.health = Health(
            reactor=platform.reactor, executor=executor, checks=readiness_checks(parts), folder=home.path
        )
        self._open("health", _SERVICE, self.health.stop)
        self.health.start()
        self.checkup = Checkup(parts, platform.reactor, executor, home.path)
        self._open("checkup", _SERVICE, self.checkup.stop)
        self.checkup.start()
        bound = await self._serve(parts, key.peer_id, secret, folder)
        await executor.run(home.publish, self._facts(bound))
        return bound

    def _chain_namespaces(self) -> Sequence[Namespace]:
        """The RPC methods that the chain adds; a chain that the host handed over brings none."""
        if self._own_chain:
            return ()
        return find_plugin(self.settings.node.chain).namespaces(self.chain)

    def _open_database(self, name: str) -> Any:
        if self._home is None:
            raise StartupError(f"{name}: opened before the data directory was locked")
        return self._home.open_database(name)

    def _forward(self) -> None:
        for kind in _FORWARDED:
            unsubscribe = self.chain.events.subscribe(kind, self.events.publish)
            self._open("events", _SERVICE, unsubscribe)

    def _build_services(self, executor: Any, key: Any, store: PeerStore) -> None:
        platform, settings, chain = self._platform, self.settings, self.chain
        common: dict[str, Any] = {"reactor": platform.reactor, "now": platform.now, "random": platform.random}
        pool = chain if ITransactionPool.providedBy(chain) else None
        minimum = parse_rank(settings.sync.minimum_rank or "0")
        self.sync = SyncService(
            chain=chain,
            events=self.events,
            minimum_rank=minimum,
            states=settings.sync.mode == "state",
            backfill=settings.sync.backfill,
            coming=lambda hash: self.gossip.bringing(hash),
            **common,
        )
        interval = settings.network.gossip_interval
        assert interval is not None, "filled in by prepared()"
        self.gossip = GossipService(chain=chain, pool=pool, interval=interval, heard=self.sync.heard, **common)
        self.exchange = PeerExchange(
            profile=settings.profile,
            enabled=settings.network.enable_pex,
            records=lambda: self.network.relayable(platform.reactor.seconds()),
            learned=lambda link, enr: self.network.learn(enr, link),
            genesis=chain.genesis_hash,
            **common,
        )
        users: list[Any] = [self.sync, self.gossip, self.exchange]
        if IBlockProducer.providedBy(chain):
            alone = not settings.network.bootstrap_nodes and not settings.network.static_nodes
            self.production = Production(chain=chain, reactor=platform.reactor, now=platform.now, alone=alone)
            users.append(self.production)
        self.network = Network(
            key=key,
            security=platform.security(key),
            chain=chain,
            users=users,
            settings=settings.network,
            profile=settings.profile,
            external=settings.node.external,
            store=store,
            events=self.events,
            agent=AGENT,
            talk=self._talk,
            resolver=platform.resolver,
            **common,
        )

    async def _serve(self, parts: Parts, peer_id: bytes, secret: bytes, folder: Path) -> Bound:
        from chainp2p.node.surface import Servers

        servers = Servers(
            parts,
            namespaces=self._chain_namespaces(),
            findings=self.checkup.findings,
            health=self.health,
            reactor=self._platform.reactor,
            agent=AGENT,
            secret=secret,
            data_dir=folder,
            set_log_level=self._platform.set_log_level,
        )
        self._open("rpc", _RPC, servers.stop)
        rpc, admin = await servers.start()
        head = self.chain.head
        return Bound(
            peer_id=peer_id,
            enr=self.network.enr.text,
            listening=tuple(self.network.addresses),
            rpc=tuple(rpc),
            admin=tuple(admin),
            head_height=head.height,
            head_hash=head.hash,
            data_dir=folder,
        )

    def _facts(self, bound: Bound) -> dict[str, Any]:
        """What ``node.json`` says."""
        import os

        first = bound.rpc[0] if bound.rpc else None
        return {
            "pid": os.getpid(),
            "agent": AGENT,
            "peerId": bound.peer_id.hex(),
            "enr": bound.enr,
            "listening": [_host_port(host, port) for host, port in bound.listening],
            "rpc": first,
            "ws": f"ws{first.removeprefix('http')}/ws" if first and first.startswith("http") else None,
            "admin": bound.admin[0] if bound.admin else None,
            "adminAuth": self.settings.admin.auth,
            "genesis": "0x" + self.chain.genesis_hash.hex(),
            "head": {"height": bound.head_height, "hash": "0x" + bound.head_hash.hex()},
            "dataDir": str(bound.data_dir),
        }

    def reload(self) -> None:
        """Read again what may change while a node runs; a bad file is logged and changes nothing."""

        async def read() -> None:
            with contextlib.suppress(SettingsError):
                await self.parts.allow_list.read_again()

        Deferred.fromCoroutine(read()).addErrback(lambda failure: self.log.failure("nothing was read again", failure))

    async def stop(self) -> None:
        """Close what was opened, in order; a part that fails or takes too long does not keep the others open."""
        while self._closing:
            name, seconds, close = self._closing.pop()
            done = maybeDeferred(close)
            done.addTimeout(seconds, self._platform.reactor)
            try:
                await done
            except TimeoutError:
                self.log.warn("closing {part} takes longer than {seconds} s", part=name, seconds=seconds)
            except Exception:
                self.log.failure("closing {part} failed", part=name)


def _leave(parts: Parts) -> "Deferred[Any]":
    """Take leave of the peers, and of the gateway meanwhile."""
    stopping: list[Deferred[None]] = [parts.network.stop()]
    if parts.mapping is not None:
        stopping.append(parts.mapping.stop())
    return gatherResults(stopping, consumeErrors=True)


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
