"""``doctor``: what is wrong with a node, running or stopped, and what to do about it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from chainp2p.cli.client import NodeClient, RpcFailure, find_node, node_options
from chainp2p.cli.output import json_option, print_json
from chainp2p.cli.paths import PATH
from chainp2p.errors import SettingsError
from chainp2p.node.checkup import stopped_facts
from chainp2p.node.config import Values, build_settings, read_toml
from chainp2p.node.doctor import diagnose
from chainp2p.node.facts import Finding, Severity
from chainp2p.node.home import NODE_FILE, lock_holder
from chainp2p.rpc.methods.doctor import finding_json
from chainp2p.settings import Settings

__all__ = ["doctor"]

#: Findings of this gravity make the exit code 1.
_GRAVE = ("warning", "error")


def _settings(config: Path | None, genesis: Path | None) -> Settings | None:
    """Return the settings that a start would have; None if nothing was said of them."""
    if config is None and genesis is None:
        return None
    layers: list[Values] = [] if config is None else [read_toml(config)]
    if genesis is not None:
        layers.append({("node", "genesis"): genesis.absolute()})
    return build_settings(*layers)


def _silent(folder: Path, process: str, why: str) -> Finding:
    return Finding(
        "not_answering",
        Severity.ERROR,
        f"process {process} holds {folder}, but its admin port does not answer: {why}",
        "look at its log; if it hangs, stop it with SIGTERM and start it again",
    )


def _left(folder: Path) -> Finding:
    return Finding(
        "not_stopped_cleanly",
        Severity.NOTE,
        f"no node runs in {folder}, but the last one did not stop by itself: it was killed, or the machine went down",
        "start it again: what was committed is there; look for the kernel's out-of-memory killer if it happens often",
    )


def _examine_stopped(folder: Path, settings: Settings | None, failure: str) -> list[Finding]:
    found = diagnose(stopped_facts(folder, settings))
    process = lock_holder(folder)
    if process:
        return [_silent(folder, process, failure), *found]
    return [*found, _left(folder)] if (folder / NODE_FILE).exists() else found


def _client(data_dir: Path | None, admin_url: str | None) -> NodeClient | str:
    """Return a client of the node, or why there is none."""
    try:
        return find_node(data_dir, admin_url)
    except RpcFailure as error:
        if data_dir is None or admin_url is not None:
            raise
        return error.format_message()


def _show(findings: Sequence[Mapping[str, Any]], what: str) -> None:
    for finding in findings:
        click.echo(f"{finding['severity']}: {finding['code']}: {finding['text']}")
        click.echo(f"  remedy: {finding['remedy']}")
        if finding["evidence"]:
            click.echo(f"  evidence: {json.dumps(finding['evidence'])[1:-1]}")
    grave = sum(finding["severity"] in _GRAVE for finding in findings)
    click.echo(f"{what}: " + (f"{grave} to look at" if grave else "nothing is wrong"))


@click.command()
@node_options
@click.option("--config", type=PATH, metavar="FILE", help="Of a stopped node: its settings file.")
@click.option("--genesis", type=PATH, metavar="FILE", help="Of a stopped node: the genesis it is to be started with.")
@json_option
def doctor(
    data_dir: Path | None, admin_url: str | None, config: Path | None, genesis: Path | None, as_json: bool
) -> None:
    """Find what is wrong with a node, and say what to do about it.

    A running node examines its clock, address, port and network, the disk, file descriptors and key files. Of a stopped
    one (--data-dir) disk, descriptors, keys and genesis are examined from outside. Exit code 1: something to look at.

    \b
    Examples:
      chainp2p doctor
      chainp2p doctor --data-dir /var/lib/chainp2p --json
      chainp2p doctor --data-dir /var/lib/chainp2p --config node.toml
    """
    settings = _settings(config, genesis)
    if data_dir is None and admin_url is None and settings is not None:
        data_dir = settings.node.data_dir
    client = _client(data_dir, admin_url)
    answer: list[dict[str, Any]] | None = None
    failure = client if isinstance(client, str) else ""
    if isinstance(client, NodeClient):
        try:
            answer = client.call("admin_doctor")
        except RpcFailure as error:
            failure = error.format_message()
            if data_dir is None:
                raise
    what = "the node was examined"
    if answer is None:
        assert data_dir is not None
        if not data_dir.is_dir():
            raise SettingsError(f"{data_dir}: there is no such directory")
        answer = [finding_json(one) for one in _examine_stopped(data_dir, settings, failure)]
        what = f"no node answers; {data_dir} was examined from outside"
    if as_json:
        print_json(answer)
    else:
        _show(answer, what)
    if any(finding["severity"] in _GRAVE for finding in answer):
        raise click.exceptions.Exit(1)
