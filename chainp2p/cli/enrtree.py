"""``enrtree``: a signed list of nodes for DNS (EIP-1459)."""

import time
from pathlib import Path

import click

from chainp2p.cli.output import json_option, print_json
from chainp2p.cli.paths import PATH
from chainp2p.discovery.tree import TreeError, TreeUrl, parse_tree_url
from chainp2p.discovery.treemaking import make_tree, zone_lines
from chainp2p.errors import SettingsError
from chainp2p.peer.enr import Enr, EnrError
from chainp2p.peer.key import NodeKey, read_key

__all__ = ["enrtree"]


def _records(file: Path) -> list[Enr]:
    """Read a record from each line; SettingsError names the line that is none."""
    try:
        lines = file.read_text("utf-8").splitlines()
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: {error}") from None
    found = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        try:
            if text:
                found.append(Enr.from_text(text))
        except EnrError as error:
            raise SettingsError(f"{file}: line {number}: {error}") from None
    return found


@click.command()
@click.argument("file", type=PATH)
@click.option("--domain", required=True, help="Where the list will be.")
@click.option("--key", "key_file", type=PATH, required=True, metavar="FILE", help="Key that signs it (key new FILE).")
@click.option(
    "--seq", type=click.IntRange(0, 2**64 - 1), metavar="N", help="Its number (default: the time in seconds)."
)
@click.option("--link", "links", multiple=True, metavar="URL", help="Another list that this one vouches for.")
@json_option
def enrtree(file: Path, domain: str, key_file: Path, seq: int | None, links: tuple[str, ...], as_json: bool) -> None:
    """Sign the node records of FILE, one a line, and print the lines of a zone file.

    Nodes find each other by it with --bootstrap and the enrtree:// text of the first line. Each list needs a larger
    number than the one before.

    \b
    Example:
      chainp2p enrtree nodes.txt --domain nodes.example.org --key list.key
    """
    key = NodeKey(read_key(key_file))
    try:
        url = parse_tree_url(str(TreeUrl(key.compressed, domain)))
        linked = [parse_tree_url(link) for link in links]
    except TreeError as error:
        raise SettingsError(str(error)) from None
    number = int(time.time()) if seq is None else seq  # noqa: TID251
    tree = make_tree(key, url.domain, number, _records(file), linked)
    if as_json:
        print_json({"url": str(url), "seq": number, "records": tree})
        return
    click.echo(f"; {url}")
    for line in zone_lines(tree):
        click.echo(line)
