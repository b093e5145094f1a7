"""``status`` and ``peers``: what the running node does."""

import time
from pathlib import Path
from typing import Any

import click

from chainp2p.cli.client import NodeClient, RpcFailure, find_node, node_options
from chainp2p.cli.discovery import show_table
from chainp2p.cli.output import json_option, print_json, print_pairs, print_table
from chainp2p.cli.progress import bar, failed_line, waiting_line, ways

__all__ = ["peers", "status"]

#: Seconds between two looks of ``status --watch``.
WATCH_INTERVAL = 1.0
#: Things awaited that it shows: more than fit on a screen help nobody.
WAITS_SHOWN = 12


def read_status(client: NodeClient) -> dict[str, Any]:
    """Ask a node what a person wants to know first."""
    info = client.call("admin_nodeInfo")
    head = client.call("chain_head")
    syncing: Any = False
    try:
        syncing = client.call("eth_syncing")
    except RpcFailure:
        # another chain than the ledger has no eth methods
        pass
    sync: Any = None
    try:
        sync = client.call("admin_explainSync")
    except RpcFailure:
        # nothing synchronises there
        pass
    return {
        "name": info.get("name"),
        "peerId": info.get("id"),
        "enr": info.get("enr"),
        "height": head.get("height"),
        "head": head.get("hash"),
        "peers": len(client.call("admin_peers")),
        "syncing": syncing,
        "sync": sync,
    }


def _progress(facts: dict[str, Any]) -> list[tuple[str, object]]:
    """Say how far it is, with bars: by what sync says of itself, or else by ``eth_syncing``'s answer."""
    syncing, sync = facts["syncing"], facts.get("sync")
    lines = [] if sync is None else ways(sync)
    if lines:
        return lines
    if not isinstance(syncing, dict):
        idle = sync is not None and sync["phase"] == "idle"
        return [("syncing", "no, there is nobody to follow" if idle else "no, following the head")]
    current, highest = (int(syncing[name], 16) for name in ("currentBlock", "highestBlock"))
    return [("blocks", bar(current, highest, f"{current} of {highest}"))]


def _pairs(facts: dict[str, Any]) -> list[tuple[str, object]]:
    sync = facts.get("sync")
    pairs = [(name, value) for name, value in facts.items() if name not in ("syncing", "sync")]
    pairs += _progress(facts)
    if sync is not None:
        pairs += [("phase", sync["phase"]), ("sync", sync["text"])]
        pairs += [("failed", failed_line(failed)) for failed in sync.get("failed", ())]
    return pairs


def _watch(client: NodeClient) -> None:
    last: tuple[float, int] | None = None
    while True:
        facts = read_status(client)
        now = time.monotonic()
        pairs = _pairs(facts)
        height = int(facts["height"])
        sync = facts["sync"]
        pairs += [("awaited", waiting_line(wait)) for wait in sync["waits"][:WAITS_SHOWN]] if sync is not None else []
        if sync is None and last is not None and isinstance(facts["syncing"], dict) and height > last[1]:
            rate = (height - last[1]) / (now - last[0])
            left = int(facts["syncing"]["highestBlock"], 16) - height
            pairs.append(("eta", f"{left / rate:.0f} s at {rate:.1f} blocks/s"))
        last = now, height
        click.clear()
        print_pairs(pairs)
        time.sleep(WATCH_INTERVAL)


@click.command()
@node_options
@click.option("--watch", is_flag=True, help="Repeat every second until Ctrl-C.")
@json_option
def status(data_dir: Path | None, admin_url: str | None, watch: bool, as_json: bool) -> None:
    """Show head, peers and progress of the running node.

    \b
    Examples:
      chainp2p status
      chainp2p status --data-dir /var/lib/chainp2p --watch
      chainp2p status --admin-url http://127.0.0.1:8580 --json
    """
    client = find_node(data_dir, admin_url)
    if watch:
        _watch(client)
    elif as_json:
        print_json(read_status(client))
    else:
        print_pairs(_pairs(read_status(client)))


@click.command()
@node_options
@click.option("--table", is_flag=True, help="Show whom discovery knows by UDP instead: buckets and live nodes.")
@json_option
def peers(data_dir: Path | None, admin_url: str | None, table: bool, as_json: bool) -> None:
    """List the peers of the running node.

    \b
    Examples:
      chainp2p peers
      chainp2p peers --data-dir /var/lib/chainp2p --json
      chainp2p peers --table
    """
    client = find_node(data_dir, admin_url)
    if table:
        show_table(client.call("admin_nodeInfo")["discovery"], as_json)
        return
    found = client.call("admin_peers")
    if as_json:
        print_json(found)
        return
    rows = []
    for peer in found:
        network = peer.get("network", {})
        direction = "in" if network.get("inbound") else "out"
        address, agent = network.get("remoteAddress", ""), peer.get("name", "")
        rows.append([peer["id"][:8], direction, address, peer.get("role", ""), agent])
    print_table(["peer", "way", "address", "role", "agent"], rows)
