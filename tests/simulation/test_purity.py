"""Simulated code takes time, chance, sockets and threads as arguments: found out by reading its syntax."""

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import chainp2p

PACKAGE = Path(chainp2p.__file__).parent

#: The doors and the shells that hand the world over; in a simulation none of them is called.
SHELLS = (
    "cli/*",
    "tap.py",
    "rpc/*",
    # sockets of both families with one port: used where the reactor has real ones only
    "net/sockets.py",
    # the simulator has a process of its own kind
    "node/children.py",
    "node/home.py",
    "node/offline.py",
    "node/platform.py",
    "node/router.py",
    "node/slow.py",
    "node/surface.py",
    "node/threads.py",
    "node/upnp.py",
    "node/worker.py",
)
#: Modules of which nothing may be used, apart from names for types.
BANNED = {
    "asyncio",
    "multiprocessing",
    "secrets",
    "select",
    "selectors",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "twisted.internet.reactor",
    "twisted.internet.threads",
    "uuid",
    "concurrent.futures",
}
#: Of these modules only such names may be used: they are no chance and no clock by themselves.
ALLOWED = {
    "random": {"Random", "Random.*"},
    "time": set[str](),
    "datetime": {"UTC", "datetime", "datetime.fromtimestamp", "timedelta", "timezone"},
    "os": {
        "O_*",
        "PathLike",
        "close",
        "environ",
        "fdopen",
        "fchmod",
        "fspath",
        "fsync",
        "getpid",
        "open",
        "path",
        "path.*",
        "replace",
    },
}
#: Where a module may be used in spite of that, and why.
EXCEPTIONS = {
    # building a chain once, before anything is opened, to find mistakes in a genesis file; never in a simulation
    ("node/assembly.py", "random.SystemRandom"),
    # ``random`` is the argument there, a generator; the module's name is only in its type
    ("discovery/service.py", "random.sample"),
    # it times the rules that a test is about, and drives no simulation
    ("testing/conformance.py", "time.perf_counter"),
    # ids of RPC filters; simulated nodes have no RPC
    ("ethapi/plugin.py", "secrets"),
    ("ethapi/plugin.py", "secrets.token_bytes"),
}


def _is_shell(path: Path) -> bool:
    return any(
        path.match(pattern) if "*" not in pattern else path.as_posix().startswith(pattern[:-1]) for pattern in SHELLS
    )


class Uses(ast.NodeVisitor):
    """Collects dotted names that reach into modules, with their lines; imports for type checking are left out."""

    def __init__(self) -> None:
        self.modules: dict[str, str] = {}
        self.used: list[tuple[str, int]] = []

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            self.modules[name] = alias.name if alias.asname else name
            self.used.append((alias.name, node.lineno))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self.used.append((f"{node.module}.{alias.name}", node.lineno))
            if alias.name in ("reactor", "threads") or node.module in ALLOWED:
                self.modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def visit_Attribute(self, node: ast.Attribute) -> None:
        parts = [node.attr]
        value = node.value
        while isinstance(value, ast.Attribute):
            parts.append(value.attr)
            value = value.value
        if isinstance(value, ast.Name) and value.id in self.modules:
            self.used.append((".".join([self.modules[value.id], *reversed(parts)]), node.lineno))
        self.generic_visit(node)


def offences(source: str, where: str) -> Iterator[str]:
    """What *source* uses that it may not."""
    uses = Uses()
    uses.visit(ast.parse(source))
    for name, line in uses.used:
        module, _, rest = name.partition(".")
        banned = any(name == one or name.startswith(one + ".") for one in BANNED)
        limited = module in ALLOWED and rest and not any(fnmatch(rest, pattern) for pattern in ALLOWED[module])
        if (banned or limited) and (where, name) not in EXCEPTIONS:
            yield f"{where}:{line}: {name}"


class PurityTests(SynchronousTestCase):
    def test_simulated_code_touches_no_world(self) -> None:
        found = []
        for path in sorted(PACKAGE.rglob("*.py")):
            where = path.relative_to(PACKAGE)
            if not _is_shell(where):
                found += offences(path.read_text("utf-8"), where.as_posix())
        self.assertEqual(found, [])

    def test_the_lint_finds_what_it_is_for(self) -> None:
        for line, name in (
            ("import time\ntime.time()", "time.time"),
            ("import time as clock\nclock.monotonic()", "time.monotonic"),
            ("from time import sleep", "time.sleep"),
            ("import random\nrandom.random()", "random.random"),
            ("import random as r\nr.choice([1])", "random.choice"),
            ("from random import shuffle", "random.shuffle"),
            ("import os\nos.urandom(3)", "os.urandom"),
            ("from datetime import datetime\n", None),
            ("from datetime import datetime\ndatetime.now()", "datetime.datetime.now"),
            ("import datetime\ndatetime.datetime.now()", "datetime.datetime.now"),
            ("def f():\n    from twisted.internet import reactor\n", "twisted.internet.reactor"),
            ("from twisted.internet.threads import deferToThread", "twisted.internet.threads.deferToThread"),
            ("import socket", "socket"),
            ("from threading import Thread", "threading.Thread"),
            ("import random\ndef f(r: random.Random): ...", None),
            ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import socket", None),
        ):
            with self.subTest(line=line):
                names = [offence.rpartition(" ")[2] for offence in offences(line, "x.py")]
                self.assertEqual(names, [] if name is None else [name])
