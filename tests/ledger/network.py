"""Ledgers on databases in memory or on disk, an executor that runs everything at once, and a clock set by hand."""

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute, succeed
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.interfaces import (
    BlockProduced,
    FailedBlock,
    FinalityConflict,
    FinalizedChanged,
    HeadChanged,
    HeaderAdded,
    TransactionAdded,
    TransactionDropped,
)
from chainp2p.ledger.chain import Ledger
from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES, DEV_KEYS
from chainp2p.ledger.formats.genesis import Genesis, make_genesis
from chainp2p.ledger.formats.transaction import sign_transaction

ETHER = 10**18
TIME = 1_700_000_000
KEYS = [bytes(DEV_KEYS[index]) for index in range(10)]
ADDRESSES = list(DEV_ADDRESSES)
EVENTS = (
    BlockProduced,
    FailedBlock,
    FinalityConflict,
    FinalizedChanged,
    HeadChanged,
    HeaderAdded,
    TransactionAdded,
    TransactionDropped,
)


class AtOnce:
    """An executor whose jobs run in the caller."""

    spare_cores = 0

    def run(self, f: Callable[..., Any], /, *args: Any) -> "Deferred[Any]":
        return execute(f, *args)

    def lane(self, name: str) -> "AtOnce":
        return self

    def process(self, name: str, work: Callable[[bytes], Any]) -> "SolvedAtOnce":
        return SolvedAtOnce(work)


class SolvedAtOnce:
    """A process whose tasks are solved in the caller."""

    def __init__(self, work: Callable[[bytes], Any]) -> None:
        self._work = work

    def ask(self, task: bytes, within: float) -> "Deferred[bytes | None]":
        return succeed(next(answer for answer in self._work(task) if answer is not None))

    def drop(self) -> None:
        pass


class Clock:
    def __init__(self, now: float = TIME) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Disk:
    """Databases in memory that outlive their connections, by being copied out when a process 'dies'."""

    def __init__(self, files: "dict[str, bytes] | None" = None) -> None:
        self.files = dict(files or {})
        self.open: dict[str, sqlite3.Connection] = {}

    def __call__(self, name: str) -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:")
        if name in self.files:
            connection.deserialize(self.files[name])
        self.open[name] = connection
        return connection

    def copy(self) -> "Disk":
        """What a kill -9 now would leave."""
        files = dict(self.files)
        files.update({name: connection.serialize() for name, connection in self.open.items()})
        return Disk(files)


class Folder:
    """Databases in a directory, as in production."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, name: str) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path / name, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection


def genesis_of(n: int = 2, period_ms: int = 1000, **more: Any) -> Genesis:
    """*n* signers: the first dev accounts, each dev account with 1,000 ether."""
    alloc = dict.fromkeys(ADDRESSES, 1000 * ETHER)
    return make_genesis(
        chain_id=7, signers=ADDRESSES[:n], period_ms=period_ms, alloc=alloc, timestamp=more.pop("timestamp", TIME)
    )


def transfer(key: int, nonce: int, to: int = 9, value: int = 1, **more: Any) -> bytes:
    more.setdefault("max_fee", 2 * 10**9)
    more.setdefault("max_priority_fee", 10**9)
    return sign_transaction(KEYS[key], chain_id=7, nonce=nonce, to=ADDRESSES[to], value=value, **more)


class Harness(SynchronousTestCase):
    """Tests over ledgers."""

    def make(
        self,
        genesis: Genesis,
        signer: int | None = None,
        disk: Any = None,
        clock: Clock | None = None,
        **more: Any,
    ) -> Ledger:
        """An unstarted ledger; *signer* counts the dev keys."""
        ledger = Ledger(
            genesis,
            executor=AtOnce(),
            now=clock or self.clock,
            random=random.Random(1),
            open_database=disk or Disk(),
            signer=None if signer is None else KEYS[signer],
            **more,
        )
        return ledger

    def started(self, *args: Any, **more: Any) -> Ledger:
        """A ledger that runs, and is stopped at the end."""
        ledger = self.make(*args, **more)
        self.get(ledger.start())
        self.addCleanup(lambda: self.get(ledger.stop()))
        ledger.seen = []
        for kind in EVENTS:
            ledger.events.subscribe(kind, ledger.seen.append)
        return ledger

    def setUp(self) -> None:
        self.clock = Clock()

    def get(self, deferred: "Deferred[Any]") -> Any:
        return self.successResultOf(deferred)

    def seal(self, ledger: Ledger, slot: int) -> bytes | None:
        """Let *ledger* produce at the start of *slot*."""
        self.clock.now = max(self.clock.now, ledger.engine.start_of(slot))
        return self.get(ledger.produce(ledger.engine.start_of(slot)))

    def feed(self, ledger: Ledger, raw: bytes) -> Any:
        return self.get(ledger.submit_block(raw))

    def chain_of(self, ledger: Ledger) -> list[bytes]:
        return [self.get(ledger.hash_at(height)) for height in range(ledger.head.height + 1)]
