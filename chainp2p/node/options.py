"""The one table of settings: the options of ``twistd chainp2p``, the TOML reader and the reference page read it."""

from enum import Enum

from attrs import frozen

__all__ = ["Kind", "OPTIONS", "Option", "TABLES"]


class Kind(Enum):
    """The type of a setting, by what TOML must hold."""

    TEXT = "a string"
    PATH = "a path (a string)"
    LIST = "a list of strings"  #: the option is repeatable, and replaces the list
    WORDS = "a list of words"  #: the option takes them with commas between
    INTEGER = "an integer"
    SECONDS = "a number of seconds"
    SWITCH = "true or false"  #: on by default; the option turns it off
    CHOICE = "true or false (unset: as the profile has it)"  #: one option turns it on, another off


@frozen
class Option:
    """One setting.

    :param flag: the option without its dashes; empty where only TOML has it.
    :param off: the option that makes a list empty, such as ``no-rpc``, or turns a choice off.
    """

    table: str
    key: str
    kind: Kind
    flag: str
    metavar: str
    text: str
    off: str = ""

    @property
    def name(self) -> str:
        """``table.key``, as errors name it."""
        return f"{self.table}.{self.key}"


OPTIONS = (
    Option("node", "data_dir", Kind.PATH, "data-dir", "DIR", "key and databases (default: ~/.chainp2p/NETWORK)"),
    Option("node", "genesis", Kind.PATH, "genesis", "FILE", "genesis JSON (default: the built-in dev network)"),
    Option("node", "chain", Kind.TEXT, "chain", "NAME", "chain plug-in (default: ledger)"),
    Option("node", "schedule", Kind.PATH, "schedule", "FILE", "scheduled changes of the consensus settings"),
    Option("node", "profile", Kind.TEXT, "profile", "NAME", "public (default), private or consortium"),
    Option(
        "node",
        "external",
        Kind.TEXT,
        "external",
        "ADDR",
        "address to advertise, or one of IPv4 and one of IPv6 with a comma between (default: what peers see)",
    ),
    Option(
        "network",
        "listen_addr",
        Kind.LIST,
        "listen",
        "ENDPOINT",
        "where peers connect, repeatable (default: tcp:30303)",
    ),
    Option("network", "discovery_addr", Kind.LIST, "discovery", "ENDPOINT", "UDP discovery (default: the TCP port)"),
    Option("network", "enable_discovery", Kind.SWITCH, "no-discovery", "", "no UDP discovery"),
    Option("network", "enable_pex", Kind.SWITCH, "no-pex", "", "no peer exchange over TCP"),
    Option(
        "network",
        "bootstrap_nodes",
        Kind.LIST,
        "bootstrap",
        "NODE",
        "enr:..., PEERID@host:port or enrtree://KEY@DOMAIN (DNS) to begin with, repeatable",
    ),
    Option("network", "static_nodes", Kind.LIST, "static", "NODE", "peer that is always held, repeatable"),
    Option("network", "allow_list", Kind.PATH, "allow-list", "FILE", "the only keys that may connect"),
    Option("network", "max_peers", Kind.INTEGER, "max-peers", "N", "most peers at once (default: 80)"),
    Option(
        "network",
        "gossip_interval",
        Kind.SECONDS,
        "gossip-interval",
        "SECONDS",
        "pause between announcements (default: 1.0; 0.1 in private and consortium)",
    ),
    Option(
        "network", "loopback_exempt", Kind.SWITCH, "", "", "callers of this machine are not rationed (default: true)"
    ),
    Option(
        "network",
        "port_mapping",
        Kind.CHOICE,
        "nat",
        "",
        "have the gateway map our ports: PCP, NAT-PMP, UPnP (default: in the public profile)",
        off="no-nat",
    ),
    Option("seal", "keyfile", Kind.PATH, "seal", "KEYFILE", "produce blocks with this signer key"),
    Option("seal", "mine", Kind.TEXT, "mine", "ADDRESS", "produce blocks for this address (proof of work)"),
    Option(
        "rpc",
        "listen",
        Kind.LIST,
        "rpc",
        "ENDPOINT",
        "JSON-RPC over HTTP and WebSocket (default: tcp:8545:interface=127.0.0.1)",
        off="no-rpc",
    ),
    Option("rpc", "api", Kind.WORDS, "rpc-api", "LIST", "namespaces there (default: eth,net,web3,txpool,chain,rpc)"),
    Option("rpc", "hosts", Kind.WORDS, "rpc-hosts", "LIST", "allowed Host names (default: localhost; * allows all)"),
    Option("rpc", "origins", Kind.WORDS, "rpc-origins", "LIST", "allowed Origins of web pages"),
    Option("rpc", "min_peers", Kind.INTEGER, "", "", "peers that /readyz asks for (default: 1; dev network: 0)"),
    Option(
        "admin",
        "listen",
        Kind.LIST,
        "admin",
        "ENDPOINT",
        "all namespaces, health (default: tcp:8580:interface=127.0.0.1)",
        off="no-admin",
    ),
    Option("admin", "auth", Kind.TEXT, "admin-auth", "HOW", "jwt (default), or none (loopback only)"),
    Option("sync", "mode", Kind.TEXT, "", "", "full (default), or state: a fresh node begins at a final block's state"),
    Option("sync", "backfill", Kind.SWITCH, "", "", "fetch the blocks below such a state afterwards (default: false)"),
    Option("sync", "verify", Kind.TEXT, "", "", "batch (default) or all: which state roots are checked in bulk"),
    Option("sync", "assume_valid", Kind.TEXT, "", "", "hash of a block below which roots are taken on trust (pow)"),
    Option("sync", "minimum_rank", Kind.TEXT, "", "", "rank in hex below which no chain of headers is stored"),
    Option("chain", "max_reorg_depth", Kind.INTEGER, "", "", "deepest reorg that is followed (pow: 1000)"),
)

TABLES = tuple(dict.fromkeys(option.table for option in OPTIONS))
