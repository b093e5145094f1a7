"""Gathers what :mod:`chainp2p.node.doctor` judges: from the machine, and from the node that runs on it."""

import contextlib
import shutil
import sqlite3
import stat
import sys
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger

from chainp2p.discovery.bootstrap import parse_bootstrap
from chainp2p.errors import SettingsError
from chainp2p.ledger.opening import CHAIN_FILE
from chainp2p.net.endpoints import client_endpoint
from chainp2p.node.assembly import check_chain
from chainp2p.node.doctor import diagnose
from chainp2p.node.facts import (
    AllowListFacts,
    Descriptors,
    Disk,
    Facts,
    Finding,
    GenesisFacts,
    NetworkFacts,
    PeerFacts,
    SecretFile,
    Severity,
)
from chainp2p.node.home import JWT_FILE, KEY_FILE
from chainp2p.node.limits import limits_of
from chainp2p.node.parts import Parts
from chainp2p.peer.address import parse_node
from chainp2p.peer.intake import IN_FLIGHT
from chainp2p.rpc.limits import ADMIN_CONNECTIONS
from chainp2p.settings import Settings

__all__ = ["Checkup", "machine_facts", "raise_descriptors", "stopped_facts"]

#: Seconds between two looks; a wrong clock or a full disk should be in the log before somebody asks.
INTERVAL = 60.0
#: Descriptors apart from connections: databases and their logs, threads, the log, the standard three.
FILES = 64


def _needed(settings: Settings) -> int:
    network, rpc = settings.network, settings.rpc
    needed = network.max_peers + IN_FLIGHT + FILES
    if rpc.listen:
        needed += limits_of(rpc.limits).connections
    if settings.admin.listen:
        needed += ADMIN_CONNECTIONS
    return needed


def _limits() -> tuple[int, int] | None:
    """The soft and the hard limit of descriptors; None where there is no such thing."""
    try:
        import resource
    except ImportError:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft, sys.maxsize if hard == resource.RLIM_INFINITY else hard


def _descriptors(settings: Settings, running: bool) -> Descriptors | None:
    """What this process may open; what a daemon may, which raises its limit as far as it can, if it does not run."""
    limits = _limits()
    if limits is None:
        return None
    used = None
    if running:
        with contextlib.suppress(OSError):
            # not there on every system
            used = sum(1 for _ in Path("/proc/self/fd").iterdir())
    return Descriptors(limit=limits[0] if running else limits[1], used=used, needed=_needed(settings))


def raise_descriptors(settings: Settings) -> None:
    """Let this process open as much as the settings may need, or as much of it as its hard limit allows."""
    limits = _limits()
    if limits is not None and limits[0] < _needed(settings):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        with contextlib.suppress(OSError, ValueError):
            # the check-up tells what the limit is
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], min(limits[1], _needed(settings))), hard))


def machine_facts(folder: Path, settings: Settings, running: bool) -> Facts:
    """Look at disk, descriptors and key files; takes milliseconds of the calling thread.

    :param folder: the data directory.
    :param running: whether this process is the node.
    """
    disk, secrets = None, []
    with contextlib.suppress(OSError):
        # a folder that is gone is found by whoever writes to it
        disk = Disk(folder=str(folder), free=shutil.disk_usage(folder).free)
    files = [folder / KEY_FILE, folder / JWT_FILE]
    if settings.seal.keyfile is not None:
        files.append(settings.seal.keyfile)
    for file in files:
        try:
            secrets.append(SecretFile(path=str(file), mode=stat.S_IMODE(file.stat().st_mode)))
        except OSError:
            continue
    return Facts(disk=disk, descriptors=_descriptors(settings, running), secrets=secrets)


def stopped_facts(folder: Path, settings: Settings | None) -> Facts:
    """Look at the machine and at the network of a data directory whose node does not run.

    :param settings: what it is to be started with; None if nobody said.
    """
    facts = machine_facts(folder, settings or Settings(), False)
    hash, error = None, ""
    if settings is not None:
        try:
            hash = check_chain(settings).genesis_hash
        except SettingsError as wrong:
            error = str(wrong)
    return evolve(facts, genesis=GenesisFacts(settings=hash, stored=_stored_genesis(folder), error=error))


