"""``devnet``: a network of real nodes on this machine."""

import contextlib
import os
import select
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import click

from chainp2p.cli.devnet_control import VERBS, Control, run_verb, send_verb
from chainp2p.cli.devnet_network import Devnet, Interrupted
from chainp2p.cli.devnet_plan import LEDGER, Folder, Options, accounts
from chainp2p.cli.output import json_option, print_json, print_table
from chainp2p.cli.paths import PATH
from chainp2p.errors import SettingsError, StartupError
from chainp2p.node.home import LOCK_FILE, lock_file

__all__ = ["devnet"]

DEFAULT_FOLDER = "~/.chainp2p/devnet"
#: Seconds between two looks at whether all nodes are alive.
_WATCH = 0.5

_folder_option = click.option("--data-dir", type=PATH, metavar="DIR", help=f"Data directory ({DEFAULT_FOLDER}).")


def _say(line: str) -> None:
    click.echo(line)


@click.group(invoke_without_command=True)
@click.option("-n", "--nodes", type=click.IntRange(1), default=4, show_default=True, help="How many nodes.")
@click.option(
    "--period", type=click.FloatRange(0.25, 3600), default=1.0, show_default=True, help="Seconds between two blocks."
)
@click.option("--base-port", type=int, metavar="P", help="Node k uses P+10(k-1) for peers, +1 for RPC, +2 for admin.")
@_folder_option
@click.option("--keep", is_flag=True, help="Go on with the network that is in the data directory.")
@click.option("--signers", type=click.IntRange(1), metavar="K", help="The first K nodes seal (all).")
@click.option("--latency", type=click.FloatRange(0), default=0.0, metavar="MS", help="Delay of all writes to peers.")
@click.option("--chain", default=LEDGER, show_default=True, metavar="NAME", help="Chain plug-in.")
@click.option(
    "--loss", type=click.FloatRange(0, 100), default=0.0, metavar="PCT", help="Share of writes that get lost."
)
@click.option("--no-discovery", is_flag=True, help="Nodes find each other by peer exchange alone.")
@click.option("--no-pex", is_flag=True, help="Nodes find each other by UDP alone.")
@click.pass_context
def devnet(
    ctx: click.Context,
    nodes: int,
    period: float,
    base_port: int | None,
    data_dir: Path | None,
    keep: bool,
    signers: int | None,
    latency: float,
    loss: float,
    chain: str,
    no_discovery: bool,
    no_pex: bool,
) -> None:
    """Run a local network of real nodes, wallets funded; Ctrl-C ends it.

    Without a terminal it runs until SIGINT or SIGTERM. The verbs work at its prompt too.

    \b
    Examples:
      chainp2p devnet
      chainp2p devnet -n 6 --period 0.5
      PYTHONPATH=examples/counter chainp2p devnet --chain counter
      chainp2p devnet kill 2
      chainp2p devnet partition 1,2 / 3,4
    """
    folder = (data_dir or Path(DEFAULT_FOLDER).expanduser()).absolute()
    ctx.obj = folder
    if ctx.invoked_subcommand is not None:
        return
    if signers is not None and signers > nodes:
        raise SettingsError(f"--signers: there are only {nodes} nodes")
    options = Options(
        nodes=nodes,
        period=period,
        base_port=base_port,
        keep=keep,
        signers=signers,
        latency=latency,
        loss=loss,
        chain=chain,
        discovery=not no_discovery,
        pex=not no_pex,
    )
    ctx.exit(_Supervisor(folder, options).run())


class _Waker:
    """Waits for input or a signal, whichever comes first, however close together they are."""

    def __enter__(self) -> "_Waker":
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._before = signal.set_wakeup_fd(self._writing)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._before)
        os.close(self._reading)
        os.close(self._writing)

    def readable(self, stream: TextIO) -> bool:
        """Block until there is input (True) or a signal has come (False)."""
        ready = select.select([stream.fileno(), self._reading], [], [])[0]
        if self._reading in ready:
            os.read(self._reading, 64)
            return False
        return True


