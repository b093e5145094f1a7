"""A process that ends by SIGKILL at a moment that was drawn, and what it was doing then.

The child notes in memory that it shares with its parent whether a write transaction is open, or being committed, on any
of its connections; that survives it. The signal comes at once, or from a timer of the kernel some microseconds later,
so that it hits in the middle of a statement or of COMMIT, wherever SQLite is in it.
"""

import ctypes
import mmap
import os
import random
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable
from enum import Enum
from typing import Any

from attrs import frozen

__all__ = ["Death", "Moment", "Plan", "Probe", "Watch", "kill_after", "live"]


class Moment(Enum):
    """What the process was doing when it died."""

    OUTSIDE = "outside"
    INSIDE = "in transaction"
    COMMIT = "in commit"


@frozen
class Plan:
    """When a life ends.

    :param kind: the *count*-th statement inside a transaction, the *count*-th COMMIT, or *count* milliseconds of life.
    :param share: so much later, as a share of the time that such a thing took lately; 0: just before it.
    """

    kind: str
    count: int
    share: float

    @classmethod
    def drawn(cls, chance: random.Random, statements: int, commits: int, milliseconds: float) -> "Plan":
        """Any moment of a life that has about so many statements and commits and takes so long."""
        kind = chance.choices(("statement", "commit", "moment"), (0.45, 0.45, 0.1))[0]
        most = {"statement": statements, "commit": commits, "moment": int(milliseconds)}[kind]
        # a commit is cut at any point of it; a statement before it, or in it
        share = 1.2 * chance.random() if kind == "commit" or chance.random() < 0.7 else 0.0
        return cls(kind, chance.randint(1, max(1, most)), share)


class Watch:
    """A page of memory that the child writes and the parent reads after its death."""

    _CONNECTIONS = 4

    def __init__(self) -> None:
        self._numbers = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")

    def begin(self) -> None:
        """Before a life: nothing is open."""
        self._numbers[: self._CONNECTIONS + 2] = memoryview(bytes(8 * (self._CONNECTIONS + 2))).cast("q")

    def set(self, connection: int, moment: Moment) -> None:
        self._numbers[connection] = list(Moment).index(moment)

    @property
    def moment(self) -> Moment:
        return list(Moment)[max(self._numbers[: self._CONNECTIONS])]

    def count(self, what: int) -> int:
        """Count a statement (0) or a commit (1)."""
        self._numbers[self._CONNECTIONS + what] += 1
        return self._numbers[self._CONNECTIONS + what]

    @property
    def counted(self) -> tuple[int, int]:
        """Statements and commits of this life."""
        return self._numbers[self._CONNECTIONS], self._numbers[self._CONNECTIONS + 1]

    @property
    def noted(self) -> int:
        """A number of the workload's own; it outlives the lives."""
        return self._numbers[self._CONNECTIONS + 2]

    @noted.setter
    def noted(self, value: int) -> None:
        self._numbers[self._CONNECTIONS + 2] = value


class Probe:
    """A connection that notes its transactions, and ends the process as *plan* says."""

    _number = 0

    def __init__(self, connection: sqlite3.Connection, watch: Watch, plan: Plan | None) -> None:
        self._connection = connection
        self._watch = watch
        self._plan = plan
        self._open = False
        self._index = Probe._number % Watch._CONNECTIONS
        Probe._number += 1
        #: How long the last statement and the last commit took, in seconds.
        self._took = [0.0002, 0.001]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "isolation_level":
            self._connection.isolation_level = value
        else:
            super().__setattr__(name, value)

    def execute(self, sql: str, *values: Any) -> Any:
        if sql.startswith("BEGIN IMMEDIATE"):
            result = self._connection.execute(sql)
            self._open = True
            self._watch.set(self._index, Moment.INSIDE)
            return result
        if sql == "COMMIT" and self._open:
            self._watch.set(self._index, Moment.COMMIT)
            result = self._run(1, self._connection.execute, sql)
        elif self._open:
            return self._run(0, self._connection.execute, sql, *values)
        else:
            return self._connection.execute(sql, *values)
        self._open = False
        self._watch.set(self._index, Moment.OUTSIDE)
        return result

    def executemany(self, sql: str, values: Any) -> Any:
        return self._run(0, self._connection.executemany, sql, values)

    def _run(self, kind: int, f: Callable[..., Any], *args: Any) -> Any:
        count, plan = self._watch.count(kind), self._plan
        if plan is not None and plan.kind == ("statement", "commit")[kind] and count == plan.count:
            kill_after(plan.share * self._took[kind])
        begun = time.perf_counter()
        try:
            return f(*args)
        finally:
            self._took[kind] = time.perf_counter() - begun


class _SigEvent(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("pad", ctypes.c_int * 12),
    )


class _TimerSpec(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_long) for name in ("every_s", "every_ns", "after_s", "after_ns"))


def kill_after(seconds: float) -> None:
    """Let the kernel end this process, whatever it does then."""
    if seconds <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
    libc, timer = ctypes.CDLL(None, use_errno=True), ctypes.c_void_p()
    nanoseconds = max(1000, int(seconds * 1e9))
    spec = _TimerSpec(0, 0, nanoseconds // 10**9, nanoseconds % 10**9)
    event = _SigEvent(None, signal.SIGKILL, 0)
    if libc.timer_create(1, ctypes.byref(event), ctypes.byref(timer)) or libc.timer_settime(
        timer, 0, ctypes.byref(spec), None
    ):
        raise OSError(ctypes.get_errno(), "no timer")


@frozen
class Death:
    """How a life ended: killed while it did what, or by itself (*moment* None); what it did before."""

    moment: Moment | None
    statements: int
    commits: int


def live(watch: Watch, plan: Plan | None, life: Callable[[Watch, Plan | None], None]) -> Death:
    """Run *life* in a process of its own; RuntimeError if it fails."""
    watch.begin()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            if plan is not None and plan.kind == "moment":
                kill_after(plan.count / 1000)
            life(watch, plan)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return Death(watch.moment, *watch.counted)
    if status:
        raise RuntimeError(f"the child failed, status {status}; see its traceback above")
    return Death(None, *watch.counted)