def _stored_genesis(folder: Path) -> bytes | None:
    try:
        with contextlib.closing(
            sqlite3.connect(f"{(folder.absolute() / CHAIN_FILE).as_uri()}?mode=ro", uri=True)
        ) as database:
            row = database.execute("SELECT value FROM meta WHERE key = 'genesis'").fetchone()
    except (sqlite3.Error, ValueError):
        # no database yet, or another chain's
        return None
    return None if row is None else bytes(row[0])


class Checkup:
    """Looks once a minute and logs what is new; :meth:`findings` looks at once and tries the own port too."""

    log = Logger()

    def __init__(self, parts: Parts, reactor: Any, executor: Any, folder: Path | None) -> None:
        self._parts = parts
        self._reactor = reactor
        self._executor = executor
        self._folder = folder
        self._since = reactor.seconds()
        self._call: IDelayedCall | None = None
        self._known: set[str] = set()

    def start(self) -> None:
        """Look from now on."""
        self._call = self._reactor.callLater(INTERVAL, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _look(self) -> None:
        self._call = self._reactor.callLater(INTERVAL, self._look)
        Deferred.fromCoroutine(self._facts()).addCallbacks(
            lambda facts: self._tell(diagnose(facts)),
            lambda failure: self.log.failure("the check-up failed", failure),
        )

    def _tell(self, findings: list[Finding]) -> None:
        grave = {finding.code: finding for finding in findings if finding.severity > Severity.NOTE}
        for code, finding in grave.items():
            if code not in self._known:
                self.log.warn("{code}: {text}; {remedy}", code=code, text=finding.text, remedy=finding.remedy)
        for code in sorted(self._known - grave.keys()):
            self.log.info("{code}: over", code=code)
        self._known = set(grave)

    async def findings(self) -> list[Finding]:
        """Return what is wrong now, the worst first."""
        facts = await self._facts()
        network = facts.network
        if network is not None and network.advertised is not None and not network.callers:
            open_ = await self._answers(*network.advertised)
            facts = evolve(facts, network=evolve(network, port_open=open_))
        return diagnose(facts)

    async def _facts(self) -> Facts:
        settings = self._parts.settings
        facts = Facts()
        if self._folder is not None:
            facts = await self._executor.run(machine_facts, self._folder, settings, True)
        return evolve(facts, network=self._network(), allow_list=self._allow_list())

    def _network(self) -> NetworkFacts:
        parts, network = self._parts, self._parts.network
        return NetworkFacts(
            now=parts.now(),
            public=parts.settings.node.profile == "public",
            genesis=parts.chain.genesis_hash,
            uptime=self._reactor.seconds() - self._since,
            advertised=network.enr.tcp_endpoint,
            callers=network.counters["callers"],
            known=network.known,
            peers=[
                PeerFacts(
                    peer_id=peer.peer_id,
                    ip=peer.remote_address[0],
                    clock_offset=peer.clock_offset,
                    warning=peer.warning,
                )
                for peer in network.peers()
            ],
            ends=network.ends(),
            lists=dict(network.discovery.unreadable),
        )

    def _allow_list(self) -> AllowListFacts | None:
        allow_list, network = self._parts.allow_list, self._parts.settings.network
        if allow_list.path is None:
            return None
        roles = allow_list.roles
        bootstrap = parse_bootstrap(network.bootstrap_nodes, network.enable_discovery)
        static = [parse_node(text) for text in network.static_nodes]
        held = dict.fromkeys(node.peer_id for node in (*bootstrap.nodes, *static))
        return AllowListFacts(
            path=str(allow_list.path),
            count=len(roles),
            lists_us=self._parts.network.own_id in roles,
            held=[peer_id for peer_id in held if peer_id not in roles],
            error=allow_list.error,
        )

    async def _answers(self, host: str, port: int) -> bool:
        """Tell whether a connection to ourselves, the way others come, stands."""
        try:
            protocol = await client_endpoint(self._reactor, host, port).connect(Factory.forProtocol(Protocol))
        except Exception:
            return False
        protocol.transport.loseConnection()
        return True