class _Supervisor:
    """Runs a devnet until a signal, the end of the prompt's input, or a failed start."""

    def __init__(self, path: Path, options: Options) -> None:
        self._path = path
        self._options = options
        self._stopping = threading.Event()

    def _on_signal(self, number: int, frame: object) -> None:
        self._stopping.set()

    def run(self) -> int:
        """Return the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = lock_file(self._path / LOCK_FILE)
        try:
            self._run_locked()
        finally:
            (self._path / LOCK_FILE).unlink(missing_ok=True)
            os.close(descriptor)
        return 0

    def _run_locked(self) -> None:
        folder = Folder(self._path, os.urandom)  # noqa: TID251
        folder.check()
        if not self._options.keep:
            folder.wipe()
        network = Devnet(folder, self._options, _say, self._stopping)
        try:
            network.start(time.time())  # noqa: TID251
        except (StartupError, SettingsError, Interrupted) as error:
            network.stop()
            if not self._options.keep:
                folder.wipe()
            if isinstance(error, Interrupted):
                return
            raise
        control = None
        try:
            control = Control(self._path, network, os.urandom(16).hex())  # noqa: TID251
            self._describe(network)
            self._until_stopped(network)
        finally:
            self._stopping.set()
            if control is not None:
                control.close()
            network.stop()
        _say("stopped")

    def _describe(self, network: Devnet) -> None:
        rows = [[node["name"], node["peerId"], node["rpc"], node["admin"], node["enr"]] for node in network.entries()]
        print_table(["node", "peer id", "rpc", "admin", "enr"], rows)
        _say("")
        if self._options.chain == LEDGER:
            pairs = [[pair["address"], pair["privateKey"]] for pair in accounts()]
            print_table(["account (10,000 ether)", "private key"], pairs)
            _say("")
            _say(f"chain id 31337, a block every {self._options.period:g} s")
        else:
            _say(f"chain {self._options.chain}")
        _say(f"all of this is in {self._path / 'devnet.json'}")
        _say(f"Ctrl-C ends it; verbs: {VERBS}")
        sys.stdout.flush()

    def _until_stopped(self, network: Devnet) -> None:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            while not self._stopping.wait(_WATCH):
                network.report_ended()
            return
        threading.Thread(target=self._watch, args=(network,), daemon=True).start()
        with _Waker() as waker, contextlib.suppress(EOFError, Interrupted):
            while not self._stopping.is_set():
                click.echo("devnet> ", nl=False)
                # a signal that comes just before a blocking read would not end it
                if waker.readable(sys.stdin):
                    line = sys.stdin.readline()
                    if not line:
                        break
                    self._obey(network, line)

    def _watch(self, network: Devnet) -> None:
        while not self._stopping.wait(_WATCH):
            network.report_ended()

    def _obey(self, network: Devnet, line: str) -> None:
        try:
            words = shlex.split(line)
            if words[:1] in (["quit"], ["exit"]):
                raise EOFError
            if words:
                _show(run_verb(network, words[0], words[1:]))
        except (ValueError, StartupError, click.ClickException) as error:
            text = error.format_message() if isinstance(error, click.ClickException) else str(error)
            click.echo(text, err=True)


def _show(answer: Any) -> None:
    """Print what a verb answered."""
    if isinstance(answer, str):
        _say(answer)
        return
    columns = ["name", "pid", "height", "head", "peers"]
    rows = [["-" if row[column] is None else row[column] for column in columns] for row in answer]
    print_table(columns, rows)


def _verb(name: str, text: str, example: str, words: int) -> None:
    """Add a command that sends one verb to the running devnet; *words* is the number of its arguments, -1: any."""

    @click.pass_obj
    def run(folder: Path, data_dir: Path | None, as_json: bool, arguments: str | tuple[str, ...] = ()) -> None:
        said = (arguments,) if isinstance(arguments, str) else arguments
        answer = send_verb(data_dir.absolute() if data_dir is not None else folder, name, said)
        if as_json:
            print_json(answer)
        else:
            _show(answer)

    command: Callable[..., Any] = run
    if words:
        command = click.argument("arguments", nargs=words, required=True, metavar="N" if words == 1 else "GROUPS")(
            command
        )
    command = json_option(_folder_option(command))
    devnet.command(name, help=f"{text}\n\n\b\nExample:\n  chainp2p devnet {example}")(command)


def _add_verbs() -> None:
    _verb("kill", "End node N with SIGKILL, without a chance to clean up.", "kill 2", 1)
    _verb("start", "Start node N again on the data it had.", "start 2", 1)
    _verb("partition", "Cut all links between the groups.", "partition 1,2 / 3,4", -1)
    _verb("heal", "Join again what was parted.", "heal", 0)
    _verb("add", "Add one more node, which follows.", "add", 0)
    _verb("status", "Show process, head and peers of every node.", "status --json", 0)


_add_verbs()
