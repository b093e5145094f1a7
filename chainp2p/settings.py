"""All settings of a node as frozen values; reading them from TOML and options is done in ``node/``.

One class per TOML table, one attribute per key: ``settings.network.max_peers`` is ``[network] max_peers``.
"""

from pathlib import Path

from attrs import Factory, field, frozen, validators

from chainp2p.errors import SettingsError

__all__ = [
    "AdminSettings",
    "ChainSettings",
    "NetworkSettings",
    "NodeSettings",
    "Profile",
    "PROFILES",
    "RpcSettings",
    "SealSettings",
    "Settings",
    "SyncSettings",
]


@frozen
class Profile:
    """What differs between a public network and a small one (design: "Peer exchange and small networks").

    Times in seconds.
    """

    name: str
    pex_interval: float
    feeler_interval: float
    redial_min: float
    redial_max: float
    endpoint_votes: int
    gossip_interval: float
    private_addresses: bool
    relay_inbound: bool
    port_mapping: bool = False


PUBLIC = Profile(
    "public", 60.0, 120.0, 30.0, 3600.0, 10, 1.0, private_addresses=False, relay_inbound=False, port_mapping=True
)
PRIVATE = Profile("private", 5.0, 10.0, 1.0, 30.0, 3, 0.1, private_addresses=True, relay_inbound=True)
CONSORTIUM = Profile("consortium", 5.0, 10.0, 1.0, 30.0, 3, 0.1, private_addresses=True, relay_inbound=True)
PROFILES = {profile.name: profile for profile in (PUBLIC, PRIVATE, CONSORTIUM)}


def _known_profile(_: object, __: object, value: str) -> None:
    if value not in PROFILES:
        raise SettingsError(f"node.profile: {value!r} is none of {', '.join(PROFILES)}")


@frozen(kw_only=True)
class NodeSettings:
    """``[node]``."""

    data_dir: Path | None = None  #: None: ``~/.chainp2p/<network>``
    genesis: Path | None = None  #: None: the built-in dev network
    chain: str = "ledger"
    schedule: Path | None = None
    profile: str = field(default="public", validator=_known_profile)
    external: str | None = None


@frozen(kw_only=True)
class NetworkSettings:
    """``[network]``."""

    listen_addr: tuple[str, ...] = ("tcp:30303",)
    discovery_addr: tuple[str, ...] = ()
    enable_discovery: bool = True
    enable_pex: bool = True
    bootstrap_nodes: tuple[str, ...] = ()
    static_nodes: tuple[str, ...] = ()
    allow_list: Path | None = None
    max_peers: int = field(default=80, validator=validators.ge(1))
    gossip_interval: float | None = None  #: seconds; None: the profile's
    loopback_exempt: bool = True  #: callers of this machine are not rationed
    port_mapping: bool | None = None  #: None: the profile's


@frozen(kw_only=True)
class SealSettings:
    """``[seal]``."""

    keyfile: Path | None = None
    mine: str | None = None


@frozen(kw_only=True)
class RpcSettings:
    """``[rpc]``; an empty ``listen`` means no RPC."""

    listen: tuple[str, ...] = ("tcp:8545:interface=127.0.0.1",)
    api: tuple[str, ...] = ("eth", "net", "web3", "txpool", "chain", "rpc")
    hosts: tuple[str, ...] = ("localhost",)
    origins: tuple[str, ...] = ()
    min_peers: int | None = None  #: None: 1, on the dev network 0
    limits: tuple[tuple[str, float], ...] = ()  #: name and value of those that differ from ``rpc/limits.py``


@frozen(kw_only=True)
class AdminSettings:
    """``[admin]``; an empty ``listen`` means no admin port. ``auth`` is ``jwt`` or ``none``."""

    listen: tuple[str, ...] = ("tcp:8580:interface=127.0.0.1",)
    auth: str = "jwt"


@frozen(kw_only=True)
class SyncSettings:
    """``[sync]``; ``verify`` is ``batch`` or ``all``; ``minimum_rank`` is in hex, as from ``chain_head``.

    ``mode`` is ``full``, all blocks, or ``state``: a fresh node begins at the state of a final block.
    """

    mode: str = "full"
    backfill: bool = False  #: fetch the blocks below such a state afterwards
    verify: str = "batch"
    assume_valid: str | None = None
    minimum_rank: str | None = None


@frozen(kw_only=True)
class ChainSettings:
    """``[chain]``."""

    max_reorg_depth: int | None = field(default=None, validator=validators.optional(validators.ge(1)))


@frozen(kw_only=True)
class Settings:
    """Everything a node can be told."""

    node: NodeSettings = Factory(NodeSettings)
    network: NetworkSettings = Factory(NetworkSettings)
    seal: SealSettings = Factory(SealSettings)
    rpc: RpcSettings = Factory(RpcSettings)
    admin: AdminSettings = Factory(AdminSettings)
    sync: SyncSettings = Factory(SyncSettings)
    chain: ChainSettings = Factory(ChainSettings)

    @property
    def profile(self) -> Profile:
        """The profile that ``node.profile`` names."""
        return PROFILES[self.node.profile]
