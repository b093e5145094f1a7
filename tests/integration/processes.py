"""Real processes on loopback for the integration tests: ports, daemons, devnets, RPC calls."""

import contextlib
import fcntl
import functools
import itertools
import json
import os
import pty
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

__all__ = [
    "CHAINP2P",
    "DOORS",
    "Daemon",
    "Devnet",
    "Prompt",
    "Terminal",
    "call",
    "eventually",
    "free_port",
    "process_exists",
    "run_door",
    "scratch",
]

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
#: The command group.
CHAINP2P = [sys.executable, "-c", "from chainp2p.cli.main import main; main()"]
#: The three ways into the daemon.
DOORS = {
    "twistd": [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile="],
    "twist": [
        sys.executable,
        "-c",
        "import sys; from twisted.application.twist._twist import Twist; sys.exit(Twist.main())",
    ],
    "python -m twisted": [sys.executable, "-m", "twisted", "--log-format=text"],
}
#: Seconds for a process to come up on a machine that does much else.
START_LIMIT = 120.0
#: What :func:`free_port` has answered: nobody may listen there yet.
_given: set[int] = set()


def free_port() -> int:
    """A port that is free for TCP and UDP in both families, and stays so: none that a system hands out by itself.

    Linux hands out those from 32,768 on; whoever asks for any port then may take the same number a moment later.
    """
    for port in random.sample(range(20_000, 30_000), 100):
        if port in _given:
            continue
        with contextlib.ExitStack() as probes:
            try:
                for family, kind in itertools.product(_families(), (socket.SOCK_STREAM, socket.SOCK_DGRAM)):
                    probe = probes.enter_context(socket.socket(family, kind))
                    if family == socket.AF_INET6:
                        probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    probe.bind(("", port))
            except OSError:
                continue
            _given.add(port)
            return port
    raise AssertionError("no port is free")


@functools.cache
def _families() -> tuple[socket.AddressFamily, ...]:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return (socket.AF_INET,)
    return socket.AF_INET, socket.AF_INET6


def scratch(test: Any) -> Path:
    """A directory that goes with the test."""
    temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    test.addCleanup(temporary.cleanup)
    return Path(temporary.name)


def call(url: str, method: str, *params: Any, timeout: float = 30.0) -> Any:
    """The result of a JSON-RPC call; AssertionError with its error object."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as response:
        answer = json.load(response)
    assert "error" not in answer, (method, answer["error"])
    return answer["result"]


def eventually(look: Callable[[], T | None], seconds: float, what: str, pause: float = 0.1) -> T:
    """What *look* answers as soon as it is true; AssertionError with the last answer or error."""
    deadline = time.monotonic() + seconds
    last: Any = None
    while True:
        try:
            last = look()
        except (OSError, AssertionError) as error:
            last = error
        else:
            if last:
                return last
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}; last: {last!r}")
        time.sleep(pause)


def process_exists(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return not Path("/proc/self").exists()
    return state != "Z"


def run_door(
    door: str, *words: object, cwd: Path | None = None, before: Sequence[str] = ()
) -> "subprocess.CompletedProcess[str]":
    """Run the daemon by one of its doors until it ends by itself; *before*: a command that runs it."""
    command = [*before, *DOORS[door], "chainp2p", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=START_LIMIT, cwd=cwd)


def _heed_interrupts() -> None:
    """Let SIGINT end what is started, also where the tests run in the background and it is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Daemon:
    """One node as a process; killed with its test."""

    def __init__(self, test: Any, *words: object, door: str = "python -m twisted", data: Path | None = None) -> None:
        self.data = data or scratch(test)
        self.out = self.data.parent / f"{self.data.name}.out"
        self.command = [*DOORS[door], "chainp2p", "--data-dir", str(self.data), *map(str, words)]
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                self.command, stdout=out, stderr=out, cwd=self.data, preexec_fn=_heed_interrupts
            )
        test.addCleanup(self._cleanup)

    def _cleanup(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.out.unlink(missing_ok=True)

    def log(self) -> str:
        return self.out.read_text("utf-8", "replace")

    def facts(self) -> dict[str, Any]:
        """``node.json``, once the node is up."""

        def look() -> dict[str, Any] | None:
            if self.process.poll() is not None:
                raise RuntimeError(f"ended with {self.process.returncode}: {self.log()}")
            try:
                facts: dict[str, Any] = json.loads((self.data / "node.json").read_text())
            except (OSError, ValueError):
                return None
            return facts if facts["pid"] == self.process.pid else None

        return eventually(look, START_LIMIT, "node.json")

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Signal it and return how long (seconds) it took to end."""
        begun = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(START_LIMIT)
        return time.monotonic() - begun


class Devnet:
    """``chainp2p devnet`` as a process, with its verbs; ended with its test."""

    def __init__(self, test: Any, *words: object, data: Path | None = None) -> None:
        self.data = data or scratch(test) / "devnet"
        self.out = self.data.parent / "devnet.out"
        self._command = [*CHAINP2P, "devnet"]
        command = [*self._command, "--data-dir", str(self.data), "--base-port", str(_free_range()), *map(str, words)]
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        test.addCleanup(self._cleanup)
        eventually(self._is_up, 2 * START_LIMIT, "devnet.json")

    def _is_up(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"devnet ended with {self.process.returncode}: {self.out.read_text()}")
        # the file of commands is written last, after devnet.json
        return (self.data / "devnet.control").exists()

    def _cleanup(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(START_LIMIT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.data / "devnet.json").read_text())
        return document

    @property
    def nodes(self) -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = self.document["nodes"]
        return nodes

    def verb(self, *words: object) -> str:
        """Carry out a verb from another process, as a user in another shell does."""
        command = [*self._command, *map(str, words), "--data-dir", str(self.data)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def head(self, number: int) -> tuple[int, str]:
        """Height and hash of a node's head, counting nodes from 1."""
        block = call(self.nodes[number - 1]["rpc"], "eth_getBlockByNumber", "latest", False)
        return int(block["number"], 16), block["hash"]

    def height(self, number: int) -> int:
        return int(call(self.nodes[number - 1]["rpc"], "eth_blockNumber"), 16)

    def hash_at(self, number: int, height: int) -> str | None:
        block = call(self.nodes[number - 1]["rpc"], "eth_getBlockByNumber", hex(height), False)
        return block["hash"] if block else None

    def timestamp(self, number: int, height: int) -> int:
        """Of the block at *height* of a node's chain, in seconds."""
        return int(call(self.nodes[number - 1]["rpc"], "eth_getBlockByNumber", hex(height), False)["timestamp"], 16)

    def agree(self, numbers: list[int]) -> bool:
        """Whether these nodes have one chain up to the lowest of their heads, and are within two blocks."""
        heights = [self.height(number) for number in numbers]
        low = min(heights)
        return max(heights) - low <= 2 and len({self.hash_at(number, low) for number in numbers}) == 1

    def peers(self, number: int) -> int:
        return len(call(self.nodes[number - 1]["admin"], "admin_peers"))


def _take_terminal() -> None:
    """Ctrl-C reaches whoever has the terminal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    _heed_interrupts()


class Terminal:
    """A command whose terminal is the test."""

    def __init__(self, test: Any, command: Sequence[str], **environment: str) -> None:
        self._ours, theirs = pty.openpty()
        test.addCleanup(os.close, self._ours)
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, **environment},
            preexec_fn=_take_terminal,
        )
        os.close(theirs)
        test.addCleanup(self.process.wait)
        test.addCleanup(self.process.kill)
        self._read = ""

    def say(self, line: str, end: str = "\n") -> None:
        os.write(self._ours, (line + end).encode())

    def expect(self, text: str, seconds: float = START_LIMIT) -> str:
        """What is printed up to and with *text*."""
        deadline = time.monotonic() + seconds
        while text not in self._read:
            if not select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"not within {seconds:g} s: {text!r}; read: {self._read!r}")
            self._read += os.read(self._ours, 65_536).decode("utf-8", "replace")
        found, _, self._read = self._read.partition(text)
        return found + text


class Prompt(Terminal):
    """A devnet whose terminal is the test."""

    def __init__(self, test: Any, *words: object) -> None:
        self.data = scratch(test) / "devnet"
        command = [*CHAINP2P, "devnet", "--data-dir", str(self.data), "--base-port", str(_free_range())]
        super().__init__(test, [*command, *map(str, words)])


def _free_range() -> int:
    """A base of ports that are free now and outside the range from which the system gives ports away."""
    start = 20_000 + (os.getpid() * 97) % 10_000
    for base in range(start, start + 2_000, 100):
        ports = [base + 10 * node + offset for node in range(6) for offset in range(3)]
        if _given.isdisjoint(ports) and all(map(_is_free, ports)):
            return base
    raise AssertionError("no free range of ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
