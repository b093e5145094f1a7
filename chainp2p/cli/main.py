"""The command group; each command's module is loaded when it is used, so that ``chainp2p --help`` is quick."""

import sys
from importlib import import_module

import click

from chainp2p import __version__
from chainp2p.errors import SettingsError, StartupError, StorageError

__all__ = ["cli", "main"]

#: Command -> module and attribute.
_COMMANDS = {
    "attach": ("chainp2p.cli.attach", "attach"),
    "chain": ("chainp2p.cli.chain", "chain"),
    "config": ("chainp2p.cli.settings", "config"),
    "devnet": ("chainp2p.cli.devnet", "devnet"),
    "doctor": ("chainp2p.cli.doctor", "doctor"),
    "enr": ("chainp2p.cli.identity", "enr"),
    "enrtree": ("chainp2p.cli.enrtree", "enrtree"),
    "genesis": ("chainp2p.cli.genesis", "genesis"),
    "init": ("chainp2p.cli.identity", "init"),
    "key": ("chainp2p.cli.identity", "key"),
    "peers": ("chainp2p.cli.status", "peers"),
    "reorg": ("chainp2p.cli.reorg", "reorg"),
    "sim": ("chainp2p.cli.sim", "sim"),
    "status": ("chainp2p.cli.status", "status"),
    "why": ("chainp2p.cli.why", "why"),
}


class _Lazy(click.Group):
    """A group that knows the names of its commands, not their code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chainp2p")
def cli() -> None:
    """A peer-to-peer node for blockchains: tools, and a network to try.

    The node itself runs as a Twisted service: twistd -n chainp2p

    \b
    Examples:
      chainp2p devnet              a local network of 4 nodes
      chainp2p status --watch      what the running node does
      chainp2p COMMAND --help      more about one command
    """


def main() -> None:
    """Run the command; whatever goes wrong is one line on stderr (exit code 2: wrong usage, 1: failure)."""
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = 130
    except (click.ClickException, SettingsError, StartupError, StorageError) as error:
        text = error.format_message() if isinstance(error, click.ClickException) else str(error)
        print(f"chainp2p: {' '.join(text.split())}", file=sys.stderr)
        code = 1 if isinstance(error, StartupError | StorageError) else getattr(error, "exit_code", 2)
    except BrokenPipeError:
        # the reader of our output (head, less) has gone
        sys.stderr.close()
        code = 0
    sys.exit(code if isinstance(code, int) else 0)
