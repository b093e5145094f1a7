"""Ledgers that hand their state to others, and others that begin at it."""

from typing import Any

from chainp2p.chain.interfaces import Connected, HeadChanged
from chainp2p.chain.states import ChunkRefused, ChunkTaken, StateGoal
from chainp2p.ledger.chain import Ledger
from chainp2p.ledger.formats.transaction import sign_transaction
from chainp2p.ledger.snapshots import snapshot_interval
from chainp2p.ledger.state import chunks
from tests.ledger.network import ADDRESSES, ETHER, KEYS, Disk, Harness, genesis_of
from tests.ledger.quarry import Quarry, work_genesis

#: 64 periods in ten minutes: a state is kept for others at each 64th height.
PERIOD = 10_000
GRID = 64
NO_BASE = bytes(32)


class Base(Harness):
    def setUp(self) -> None:
        super().setUp()
        self.genesis = genesis_of(1, PERIOD)
        self.disk = Disk()
        self.old = self.started(self.genesis, 0, disk=self.disk)
        self.nonce = 0
        # a chunk that holds all is a short test: let 400 bytes be too much for one
        self.patch(chunks.make_chunk, "__defaults__", (None, 400))

    def grow(self, height: int, every: int = 1) -> None:
        """Let the old one seal up to *height*, with a transfer to a new address in each block."""
        while self.old.head.height < height:
            if self.old.head.height % every == 0:
                self.get(self.old.admit(self.pay(self.nonce.to_bytes(20, "big")), True))
                self.nonce += 1
            self.assertIsNotNone(self.seal(self.old, self.old.head.height + 1))

    def pay(self, to: bytes) -> bytes:
        return sign_transaction(
            KEYS[5], chain_id=7, nonce=self.nonce, to=to, value=self.nonce + 1, max_fee=2 * 10**9, max_priority_fee=1
        )

    def teach(self, ledger: Ledger) -> None:
        """Let *ledger* know all headers."""
        raws = self.get(self.old.headers_after(ledger.best_header.hash, 2_000))
        self.get(ledger.add_headers(raws))

    def fetch(self, ledger: Ledger, goal: StateGoal, stop: int = -1) -> int:
        """Download the state, or *stop* chunks of it; answer how many chunks that took."""
        taken = self.get(ledger.begin_state(goal))
        todo, count = list(taken.open), 0
        while todo and count != stop:
            part = todo.pop(0)
            chunk = self.get(self.old.state_chunk(goal.root, part.base, part.prefix))
            (result,) = self.get(ledger.take_chunks([(part.prefix, chunk)]))
            self.assertIsInstance(result, ChunkTaken)
            todo += result.open
            count += 1
        return count

    def goal(self, ledger: Ledger, current: StateGoal | None = None) -> Any:
        return self.get(ledger.state_goal(current))

    def adopt(self, ledger: Ledger, goal: StateGoal) -> str:
        return self.get(ledger.adopt_state(goal, self.get(self.old.block(goal.block.hash))))


