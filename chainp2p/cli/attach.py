"""``attach``: a prompt for RPC calls, over a WebSocket, so that subscriptions are told while one types."""

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from chainp2p.cli.client import ROOT, RpcFailure, find_node, node_options
from chainp2p.cli.console import Call, Offered, Verb, read_line
from chainp2p.cli.rpcsocket import RpcSocket
from chainp2p.cli.unix import unix_path

__all__ = ["attach"]

PROMPT = "> "
#: Lines that are remembered from one time to the next.
HISTORY = 1_000
#: What parts words for completion: an argument may hold every other character.
_DELIMITERS = " (,"


class Console:
    """Carries out lines.

    :param people: somebody reads: results are indented and errors short; otherwise each is one line of JSON.
    """

    def __init__(self, url: str, headers: Callable[[], dict[str, str]], people: bool) -> None:
        self._people = people
        self._printing = threading.Lock()
        self._offered: Offered | None = None
        self._socket = RpcSocket(url, headers, self._told, self._lost)
        self.typed: Callable[[], str] | None = None  #: what stands at the prompt, while it is read
        self.failed = False

    def offered(self) -> Offered:
        """What the node serves; nothing if it does not say."""
        if self._offered is None:
            result, error = self._socket.call("rpc_discover", [])
            self._offered = Offered() if error else Offered.of(result)
        return self._offered

    def carry_out(self, line: str) -> bool:
        """Do what a line says; False to leave."""
        try:
            wanted = read_line(line)
            if isinstance(wanted, Call):
                self._call(wanted)
            elif isinstance(wanted, Verb):
                return self._do(wanted)
        except (ValueError, RpcFailure) as error:
            self._fail({"message": str(error)})
        return True

    def _call(self, wanted: Call) -> None:
        result, error = self._socket.call(wanted.method, wanted.params)
        if error is None:
            self._print(result)
        else:
            self._fail(error)

    def _do(self, verb: Verb) -> bool:
        match verb.name, verb.arguments:
            case "exit", []:
                return False
            case "help", [] | [str()]:
                self._write(self.offered().describe(*(verb.arguments or [None])))
            case "wait", [int() | float() as seconds] if seconds >= 0:
                time.sleep(seconds)
            case _:
                raise ValueError(f"{verb.name}: {self.offered().describe(verb.name)}")
        return True

    def close(self) -> None:
        self._socket.close()

    # -- printing

    def _told(self, method: str, params: Any) -> None:
        self._print({"method": method, **params} if isinstance(params, dict) else {"method": method, "params": params})

    def _lost(self, reason: str) -> None:
        self._fail({"message": f"{reason}; subscriptions have ended, the next call connects again"})

    def _print(self, value: Any) -> None:
        self._write(json.dumps(value, indent=1 if self._people else None))

    def _fail(self, error: dict[str, Any]) -> None:
        self.failed = True
        if not self._people:
            self._print({"error": error})
            return
        code = f" {error['code']}" if "code" in error else ""
        data = f"\n{json.dumps(error['data'], indent=1)}" if "data" in error else ""
        self._write(f"error{code}: {error.get('message')}{data}")

    def _write(self, text: str) -> None:
        with self._printing:
            if self.typed is None:
                print(text, flush=True)
            else:  # a line is being typed: it goes on below
                print(f"\r\x1b[K{text}\n{PROMPT}{self.typed()}", end="", flush=True)


def _prompt(console: Console) -> None:
    with _editing(console) as typed:
        while True:
            console.typed = typed
            try:
                line = input(PROMPT)
            except EOFError:
                print()
                return
            except KeyboardInterrupt:
                print()
                continue
            finally:
                console.typed = None
            try:
                if not console.carry_out(line):
                    return
            except KeyboardInterrupt:
                print("interrupted")


@contextlib.contextmanager
def _editing(console: Console) -> Any:
    """Give the prompt completion and history, where there is a library for it; answers what tells what is typed."""
    try:
        import readline
    except ImportError:
        yield str
        return
    found: list[str] = []

    def complete(word: str, state: int) -> str | None:
        if state == 0:
            found[:] = console.offered().complete(readline.get_line_buffer()[: readline.get_begidx()], word)
            if len(found) == 1:
                found[0] += " "
        return found[state] if state < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims(_DELIMITERS)
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
    history = ROOT.expanduser() / "attach.history"
    with contextlib.suppress(OSError):
        readline.read_history_file(history)
    try:
        yield readline.get_line_buffer
    finally:
        readline.set_history_length(HISTORY)
        with contextlib.suppress(OSError):
            history.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            history.touch(mode=0o600)
            readline.write_history_file(history)


@click.command()
@node_options
@click.option("-e", "--execute", "lines", multiple=True, metavar="LINE", help="Carry out LINE and leave; repeatable.")
def attach(data_dir: Path | None, admin_url: str | None, lines: Sequence[str]) -> None:
    """Call a running node at a prompt.

    A line is METHOD and its arguments: JSON, or words that are taken as strings. Tab completes, help lists. What
    subscriptions tell is printed as it comes. Without a terminal each line of the input gives a line of JSON, and the
    exit code is 1 if a call failed.

    \b
    Examples:
      chainp2p attach
      chainp2p attach --admin-url http://127.0.0.1:8545 -e "eth_getBlockByNumber latest false"
      echo eth_blockNumber | chainp2p attach --data-dir /var/lib/chainp2p
    """
    client = find_node(data_dir, admin_url)
    url = client.url
    if unix_path(url) is None:
        scheme, _, rest = url.partition("://")
        if scheme not in ("http", "https", "ws", "wss"):
            raise RpcFailure(f"{url}: http, https, ws, wss or unix:/path is needed")
        url = f"{'wss' if scheme in ('https', 'wss') else 'ws'}://{rest}"
    people = sys.stdin.isatty() and sys.stdout.isatty() and not lines
    console = Console(url, client.authorization, people)
    try:
        console.offered()  # whether it can be reached, before anything is typed
        if people:
            _prompt(console)
        else:
            for line in lines or sys.stdin:
                if not console.carry_out(line):
                    break
    finally:
        console.close()
    if console.failed and not people:
        sys.exit(1)
