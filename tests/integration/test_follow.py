"""The example clients of the stream where events are missing: bodies that a node does not have, and frozen readers."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from chainp2p.rpc.methods.chain import chain_namespace
from chainp2p.rpc.server import RpcServer
from chainp2p.rpc.subscriptions.cursor import Cursor, ladder
from chainp2p.rpc.subscriptions.stream import Streams
from chainp2p.testing.toychain import ToyChain
from tests.integration.npm import wallets_folder
from tests.integration.processes import ROOT, eventually, scratch
from tests.integration.test_stream import stored

#: Transactions of a large block, whose event has 140 KB; so many are more than all buffers on the way hold.
LARGE, MANY = 2_000, 90
#: Autobahn's timers end up to a second after what they were set for.
TIMERS = 1.2


def _commands() -> Iterator[tuple[list[str], Path]]:
    """How each example is started, and where."""
    yield [sys.executable, str(ROOT / "examples/follow.py")], ROOT
    npm = wallets_folder()
    if npm is not None:
        shutil.copy(ROOT / "examples/follow.mjs", npm / "follow.mjs")
        yield ["node", "follow.mjs"], npm


class Counted(Streams):
    """Knows how often somebody began."""

    begun = 0

    async def prepare(self, *params: Any) -> Any:
        self.begun += 1
        return await super().prepare(*params)


class ExampleTests(TestCase):
    timeout = 180

    def setUp(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self._set_up())

    async def _set_up(self) -> None:
        from twisted.internet import reactor  # noqa: TID251

        self.addCleanup(deferLater, reactor, TIMERS, lambda: None)
        self.chain = ToyChain()
        self.streams = Counted(self.chain)
        self.extend(40)
        self.folder = scratch(self)
        server = RpcServer(
            reactor=reactor,
            endpoint="tcp:0:interface=127.0.0.1",
            namespaces=[chain_namespace(self.chain, self.streams)],
        )
        ((_, port),) = await server.start()
        self.addCleanup(server.stop)
        self.url = f"ws://127.0.0.1:{port}"

    def extend(self, count: int, transactions: int = 0) -> None:
        for _ in range(count):
            height = self.chain.head.height
            self.chain._submit(
                self.chain.make(transactions=[b"%d %d" % (height, index) for index in range(transactions)])
            )

    def best(self) -> list[str]:
        return ["0x" + node.info.hash.hex() for node in self.chain._chain]

    def start(self, command: list[str], cwd: Path, store: Path) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen([*command, str(store), self.url], stderr=subprocess.DEVNULL, cwd=cwd)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def until_it_has(self, store: Path, chain: list[str]) -> "Deferred[Any]":
        return deferToThread(eventually, lambda: store.exists() and stored(store) == chain, 60, f"{store.name} has all")

    def test_bodies_that_are_missing(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self._bodies_that_are_missing())

    async def _bodies_that_are_missing(self) -> None:
        best = self.best()
        hashes = {height: bytes.fromhex(hash[2:]) for height, hash in enumerate(best)}
        for height in range(31):
            del self.chain._bodies[hashes[height]]
        cursor = Cursor.of(5, hashes[5], {at: hashes[at] for at in ladder(5)}).encode().decode()
        for number, (command, cwd) in enumerate(_commands()):
            store = self.folder / f"store{number}"
            store.write_text(json.dumps([cursor, *([height, best[height]] for height in range(6))]) + "\n")
            process = self.start(command, cwd, store)
            await self.until_it_has(store, best)
            process.kill()
            lines = [json.loads(line) for line in store.read_text().splitlines()]
            self.assertEqual([len(line) - 1 for line in lines], [6, 25, *[1] * 10])  # heights 6 to 30 in one line

    def test_a_frozen_one(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self._a_frozen_one())

    async def _a_frozen_one(self) -> None:
        for number, (command, cwd) in enumerate(_commands()):
            store = self.folder / f"store{number}"
            process = self.start(command, cwd, store)
            await self.until_it_has(store, self.best())
            process.send_signal(signal.SIGSTOP)
            for _ in range(MANY // 10):
                self.extend(10, LARGE)
                await deferToThread(time.sleep, 0.01)
            process.send_signal(signal.SIGCONT)
            await self.until_it_has(store, self.best())
            self.assertEqual(self.streams.begun, 2 * (number + 1))  # once more at the gap
            process.kill()
