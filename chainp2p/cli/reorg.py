"""``reorg``: which branches were taken or refused, and an operator's decision about one."""

from pathlib import Path
from typing import Any

import click

from chainp2p.cli.client import find_node, node_options
from chainp2p.cli.output import json_option, print_json, print_table

__all__ = ["reorg"]

_METHODS = {
    "accept": "admin_acceptReorg",
    "finalize": "admin_setFinalized",
    "invalidate": "admin_invalidateBlock",
    "reconsider": "admin_reconsiderBlock",
}


def _where(point: dict[str, Any] | None) -> str:
    return "unknown" if point is None else f"{point['height']} {point['hash']}"


def _print(reorgs: list[dict[str, Any]]) -> None:
    if not reorgs:
        click.echo("no reorganisation since the start, and none is refused")
        return
    rows = []
    for one in reorgs:
        if one["refused"]:
            depth = "?" if one["depth"] is None else one["depth"]
            rows.append(["refused", depth, _where(one["ancestor"]), _where(one["head"]), _where(one["tip"])])
        else:
            ancestor = f"{one['left'][-1]['height'] - 1}"
            rows.append(["done", one["depth"], ancestor, _where(one["left"][0]), _where(one["head"])])
    print_table(["what", "blocks undone", "common ancestor", "our tip", "the other tip"], rows)


@click.command()
@click.argument("action", required=False, type=click.Choice(list(_METHODS)))
@click.argument("hash", required=False)
@node_options
@json_option
def reorg(action: str | None, hash: str | None, data_dir: Path | None, admin_url: str | None, as_json: bool) -> None:
    """List reorganisations, or decide about the branch of block HASH.

    Without arguments: branches that win but are refused, since more blocks than chain.max_reorg_depth would be undone
    for them, then the reorganisations since the start.

    \b
    accept      follow a refused branch, once
    finalize    put finality at the block
    invalidate  treat the block as if it had failed
    reconsider  give a block that failed another try

    \b
    Examples:
      chainp2p reorg
      chainp2p reorg accept 0x5f0c...
    """
    if (action is None) != (hash is None):
        raise click.UsageError("an action and the hash of a block belong together")
    client = find_node(data_dir, admin_url)
    if action is None:
        reorgs = client.call("admin_reorgs")
        if as_json:
            print_json(reorgs)
        else:
            _print(reorgs)
        return
    client.call(_METHODS[action], hash)
    if as_json:
        print_json(True)
    else:
        click.echo("done")
