"""The door for ``twistd chainp2p``: options, the service, exit codes, start lines and signals."""

import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService, MultiService
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger
from twisted.python import usage

from chainp2p.errors import SettingsError, StartupError
from chainp2p.node.config import Values, build_settings, read_toml
from chainp2p.node.options import OPTIONS, Kind, Option
from chainp2p.settings import Settings

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from chainp2p.node.node import Bound

__all__ = ["Options", "makeService"]

#: Exit codes (see the design, "The daemon"): 2 is a wrong setting, 1 a failure to start.
EXIT_FAILURE, EXIT_SETTINGS = 1, 2


def _number(option: Option, text: str) -> int | float:
    try:
        return int(text) if option.kind is Kind.INTEGER else float(text)
    except ValueError:
        raise usage.UsageError(f"--{option.flag}: {option.kind.value} is expected, not {text!r}") from None


def _taker(option: Option) -> Callable[["Options", str], None]:
    """Return the method that takes the value of one option."""

    def opt(self: "Options", value: str) -> None:
        match option.kind:
            case Kind.LIST:
                self.given[option.table, option.key] = (*self.given.get((option.table, option.key), ()), value)
            case Kind.WORDS:
                words = tuple(word.strip() for word in value.split(",") if word.strip())
                self.given[option.table, option.key] = words
            case Kind.PATH:
                self.given[option.table, option.key] = Path(value).expanduser().absolute()
            case Kind.INTEGER | Kind.SECONDS:
                self.given[option.table, option.key] = _number(option, value)
            case _:
                self.given[option.table, option.key] = value

    opt.__doc__ = option.text
    return opt


def _switch(option: Option, value: object, text: str) -> Callable[["Options"], None]:
    """Return the method of an option without a value."""

    def opt(self: "Options") -> None:
        self.given[option.table, option.key] = value

    opt.__doc__ = text
    return opt


