"""The two RPC ports of a node: which namespaces each serves, and that an admin port without tokens stays local."""

import platform as machine
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve

from chainp2p.errors import StartupError
from chainp2p.namespaces import Namespace
from chainp2p.node.assembly import ADMIN_NAMESPACES, check_api, check_chain, find_plugin
from chainp2p.node.config import prepared
from chainp2p.node.endpoints import is_loopback
from chainp2p.node.facts import Finding
from chainp2p.node.health import Health
from chainp2p.node.limits import limits_of
from chainp2p.node.metrics import NodeMetrics
from chainp2p.node.parts import Parts
from chainp2p.rpc.limits import ADMIN_CONNECTIONS
from chainp2p.rpc.methods.admin import admin_namespace
from chainp2p.rpc.methods.chain import chain_namespace
from chainp2p.rpc.methods.net import net_namespace
from chainp2p.rpc.methods.rpc import rpc_namespace
from chainp2p.rpc.methods.web3 import web3_namespace
from chainp2p.rpc.server import RpcServer
from chainp2p.rpc.subscriptions.stream import Streams
from chainp2p.rpc.tally import Metric
from chainp2p.settings import Settings

__all__ = ["Servers", "documented_namespaces"]


def _namespaces(
    chain: Any,
    network: Any,
    extra: Sequence[Namespace],
    agent: str,
    data_dir: Path | None,
    streams: Streams,
    parts: Parts | None = None,
    findings: Callable[[], Awaitable[Sequence[Finding]]] | None = None,
    set_log_level: Callable[[str, str], None] | None = None,
) -> list[Namespace]:
    """All namespaces of the admin port but ``rpc``, which describes those beside it."""
    network_id = getattr(chain, "chain_id", None)
    return [
        *extra,
        net_namespace(network_id or 0, lambda: len(network.links()), lambda: bool(network.addresses)),
        web3_namespace(f"{agent}/{machine.system().lower()}/python{machine.python_version()}"),
        chain_namespace(chain, streams, admin=True, gossip=None if parts is None else parts.gossip.figures),
        admin_namespace(
            network,
            chain,
            agent=agent,
            data_dir=data_dir,
            network_id=network_id,
            explain=None if parts is None else parts.sync.explain,
            findings=findings,
            reload=None if parts is None else parts.allow_list.read_again,
            mapping=None if parts is None else lambda: parts.mapping and parts.mapping.state,
            jobs=None if parts is None else parts.jobs,
            why_transaction=None if parts is None else parts.gossip.why_transaction,
            set_log_level=set_log_level,
            events=None if parts is None else parts.events,
        ),
    ]


def documented_namespaces() -> list[Namespace]:
    """The namespaces of a node of the dev network, for the reference; nothing is opened."""
    settings = prepared(Settings())
    chain = check_chain(settings)
    namespaces = _namespaces(chain, None, find_plugin("ledger").namespaces(chain), "chainp2p", None, Streams(chain))
    return sorted([*namespaces, rpc_namespace(namespaces, "")], key=lambda namespace: namespace.name)


class Servers:
    """Starts and stops both ports.

    :param namespaces: the methods that the chain adds.
    :param findings: examines node and machine.
    :param set_log_level: see ``Platform``.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        namespaces: Sequence[Namespace],
        findings: Callable[[], Awaitable[Sequence[Finding]]],
        health: Health,
        reactor: Any,
        agent: str,
        secret: bytes,
        data_dir: Path,
        set_log_level: Callable[[str, str], None] | None,
    ) -> None:
        self._parts = parts
        self._namespaces = namespaces
        self._findings = findings
        self._health = health
        self._reactor = reactor
        self._agent = agent
        self._secret = secret
        self._data_dir = data_dir
        self._set_log_level = set_log_level
        self._started: list[RpcServer] = []
        self._metrics = NodeMetrics(parts, agent, (health.metrics, self._port_metrics))

    def _port_metrics(self) -> Iterator[Metric]:
        for server in self._started:
            yield from server.factory.metrics()

    async def start(self) -> tuple[list[str], list[str]]:
        """Listen; answers the URLs of RPC and of admin. StartupError names what cannot be had."""
        parts, settings = self._parts, self._parts.settings
        if not settings.rpc.listen and not settings.admin.listen:
            return [], []
        streams = Streams(parts.chain, parts.events)
        namespaces = _namespaces(
            parts.chain,
            parts.network,
            self._namespaces,
            self._agent,
            self._data_dir,
            streams,
            parts,
            self._findings,
            self._set_log_level,
        )
        public = self._public([*namespaces, chain_namespace(parts.chain, streams, gossip=parts.gossip.figures)])
        rpc = [
            url
            for text in settings.rpc.listen
            for url in await self._listen("rpc.listen", text, public, admin=False, token=None)
        ]
        everything = [*namespaces, rpc_namespace(namespaces, self._agent)]
        token = self._secret if settings.admin.auth == "jwt" else None
        admin = []
        for text in settings.admin.listen:
            urls = await self._listen("admin.listen", text, everything, admin=True, token=token)
            admin += urls
        return rpc, admin

    def _public(self, namespaces: Sequence[Namespace]) -> list[Namespace]:
        known = {namespace.name: namespace for namespace in namespaces if namespace.name not in ADMIN_NAMESPACES}
        asked = self._parts.settings.rpc.api
        check_api(asked, [*known, "rpc"])
        chosen = [known[name] for name in asked if name in known]
        return [*chosen, rpc_namespace(chosen, self._agent)] if "rpc" in asked else chosen

    async def _listen(
        self, setting: str, endpoint: str, namespaces: Sequence[Namespace], *, admin: bool, token: bytes | None
    ) -> list[str]:
        settings = self._parts.settings
        limits = limits_of(settings.rpc.limits)
        server = RpcServer(
            reactor=self._reactor,
            endpoint=endpoint,
            namespaces=namespaces,
            hosts=settings.rpc.hosts,
            origins=() if admin else settings.rpc.origins,
            token=token,
            livez=self._health.livez,
            readyz=self._health.readyz,
            metrics=self._metrics.render if admin else None,
            version=self._agent,
            admin=admin,
            loopback_exempt=settings.network.loopback_exempt,
            now=self._parts.now,
            limits=evolve(limits, connections=ADMIN_CONNECTIONS) if admin else limits,
        )
        try:
            bound = await server.start()
        except StartupError as error:
            raise StartupError(f"{setting}: {str(error).removeprefix('rpc: ')}") from None
        self._started.append(server)
        if admin and token is None:
            for host, port in bound:
                if port and not is_loopback(host):
                    raise StartupError(f"{setting}: {host}: without tokens (admin.auth none) only loopback is possible")
        return [_url(host, port) for host, port in bound]

    async def stop(self) -> None:
        """Stop both ports."""
        self._metrics.close()
        started, self._started = self._started, []
        ending = [server.stop() for server in started]
        for done in ending:
            await done


def _url(host: str, port: int) -> str:
    """The URL by which this machine reaches what is bound to *host* (all addresses: loopback)."""
    if not port:
        return f"unix:{host}"
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
