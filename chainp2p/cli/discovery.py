"""``peers --table``: whom discovery knows."""

from typing import Any

import click

from chainp2p.cli.output import print_json, print_pairs, print_table

__all__ = ["show_table"]


def show_table(found: dict[str, Any], as_json: bool) -> None:
    """Print buckets, live nodes and votes of ``admin_nodeInfo.discovery``."""
    if as_json:
        print_json(found)
        return
    if not found["enabled"]:
        click.echo("discovery is switched off (network.enable_discovery)")
        return
    click.echo("buckets by logarithmic distance, the nearest first:")
    columns = ["distance", "live", "entries", "replacements"]
    print_table(columns, [[bucket[name] for name in columns] for bucket in found["buckets"]])
    click.echo("\nlive nodes:")
    rows = [
        [one["id"], one["distance"], one["address"], f"{one['ago']:.0f} s", "yes" if one["ourNetwork"] else "not said"]
        for one in found["live"]
    ]
    print_table(["node", "distance", "address", "answered before", "of our network"], rows)
    click.echo("\nour address, as others see it:")
    votes = [[one["address"], one["voices"]] for tally in found["votes"].values() for one in tally]
    print_table(["address", "voices"], votes)
    click.echo("")
    dropped = ", ".join(f"{cause}: {count}" for cause, count in found["dropped"].items() if count) or "nothing"
    print_pairs([("live", found["nodes"]), ("sessions", found["sessions"]), ("dropped", dropped)])