class Options(usage.Options):
    """Options of ``twistd chainp2p``; :attr:`settings` is what they and the file amount to."""

    synopsis = "[options]"
    longdesc = "Runs a node. Without options: the built-in dev network, on loopback."

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.given: Values = {}
        self.file: Path | None = None
        self.lifeline: int | None = None
        self.latency = 0.0
        self.loss = 0.0
        self.settings = Settings()

    def opt_config(self, value: str) -> None:
        """TOML file with settings; options win over it"""
        self.file = Path(value).expanduser().absolute()

    def opt_lifeline(self, value: str) -> None:
        """stop when this inherited file descriptor closes (for supervisors)"""
        self.lifeline = int(self._float("lifeline", value))

    def opt_latency(self, value: str) -> None:
        """delay all writes to peers by this many milliseconds (for experiments)"""
        self.latency = self._float("latency", value) / 1000

    def opt_loss(self, value: str) -> None:
        """delay this share of writes to peers, in percent, by 200 ms more (for experiments)"""
        self.loss = self._float("loss", value) / 100

    @staticmethod
    def _float(name: str, value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number < 1e6:
            raise usage.UsageError(f"--{name}: a number from 0 on is expected, not {value!r}")
        return number

    def parseArgs(self, *words: str) -> None:
        if words:
            raise usage.UsageError(f"unexpected argument {words[0]!r}")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read and check everything; a mistake is one line on stderr and exit code 2, before anything starts."""
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
            layers = [read_toml(self.file)] if self.file is not None else []
            self.settings = build_settings(*layers, self.given)
            from chainp2p.node.assembly import check_chain

            check_chain(self.settings)
        except (usage.UsageError, SettingsError) as error:
            print(f"chainp2p: {' '.join(str(error).split())}", file=sys.stderr)
            raise SystemExit(EXIT_SETTINGS) from None


def _add_options() -> None:
    for option in OPTIONS:
        if option.flag:
            valueless = option.kind in (Kind.SWITCH, Kind.CHOICE)
            made = _switch(option, option.kind is Kind.CHOICE, option.text) if valueless else _taker(option)
            setattr(Options, f"opt_{option.flag.replace('-', '_')}", made)
        if option.off:
            choice = option.kind is Kind.CHOICE
            text = f"the opposite of --{option.flag}" if choice else f"no {option.flag} port"
            setattr(Options, f"opt_{option.off.replace('-', '_')}", _switch(option, False if choice else (), text))


_add_options()


def _exit_with(code: int) -> None:
    """Let the process end with *code* whatever ``twistd`` and ``twist`` return.

    Neither lets a service choose; the hook runs last of all that Python does.
    """

    def leave() -> None:
        atexit.unregister(leave)
        # this hook runs first (it was added last): let the others do their work before the process is gone
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    atexit.register(leave)


def start_lines(bound: "Bound") -> list[str]:
    """What a node says on stdout once it runs."""
    lines = [f"peer id: {bound.peer_id.hex()}", f"enr: {bound.enr}"]
    lines += [f"listening: {host}:{port}" for host, port in bound.listening]
    lines += [f"rpc: {url}" for url in bound.rpc]
    lines += [f"admin: {url}" for url in bound.admin]
    return [*lines, f"head: {bound.head_height} 0x{bound.head_hash.hex()}"]


class Daemon(MultiService):
    """A node with what only a process of its own has: signals, stdout and an exit code."""

    log = Logger()

    def __init__(self, reactor: Any, options: Options) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        from chainp2p.node.checkup import raise_descriptors
        from chainp2p.node.loglevels import LogLevels
        from chainp2p.node.node import Node
        from chainp2p.node.pauses import shorten_pauses
        from chainp2p.node.platform import production_platform

        platform = production_platform(
            reactor, latency=options.latency, loss=options.loss, set_log_level=LogLevels().set
        )
        raise_descriptors(options.settings)
        shorten_pauses()
        self._reactor = reactor
        self._lifeline = options.lifeline
        self.node = Node(reactor, options.settings, platform=platform)
        self.node.setServiceParent(self)  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        # the reactor installs its own handlers as it starts
        self._reactor.callWhenRunning(self._take_signals)
        if self._lifeline is not None:
            self._reactor.addReader(_Lifeline(self._lifeline, self._reactor))
        self.node.ready().addCallbacks(self._started, self._failed)

    def _take_signals(self) -> None:
        """SIGTERM and SIGINT are the ordinary ends, with exit code 0; twistd would die of them once it has stopped."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._reactor.callFromThread(_stop, self._reactor))
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self.node.reload))

    def _started(self, bound: "Bound") -> None:
        # twistd has turned sys.stdout into its log; the lines are for whoever started us
        out = sys.__stdout__
        if out is not None:
            try:
                out.write("".join(f"{line}\n" for line in start_lines(bound)))
                out.flush()
            except (OSError, ValueError):
                pass

    def _failed(self, failure: "Failure") -> None:
        error = failure.value
        if isinstance(error, StartupError | SettingsError):
            text = " ".join(str(error).split())
            self.log.error("the node did not start: {text}", text=text)
            _say(f"chainp2p: {text}")
        else:
            self.log.failure("the node did not start", failure)
            _say(f"chainp2p: {type(error).__name__}: {error}")
        _exit_with(EXIT_FAILURE)
        if self._reactor.running:
            self._reactor.stop()
        else:
            self._reactor.callWhenRunning(self._reactor.stop)


def _stop(reactor: Any) -> None:
    """Stop the reactor, unless that has begun."""
    with contextlib.suppress(ReactorNotRunning):
        reactor.stop()


def _say(line: str) -> None:
    err = sys.__stderr__
    if err is not None:
        try:
            print(line, file=err, flush=True)
        except (OSError, ValueError):
            pass


class _Lifeline:
    """Stops the reactor when the other end of a pipe is closed, which the kernel does even for a killed supervisor."""

    def __init__(self, descriptor: int, reactor: Any) -> None:
        self._descriptor = descriptor
        self._reactor = reactor

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "lifeline"

    def doRead(self) -> None:
        if not os.read(self._descriptor, 64):
            self._reactor.removeReader(self)
            _stop(self._reactor)

    def connectionLost(self, reason: object) -> None:
        # what epoll says of a pipe whose other end is closed; and of every reader when the reactor stops
        _stop(self._reactor)


def makeService(options: Options) -> IService:
    """Build the service of ``twistd chainp2p``; nothing is opened yet."""
    from twisted.internet import reactor  # noqa: TID251

    daemon: IService = Daemon(reactor, options)
    return daemon
