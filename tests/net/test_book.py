"""The address book over restarts, kills and clocks that jump."""

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.net import book as keeping
from chainp2p.net.book import SAVE_INTERVAL, SAVE_PAUSE, BookKeeper
from chainp2p.net.store import PeerStore
from chainp2p.peer.address import NodeAddress
from chainp2p.peer.book import FAILURES_MAX, AddressBook
from chainp2p.peer.known import HORIZON
from chainp2p.settings import PUBLIC
from chainp2p.testing.databases import MemoryDisk
from chainp2p.testing.executor import SimExecutor
from tests.net.test_network import World
from tests.peer.test_book import IDS, KEYS, US, ended, record, unsigned

EPOCH = 1.8e9


class Run:
    """One run of a book on a disk; *skew*: by how many seconds its wall clock is wrong."""

    def __init__(self, disk, begin=1_000.0, skew=0.0, welcome=lambda peer_id: True, seed=1):
        self.clock = Clock()
        self.clock.rightNow = begin
        self.skew = skew
        self.store = PeerStore(disk.open, SimExecutor(self.clock))
        self.book = AddressBook(PUBLIC, Random(seed), US)
        self.causes = []
        self.keeper = BookKeeper(self.clock, self.now, self.store, self.book, welcome, self.causes.append)
        loaded = []
        self.store.load().addCallback(loaded.append)
        self.clock.advance(0)
        self.keeper.start(loaded[0].book)
        self.clock.advance(0)

    def now(self):
        return EPOCH + self.clock.seconds() + self.skew

    def learn(self, number, now=None):
        now = self.clock.seconds() if now is None else now
        one = unsigned(number, f"{11 + number % 80}.{number // 80}.1.1")
        return self.book.learn(one, f"8.{number % 50}.4.4", now)

    def stop(self):
        self.keeper.stop()
        self.store.close()
        self.clock.advance(0)


