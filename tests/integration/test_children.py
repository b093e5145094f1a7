"""A child process of a node: it works, is interrupted, dies and comes back, and never outlives whoever started it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from chainp2p.node.threads import ThreadExecutor
from tests.integration.processes import ROOT, eventually, process_exists


def count_down(task: bytes) -> Iterator[bytes | None]:
    """Yield so many times, then answer."""
    for _ in range(int(task)):
        yield None
    yield b"done " + task


def loud(task: bytes) -> Iterator[bytes | None]:
    """Write to stderr and die."""
    raise ValueError("this task cannot be done")
    yield


#: A program that starts a child which works without end, prints its pid, and waits.
_PARENT = """
from twisted.internet import reactor
from chainp2p.node.threads import ThreadExecutor
from tests.integration.test_children import count_down
executor = ThreadExecutor(reactor, 1)
child = executor.process("test", count_down)
child.ask(b"1000000000000", 3600.0)
reactor.callLater(0.1, lambda: print(child.pid, flush=True))
reactor.run()
"""


@pytest.mark.integration
class ChildTests(TestCase):
    timeout = 120

    def setUp(self) -> None:
        from twisted.internet import reactor  # noqa: TID251

        self.reactor = reactor
        self.executor = ThreadExecutor(reactor, 1)
        self.addCleanup(self.executor.stop)

    def test_tasks_answers_and_interruptions(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self.work())

    async def work(self) -> None:
        child = self.executor.process("test", count_down)
        self.assertIsNone(child.pid)
        self.assertEqual(await child.ask(b"3", 60.0), b"done 3")
        pid = child.pid
        endless = child.ask(b"1000000000000", 60.0)
        self.assertEqual(await child.ask(b"5", 60.0), b"done 5")
        self.assertIsNone(await endless)
        self.assertIsNone(await child.ask(b"1000000000000", 0.2))
        dropped = child.ask(b"1000000000000", 60.0)
        child.drop()
        self.assertIsNone(await dropped)
        started = time.monotonic()
        self.assertEqual(await child.ask(b"0", 60.0), b"done 0")
        self.assertLess(time.monotonic() - started, 5.0)
        self.assertEqual(child.pid, pid)
        asked = child.ask(b"1000000000000", 60.0)
        await self.executor.stop()
        self.assertIsNone(await asked)
        self.assertFalse(process_exists(pid))
        self.assertIsNone(await child.ask(b"1", 60.0))

    def test_one_that_dies_is_started_again(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self.die())

    async def die(self) -> None:
        child = self.executor.process("test", count_down)
        self.assertEqual(await child.ask(b"1", 60.0), b"done 1")
        first = child.pid
        asked = child.ask(b"1000000000000", 60.0)
        os.kill(first, signal.SIGKILL)
        self.assertIsNone(await asked)
        self.assertEqual(await child.ask(b"2", 60.0), b"done 2")
        self.assertNotEqual(child.pid, first)
        self.assertTrue(self.flushLoggedErrors() == [])

    def test_one_that_fails_says_why_and_is_tried_less_and_less_often(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self.fail_loudly())

    async def fail_loudly(self) -> None:
        said: list[str] = []
        child = self.executor.process("test", loud)
        child._complained = said.append
        for pause in (0.5, 1.0):
            self.assertIsNone(await child.ask(b"x", 60.0))
            self.assertIsNone(child.pid)
            self.assertTrue(child._restart.active())
            self.assertLess(abs(child._restart.getTime() - self.reactor.seconds() - pause), pause / 2)
            await deferLater(self.reactor, 0.0)
        self.assertIn("this task cannot be done", "".join(said))

    def test_it_is_gone_with_its_parent_however_that_went(self) -> None:
        for how in (signal.SIGKILL, signal.SIGTERM):
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
            command = [sys.executable, "-c", _PARENT]
            parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
            try:
                assert parent.stdout is not None
                pid = int(parent.stdout.readline())
                self.assertTrue(process_exists(pid))
                parent.send_signal(how)
                parent.wait(30)
                eventually(lambda pid=pid: not process_exists(pid), 30, "the child is gone")
            finally:
                parent.kill()
                parent.wait()
                parent.stdout.close()
