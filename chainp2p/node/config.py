"""Settings from a TOML file and from options: names and types checked, the command line wins."""

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, evolve

from chainp2p.discovery.bootstrap import parse_bootstrap
from chainp2p.errors import SettingsError
from chainp2p.net.endpoints import parse_external
from chainp2p.node.allowlist import read_allow_list
from chainp2p.node.endpoints import is_loopback_endpoint, on_loopback, peer_endpoint, rpc_endpoint
from chainp2p.node.limits import limits_of, read_limits, render_limits
from chainp2p.node.options import OPTIONS, TABLES, Kind, Option
from chainp2p.peer.address import parse_node
from chainp2p.peer.key import read_key
from chainp2p.settings import (
    AdminSettings,
    ChainSettings,
    NetworkSettings,
    NodeSettings,
    RpcSettings,
    SealSettings,
    Settings,
    SyncSettings,
)
from chainp2p.sync.headers.quests import parse_rank

__all__ = ["Values", "build_settings", "is_dev", "prepared", "read_toml", "render_toml"]

#: (table, key) -> value: what a file or a command line says, before defaults.
Values = dict[tuple[str, str], Any]

_CLASSES: dict[str, Any] = {
    "node": NodeSettings,
    "network": NetworkSettings,
    "seal": SealSettings,
    "rpc": RpcSettings,
    "admin": AdminSettings,
    "sync": SyncSettings,
    "chain": ChainSettings,
}
#: The one table inside a table.
_LIMITS = ("rpc", "limits")
#: Above a minute (seconds) a network's announcements would look like a stall.
_GOSSIP_INTERVAL_MAX = 60
#: Web pages served from this machine may use the node of a network that lives on this machine.
DEV_ORIGINS = ("http://localhost:*", "http://127.0.0.1:*")


def _unknown(what: str, name: str, known: Sequence[str]) -> SettingsError:
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
    return SettingsError(f"{what} {name!r}{hint}")


def _checked(option: Option, value: Any, folder: Path) -> Any:
    """Return the value of a TOML key as the settings classes hold it."""
    good: bool
    match option.kind:
        case Kind.TEXT | Kind.PATH:
            good = isinstance(value, str) and value != ""
        case Kind.LIST | Kind.WORDS:
            value = [value] if isinstance(value, str) else value
            good = isinstance(value, list) and all(isinstance(item, str) and item for item in value)
        case Kind.INTEGER:
            good = isinstance(value, int) and not isinstance(value, bool)
        case Kind.SECONDS:
            good = isinstance(value, int | float) and not isinstance(value, bool)
        case Kind.SWITCH | Kind.CHOICE:
            good = isinstance(value, bool)
    if not good:
        raise SettingsError(f"{option.name}: {option.kind.value} is expected, not {value!r}")
    if option.kind in (Kind.LIST, Kind.WORDS):
        return tuple(value)
    if option.kind is Kind.PATH:
        return folder / Path(value).expanduser()
    return float(value) if option.kind is Kind.SECONDS else value


