"""``why``: why a peer is here or not, by which rule it is kept away, what sync waits for, where a transaction is."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from chainp2p.cli.client import find_node, node_options
from chainp2p.cli.output import json_option, print_json, print_pairs, print_table
from chainp2p.cli.progress import failed_line, object_of, ways

__all__ = ["why"]

#: Evidence that is a Unix time, or a span of seconds.
_TIMES = {"when", "first", "since", "until", "reached", "next_dial", "here_since"}
_SPANS = {"open_seconds", "silent_seconds"}
#: Causes that are shown to people, the newest; ``--json`` has more.
_SHOWN = 20


def _time(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _shown(name: str, value: Any) -> object:
    if name in _TIMES and isinstance(value, int | float):
        return _time(value)
    return f"{value:.1f} s" if name in _SPANS else value


def _print(answer: dict[str, Any]) -> None:
    click.echo(answer["line"])
    evidence = [(name, _shown(name, value)) for name, value in answer["evidence"].items() if value not in ("", None)]
    if evidence:
        click.echo("\nEvidence")
        print_pairs([(f"  {name}", value) for name, value in evidence])
    history = answer["history"]
    if history:
        click.echo("\nHistory, newest first")
        rows = [
            [_time(one["when"]), f"{one['count']}x", one["kind"], one["code"], one["address"] or "", one["text"]]
            for one in history[:_SHOWN]
        ]
        print_table(["last", "times", "what", "code", "address", "detail"], rows)
        if len(history) > _SHOWN:
            click.echo(f"and {len(history) - _SHOWN} older ones (--json shows them)")


def _print_sync(sync: dict[str, Any]) -> None:
    click.echo(f"{sync['phase']}: {sync['text']}")
    heights = [("  height", sync["current"]), ("  highest known or claimed", sync["highest"])]
    click.echo("\nProgress")
    print_pairs(heights + [(f"  {name}", line) for name, line in ways(sync)])
    if sync["waits"]:
        click.echo("\nAwaited, what everything else waits for first")
        rows = [
            [
                object_of(one),
                "nobody" if one["peer"] is None else str(one["peer"]).removeprefix("0x")[:8],
                f"{one['age']:.1f} s",
                "" if one["left"] is None else f"{one['left']:.1f} s",
                one["otherwise"],
            ]
            for one in sync["waits"][:_SHOWN]
        ]
        print_table(["what", "of", "for", "left", "then"], rows)
        if len(sync["waits"]) > _SHOWN:
            click.echo(f"and {len(sync['waits']) - _SHOWN} more (--json shows them)")
    for failed in sync.get("failed", ()):
        click.echo(f"\nFailed: {failed_line(failed)}")


@click.command()
@click.argument("kind", type=click.Choice(["peer", "ban", "sync", "tx"]))
@click.argument("id", required=False)
@node_options
@json_option
def why(kind: str, id: str | None, data_dir: Path | None, admin_url: str | None, as_json: bool) -> None:
    """Say why a peer is here or not, by which rule it is, or was, banned, what sync does and waits for, or where a
    transaction came from, who has it, and why it was not admitted or is in no block.

    ID is a peer id or its first digits, enr:... or PEERID@host:port; for "peer" also an IP address, with or without
    port. The first line names the cause by its code; below it stand the evidence, and what happened before.
    For "tx" it is the hash of a transaction, all 64 digits.
    For "sync" there is no ID: the first line says what everything waits for, since when, and what happens otherwise.

    \b
    Examples:
      chainp2p why sync
      chainp2p why peer 1a2b3c4d
      chainp2p why peer 192.0.2.7
      chainp2p why ban 1a2b3c4d --json
      chainp2p why tx 0x5c504ed432cb51138bcf09aa5e8a410dd4a1e204ef84bfed1be16dfba1b22060
    """
    if (kind == "sync") is not (id is None):
        raise click.UsageError(f"{kind}: {'an ID is expected' if id is None else 'no ID is expected'}")
    if kind == "sync":
        sync = find_node(data_dir, admin_url).call("admin_explainSync")
        print_json(sync) if as_json else _print_sync(sync)
        return
    answer = find_node(data_dir, admin_url).call("admin_why", kind, id)
    if as_json:
        print_json(answer)
    else:
        _print(answer)
