"""``config``: the settings in force, as a file."""

import json

import click
from attrs import asdict

from chainp2p.cli.output import json_option, print_json
from chainp2p.node.config import render_toml

__all__ = ["config"]


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]})
@json_option
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[TWISTD OPTIONS]")
def config(as_json: bool, options: tuple[str, ...]) -> None:
    """Print the effective settings file for the given options of twistd chainp2p.

    Every key is listed, with its default where nothing was said; the output is a file for --config.

    \b
    Examples:
      chainp2p config > chainp2p.toml
      chainp2p config --config chainp2p.toml --max-peers 20
    """
    from chainp2p.tap import Options

    parsed = Options()
    parsed.parseOptions(list(options))
    if as_json:
        print_json(json.loads(json.dumps(asdict(parsed.settings), default=str)))
    else:
        click.echo(render_toml(parsed.settings), nl=False)