def read_toml(path: Path) -> Values:
    """Read a settings file; SettingsError names what is unknown or of the wrong type.

    Relative paths in it are relative to its folder.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from None
    values: Values = {}
    for table, content in document.items():
        if table not in TABLES:
            raise _unknown(f"{path}: unknown table", table, TABLES)
        if not isinstance(content, dict):
            raise SettingsError(f"{path}: {table} must be a table, [{table}]")
        options = {option.key: option for option in OPTIONS if option.table == table}
        for key, value in content.items():
            if key not in options and (table, key) != _LIMITS:
                raise _unknown(f"{path}: unknown key in [{table}]:", key, tuple(options))
            try:
                if (table, key) == _LIMITS:
                    values[_LIMITS] = read_limits(value)
                    continue
                values[table, key] = _checked(options[key], value, path.absolute().parent)
            except SettingsError as error:
                raise SettingsError(f"{path}: {error}") from None
    return values


def is_dev(settings: Settings) -> bool:
    """Tell whether these settings mean the built-in dev network."""
    return settings.node.genesis is None and settings.node.chain == "ledger"


def _dev_network(settings: Settings) -> Settings:
    """Keep the dev network, whose keys the whole world knows, on this machine."""
    network, node, rpc = settings.network, settings.node, settings.rpc
    listen = tuple(on_loopback(text) if text in NetworkSettings().listen_addr else text for text in network.listen_addr)
    for name, text in (*(("listen_addr", t) for t in listen), *(("discovery_addr", t) for t in network.discovery_addr)):
        if not is_loopback_endpoint(text):
            raise SettingsError(
                f"network.{name}: {text!r}: the dev network stays on loopback (interface=127.0.0.1); "
                "give --genesis for a network of your own"
            )
    return evolve(
        settings,
        node=evolve(node, profile="private"),
        network=evolve(network, listen_addr=listen),
        rpc=evolve(
            rpc,
            origins=rpc.origins or DEV_ORIGINS,
            min_peers=0 if rpc.min_peers is None else rpc.min_peers,
        ),
    )


def prepared(settings: Settings, own_chain: bool = False) -> Settings:
    """Return *settings* with every text checked and every default filled in; SettingsError names a wrong one.

    :param own_chain: the host hands over a chain of its own, so that an absent genesis does not mean the dev network.
    """
    node, network, seal = settings.node, settings.network, settings.seal
    network = evolve(
        network,
        listen_addr=tuple(peer_endpoint("network.listen_addr", text) for text in network.listen_addr),
        discovery_addr=tuple(_discovery(text) for text in network.discovery_addr),
    )
    if network.gossip_interval is not None and not 0 < network.gossip_interval <= _GOSSIP_INTERVAL_MAX:
        raise SettingsError(
            f"network.gossip_interval: {network.gossip_interval:g} is not within 0 to {_GOSSIP_INTERVAL_MAX} seconds"
        )
    try:
        parse_bootstrap(network.bootstrap_nodes, network.enable_discovery)
    except SettingsError as error:
        raise SettingsError(f"network.bootstrap_nodes: {error}") from None
    for text in network.static_nodes:
        try:
            parse_node(text)
        except SettingsError as error:
            raise SettingsError(f"network.static_nodes: {error}") from None
    if node.profile == "consortium" and network.allow_list is None:
        raise SettingsError("node.profile: consortium needs a list of keys (--allow-list, network.allow_list)")
    if node.external is not None:
        parse_external(node.external)
    if network.allow_list is not None:
        read_allow_list(network.allow_list)
    if settings.admin.auth not in ("jwt", "none"):
        raise SettingsError(f"admin.auth: {settings.admin.auth!r} is neither jwt nor none")
    if settings.sync.mode not in ("full", "state"):
        raise SettingsError(f"sync.mode: {settings.sync.mode!r} is neither full nor state")
    if settings.sync.verify not in ("batch", "all"):
        raise SettingsError(f"sync.verify: {settings.sync.verify!r} is neither batch nor all")
    try:
        parse_rank(settings.sync.minimum_rank or "0")
    except (ValueError, OverflowError):
        rank = settings.sync.minimum_rank
        raise SettingsError(f"sync.minimum_rank: {rank!r} is not a number of 32 bytes in hex") from None
    limits_of(read_limits(dict(settings.rpc.limits)))
    if seal.keyfile is not None:
        read_key(seal.keyfile)
    settings = evolve(
        settings,
        network=network,
        rpc=evolve(settings.rpc, listen=tuple(rpc_endpoint("rpc.listen", text) for text in settings.rpc.listen)),
        admin=evolve(
            settings.admin, listen=tuple(rpc_endpoint("admin.listen", text) for text in settings.admin.listen)
        ),
    )
    if is_dev(settings) and not own_chain:
        settings = _dev_network(settings)
    profile, network = settings.profile, settings.network
    if network.gossip_interval is None:
        network = evolve(network, gossip_interval=profile.gossip_interval)
    if network.port_mapping is None:
        network = evolve(network, port_mapping=profile.port_mapping)
    return evolve(settings, network=network)


def _discovery(text: str) -> str:
    kind, _, rest = text.partition(":")
    port = rest.partition(":")[0]
    if kind != "udp" or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise SettingsError(f"network.discovery_addr: {text!r}: udp:PORT[:interface=ADDR] is expected")
    return text


def build_settings(*layers: Mapping[tuple[str, str], Any]) -> Settings:
    """Merge *layers*, the later ones winning, and check the outcome."""
    values: Values = {}
    for layer in layers:
        values.update(layer)
    dev = values.get(("node", "genesis")) is None and values.get(("node", "chain"), "ledger") == "ledger"
    if dev:
        for text in values.get(("network", "listen_addr"), ()):
            # said by the user, not a default: no loopback address is put in for them
            if not is_loopback_endpoint(peer_endpoint("network.listen_addr", text)):
                raise SettingsError(
                    f"network.listen_addr: {text!r}: the dev network stays on loopback (interface=127.0.0.1); "
                    "give --genesis for a network of your own"
                )
    tables: dict[str, dict[str, Any]] = {table: {} for table in TABLES}
    for (table, key), value in values.items():
        tables[table][key] = value
    try:
        return prepared(Settings(**{table: _CLASSES[table](**content) for table, content in tables.items()}))
    except ValueError as error:
        # attrs' validators name the attribute in their first argument
        raise SettingsError(str(error.args[0] if error.args else error)) from None


def render_toml(settings: Settings) -> str:
    """Write *settings* as a file that reads back as the same; what is unset stands as a comment."""
    values = asdict(settings)
    lines: list[str] = []
    for table in TABLES:
        lines += ["", f"[{table}]"] if lines else [f"[{table}]"]
        for option in OPTIONS:
            if option.table == table:
                value = values[table][option.key]
                lines.append(f"# {option.key}: {option.text}" if value is None else f"{option.key} = {_toml(value)}")
        if table == "rpc":
            lines += ["", *render_limits(settings.rpc.limits)]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """The TOML of one value; JSON's strings, numbers and booleans are TOML's."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
