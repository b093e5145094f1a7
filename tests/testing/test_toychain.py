"""The toy chain keeps the contract of chains, so that what is proved over it means something."""

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from chainp2p.chain.interfaces import (
    AlreadyKnown,
    Connected,
    HeadChanged,
    HeadersRejected,
    IChain,
    Invalid,
    ITransactionPool,
    NotYet,
    ParentMissing,
    Stored,
)
from chainp2p.testing.toychain import FAILS, ToyChain, ToyHeader


class Contract(SynchronousTestCase):
    def setUp(self) -> None:
        self.chain = ToyChain(now=lambda: 10.0)
        self.successResultOf(self.chain.start())

    def submit(self, raw: bytes) -> object:
        return self.successResultOf(self.chain.submit_block(raw))

    def test_interfaces(self) -> None:
        verifyObject(IChain, self.chain)
        verifyObject(ITransactionPool, self.chain)
        self.assertEqual(self.chain.settings_hashes(), [(0, self.chain.genesis_hash)])
        self.successResultOf(self.chain.stop())

    def test_verdicts(self) -> None:
        raw = self.chain.make(transactions=[b"a", b"b"])
        hash = self.chain.block_hash(raw)
        header, transactions = self.chain.split(raw)
        self.assertEqual(self.chain.assemble(header, [item for _, item in transactions]), raw)
        self.assertIsInstance(self.submit(raw), Connected)
        self.assertIsInstance(self.submit(raw), AlreadyKnown)
        self.assertEqual(self.successResultOf(self.chain.block(hash)), raw)
        self.assertEqual(self.successResultOf(self.chain.header(hash)), header)
        self.assertIsNone(self.successResultOf(self.chain.header(b"?" * 32)))
        self.assertEqual(self.successResultOf(self.chain.hash_at(1)), hash)
        self.assertIsNone(self.successResultOf(self.chain.hash_at(2)))
        self.assertIsInstance(self.submit(self.chain.make(time=10_001)), NotYet)
        self.assertIsInstance(self.submit(b"x"), Invalid)
        self.assertIsInstance(self.submit(self.chain.make(weight=0)), Invalid)
        self.assertRaises(ValueError, self.chain.split, header + b"\xff\xff\xff\xffx")
        other = ToyChain()
        other.submit_block(other.make(salt=4))
        self.assertIsInstance(self.submit(other.make()), ParentMissing)
        self.assertIsInstance(self.submit(self.chain.make(parent=self.chain.genesis_hash, salt=1)), Stored)

    def test_a_failing_branch_is_left_and_stays_bad(self) -> None:
        bad = self.chain.make(transactions=[FAILS], weight=5)
        for _ in range(2):
            self.assertIsInstance(self.submit(bad), Invalid)
        child = ToyHeader(self.chain.block_hash(bad), 2, 1, 0, bytes(32), bytes(8)).raw
        problem = self.failureResultOf(self.chain.check_headers([child]), HeadersRejected).value
        self.assertTrue(problem.condemned)
        self.assertEqual(self.successResultOf(self.chain.check_headers([])), [])

    def test_served_blocks_end_before_the_limit_and_a_reorg_is_one_event(self) -> None:
        changes: list[HeadChanged] = []
        self.chain.events.subscribe(HeadChanged, changes.append)
        raws = []
        for _ in range(5):
            raws.append(self.chain.make(transactions=[bytes(100)]))
            self.submit(raws[-1])
        first = self.chain.block_hash(raws[0])
        self.assertEqual(self.successResultOf(self.chain.blocks_from(first, 9, 450)), raws[:2])
        self.assertEqual(self.successResultOf(self.chain.blocks_from(first, 9, 1)), raws[:1])
        self.submit(self.chain.make(parent=self.chain.genesis_hash, weight=50))
        self.assertEqual((len(changes), len(changes[-1].left), len(changes[-1].entered)), (6, 5, 1))
        self.assertEqual(self.successResultOf(self.chain.blocks_from(first, 9, 10**6)), raws[:1])
        self.assertIsNone(self.successResultOf(self.chain.blocks_from(b"?" * 32, 9, 10**6)))
