"""A process of the node's own for work that would hold the GIL: ``Executor.process`` in production.

The child is started by the first task and again when it died, after a pause that doubles while it keeps dying. It
reads tasks from a pipe, so that it ends when the node does, ``kill -9`` included; nothing here ever blocks.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from chainp2p.node.worker import FRAME

__all__ = ["ChildProcess"]

#: Seconds until a child that died is started again: doubling from the one to the other. One that lived so long as the
#: longest pause begins anew.
PAUSE_MIN, PAUSE_MAX = 0.5, 60.0
#: Bytes that an answer may have: more is not what was asked for.
ANSWER_MAX = 1 << 16


class ChildProcess:
    """See ``Process``.

    :param work: a function of a module, which the child imports by its name.
    """

    log = Logger()

    def __init__(self, reactor: Any, name: str, work: Callable[[bytes], Iterator[bytes | None]]) -> None:
        self.name = name
        self._reactor = reactor
        self._work = f"{work.__module__}:{work.__qualname__}"
        self._child: _Child | None = None
        self._number = 0
        self._task = b""
        self._waiting: Deferred[bytes | None] | None = None
        self._deadline: Any = None
        self._restart: Any = None
        self._pause = PAUSE_MIN
        self._stopped = False

    @property
    def pid(self) -> int | None:
        """Of the child, if it runs."""
        return None if self._child is None else self._child.pid

    def ask(self, task: bytes, within: float) -> "Deferred[bytes | None]":
        self.drop()
        if self._stopped:
            return succeed(None)
        self._number = (self._number + 1) % 2**32
        self._task = task
        waiting: Deferred[bytes | None] = Deferred(lambda _: self._cancelled())
        self._waiting = waiting
        self._deadline = self._reactor.callLater(within, self.drop)
        if self._child is not None:
            self._child.send(self._number, task)
        elif self._restart is None:
            self._start()
        return waiting

    def drop(self) -> None:
        waiting = self._forget()
        if waiting is not None:
            waiting.callback(None)

    def stop(self) -> "Deferred[None]":
        """End the child; fires when it is gone."""
        self._stopped = True
        self.drop()
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
        child = self._child
        if child is None:
            return succeed(None)
        gone: Deferred[None] = Deferred()
        child.gone.addCallback(lambda _: gone.callback(None))
        child.kill()
        return gone

    def _cancelled(self) -> None:
        self._forget()

    def _forget(self) -> "Deferred[bytes | None] | None":
        """There is no task any more; answers whose it was."""
        waiting, self._waiting, self._task = self._waiting, None, b""
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None
        if waiting is not None and self._child is not None:
            self._child.send(self._number, b"")
        return waiting

    def _start(self) -> None:
        self._restart = None
        child = _Child(self._answered, self._complained)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-m", "chainp2p.node.worker", self._work]
        began = self._reactor.seconds()
        try:
            self._reactor.spawnProcess(child, sys.executable, command, environment)
        except OSError as error:
            self._died(began, str(error))
            return
        self._child = child
        child.gone.addCallback(lambda why: self._died(began, why))
        if self._task:
            child.send(self._number, self._task)

    def _answered(self, number: int, answer: bytes) -> None:
        if number == self._number and self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self._forget()
            waiting.callback(answer)

    def _complained(self, text: str) -> None:
        self.log.warn("process {name}: {text}", name=self.name, text=text)

    def _died(self, began: float, why: str) -> None:
        self._child = None
        if self._stopped:
            return
        lived = self._reactor.seconds() - began
        pause, self._pause = self._pause, min(2 * self._pause, PAUSE_MAX)
        if lived >= PAUSE_MAX:
            pause, self._pause = PAUSE_MIN, 2 * PAUSE_MIN
        self.log.error(
            "process {name} ended after {lived:.1f} s ({why}); it is started again in {pause} s",
            name=self.name,
            lived=lived,
            why=why,
            pause=pause,
        )
        self._restart = self._reactor.callLater(pause, self._start)
        self.drop()


class _Child(ProcessProtocol):
    """One run of the child."""

    def __init__(self, answered: Callable[[int, bytes], None], complained: Callable[[str], None]) -> None:
        self._answered = answered
        self._complained = complained
        self._data = b""
        #: Fires when it is gone, with the reason.
        self.gone: Deferred[str] = Deferred()

    @property
    def pid(self) -> int | None:
        pid: int | None = self.transport.pid  # type: ignore[union-attr]
        return pid

    def send(self, number: int, task: bytes) -> None:
        if self.transport is not None:
            self.transport.write(FRAME.pack(number, len(task)) + task)

    def kill(self) -> None:
        """It has nothing to lose."""
        if self.transport is not None:
            with contextlib.suppress(ProcessExitedAlready):
                self.transport.signalProcess("KILL")

    def outReceived(self, data: bytes) -> None:
        self._data += data
        while len(self._data) >= FRAME.size:
            number, length = FRAME.unpack_from(self._data)
            if length > ANSWER_MAX:
                self._complained(f"an answer of {length} bytes")
                self.kill()
                return
            end = FRAME.size + length
            if len(self._data) < end:
                return
            answer, self._data = self._data[FRAME.size : end], self._data[end:]
            self._answered(number, answer)

    def errReceived(self, data: bytes) -> None:
        self._complained(data.decode("utf-8", "replace").strip())

    def processEnded(self, reason: Failure) -> None:
        self.gone.callback(reason.getErrorMessage())
