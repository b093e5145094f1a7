"""``admin``: what an operator asks and changes. Shapes are go-ethereum's where it has them."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from attrs import asdict, has

from chainp2p.errors import SettingsError
from chainp2p.events import EventBus
from chainp2p.namespaces import METHOD_NOT_FOUND, Method, Namespace, Param, RpcError
from chainp2p.peer.address import NodeAddress, parse_node
from chainp2p.peer.enr import Enr
from chainp2p.peer.libp2p import libp2p_id
from chainp2p.primitives.secp256k1 import PublicKey
from chainp2p.rpc.methods.bans import BansView, ban_methods
from chainp2p.rpc.methods.chain import point
from chainp2p.rpc.methods.discovery import DiscoverySource, discovery_info
from chainp2p.rpc.methods.doctor import doctor_methods
from chainp2p.rpc.methods.jobs import JobsView, job_methods
from chainp2p.rpc.methods.loglevel import log_level_method
from chainp2p.rpc.methods.peerevents import peer_events
from chainp2p.rpc.methods.reorgs import reorg_methods
from chainp2p.rpc.methods.why import WhyView, why_method
from chainp2p.rpc.values import BOOLEAN, STRING, hex_bytes, members, text

__all__ = ["NetworkView", "admin_namespace"]

#: Newest pairs of seals by which signers contradict themselves that are shown.
EVIDENCE = 16

#: Ends of links in one answer; the ledger of ends itself is longer.
ENDS = 256


_NODE_INFO = members(
    *("id", "libp2pId", "name", "enode", "enr", "ip", "ports", "listenAddr", "listenAddrs", "discovery", "portMapping"),
    *("protocols", "counters", "metrics", "ends"),
)
_PEER = members(
    *("id", "libp2pId", "name", "enr", "enode", "caps", "network", "protocols", "status", "connectedAt", "useless"),
    *("role", "purpose", "dialled", "blockOnly", "settingsWarning", "clockOffset"),
)
_SYNC = members(
    "phase", "starting", "current", "highest", "headers", "text", "target", "rate", "eta", "waits", "failed"
)


class NetworkView(BansView, WhyView, Protocol):
    """What is asked of the network."""

    addresses: tuple[tuple[str, int], ...]
    counters: Mapping[str, int]

    @property
    def enr(self) -> Enr: ...

    discovery: DiscoverySource

    def peers(self) -> Iterable[Any]:
        """Ready peers."""
        ...

    def ends(self) -> Iterable[Any]:
        """How links ended, newest first."""
        ...

    def metrics(self) -> Iterable[tuple[str, Mapping[str, str], float]]:
        """Name, labels and value of what is counted and measured."""
        ...

    def add_peer(self, address: NodeAddress, trusted: bool = False) -> bool: ...

    def remove_peer(self, peer_id: bytes) -> bool: ...

    def distrust_peer(self, peer_id: bytes) -> bool: ...


def _node(value: Any) -> NodeAddress:
    try:
        return parse_node(text(value))
    except SettingsError as error:
        raise ValueError(str(error)) from None


def _address(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _enode(enr: Enr, address: tuple[str, int]) -> str:
    return f"enode://{enr.public.hex()}@{_address(address)}"


def _libp2p(enr: Enr) -> str:
    return libp2p_id(PublicKey(b"\x04" + enr.public).format(compressed=True))


def _plain(value: Any) -> Any:
    """Write any value of ours as JSON: attrs classes as objects, bytes as hex."""
    if has(type(value)):
        value = asdict(value, recurse=False)
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, bytes):
        return hex_bytes(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)


class _AdminMethods:
    """The handlers."""

    def __init__(
        self,
        network: NetworkView,
        chain: Any,
        agent: str,
        data_dir: Path | None,
        network_id: int | None,
        explain: Callable[[], Any] | None,
        mapping: Callable[[], Any] | None,
    ) -> None:
        self._network = network
        self._chain = chain
        self._agent = agent
        self._data_dir = data_dir
        self._network_id = network_id
        self._explain = explain
        self._mapping = mapping

    def node_info(self) -> dict[str, Any]:
        network, chain, enr = self._network, self._chain, self._network.enr
        host, port = network.addresses[0] if network.addresses else ("", 0)
        safe = getattr(chain, "safe", None)
        conflict = getattr(chain, "conflict", None)
        ends, metrics = list(network.ends())[:ENDS], network.metrics()
        protocol: dict[str, Any] = {
            "genesis": hex_bytes(chain.genesis_hash),
            "head": point(chain.head),
            "bestHeader": point(chain.best_header),
            "finalized": point(chain.finalized),
            "safe": None if safe is None else point(safe),
            "finalityConflict": None if conflict is None else _conflict(conflict),
            "contradictions": [_contradiction(one) for one in list(getattr(chain, "evidence", ()))[-EVIDENCE:]],
        }
        if self._network_id is not None:
            protocol["network"] = self._network_id
        ip, udp = enr.ip or enr.ip6 or host, enr.udp_endpoint
        return {
            "id": enr.peer_id.hex(),
            "libp2pId": _libp2p(enr),
            "name": self._agent,
            "enode": _enode(enr, (ip or "127.0.0.1", port)),
            "enr": enr.text,
            "ip": ip,
            "ports": {"discovery": udp[1] if udp is not None else enr.udp or 0, "listener": port},
            "listenAddr": _address((host, port)),
            "listenAddrs": [_address(one) for one in network.addresses],
            "discovery": discovery_info(network.discovery.view()),
            "portMapping": None if self._mapping is None else _plain(self._mapping()),
            "protocols": {"chainp2p": protocol},
            "counters": {**network.counters, "ends": dict(Counter(end.reason.code for end in network.ends()))},
            "metrics": [{"name": name, "labels": dict(labels), "value": value} for name, labels, value in metrics],
            "ends": [_end(end) for end in ends],
        }

    def peers(self) -> list[dict[str, Any]]:
        return [_peer(peer) for peer in self._network.peers()]

    def add_peer(self, address: NodeAddress) -> bool:
        return self._network.add_peer(address)

    def add_trusted_peer(self, address: NodeAddress) -> bool:
        return self._network.add_peer(address, trusted=True)

    def remove_peer(self, address: NodeAddress) -> bool:
        self._network.remove_peer(address.peer_id)
        return True

    def remove_trusted_peer(self, address: NodeAddress) -> bool:
        return self._network.distrust_peer(address.peer_id)

    def datadir(self) -> str | None:
        return None if self._data_dir is None else str(self._data_dir)

    def explain_sync(self) -> Any:
        if self._explain is None:
            raise RpcError(METHOD_NOT_FOUND, "nothing synchronises here")
        return _plain(self._explain())


def _conflict(conflict: Any) -> dict[str, Any]:
    return {
        "ours": point(conflict.ours),
        "theirs": point(conflict.theirs),
        "signers": [hex_bytes(signer) for signer in conflict.signers],
    }


def _contradiction(evidence: Any) -> dict[str, Any]:
    return {
        "signer": hex_bytes(evidence.signer),
        "seals": [
            {"slot": evidence.first_slot, "hash": hex_bytes(evidence.first)},
            {"slot": evidence.second_slot, "hash": hex_bytes(evidence.second)},
        ],
    }


def _end(end: Any) -> dict[str, Any]:
    return {
        "when": end.when,
        "id": None if end.peer_id is None else end.peer_id.hex(),
        "address": _address(end.address),
        "reason": end.reason.code,
        "rule": end.rule,
        "detail": end.detail,
        "byUs": end.by_us,
        "inbound": not end.outbound,
        "ready": end.ready,
        "penalty": end.penalty.value,
    }


def _peer(peer: Any) -> dict[str, Any]:
    return {
        "id": peer.peer_id.hex(),
        "libp2pId": peer.libp2p_id,
        "name": peer.agent,
        "enr": peer.enr,
        "enode": _enode(Enr.from_text(peer.enr), peer.remote_address) if peer.enr else "",
        "caps": [f"chainp2p/{peer.version}"],
        "network": {
            "localAddress": _address(peer.local_address),
            "remoteAddress": _address(peer.remote_address),
            "inbound": not peer.outbound,
            "trusted": peer.trusted,
            "static": peer.static,
        },
        "protocols": {"chainp2p": {"version": peer.version}},
        "status": {"height": peer.height, "head": hex_bytes(peer.head), "rank": hex_bytes(peer.rank)},
        "connectedAt": peer.connected_at,
        "useless": round(peer.useless, 2),
        "role": peer.role,
        "purpose": peer.purpose,
        "dialled": None if peer.dialled is None else _address(peer.dialled),
        "blockOnly": peer.block_only,
        "settingsWarning": peer.warning,
        "clockOffset": None if peer.clock_offset is None else round(peer.clock_offset, 3),
    }


def admin_namespace(
    network: NetworkView,
    chain: Any,
    *,
    agent: str,
    data_dir: Path | None = None,
    network_id: int | None = None,
    explain: Callable[[], Any] | None = None,
    findings: Callable[[], Awaitable[Iterable[Any]]] | None = None,
    reload: Callable[[], Awaitable[int | None]] | None = None,
    mapping: Callable[[], Any] | None = None,
    jobs: JobsView | None = None,
    why_transaction: Callable[[bytes], Awaitable[Any]] | None = None,
    set_log_level: Callable[[str, str], None] | None = None,
    events: EventBus | None = None,
) -> Namespace:
    """:param chain: an ``IChain``. *agent*: name and version of this node. *explain*: what sync is doing.
    *findings* and *reload*: see :func:`doctor_methods`. *mapping*: how it stands with ports at the gateway.
    *jobs*: exports and imports. *why_transaction*: see :func:`why_method`. *set_log_level*: see
    :func:`log_level_method`. *events*: the bus on which peers come and go."""
    methods = _AdminMethods(network, chain, agent, data_dir, network_id, explain, mapping)
    peer = Param("peer", _node, schema={"type": "string", "description": "enr:... or PEERID@host:port"})
    return Namespace(
        "admin",
        (
            Method("nodeInfo", methods.node_info, (), _NODE_INFO, "Identity, addresses, chain and link ends."),
            Method("peers", methods.peers, (), {"type": "array", "items": _PEER}, "The connected peers."),
            Method("addPeer", methods.add_peer, (peer,), BOOLEAN, "Hold this peer; lifts a removal."),
            Method("removePeer", methods.remove_peer, (peer,), BOOLEAN, "End the link and keep this peer away."),
            Method("addTrustedPeer", methods.add_trusted_peer, (peer,), BOOLEAN, "Hold this peer, beyond the limit."),
            Method("removeTrustedPeer", methods.remove_trusted_peer, (peer,), BOOLEAN, "Take that trust back."),
            Method("datadir", methods.datadir, (), STRING, "The data directory."),
            Method("explainSync", methods.explain_sync, (), _SYNC, "What sync does and waits for."),
            *reorg_methods(chain),
            *ban_methods(network),
            why_method(network, why_transaction),
            *doctor_methods(findings, reload),
            *job_methods(jobs),
            log_level_method(set_log_level),
        ),
        (peer_events(events or EventBus()),),
    )
