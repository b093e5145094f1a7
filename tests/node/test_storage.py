"""What a node says of a disk that takes nothing, over a real chain on a real database."""

import random
import sqlite3

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.stored import StoredChain
from chainp2p.net.store import PeerStore
from chainp2p.node.production import Production
from chainp2p.node.storage import TRY_INTERVAL, StorageCheck
from chainp2p.testing.toychain import ToyChain
from tests.chain.counter import CounterRules


class AtOnce:
    def run(self, f, /, *args):
        return execute(f, *args)

    def lane(self, name: str) -> "AtOnce":
        return self


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.connection = sqlite3.connect(":memory:")
        self.chain = StoredChain(
            CounterRules(random.Random(1)),
            executor=AtOnce(),
            now=lambda: 1_700_000_000 + self.clock.seconds(),
            open_database=lambda name: self.connection,
        )
        self.successResultOf(self.chain.start())
        self.log: list[tuple[LogLevel, str]] = []
        globalLogPublisher.addObserver(self._observe)
        self.addCleanup(globalLogPublisher.removeObserver, self._observe)

    def _observe(self, event) -> None:
        if event["log_namespace"].startswith("chainp2p"):
            self.log.append((event["log_level"], event["log_format"].format(**event)))

    def fill(self) -> None:
        self.connection.execute("PRAGMA max_page_count=1")  # that is: as many as there are

    def make_room(self) -> None:
        self.connection.execute("PRAGMA max_page_count=100000")


class StorageCheckTests(Case):
    def test_it_is_said_once_and_tried_again(self) -> None:
        check = StorageCheck(self.chain, self.clock.seconds)
        self.assertIsNone(check())
        self.fill()
        self.successResultOf(self.chain.store_again())
        for _ in range(12):
            name, text = check()
            self.clock.advance(1.0)
        self.assertEqual(name, "storage")
        self.assertIn("the disk is full: make room", text)
        self.assertEqual([level for level, _ in self.log], [LogLevel.error])
        self.make_room()
        self.clock.advance(TRY_INTERVAL)
        check()
        self.assertIsNone(check())
        self.assertEqual([level for level, _ in self.log], [LogLevel.error, LogLevel.info])
        self.assertIn("can be stored again", self.log[-1][1])

    def test_a_chain_that_does_not_tell_is_never_blamed(self) -> None:
        self.assertIsNone(StorageCheck(ToyChain(), self.clock.seconds)())

    def test_a_producer_is_asked_again_without_a_word(self) -> None:
        self.fill()
        producer = Production(
            chain=self.chain, reactor=self.clock, now=lambda: 1_700_000_000 + self.clock.seconds(), alone=True
        )
        asked: list[float] = []

        def produce(now: float) -> Deferred:
            asked.append(now)
            return execute(self.chain._opened().store.try_disk)

        self.patch(self.chain, "produce", produce)
        self.patch(self.chain, "next_time", lambda now: now)
        producer.start()
        for _ in range(4):
            self.clock.advance(1.0)
        producer.stop()
        self.assertGreaterEqual(len(asked), 3)
        self.assertEqual(self.flushLoggedErrors(), [])


class PeersTests(Case):
    def test_what_could_not_be_stored_is_stored_with_the_next(self) -> None:
        database = sqlite3.connect(":memory:")
        store = PeerStore(lambda name: database, AtOnce())
        self.successResultOf(store.load())
        database.execute("PRAGMA max_page_count=1")
        for number in range(400):
            store.save_removed(number.to_bytes(32, "big"), True)
        stored = database.execute("SELECT count(*) FROM removed").fetchone()[0]
        self.assertLess(stored, 400)
        self.assertEqual([level for level, _ in self.log], [LogLevel.error])
        self.assertIn("what is known of peers cannot be stored", self.log[0][1])
        database.execute("PRAGMA max_page_count=100000")
        store.save_removed((0).to_bytes(32, "big"), False)
        self.assertEqual(database.execute("SELECT count(*) FROM removed").fetchone(), (399,))
        self.successResultOf(store.close())
        self.assertEqual(self.flushLoggedErrors(), [])