class Whole(Base):
    def test_it_begins_at_the_state_and_goes_on_by_blocks(self) -> None:
        self.grow(GRID + 10)
        disk = Disk()
        new = self.started(self.genesis, disk=disk)
        self.teach(new)
        goal = self.goal(new)
        self.assertEqual(goal.block, self.get(self.old.header_at(GRID)))
        self.assertGreater(self.fetch(new, goal), 10)
        self.assertEqual(new.head.height, 0)
        self.assertEqual(self.adopt(new, goal), "")
        self.assertEqual((new.head, new.finalized), (goal.block, goal.block))
        self.assertEqual(
            [e for e in new.seen if isinstance(e, HeadChanged)], [HeadChanged(goal.block, (), (goal.block,))]
        )
        self.assertEqual([info.height for info in self.get(new.missing(100))], list(range(GRID + 1, GRID + 11)))
        for height in range(GRID + 1, GRID + 11):
            raw = self.get(self.old.block(self.get(self.old.hash_at(height))))
            self.assertIsInstance(self.feed(new, raw), Connected)
        self.same(new)
        # and after a restart
        self.same(self.started(self.genesis, disk=disk.copy()))

    def same(self, new: Ledger) -> None:
        self.assertEqual(new.head, self.old.head)
        self.assertEqual(new.finalized, self.old.finalized)
        self.assertEqual(self.chain_of(new), self.chain_of(self.old))
        state = self.get(new.reader.state(new.head.hash))
        self.assertEqual(list(state.rows()), list(self.get(self.old.reader.state(self.old.head.hash)).rows()))
        # what lies below is not there, and nobody is told otherwise
        low = self.get(new.hash_at(5))
        self.assertIsNone(self.get(new.block(low)))
        self.assertIsNone(self.get(new.blocks_from(low, 100, 1 << 20)))
        self.assertIsNone(self.get(new.reader.account(ADDRESSES[5], low)))
        self.assertIsNotNone(self.get(new.header(low)))

    def test_it_serves_what_it_was_served(self) -> None:
        self.grow(GRID + 2)
        new = self.started(self.genesis)
        self.teach(new)
        goal = self.goal(new)
        self.fetch(new, goal)
        self.adopt(new, goal)
        whole = self.get(self.old.state_chunk(goal.root, NO_BASE, b"\3"))
        self.assertEqual(self.get(new.state_chunk(goal.root, NO_BASE, b"\3")), whole)

    def test_a_kill_at_any_chunk_loses_none(self) -> None:
        self.grow(GRID + 1)
        disk, total = Disk(), 0
        goal: Any = None
        for stop in (3, 4, 5, -1):
            new = self.started(self.genesis, disk=disk)
            self.teach(new)
            goal = self.goal(new, goal)
            total += self.fetch(new, goal, stop)
            if stop < 0:
                self.assertEqual(self.adopt(new, goal), "")
            disk = disk.copy()
        fresh = self.started(self.genesis)
        self.teach(fresh)
        once = self.fetch(fresh, goal)
        self.assertLessEqual(
            total, once + 3 * 3
        )  # the root is asked for again, and branches some of whose parts are not here


class Targets(Base):
    def test_the_grid(self) -> None:
        self.assertEqual(
            [snapshot_interval(ms) for ms in (250, 500, 1_000, 5_000, 600_000, 10**9)], [2048, 1024, 512, 128, 1, 1]
        )
        self.assertEqual(snapshot_interval(0), 1024)

    def test_none_on_a_short_chain_or_where_blocks_were_connected(self) -> None:
        self.grow(GRID - 1)
        new = self.started(self.genesis)
        self.assertIsNone(self.goal(new))
        self.teach(new)
        self.assertIsNone(self.goal(new))
        self.grow(GRID + 1)
        self.teach(new)
        self.assertIsNotNone(self.goal(new))
        self.assertIsNone(self.goal(self.old))
        self.feed(new, self.get(self.old.block(self.get(self.old.hash_at(1)))))
        self.assertIsNone(self.goal(new))

    def test_the_last_two_are_served_after_a_restart_too(self) -> None:
        self.grow(3 * GRID + 2, every=3)
        again = self.started(self.genesis, disk=self.disk.copy())
        for ledger in (self.old, again):
            for height, served in ((3, True), (2, True), (1, ledger is self.old)):
                root = self.get(self.old.reader.header(self.get(self.old.hash_at(height * GRID)))).state_root
                chunk = self.get(ledger.state_chunk(root, NO_BASE, b""))
                self.assertEqual(chunk is not None, served, (height, ledger is again))
        self.assertIsNone(self.get(again.state_chunk(bytes(32), NO_BASE, b"")))

    def test_it_turns_to_a_newer_one_by_what_changed(self) -> None:
        self.grow(GRID + 1)
        new = self.started(self.genesis)
        self.teach(new)
        first = self.goal(new)
        all = self.fetch(new, first)
        self.grow(2 * GRID + 1, every=16)
        self.teach(new)
        self.assertEqual(self.goal(new, first), first)
        self.assertEqual(self.goal(new).block.height, 2 * GRID)
        self.grow(3 * GRID + 1, every=16)
        self.teach(new)
        second = self.goal(new, first)
        self.assertEqual(second.block.height, 3 * GRID)
        self.assertLess(self.fetch(new, second), all)
        self.assertEqual(self.adopt(new, second), "")
        self.assertEqual(new._core().chain.state.root, second.root)

    def test_another_branch_means_another_goal(self) -> None:
        self.grow(GRID + 1)
        new = self.started(self.genesis)
        self.teach(new)
        goal = self.goal(new)
        stranger = StateGoal(self.get(self.old.header_at(GRID - 1)), bytes(32))
        self.assertEqual(self.goal(new, stranger), stranger)
        lost = StateGoal(type(goal.block)(bytes(32), bytes(32), GRID, goal.block.rank), bytes(32))
        self.assertEqual(self.goal(new, lost), goal)


