"""A miner of the ledger: templates, searches that end for a new head, rewards, and the search itself."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.interfaces import BlockProduced
from chainp2p.ledger.consensus.asert import target_of
from chainp2p.ledger.formats.header import Header
from chainp2p.ledger.producing.search import SLICE, Task, search
from chainp2p.primitives.keccak import keccak256
from tests.ledger.network import ADDRESSES, ETHER, TIME, AtOnce, Harness, transfer
from tests.ledger.quarry import Quarry, work_genesis


class Slow(AtOnce):
    """Its process answers when the test says so."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.waiting: Deferred[bytes | None] | None = None

    def process(self, name: str, work: Any) -> "Slow":
        return self

    def ask(self, task: bytes, within: float) -> "Deferred[bytes | None]":
        self.drop()
        self.tasks.append(Task.decode(task))
        self.waiting = Deferred()
        return self.waiting

    def drop(self) -> None:
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.callback(None)

    def solve(self) -> None:
        waiting, self.waiting = self.waiting, None
        waiting.callback(next(answer for answer in search(self.tasks[-1].encode()) if answer is not None))


class Mining(Harness):
    def miner(self, genesis: Any, account: int = 0, **more: Any) -> Any:
        return self.started(genesis, mine=ADDRESSES[account], **more)

    def test_blocks_with_what_the_pool_holds_and_their_reward(self) -> None:
        ledger = self.miner(work_genesis(reward=2 * ETHER))
        self.assertTrue(ledger.can_produce())
        self.assertEqual(ledger.producer_address, ADDRESSES[0])
        self.get(ledger.admit(transfer(1, 0, to=9, value=5), True))
        before = ledger.pool.state.account(ADDRESSES[0]).balance
        raws = []
        for _ in range(3):
            self.clock.now += 10
            self.assertEqual(ledger.next_time(self.clock.now), self.clock.now)
            raws.append(self.get(ledger.produce(self.clock.now)))
        self.assertEqual(ledger.head.height, 3)
        self.assertEqual([event.raw for event in ledger.seen if isinstance(event, BlockProduced)], raws)
        state = ledger.pool.state
        self.assertEqual(state.account(ADDRESSES[0]).balance - before, 6 * ETHER + 21_000 * 10**9)
        self.assertEqual(state.account(ADDRESSES[9]).balance, 1000 * ETHER + 5)
        other = self.started(ledger.genesis)
        for raw in raws:
            self.feed(other, raw)
        self.assertEqual(other.head, ledger.head)
        header = Header.decode(other.split(raws[0])[0])
        self.assertEqual((header.seal, header.mix_hash, header.miner), (b"", bytes(32), ADDRESSES[0]))
        self.assertEqual(other._core().rows.undo(3)[0], ledger.head.hash)

    def test_a_new_head_ends_the_search(self) -> None:
        executor = Slow()
        genesis = work_genesis()
        ledger = self.with_executor(executor, genesis)
        self.clock.now = TIME + 100
        making = ledger.produce(self.clock.now)
        self.assertNoResult(making)
        block = Quarry(genesis).grow(Quarry(genesis).root, 50, miner=1)
        self.feed(ledger, block.raw)
        self.assertIsNone(self.get(making))
        making = ledger.produce(self.clock.now)
        first, second = executor.tasks
        self.assertIn(block.hash, second.before)
        self.assertNotEqual(first.start, second.start)
        executor.solve()
        self.assertIsNotNone(self.get(making))
        self.assertEqual(ledger.head.height, 2)

    def test_abandoned_at_the_end_and_when_the_process_has_no_answer(self) -> None:
        executor = Slow()
        ledger = self.with_executor(executor, work_genesis())
        self.clock.now = TIME + 100
        for end in (ledger.abandon, executor.drop):
            making = ledger.produce(self.clock.now)
            end()
            self.assertIsNone(self.get(making))
        self.assertEqual(ledger.head.height, 0)

    def test_a_nonce_that_comes_after_another_block(self) -> None:
        executor = Slow()
        genesis = work_genesis()
        ledger = self.with_executor(executor, genesis)
        self.clock.now = TIME + 100
        making = ledger.produce(self.clock.now)
        executor.drop, drop = (lambda: None), executor.drop  # the answer is under way already
        self.feed(ledger, Quarry(genesis).grow(Quarry(genesis).root, 50, miner=1).raw)
        executor.drop = drop
        executor.solve()
        self.assertIsNone(self.get(making))
        self.assertEqual(ledger.head.height, 1)

    def with_executor(self, executor: Slow, genesis: Any) -> Any:
        ledger = self.make(genesis, mine=ADDRESSES[0])
        ledger._executor = executor
        self.get(ledger.start())
        self.addCleanup(lambda: self.get(ledger.stop()))
        return ledger

    def test_a_clock_far_behind_mines_nothing(self) -> None:
        genesis = work_genesis(timestamp=TIME + 1000)
        ledger = self.miner(genesis)
        self.assertIsNone(self.get(ledger.produce(self.clock.now)))
        self.clock.now = TIME + 990
        self.assertIsNotNone(self.get(ledger.produce(self.clock.now)))

    def test_who_may_and_how_long_it_waits(self) -> None:
        alone = self.miner(work_genesis(), sole_start=True)
        self.assertEqual((alone.sole_producer(), alone.warm_up_seconds()), (True, 0.0))
        among = self.miner(work_genesis())
        self.assertEqual((among.sole_producer(), among.warm_up_seconds()), (False, 10.0))
        watcher = self.started(work_genesis())
        self.assertEqual((watcher.can_produce(), watcher.producer_address), (False, None))
        self.assertIsNone(watcher.next_time(self.clock.now))


class Search(SynchronousTestCase):
    @settings(derandomize=True, deadline=None, max_examples=40)
    @given(st.binary(max_size=300), st.binary(max_size=40), st.integers(1, 300), st.integers(0, 2**64 - 1))
    def test_it_finds_the_first_from_its_start(self, before: bytes, after: bytes, difficulty: int, start: int) -> None:
        task = Task(before, after, target_of(difficulty), start)
        self.assertEqual(Task.decode(task.encode()), task)
        *pauses, found = search(task.encode())
        self.assertEqual(set(pauses) - {None}, set())
        tries = (int.from_bytes(found, "big") - start) % 2**64
        self.assertEqual(tries // SLICE, len(pauses))
        good = [
            step
            for step in range(tries + 1)
            if int.from_bytes(keccak256(before + ((start + step) % 2**64).to_bytes(8, "big") + after), "big")
            <= task.target
        ]
        self.assertEqual(good, [tries])
