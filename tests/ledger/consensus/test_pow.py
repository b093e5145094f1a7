"""Every rule that a mined header can break, and how difficulty and rank follow from the headers."""

import random
from itertools import count

from twisted.trial.unittest import SynchronousTestCase

import chainp2p.ledger.branches
from chainp2p.chain.interfaces import HeadersRejected
from chainp2p.ledger.consensus.asert import MAX_TARGET, difficulty_of, exponent, scaled, target_of
from chainp2p.ledger.consensus.engine import HeaderInvalid
from chainp2p.ledger.consensus.pow import MEDIAN_OF, Work
from chainp2p.ledger.formats.header import Header
from tests.ledger.network import TIME, Disk, Harness
from tests.ledger.quarry import Mined, Quarry, work_genesis


class HeaderRules(SynchronousTestCase):
    def setUp(self) -> None:
        self.quarry = Quarry(work_genesis())
        self.line = self.quarry.line(self.quarry.root, 3)

    def check(self, made: Mined, parent: Mined) -> None:
        self.quarry.work.check(made.header, parent.entry, parent.header.number + 1)

    def refused(self, text: str, **more: object) -> None:
        made = self.quarry.grow(self.line[-1], **more)
        with self.assertRaises(HeaderInvalid) as caught:
            self.check(made, self.line[-1])
        self.assertIn(text, str(caught.exception))

    def test_good_ones(self) -> None:
        parent = self.quarry.root
        for made in self.line:
            self.check(made, parent)
            parent = made
        self.assertIn("height 3", repr(parent.entry))

    def test_the_hash_has_to_meet_the_difficulty(self) -> None:
        self.refused("does not meet difficulty", valid=False)

    def test_the_difficulty_is_that_of_the_schedule(self) -> None:
        self.refused("must be", difficulty=1)
        self.refused("difficulty 0, must be", difficulty=0)
        self.refused("must be", difficulty=self.quarry.work.difficulty_after(self.line[-1].entry) + 1)

    def test_no_seal_and_no_mix_hash(self) -> None:
        self.refused("a seal", seal=bytes(65))
        self.refused("mix hash", mix_hash=b"\1" * 32)

    def test_what_every_header_has(self) -> None:
        self.refused("number 3 does not follow", number=3)
        self.refused("gas used", gas_used=1 << 40)
        self.refused("gas limit", gas_limit=5000)
        self.refused("base fee", base_fee=1)

    def test_above_the_median_of_the_last_eleven(self) -> None:
        chance = random.Random(4)
        parent, times = self.quarry.root, [TIME]
        for _ in range(40):
            median = sorted(times[-11:])[len(times[-11:]) // 2]
            self.assertEqual(parent.entry.median, median)
            self.assertEqual(len(parent.entry.times), min(len(times), 11))
            late = self.quarry.grow(parent, timestamp=median)
            with self.assertRaises(HeaderInvalid) as caught:
                self.check(late, parent)
            self.assertIn("median", str(caught.exception))
            made = self.quarry.grow(parent, timestamp=median + chance.randint(1, 60))
            self.check(made, parent)
            parent = made
            times.append(made.header.timestamp)

    def test_fifteen_seconds_ahead_of_the_clock_is_early(self) -> None:
        work, header = self.quarry.work, self.line[-1].header
        self.assertFalse(work.is_early(header, header.timestamp - 15))
        self.assertTrue(work.is_early(header, header.timestamp - 15.1))
        self.assertEqual(work.not_before(header), header.timestamp - 15)


class Difficulty(SynchronousTestCase):
    def test_as_in_the_design_whatever_the_times(self) -> None:
        for seed in range(8):
            chance = random.Random(seed)
            genesis = work_genesis(difficulty=chance.choice((1, 3, 40)), period_ms=2500, half_life=60)
            quarry = Quarry(genesis)
            parent, first = quarry.root, None
            for height in range(1, 40):
                made = quarry.grow(parent, timestamp=parent.entry.median + chance.randint(1, 12))
                first = first or made
                expected = genesis.header.difficulty
                if height > 1:
                    late = (parent.header.timestamp - first.header.timestamp) * 1000 - 2500 * (height - 2)
                    expected = difficulty_of(scaled(target_of(expected), exponent(late, 60)))
                self.assertEqual(made.header.difficulty, expected, f"seed {seed} block {height}")
                parent = made

    def test_years_before_the_first_block_change_nothing(self) -> None:
        quarry = Quarry(work_genesis(difficulty=9))
        first = quarry.grow(quarry.root, 10**9)
        self.assertEqual((first.header.difficulty, quarry.work.difficulty_after(first.entry)), (9, 9))

    def test_on_schedule_it_stays_behind_it_falls_ahead_it_rises(self) -> None:
        work = Work(work_genesis(difficulty=10**6, period_ms=10_000, half_life=100))
        quarry = Quarry(work_genesis(difficulty=1))
        entries = {seconds: quarry.line(quarry.root, 11, seconds)[-1].entry for seconds in (5, 10, 20)}
        # ten blocks after the first: 50 s ahead, on schedule, 100 s behind
        found = {seconds: work.difficulty_after(entry) for seconds, entry in entries.items()}
        self.assertEqual(found[10], 10**6)
        self.assertLess(abs(found[5] / 10**6 - 2**0.5), 0.001)
        self.assertLess(abs(found[20] / 10**6 - 0.5), 0.001)

    def test_rank_is_total_difficulty(self) -> None:
        quarry = Quarry(work_genesis(difficulty=5, half_life=60))
        total, parent = 5, quarry.root
        for made in (parent, *quarry.line(parent, 20, 4)):
            total += made.header.difficulty if made.header.number else 0
            rank = quarry.work.rank(made.entry, made.header.number)
            self.assertEqual((len(rank), int.from_bytes(rank, "big")), (32, total))

    def test_a_total_that_nobody_can_mine_is_held_at_the_end(self) -> None:
        quarry = Quarry(work_genesis(difficulty=MAX_TARGET))
        header = quarry.genesis.header
        entry = quarry.work.follow(header, b"", quarry.root.entry, 1)
        self.assertEqual(quarry.work.rank(entry, 1), b"\xff" * 32)


class Stored(SynchronousTestCase):
    def test_an_entry_comes_back_whole_or_from_its_parent(self) -> None:
        quarry = Quarry(work_genesis())
        parent = quarry.root
        for made in (parent, *quarry.line(parent, 15, 7, miner=3)):
            again = quarry.work.unpack(made.header, quarry.work.pack(made.entry, whole=True))
            follows = again
            if made is not parent:
                rest = quarry.work.pack(made.entry, whole=False)
                self.assertEqual(rest, b"")
                follows = quarry.work.follow(made.header, rest, parent.entry, made.header.number)
            for entry in (again, follows):
                for name in ("slot", "producer", "times", "began", "total", "gas_limit", "gas_used", "base_fee"):
                    self.assertEqual(getattr(entry, name), getattr(made.entry, name), name)
                self.assertEqual((entry.signer, entry.base, entry.pieces), (b"", 0, 0))
                self.assertEqual(entry.finalized, entry.justified)
            parent = made


class Runs(Harness):
    """Headers checked batch after batch, of which none is kept: on what ASERT remembers, of constant size."""

    def setUp(self) -> None:
        super().setUp()
        self.clock.now = TIME + 10**6
        self.quarry = Quarry(work_genesis(half_life=120))
        self.raws = [made.header.raw for made in self.quarry.line(self.quarry.root, 70, 8)]

    def test_in_parts_as_in_one_and_of_constant_size(self) -> None:
        for seed in range(6):
            chance = random.Random(seed)
            ledger = self.started(self.quarry.genesis)
            whole = self.get(ledger.check_headers(self.raws))
            at, infos, after = 0, [], None
            while at < len(self.raws):
                part = self.raws[at : at + chance.randint(1, 30)]
                found, after = self.get(ledger.check_run(part, after))
                infos, at = infos + found, at + len(part)
                self.assertIsNone(after.parent)
                self.assertLessEqual(len(after.data.times), MEDIAN_OF)
            self.assertEqual(infos, whole)
            self.assertEqual(ledger.best_header.height, 0)

    def test_the_first_bad_one_is_named(self) -> None:
        ledger = self.started(self.quarry.genesis)
        _, after = self.get(ledger.check_run(self.raws[:40], None))
        bad = Header.decode(self.raws[45])
        target = target_of(bad.difficulty)
        other = map(bad.with_nonce, count())
        worse = next(made for made in other if int.from_bytes(made.hash, "big") > target)
        run = [*self.raws[40:45], worse.raw, *self.raws[46:]]
        error = self.failureResultOf(ledger.check_run(run, after), HeadersRejected).value
        self.assertEqual((error.index, error.condemned, error.when), (5, False, None))
        self.assertIn("does not meet", error.reason)

    def test_a_restart_and_a_fork_from_below_the_tree(self) -> None:
        self.patch(chainp2p.ledger.branches, "KEPT_BELOW_FINALIZED", 8)
        disk = Disk()
        ledger = self.started(self.quarry.genesis, disk=disk, max_reorg_depth=2)
        line = self.quarry.line(self.quarry.root, 150, 8)
        for made in line:
            self.feed(ledger, made.raw)
        ledger = self.started(self.quarry.genesis, disk=disk.copy(), max_reorg_depth=2)
        self.assertEqual((ledger.head.height, ledger.finalized.height), (150, 0))
        self.assertEqual(ledger._core().branches.tree.floor, 128)
        self.assertIsNotNone(ledger._core().rows.undo(23))
        fork = self.quarry.line(line[69], 3, 9)
        self.assertEqual(len(self.get(ledger.add_headers([made.header.raw for made in fork]))), 3)
        self.feed(ledger, self.quarry.grow(line[-1], 8).raw)
        self.assertEqual(ledger.head.height, 151)
