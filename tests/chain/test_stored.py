"""Rules of blocks as a whole chain: forks, storage, pool, production; alone, and as four nodes in the simulator."""

import sqlite3
from random import Random

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from chainp2p.chain import rules
from chainp2p.chain.interfaces import (
    Admission,
    AlreadyKnown,
    BlockProduced,
    Connected,
    FailedBlock,
    Fault,
    FinalityConflict,
    FinalizedChanged,
    HeadChanged,
    HeaderAdded,
    HeadersRejected,
    IBlockProducer,
    IChain,
    Invalid,
    ITransactionPool,
    NotYet,
    ParentMissing,
    Stored,
    TransactionAdded,
    TransactionDropped,
)
from chainp2p.chain.stored import POOL_MAX, StoredChain
from chainp2p.errors import StartupError
from chainp2p.testing.clock import HeapClock
from chainp2p.testing.databases import MemoryDisk
from chainp2p.testing.executor import SimExecutor
from chainp2p.testing.simulator import Simulation
from tests.chain.counter import CounterRules

EPOCH = 1_700_000_000.0


class Final(CounterRules):
    """Blocks two below a header are final by it."""

    def check_header(self, header, parent, ancestors, now):
        summary = super().check_header(header, parent, ancestors, now)
        below = list(zip(range(2), ancestors, strict=False))
        return rules.Summary(summary.rank, below[-1][1].header.hash if len(below) == 2 else None)


class Refusing(CounterRules):
    """Blocks that count ``poison`` fail when they are connected."""

    def connect(self, block, state):
        super().connect(block, state)
        if state.get(b"poison"):
            raise rules.BlockRefused("poison")

    def check_transaction(self, raw, state):
        return "" if raw.startswith(b"poison") else super().check_transaction(raw, state)


class StoredCase(SynchronousTestCase):
    """A chain of its own, and how to make blocks for it."""

    rules: type = CounterRules

    def setUp(self) -> None:
        self.clock = HeapClock()
        self.disk = MemoryDisk()
        self.chain = self.open()

    def now(self) -> float:
        return EPOCH + self.clock.seconds()

    def open(self, kind: type | None = None, disk: MemoryDisk | None = None, seed: int = 1) -> StoredChain:
        chain = StoredChain(
            (kind or self.rules)(Random(seed)),
            executor=SimExecutor(self.clock),
            now=self.now,
            open_database=(disk or self.disk).open,
        )
        self.wait(chain.start())
        return chain

    def wait(self, done):
        self.clock.run_for(0.001)
        return self.successResultOf(done)

    def fails(self, done, kind):
        self.clock.run_for(0.001)
        return self.failureResultOf(done, kind).value

    def make(self, count: int, *transactions: bytes, seed: int = 9, parent: StoredChain | None = None) -> list[bytes]:
        """Blocks of another chain of the same rules, the transactions in the first."""
        other = self.open(CounterRules if self.rules is Refusing else None, MemoryDisk(), seed)
        if parent is not None:
            raws = self.wait(parent.blocks_from(parent.genesis_hash, 1_000, 1 << 30))[1:]
            self.wait(other.submit_blocks(raws, parent.head.hash))
        made = []
        for number in range(count):
            raw = None
            while raw is None:
                core = other._opened()
                raw = other._propose(core, transactions if number == 0 else (), self.now())
            verdict = self.wait(other.submit_block(raw))
            self.assertIsInstance(verdict, Connected)
            made.append(raw)
        return made

    def submit(self, raw: bytes):
        return self.wait(self.chain.submit_block(raw))


