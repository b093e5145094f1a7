"""``chain export`` and ``chain import``: through the running node, else on its data directory."""

import os
import shutil
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
from attrs import frozen

from chainp2p.cli.client import NodeClient, RpcFailure, find_node, node_options
from chainp2p.cli.output import Bar, json_option, print_json
from chainp2p.cli.paths import PATH
from chainp2p.node.assembly import check_chain, data_folder
from chainp2p.node.config import Values, build_settings, read_toml
from chainp2p.node.home import lock_holder
from chainp2p.node.jobs import EXPORT_FOLDER
from chainp2p.settings import Settings

__all__ = ["chain"]

#: Seconds between two looks at a job of the running node.
POLL_INTERVAL = 0.2


@frozen
class _Node:
    """Which node: where it runs or lies, and what it is started with if it does not run."""

    data_dir: Path | None
    admin_url: str | None
    config: Path | None
    genesis: Path | None
    schedule: Path | None
    chain: str | None

    def settings(self) -> Settings:
        """SettingsError says what is wrong with them."""
        given: Values = {}
        for key, path in (("genesis", self.genesis), ("schedule", self.schedule)):
            if path is not None:
                given["node", key] = path.absolute()
        if self.chain is not None:
            given["node", "chain"] = self.chain
        return build_settings(*([read_toml(self.config)] if self.config is not None else []), given)


def _options(function: Callable[..., None]) -> Any:
    """Add the options that name a node; *function* is given them as one :class:`_Node`."""

    @wraps(function)
    def gathered(
        *args: Any,
        data_dir: Path | None,
        admin_url: str | None,
        config: Path | None,
        genesis: Path | None,
        schedule: Path | None,
        chain_name: str | None,
        **others: Any,
    ) -> None:
        function(*args, node=_Node(data_dir, admin_url, config, genesis, schedule, chain_name), **others)

    command: Any = gathered
    for option in (
        click.option("--config", type=PATH, metavar="FILE", help="Settings file of a node that does not run."),
        click.option("--genesis", type=PATH, metavar="FILE", help="Its genesis file (default: the dev network's)."),
        click.option("--schedule", type=PATH, metavar="FILE", help="Its scheduled changes."),
        click.option("--chain", "chain_name", metavar="NAME", help="Its chain plug-in."),
        json_option,
    ):
        command = option(command)
    return node_options(command)


def _finish(facts: dict[str, Any], file: Path, as_json: bool) -> None:
    """Say what came of it; a failure is one line on stderr."""
    if facts["state"] != "done":
        raise RpcFailure(f"{facts['kind']}: {facts['error']}")
    if as_json:
        print_json({**facts, "file": str(file)})
        return
    rate = f"{facts['seconds']:.1f} s, {facts['blocksPerSecond']:.0f} blocks/s"
    known = f", {facts['skipped']} of them known before" if facts["skipped"] else ""
    verb = "written to" if facts["kind"] == "export" else "taken from"
    click.echo(f"blocks {facts['first']} to {facts['last']} {verb} {file}{known} ({rate})")
    if facts["connected"] is False:
        click.echo("they are a branch that does not win: the head is on another", err=True)


def _watch(client: NodeClient, id: str) -> dict[str, Any]:
    """Show a job of the running node until it ends; Ctrl-C stops it."""
    with Bar() as bar:
        try:
            while (facts := client.call("admin_job", id))["state"] == "running":
                bar.show(facts["done"], facts["total"], facts["skipped"])
                time.sleep(POLL_INTERVAL)
        except KeyboardInterrupt:
            client.call("admin_cancelJob", id)
            raise
        bar.show(facts["done"], facts["total"], facts["skipped"])
    return dict(facts)


def _through(client: NodeClient, kind: str, name: str, heights: tuple[int, ...]) -> dict[str, Any]:
    return _watch(client, client.call(f"admin_{kind}Chain", name, *heights))


def _run(kind: str, file: Path, heights: tuple[int, ...], node: _Node) -> dict[str, Any]:
    """By the node if it runs, else on its directory."""
    if node.admin_url is not None:
        if file.name != str(file):
            raise click.UsageError(
                f"{file}: with --admin-url the file is one in the node's {EXPORT_FOLDER}/: say its name"
            )
        return _through(find_node(node.data_dir, node.admin_url), kind, file.name, heights)
    known = node.settings() if node.data_dir is None else None
    folder = node.data_dir if known is None else data_folder(known, check_chain(known).genesis_hash)
    assert folder is not None
    if lock_holder(folder):
        return _by_node(find_node(folder, None), folder / EXPORT_FOLDER, kind, file, heights)
    from chainp2p.node.offline import carry_out

    with Bar() as bar:
        return carry_out(known or node.settings(), folder, kind, file, heights, bar.show)


def _by_node(client: NodeClient, folder: Path, kind: str, file: Path, heights: tuple[int, ...]) -> dict[str, Any]:
    """Through the node on this machine: it reads and writes in its own folder only."""
    own = folder / f"cli-{os.getpid()}"
    try:
        if kind == "import":
            _hand_over(file, own)
        facts = _through(client, kind, own.name, heights)
        if kind == "export" and facts["state"] == "done":
            shutil.move(own, file)
        return facts
    except OSError as error:
        raise RpcFailure(f"{error.filename or file}: {error.strerror}") from None
    finally:
        own.unlink(missing_ok=True)


def _hand_over(file: Path, own: Path) -> None:
    """Let the node have the file in its own folder, without a copy where both are on one disk."""
    own.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        os.link(file.resolve(strict=True), own)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(file, own)


@click.group()
def chain() -> None:
    """Write the chain to a file, and take it back.

    \b
    Examples:
      chainp2p chain export backup.blocks
      chainp2p chain import backup.blocks --data-dir /var/lib/other --genesis genesis.json
    """


@chain.command("export")
@click.argument("file", type=PATH)
@click.option("--first", type=click.IntRange(1), default=1, help="Height of the first block.")
@click.option("--last", type=click.IntRange(1), help="Height of the last block (default: the head's).")
@click.option("--force", is_flag=True, help="Replace FILE.")
@_options
def export_command(file: Path, first: int, last: int | None, force: bool, node: _Node, as_json: bool) -> None:
    """Write the blocks of the best chain to FILE.

    If the node runs, it does so itself; else its data directory is opened, as the node would be started. FILE appears
    when it is whole.

    \b
    Examples:
      chainp2p chain export backup.blocks
      chainp2p chain export backup.blocks --data-dir /var/lib/chainp2p --genesis genesis.json
      chainp2p chain export part.blocks --first 1000 --last 1999 --json
    """
    if node.admin_url is None and file.exists() and not force:
        raise click.UsageError(f"{file} is there already (--force replaces it)")
    _finish(_run("export", file, (first, last or 0), node), file, as_json)


@chain.command("import")
@click.argument("file", type=PATH)
@_options
def import_command(file: Path, node: _Node, as_json: bool) -> None:
    """Take the blocks of FILE; each is checked as if a peer had sent it.

    An import that was broken off goes on where it was when it is started again.

    \b
    Examples:
      chainp2p chain import backup.blocks
      chainp2p chain import backup.blocks --data-dir /var/lib/chainp2p --genesis genesis.json
    """
    _finish(_run("import", file, (), node), file, as_json)