class KeeperTest(SynchronousTestCase):
    def setUp(self):
        self.disk = MemoryDisk()
        self.addCleanup(self.disk.erase)

    def test_a_clean_stop_stores_all(self):
        run = Run(self.disk)
        for n in range(500):
            run.learn(n)
        run.book.reached((7).to_bytes(32, "big"), 1_000.0)
        run.book.anchor((7).to_bytes(32, "big"))
        run.stop()
        again = Run(self.disk, seed=2)
        self.assertEqual(again.book.secret, run.book.secret)
        self.assertEqual(
            {one.peer_id: one.sources for one in again.book}, {one.peer_id: one.sources for one in run.book}
        )
        self.assertEqual(again.book.counts(), run.book.counts())
        self.assertEqual([one.peer_id for one in again.book.anchors()], [(7).to_bytes(32, "big")])
        self.assertEqual(run.clock.getDelayedCalls(), [])

    def test_a_kill_takes_the_last_seconds_only(self):
        self.patch(keeping, "SAVE_CHUNK", 100)
        run = Run(self.disk)
        for n in range(250):
            run.learn(n)
        learnt = {one.peer_id for one in run.book}
        run.clock.advance(SAVE_INTERVAL)
        for _ in range(3):
            run.clock.advance(SAVE_PAUSE)
        run.learn(900)
        run.clock.advance(SAVE_INTERVAL - 1)
        self.disk.crash()
        self.assertEqual({one.peer_id for one in Run(self.disk, seed=2).book}, learnt)

    def test_anchors_are_stored_when_they_change(self):
        run = Run(self.disk)
        for n in range(3):
            run.learn(n)
            run.book.reached(n.to_bytes(32, "big"), 1_000.0)
            run.book.anchor(n.to_bytes(32, "big"))
        run.clock.advance(SAVE_INTERVAL)
        self.disk.crash()
        self.assertEqual(len(Run(self.disk).book.anchors()), 2)

    def test_what_is_forgotten_is_forgotten_on_disk(self):
        run = Run(self.disk)
        for n in range(2):
            run.learn(n)
        run.stop()
        run = Run(self.disk)
        run.book.forget((0).to_bytes(32, "big"))
        run.stop()
        self.assertEqual([one.peer_id for one in Run(self.disk).book], [(1).to_bytes(32, "big")])

    def test_who_is_not_welcome_any_more_and_who_is_stale_is_left_out_for_good(self):
        run = Run(self.disk)
        run.learn(0)
        run.learn(1)
        run.learn(2, now=1_000.0 - HORIZON)
        run.stop()
        Run(self.disk, begin=1_001.0, welcome=lambda peer_id: peer_id[-1] != 1).stop()
        self.assertEqual([one.peer_id[-1] for one in Run(self.disk).book], [0])

    def test_times_are_those_of_the_wall_whatever_the_reactor_counts(self):
        run = Run(self.disk, begin=5_000.0)
        run.learn(0)
        run.book.reached(bytes(32), 5_000.0)
        run.stop()
        # a machine that was booted a day later counts from 10 again
        later = Run(self.disk, begin=10.0, skew=5_000.0 + 86_400.0)
        known = later.book.get(bytes(32))
        self.assertAlmostEqual(later.clock.seconds() - known.reached_at, 86_410.0, 3)
        self.assertAlmostEqual(later.clock.seconds() - known.seen_at, 86_410.0, 3)
        self.assertEqual((known.here, known.not_before), (False, 0.0))

    def test_a_clock_that_was_ahead_makes_nothing_young_for_ever(self):
        run = Run(self.disk, skew=10 * HORIZON)
        run.learn(0)
        run.book.reached(bytes(32), 1_000.0)
        run.stop()
        later = Run(self.disk, begin=2_000.0)
        known = later.book.get(bytes(32))
        self.assertEqual((known.seen_at, known.reached_at), (2_000.0, 2_000.0))

    def test_held_peers_leave_what_was_learnt_of_them(self):
        run = Run(self.disk)
        run.book.hold(NodeAddress(IDS[0], "node.example", 7))
        run.book.hold(NodeAddress(IDS[1], "8.8.8.8", 30303))
        run.book.learn(record(KEYS[1]), "8.8.4.4", 1_000.0)
        run.book.reached(IDS[1], 1_000.0)
        run.book.ended(IDS[1], ended(IDS[1], ready=True), 1_001.0)
        run.stop()
        again = Run(self.disk)
        known = again.book.get(IDS[1])
        self.assertEqual((len(again.book), known.held, known.tried), (1, False, True))

    def test_who_loses_a_place_can_be_asked_about(self):
        run = Run(self.disk)
        for key, source in ((KEYS[0], "8.8.4.4"), (KEYS[1], "9.9.9.9")):
            run.book.learn(record(key), source, 1_000.0)
        run.book.reached(IDS[0], 1_000.0)
        run.keeper.ended(IDS[0], ended(IDS[0], ready=True))
        run.clock.advance(86_400.0)
        run.book.reached(IDS[1], run.clock.seconds())  # at the same endpoint
        run.keeper.ended(IDS[0], ended(None))
        run.learn(2)
        for _ in range(FAILURES_MAX + 1):
            run.keeper.ended((2).to_bytes(32, "big"), ended(None))
        run.keeper.ended(IDS[5], ended(None))
        self.assertEqual([one.code for one in run.causes], ["slot_lost", "given_up"])
        self.assertEqual([one.meant for one in run.causes], [IDS[0], (2).to_bytes(32, "big")])
        self.assertEqual(run.causes[1].evidence["failures"], FAILURES_MAX + 1)

    def test_metrics(self):
        run = Run(self.disk)
        run.learn(0)
        run.learn(0)
        values = {(name, *labels.values()): value for name, labels, value in run.keeper.metrics()}
        self.assertEqual(values["chainp2p_book", "new"], 1)
        self.assertEqual(values["chainp2p_records_total", "known"], 1)
        self.assertEqual(values["chainp2p_records_total", "no_slot"], 0)

    def test_a_book_that_cannot_be_written_is_said_and_survived(self):
        run = Run(self.disk)
        run.store._database.execute("DROP TABLE address")
        run.learn(0)
        run.clock.advance(SAVE_INTERVAL)
        run.clock.advance(0)
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        self.assertEqual(len(run.book), 1)


class NetworkTest(SynchronousTestCase):
    def test_a_killed_node_finds_its_peers_by_its_book(self):
        world = World()
        first = world.node().start()
        other = world.node(bootstrap_nodes=(first.address,)).start()
        world.run(SAVE_INTERVAL + 1)
        first.host.kill()
        first.disk.crash()
        first.host = first.host.boot()
        first.start()
        world.run(40)
        self.assertEqual(first.peers, [other.key.peer_id])

    def test_a_removed_peer_does_not_come_back_with_the_book(self):
        world = World()
        first = world.node().start()
        other = world.node(bootstrap_nodes=(first.address,)).start()
        world.run(SAVE_INTERVAL + 1)
        first.network.remove_peer(other.key.peer_id)
        first.stop().start()
        self.assertNotIn(other.key.peer_id, first.network._book)