class Promises:
    """What every chain of rules keeps."""

    def test_interfaces(self) -> None:
        for interface in (IChain, ITransactionPool, IBlockProducer):
            verifyObject(interface, self.chain)
        self.assertRaises(TypeError, StoredChain, object(), executor=None, now=None, open_database=None)
        self.assertEqual(self.chain.settings_hashes(), ((0, self.chain.genesis_hash),))

    def test_connects_and_reads(self) -> None:
        raws = self.make(3, b"apples 3 a")
        events: list[object] = []
        for kind in (HeadChanged, HeaderAdded):
            self.chain.events.subscribe(kind, events.append)
        self.assertIsInstance(self.submit(raws[0]), Connected)
        self.assertIsInstance(self.submit(raws[0]), AlreadyKnown)
        self.assertEqual([type(event) for event in events], [HeaderAdded, HeadChanged])
        verdicts = self.wait(self.chain.submit_blocks(raws[1:], b""))
        self.assertEqual([type(verdict) for verdict in verdicts], [Connected, Connected])
        self.assertEqual(self.wait(self.chain.value(b"apples")), b"3")
        genesis, head = self.chain.genesis_hash, self.chain.head
        header, transactions = self.chain.split(raws[0])
        self.assertEqual(self.chain.assemble(header, [raw for _, raw in transactions]), raws[0])
        self.assertEqual(self.chain.block_hash(header), self.chain.block_hash(raws[0]))
        self.assertEqual(self.wait(self.chain.header(self.chain.block_hash(header))), header)
        self.assertEqual(self.wait(self.chain.block(head.hash)), raws[2])
        self.assertEqual(self.wait(self.chain.hash_at(3)), head.hash)
        self.assertEqual(self.wait(self.chain.locate(head.hash)), head)
        self.assertIsNone(self.wait(self.chain.locate(bytes(32))))
        self.assertEqual(self.wait(self.chain.header_at(3)), head)
        self.assertIsNone(self.wait(self.chain.header_at(4)))
        self.assertEqual(self.wait(self.chain.headers_after(genesis, 1)), [header])
        self.assertEqual(self.wait(self.chain.blocks_from(genesis, 9, 1 << 30))[1:], raws)

    def test_headers_first(self) -> None:
        raws = self.make(4)
        headers = [self.chain.split(raw)[0] for raw in raws]
        infos = self.wait(self.chain.check_headers(headers))
        self.assertEqual(self.chain.best_header.height, 0)
        self.assertEqual(self.wait(self.chain.add_headers(headers)), infos)
        self.assertEqual(self.wait(self.chain.add_headers(headers)), infos)
        self.assertEqual((self.chain.best_header, self.chain.head.height), (infos[-1], 0))
        self.assertEqual(self.wait(self.chain.missing(3)), infos[:3])
        self.assertIsInstance(self.submit(raws[1]), Stored)
        self.assertEqual(self.wait(self.chain.missing(9)), [infos[0], *infos[2:]])
        self.assertIsInstance(self.submit(raws[0]), Connected)
        self.assertEqual(self.chain.head.height, 2)

    def test_what_is_refused(self) -> None:
        raws = self.make(3)
        headers = [self.chain.split(raw)[0] for raw in raws]
        error = self.fails(self.chain.add_headers([headers[0], b"short"]), HeadersRejected)
        self.assertEqual((error.index, self.chain.best_header.height), (1, 1))
        error = self.fails(self.chain.add_headers([headers[2]]), HeadersRejected)
        self.assertTrue(error.parent_missing)
        self.assertIsInstance(self.submit(raws[2]), ParentMissing)
        bad = self.submit(rules.pack_block(headers[1], [b"not of it"]))
        self.assertEqual((type(bad), bad.fault), (Invalid, Fault.SENDER))
        idle = bytearray(headers[0])
        idle[-1] ^= 1
        bad = self.submit(rules.pack_block(bytes(idle), []))
        self.assertEqual((bad.reason, bad.fault), ("too little work", Fault.SENDER))

    def test_a_block_from_the_future(self) -> None:
        self.clock.run_for(100)
        raw = self.make(1)[0]
        self.now = lambda: EPOCH  # type: ignore[method-assign]
        early = self.open(disk=MemoryDisk())
        verdict = self.wait(early.submit_block(raw))
        self.assertIsInstance(verdict, NotYet)
        self.assertAlmostEqual(verdict.when, EPOCH + 98, places=1)

    def test_restart_and_crash(self) -> None:
        raws = self.make(5, b"apples 2 a")
        for raw in raws[:4]:
            self.submit(raw)
        head = self.chain.head
        self.wait(self.chain.stop())
        self.chain = self.open()
        self.assertEqual(self.chain.head, head)
        self.disk.crash()
        self.chain = self.open()
        self.assertEqual(self.chain.head, head)
        self.assertIsInstance(self.submit(raws[4]), Connected)
        self.assertEqual(self.wait(self.chain.value(b"apples")), b"2")

    def test_another_network(self) -> None:
        class Other(CounterRules):
            def genesis(self):
                return self.write_block(super().genesis()[4:-1] + b"\1", [])

        self.wait(self.chain.stop())
        chain = StoredChain(
            Other(Random(1)), executor=SimExecutor(self.clock), now=self.now, open_database=self.disk.open
        )
        self.assertIn("another network", str(self.fails(chain.start(), StartupError)))

    def test_pool(self) -> None:
        admit = lambda raw: self.wait(self.chain.admit(raw, True)).outcome  # noqa: E731
        self.assertEqual(admit(b"apples 1 a"), Admission.ADMITTED)
        self.assertEqual(admit(b"apples 1 a"), Admission.KNOWN)
        self.assertEqual(admit(b"apples one a"), Admission.REJECTED)
        hash = self.chain.transaction_hash(b"apples 1 a")
        self.assertEqual(self.chain.transaction(hash), b"apples 1 a")
        self.submit(self.make(1, b"apples 1 a")[0])
        self.assertEqual(self.chain.transaction_hashes(), [])
        self.assertEqual(admit(b"apples 1 a"), Admission.IGNORED)
        for number in range(POOL_MAX):
            self.chain._keep(b"%d" % number, b"x")
        self.assertEqual(admit(b"apples 1 b"), Admission.IGNORED)

    def test_production(self) -> None:
        produced: list[BlockProduced] = []
        self.chain.events.subscribe(BlockProduced, produced.append)
        self.assertIsNone(self.chain.next_time(self.now()))
        self.assertIsNone(self.wait(self.chain.produce(self.now())))
        self.wait(self.chain.admit(b"apples 1 a", True))
        while self.chain.head.height == 0:
            self.assertEqual(self.chain.next_time(self.now()), self.now())
            self.wait(self.chain.produce(self.now()))
        self.assertEqual([one.header for one in produced], [self.chain.head])
        self.assertEqual((self.chain.transaction_hashes(), self.chain.warm_up_seconds()), ([], 0.0))


