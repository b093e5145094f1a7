"""``init``, ``key`` and ``enr``: who a node is."""

import os
from pathlib import Path

import click

from chainp2p.cli.output import json_option, print_json, print_pairs
from chainp2p.cli.paths import PATH
from chainp2p.errors import SettingsError
from chainp2p.ledger.formats.addresses import address_of
from chainp2p.node.home import KEY_FILE, DirectoryHome
from chainp2p.peer.enr import Enr, EnrError
from chainp2p.peer.key import NodeKey, read_key, write_private

__all__ = ["account_address", "enr", "init", "key"]


def account_address(key: NodeKey) -> str:
    """The account of a key, ``0x`` and 40 hex digits: what a genesis file lists as signer."""
    return "0x" + address_of(key.public).hex()


def _facts(key: NodeKey) -> dict[str, str]:
    return {"peerId": key.peer_id.hex(), "libp2pId": key.libp2p_id, "address": account_address(key)}


def _show(facts: dict[str, str], as_json: bool) -> None:
    if as_json:
        print_json(facts)
    else:
        print_pairs(list(facts.items()))


@click.command()
@click.option("--data-dir", type=PATH, default="~/.chainp2p/dev", metavar="DIR", help="Where (~/.chainp2p/dev).")
@json_option
def init(data_dir: Path, as_json: bool) -> None:
    """Make a data directory with a node key and a token secret.

    A node makes them by itself at its first start; this tells its peer id before.

    \b
    Example:
      chainp2p init --data-dir /var/lib/chainp2p
    """
    home = DirectoryHome(data_dir)
    try:
        home.token_secret(os.urandom)  # noqa: TID251
        made = home.node_key(os.urandom)  # noqa: TID251
    finally:
        home.close()
    _show({**_facts(made), "dataDir": str(home.path)}, as_json)


@click.group()
def key() -> None:
    """Make and show keys: of a node, or of a signer.

    \b
    Examples:
      chainp2p key new signer.key
      chainp2p key show signer.key
      chainp2p key show --data-dir ~/.chainp2p/dev
    """


@key.command("new")
@click.argument("file", type=PATH)
@json_option
def key_new(file: Path, as_json: bool) -> None:
    """Write a new secp256k1 key to FILE (mode 0600), which must not exist.

    \b
    Example:
      chainp2p key new signer.key
    """
    if file.exists():
        raise SettingsError(f"{file}: exists already; a key is never overwritten")
    made = NodeKey.generate(os.urandom)  # noqa: TID251
    try:
        write_private(file, made.private.hex().encode() + b"\n")
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None
    _show(_facts(made), as_json)


@key.command("show")
@click.argument("file", type=PATH, required=False)
@click.option("--data-dir", type=PATH, metavar="DIR", help="Show the node key of this data directory.")
@json_option
def key_show(file: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Show the peer id and the account address of a key; the key itself stays in its file.

    \b
    Examples:
      chainp2p key show signer.key
      chainp2p key show --data-dir ~/.chainp2p/dev --json
    """
    if (file is None) == (data_dir is None):
        raise click.UsageError("give either FILE or --data-dir")
    path = data_dir / KEY_FILE if data_dir is not None else file
    assert path is not None
    _show(_facts(NodeKey(read_key(path))), as_json)


@click.command()
@click.argument("text")
@json_option
def enr(text: str, as_json: bool) -> None:
    """Check a node record and show what it says.

    \b
    Example:
      chainp2p enr enr:-IS4QH...
    """
    try:
        record = Enr.from_text(text)
    except EnrError as error:
        raise SettingsError(str(error)) from None
    tcp, udp = record.tcp_endpoint, record.udp_endpoint
    facts = {
        "peerId": record.peer_id.hex(),
        "seq": record.seq,
        "ip": record.ip or record.ip6,
        "tcp": tcp[1] if tcp else record.tcp,
        "udp": udp[1] if udp else record.udp,
        "genesis": record.genesis_prefix.hex() if record.genesis_prefix is not None else None,
        "version": record.version,
    }
    if record.ip and record.ip6:
        tcp, udp = record.tcp_in((6,)), record.udp_in((6,))
        facts |= {"ip6": record.ip6, "tcp6": tcp[1] if tcp else None, "udp6": udp[1] if udp else None}
    if as_json:
        print_json(facts)
    else:
        print_pairs([(name, "-" if value is None else value) for name, value in facts.items()])