class Mined(Base):
    def test_a_block_a_hundred_deep_where_work_decides(self) -> None:
        quarry = Quarry(work_genesis(difficulty=1, period_ms=PERIOD, reward=ETHER))
        line = quarry.line(quarry.root, GRID + 105)
        self.clock.now = line[-1].header.timestamp
        self.genesis = quarry.genesis
        self.old = self.started(self.genesis)
        self.get(self.old.submit_blocks([made.raw for made in line], line[-1].hash))
        disk = Disk()
        new = self.started(self.genesis, disk=disk)
        self.teach(new)
        goal = self.goal(new)
        self.assertEqual(goal.block.hash, line[GRID - 1].hash)
        self.fetch(new, goal)
        self.assertEqual(self.adopt(new, goal), "")
        verdicts = self.get(new.submit_blocks([made.raw for made in line[GRID:]], line[-1].hash))
        self.assertEqual({type(verdict) for verdict in verdicts}, {Connected})
        for one in (new, self.started(self.genesis, disk=disk.copy())):
            self.assertEqual(one.head, self.old.head)
            self.assertEqual(one._core().chain.state.root, line[-1].header.state_root)
        fork = quarry.line(line[-20], 25, 6, 1)
        self.get(new.submit_blocks([made.raw for made in fork], fork[-1].hash))
        self.assertEqual(new.head.hash, fork[-1].hash)


class Lies(Base):
    def test_what_is_wrong_is_refused_and_the_rest_kept(self) -> None:
        self.grow(GRID + 1)
        new = self.started(self.genesis)
        self.teach(new)
        goal = self.goal(new)
        self.get(new.begin_state(goal))
        root = self.get(self.old.state_chunk(goal.root, NO_BASE, b""))
        good = self.get(self.old.state_chunk(goal.root, NO_BASE, b"\1"))
        results = self.get(new.take_chunks([(b"", root), (b"\1", root), (b"\2", good), (b"\1", good)]))
        self.assertEqual([type(result) for result in results], [ChunkTaken, ChunkRefused, ChunkRefused, ChunkTaken])

    def test_parts_that_are_not_the_whole_are_not_adopted(self) -> None:
        self.grow(GRID + 1)
        new = self.started(self.genesis)
        self.teach(new)
        goal = self.goal(new)
        self.fetch(new, goal, 9)
        self.assertIn("does not have the root", self.adopt(new, goal))
        self.assertEqual(new.head.height, 0)
        self.assertEqual(self.get(new.begin_state(goal)).entries, 0)
        self.fetch(new, goal)
        self.assertIn("broken", self.get(new.adopt_state(goal, b"\xc0")))
        other = self.get(self.old.block(self.get(self.old.hash_at(3))))
        self.assertIn("not the one", self.get(new.adopt_state(goal, other)))
        self.assertEqual(self.adopt(new, goal), "")

    def test_forgotten(self) -> None:
        self.grow(GRID + 1)
        new = self.started(self.genesis)
        self.teach(new)
        goal = self.goal(new)
        self.fetch(new, goal, 9)
        self.get(new.drop_state())
        self.assertEqual(self.get(new.begin_state(goal)).entries, 0)
        self.assertEqual(self.get(new.reader.account(ADDRESSES[9], new.head.hash)).balance, 1000 * ETHER)