class StoredTest(Promises, StoredCase):
    def test_reorg_returns_transactions(self) -> None:
        short, long = self.make(1, b"apples 1 a", b"pears 1 b"), self.make(3, b"pears 1 b", seed=4)
        self.submit(short[0])
        events: list[object] = []
        for kind in (HeadChanged, TransactionAdded, TransactionDropped):
            self.chain.events.subscribe(kind, events.append)
        for raw in long:
            self.submit(raw)
        counted = {key: value for key, value in self.wait(self.chain.state()).items() if b"seen" not in key}
        self.assertEqual(counted, {b"pears": b"1"})
        changes = [event for event in events if isinstance(event, HeadChanged)]
        self.assertEqual(sum(len(change.left) for change in changes), 1)
        self.assertEqual(sum(len(change.entered) for change in changes), 3)
        self.assertEqual([self.chain.transaction(hash) for hash in self.chain.transaction_hashes()], [b"apples 1 a"])
        self.assertEqual(sum(isinstance(event, TransactionAdded) for event in events), 1)


class RefusingTest(Promises, StoredCase):
    rules = Refusing

    def test_a_block_that_fails(self) -> None:
        good, bad = self.make(1, b"apples 1 a"), self.make(3, b"poison 1 b", seed=3)
        self.submit(good[0])
        state = self.wait(self.chain.state())
        failed: list[FailedBlock] = []
        self.chain.events.subscribe(FailedBlock, failed.append)
        verdicts = self.wait(self.chain.submit_blocks(bad, b""))
        self.assertEqual({(type(one), one.fault) for one in verdicts}, {(Invalid, Fault.SIGNER)})
        self.assertEqual((self.chain.head.height, self.wait(self.chain.state())), (1, state))
        self.assertEqual([(one.header.hash, one.signer) for one in failed], [(self.chain.block_hash(bad[0]), None)])
        headers = [self.chain.split(raw)[0] for raw in bad]
        self.assertTrue(self.fails(self.chain.add_headers(headers), HeadersRejected).condemned)
        self.wait(self.chain.stop())
        self.chain = self.open()
        self.assertEqual((self.chain.head.height, self.chain.best_header.height), (1, 1))
        again = self.submit(bad[0])
        self.assertEqual((type(again), again.fault), (Invalid, Fault.SIGNER))


class FinalTest(Promises, StoredCase):
    rules = Final

    def test_finality(self) -> None:
        finals: list[FinalizedChanged] = []
        conflicts: list[FinalityConflict] = []
        self.chain.events.subscribe(FinalizedChanged, finals.append)
        self.chain.events.subscribe(FinalityConflict, conflicts.append)
        ours, theirs = self.make(4), self.make(7, seed=3)
        for raw in ours:
            self.submit(raw)
        self.assertEqual([final.header.height for final in finals], [1, 2])
        headers = [self.chain.split(raw)[0] for raw in theirs]
        self.wait(self.chain.check_headers(headers))
        self.assertEqual(len(conflicts), 1)
        self.assertEqual((self.chain.head.height, self.chain.can_produce()), (4, False))
        for raw in theirs:
            self.assertIsInstance(self.submit(raw), Stored)
        self.assertEqual((self.chain.head.height, self.chain.finalized.height), (4, 2))

    def test_a_restart_does_not_end_a_conflict(self) -> None:
        theirs = self.make(7, seed=3)
        for raw in self.make(4):
            self.submit(raw)
        self.wait(self.chain.check_headers([self.chain.split(raw)[0] for raw in theirs]))
        found = self.chain.conflict
        assert found is not None
        for _ in range(2):
            self.disk.crash()
            self.chain = self.open()
            told: list[FinalityConflict] = []
            self.chain.events.subscribe(FinalityConflict, told.append)
            self.assertEqual((self.chain.conflict, self.chain.can_produce()), (found, False))
            self.submit(theirs[0])
            self.assertEqual((self.chain.conflict, told), (found, []))


class DatabaseTest(SynchronousTestCase):
    def test_newer_schema(self) -> None:
        disk, clock = MemoryDisk(), HeapClock()
        connection: sqlite3.Connection = disk.open("chain.sqlite")
        connection.execute("PRAGMA user_version=99")
        chain = StoredChain(
            CounterRules(Random(1)), executor=SimExecutor(clock), now=clock.seconds, open_database=disk.open
        )
        done = chain.start()
        clock.run_for(1)
        self.assertIn("schema 99", str(self.failureResultOf(done, StartupError).value))


class FullDiskTest(StoredCase):
    def test_a_block_waits_for_room(self) -> None:
        first, *blocks = self.make(60, b"apples 1 1")
        self.submit(first)
        file = self.chain._opened().store.connection
        file.execute("PRAGMA max_page_count=1")
        seen: list[object] = []
        self.chain.events.subscribe(HeadChanged, seen.append)
        refused = None
        # a page has room for some small rows
        for raw in blocks:
            done = self.chain.submit_block(raw)
            self.clock.run_for(0.001)
            found: list[object] = []
            done.addBoth(found.append)
            if not isinstance(found[0], Connected):
                refused = found[0]
                break
        assert refused is not None
        self.assertIn("the disk is full: make room", str(refused.value))
        self.assertIn("the disk is full", self.chain.storage_error)
        height, count = self.chain.head.height, len(seen)
        self.wait(self.chain.store_again())
        self.assertNotEqual(self.chain.storage_error, "")
        file.execute("PRAGMA max_page_count=1000000")
        self.wait(self.chain.store_again())
        self.assertEqual(self.chain.storage_error, "")
        self.assertIsInstance(self.submit(raw), Connected)
        self.assertEqual((self.chain.head.height, len(seen)), (height + 1, count + 1))
        after = self.wait(self.chain.state())
        self.disk.crash()
        self.chain = self.open()
        self.assertEqual(self.wait(self.chain.state()), after)


class SimulatorTest(SynchronousTestCase):
    def test_four_nodes(self) -> None:
        def make(parts):
            kind = CounterRules(parts.random)
            return StoredChain(kind, executor=parts.executor, now=parts.now, open_database=parts.open_database)

        simulation = Simulation(3, make_chain=make)
        self.addCleanup(simulation.close)
        simulation.add_nodes(4, signers=0)
        simulation.start()
        for number in range(20):
            machine = simulation.machines[number % 3]
            machine.node.submit_transaction(b"apples %d %d" % (number, number))
            simulation.run_for(1)
            if number == 10:
                simulation.machines[3].kill()
            if number == 12:
                simulation.machines[3].start()
        simulation.run_for(30)
        values: list[bytes | None] = []
        for machine in simulation.machines:
            machine.node.chain.value(b"apples").addCallback(values.append)
        simulation.run_for(1)
        self.assertTrue(simulation.one_head())
        counted = sum(range(20))
        self.assertEqual(values, [b"%d" % counted] * 4)
        self.assertEqual(simulation.errors, [])
