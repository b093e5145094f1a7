"""Reorganisations that are too deep: refused, and allowed once; blocks that an operator invalidates and reconsiders."""

import random
from typing import Any

from zope.interface.verify import verifyObject

import chainp2p.ledger.branches
from chainp2p.chain.interfaces import Connected, HeadChanged, IReorgs, Stored
from chainp2p.chain.tree import better
from chainp2p.ledger.chain import Ledger
from tests.ledger.forge import Forge
from tests.ledger.network import TIME, Disk, Harness, genesis_of
from tests.ledger.quarry import Mined, Quarry, work_genesis


class Deep(Harness):
    """A limit of 5 on a network with proof of work."""

    LIMIT = 5

    def setUp(self) -> None:
        super().setUp()
        self.clock.now = TIME + 10**6
        self.quarry = Quarry(work_genesis())

    def ledger(self, disk: Any = None, limit: int | None = LIMIT) -> Ledger:
        return self.started(self.quarry.genesis, disk=disk, max_reorg_depth=limit)

    def all(self, ledger: Ledger, line: list[Mined]) -> None:
        for made in line:
            self.feed(ledger, made.raw)

    def rivals(self, depth: int) -> tuple[list[Mined], list[Mined]]:
        """A chain, and a longer one that parts *depth* blocks below its head."""
        common = self.quarry.line(self.quarry.root, 3)
        ours = self.quarry.line(common[-1], depth)
        theirs = self.quarry.line(common[-1], depth + 2, miner=1)
        return common + ours, theirs

    def test_what_is_as_deep_as_allowed_is_followed(self) -> None:
        ours, theirs = self.rivals(self.LIMIT)
        ledger = self.ledger()
        verifyObject(IReorgs, ledger)
        self.all(ledger, ours + theirs)
        self.assertEqual(ledger.head.hash, theirs[-1].hash)
        self.assertEqual((ledger.refused, ledger.finalized.height), ((), 0))

    def test_one_block_deeper_is_refused_until_allowed(self) -> None:
        ours, theirs = self.rivals(self.LIMIT + 1)
        disk = Disk()
        ledger = self.ledger(disk)
        self.all(ledger, ours)
        for made in theirs:
            self.assertIsInstance(self.feed(ledger, made.raw), Stored)
        for ledger in [ledger, self.ledger(disk.copy())]:  # noqa: B020 - and after a restart
            self.assertEqual(ledger.head.hash, ours[-1].hash)
            self.assertEqual(ledger.best_header.hash, ours[-1].hash)
            (refused,) = ledger.refused
            self.assertEqual(refused.tip.hash, theirs[-1].hash)
            self.assertEqual((refused.head, refused.depth), (ledger.head, self.LIMIT + 1))
            self.assertEqual(refused.ancestor.hash, ours[2].hash)
            self.assertTrue(refused.tip.rank > refused.head.rank)
        self.assertEqual(self.get(ledger.accept_reorg(theirs[2].hash)), "")
        self.assertEqual(ledger.best_header.hash, theirs[-1].hash)
        self.assertEqual(ledger.refused, ())
        self.assertEqual([info.hash for info in self.get(ledger.missing(100))], [made.hash for made in theirs])
        self.all(ledger, theirs)
        self.assertEqual(ledger.head.hash, theirs[-1].hash)
        (change,) = [event for event in ledger.seen if isinstance(event, HeadChanged) and event.left]
        self.assertEqual([info.hash for info in change.left], [made.hash for made in ours[:2:-1]])

    def test_it_is_allowed_once(self) -> None:
        ours, theirs = self.rivals(self.LIMIT + 1)
        ledger = self.ledger()
        self.all(ledger, ours + theirs)
        self.assertEqual(self.get(ledger.accept_reorg(theirs[-1].hash)), "")
        self.all(ledger, theirs)
        self.assertEqual(ledger.head.hash, theirs[-1].hash)
        again = self.quarry.line(ours[-1], 3)
        self.all(ledger, again)
        self.assertEqual(ledger.head.hash, theirs[-1].hash)
        self.assertEqual(ledger.refused[0].tip.hash, again[-1].hash)

    def test_an_allowance_awaits_its_blocks_through_restarts_while_ours_grow(self) -> None:
        ours, theirs = self.rivals(self.LIMIT + 1)
        theirs += self.quarry.line(theirs[-1], 6, miner=1)
        disk = Disk()
        ledger = self.ledger(disk)
        self.all(ledger, ours)
        self.get(ledger.add_headers([made.header.raw for made in theirs]))
        self.assertEqual(self.get(ledger.accept_reorg(theirs[0].hash)), "")
        third = self.quarry.line(ours[4], 12, miner=2)
        self.all(ledger, self.quarry.line(ours[-1], 3))
        ledger = self.ledger(disk.copy())
        self.assertEqual(ledger.best_header.hash, theirs[-1].hash)
        self.get(ledger.add_headers([made.header.raw for made in third[:3]]))
        self.assertEqual(ledger.best_header.hash, theirs[-1].hash)
        self.all(ledger, theirs)
        self.assertEqual(ledger.head.hash, theirs[-1].hash)

    def test_an_allowance_lapses_when_ours_is_better(self) -> None:
        ours, theirs = self.rivals(self.LIMIT + 1)
        ledger = self.ledger()
        self.all(ledger, ours)
        self.get(ledger.add_headers([made.header.raw for made in theirs]))
        self.assertEqual(self.get(ledger.accept_reorg(theirs[0].hash)), "")
        self.all(ledger, self.quarry.line(ours[-1], 12))
        more = self.quarry.line(theirs[-1], 14, miner=1)
        self.get(ledger.add_headers([made.header.raw for made in more]))
        self.assertEqual(ledger.refused[0].tip.hash, more[-1].hash)
        self.assertEqual(ledger.best_header, ledger.head)

    def test_why_a_branch_cannot_be_accepted(self) -> None:
        ours, theirs = self.rivals(self.LIMIT + 1)
        ledger = self.ledger()
        self.all(ledger, ours + theirs)
        accept = lambda hash: self.get(ledger.accept_reorg(hash))  # noqa: E731
        self.assertIn("not known", accept(bytes(32)))
        self.assertIn("not refused", accept(ours[-1].hash))
        self.assertIn("not refused", accept(ours[0].hash))
        self.assertEqual(self.get(ledger.invalidate_block(theirs[1].hash)), "")
        self.assertIn("failed", accept(theirs[-1].hash))
        self.assertEqual(ledger.refused, ())
        self.assertEqual(self.get(ledger.reconsider_block(theirs[1].hash)), "")
        self.assertEqual(self.get(ledger.set_finalized(ours[4].hash)), "")
        self.assertEqual(ledger.finalized.hash, ours[4].hash)
        self.assertIn("below the finalized block", accept(theirs[-1].hash))

    def test_far_below_the_tree_nothing_is_known_but_the_tip(self) -> None:
        self.patch(chainp2p.ledger.branches, "KEPT_BELOW_FINALIZED", 16)
        ours = self.quarry.line(self.quarry.root, 240, 3)
        theirs = self.quarry.line(ours[0], 260, 3, miner=1)
        ledger = self.ledger()
        self.all(ledger, ours)
        self.assertGreater(ledger._core().branches.tree.floor, 100)
        self.get(ledger.add_headers([made.header.raw for made in theirs]))
        (refused,) = ledger.refused
        self.assertEqual((refused.tip.hash, refused.ancestor, refused.depth), (theirs[-1].hash, None, None))
        self.assertEqual(ledger.head.hash, ours[-1].hash)
        self.assertIn("too far below", self.get(ledger.accept_reorg(theirs[-1].hash)))
        self.assertEqual(ledger.finalized.hash, self.quarry.root.hash)

    def test_any_life_against_looking_at_everything(self) -> None:
        """Naively: follow the best chain that parts no deeper than the limit below the highest head so far."""
        for seed in range(12):
            chance = random.Random(seed)
            made = {self.quarry.root.hash: self.quarry.root}
            disk = Disk()
            ledger = self.ledger(disk, limit=3)
            head, settled = self.quarry.root, 0
            for _ in range(60):
                parent = chance.choice([*made.values()][-8:])
                block = self.quarry.grow(parent, chance.randint(1, 20), miner=chance.randrange(3))
                made[block.hash] = block
                if chance.random() < 0.1:
                    disk = disk.copy()
                    ledger = self.ledger(disk, limit=3)
                verdict = self.feed(ledger, block.raw)
                line = self.ancestors(made, block)
                ours = self.ancestors(made, head)
                common = max(height for height, hash in ours.items() if line.get(height) == hash)
                if self.wins(ledger, block, head) and common >= settled:
                    head = block
                    settled = max(settled, head.header.number - 3)
                    self.assertIsInstance(verdict, Connected, f"seed {seed}")
                self.assertEqual(ledger.head.hash, head.hash, f"seed {seed}")

    def wins(self, ledger: Ledger, one: Mined, other: Mined) -> bool:
        infos = [self.get(ledger.locate(made.hash)) for made in (one, other)]
        return better(*infos)

    def ancestors(self, made: dict[bytes, Mined], block: Mined) -> dict[int, bytes]:
        found = {}
        while True:
            found[block.header.number] = block.hash
            if not block.header.number:
                return found
            block = made[block.header.parent]


class ByHand(Harness):
    """Blocks that an operator invalidates and reconsiders."""

    def setUp(self) -> None:
        super().setUp()
        self.clock.now = TIME + 10**6
        self.quarry = Quarry(work_genesis())
        common = self.quarry.line(self.quarry.root, 2)
        self.long = common + self.quarry.line(common[-1], 4)
        self.short = self.quarry.line(common[-1], 2, miner=1)
        self.disk = Disk()
        self.ledger = self.started(self.quarry.genesis, disk=self.disk)
        for made in (*self.long, *self.short):
            self.feed(self.ledger, made.raw)

    def test_away_from_a_block_and_back(self) -> None:
        ledger = self.ledger
        self.assertEqual(self.get(ledger.invalidate_block(self.long[3].hash)), "")
        self.assertEqual(ledger.head.hash, self.short[-1].hash)
        ledger = self.started(self.quarry.genesis, disk=self.disk.copy())
        self.assertEqual(ledger.head.hash, self.short[-1].hash)
        self.assertIn("already", self.get(ledger.invalidate_block(self.long[4].hash)))
        self.assertEqual(self.get(ledger.reconsider_block(self.long[5].hash)), "")
        self.assertEqual(ledger.head.hash, self.long[-1].hash)
        ledger = self.started(self.quarry.genesis, disk=self.disk.copy())
        self.assertIn("neither", self.get(self.started(self.quarry.genesis).reconsider_block(self.quarry.root.hash)))
        self.assertIn("not known", self.get(ledger.reconsider_block(bytes(32))))

    def test_never_what_is_final(self) -> None:
        ledger = self.ledger
        self.assertIn("final", self.get(ledger.invalidate_block(self.quarry.root.hash)))
        self.assertIn("not known", self.get(ledger.invalidate_block(bytes(32))))
        self.assertEqual(self.get(ledger.set_finalized(self.long[2].hash)), "")
        self.assertIn("final", self.get(ledger.invalidate_block(self.long[2].hash)))
        self.assertEqual(self.get(ledger.invalidate_block(self.long[3].hash)), "")
        self.assertEqual(ledger.head.hash, self.long[2].hash)

    def test_deeper_than_the_limit_by_hand(self) -> None:
        ledger = self.started(self.quarry.genesis, max_reorg_depth=1)
        for made in (*self.long, *self.short):
            self.feed(ledger, made.raw)
        self.assertEqual(self.get(ledger.invalidate_block(self.long[2].hash)), "")
        self.assertEqual(ledger.head.hash, self.long[1].hash)
        for made in self.short:
            self.feed(ledger, made.raw)
        self.assertEqual(ledger.head.hash, self.short[-1].hash)

    def test_a_block_that_really_fails_fails_again(self) -> None:
        bad = self.quarry.grow(self.long[-1], gas_used=21_000)
        self.feed(self.ledger, bad.raw)
        self.assertEqual(self.ledger.head.hash, self.long[-1].hash)
        self.assertEqual(self.get(self.ledger.reconsider_block(bad.hash)), "")
        self.assertEqual(self.ledger.head.hash, self.long[-1].hash)
        self.assertIn("neither", self.get(self.ledger.reconsider_block(self.long[0].hash)))


class Signers(Harness):
    def test_a_limit_set_by_hand_and_finality_beside_it(self) -> None:
        forge = Forge(genesis_of(4))
        self.clock.now += 10**6
        ledger = self.started(forge.genesis, max_reorg_depth=5)
        common = forge.line(forge.root, range(1, 9))
        ours = forge.line(common[-1], range(9, 49, 4))
        theirs = forge.line(common[-1], range(10, 55, 4), base=0)
        for made in (*common, *ours, *theirs):
            self.feed(ledger, made.raw)
        self.assertEqual(ledger.head.hash, ours[-1].hash)
        final = ledger.finalized
        self.assertTrue(0 < final.height < len(common))
        (refused,) = ledger.refused
        self.assertEqual((refused.tip.hash, refused.depth), (theirs[-1].hash, len(ours)))
        self.assertEqual(self.get(ledger.accept_reorg(theirs[-1].hash)), "")
        for made in theirs:
            self.feed(ledger, made.raw)
        self.assertEqual(ledger.head.hash, theirs[-1].hash)
        self.assertEqual((ledger.finalized, ledger.conflict), (final, None))

    def test_finality_moves_below_what_is_settled(self) -> None:
        forge = Forge(genesis_of(4))
        self.clock.now += 10**6
        disk = Disk()
        ledger = self.started(forge.genesis, disk=disk, max_reorg_depth=1)
        line = forge.line(forge.root, range(1, 30))
        for made in line[:20]:
            self.feed(ledger, made.raw)
        final = ledger.finalized.height
        self.assertTrue(0 < final < ledger._core().branches.tree.finalized.info.height)
        side = forge.line(line[14], (40, 44), base=0)
        for made in side:
            self.assertIsInstance(self.feed(ledger, made.raw), Stored)
        ledger = self.started(forge.genesis, disk=disk.copy(), max_reorg_depth=1)
        for made in line[20:]:
            self.feed(ledger, made.raw)
        self.assertGreater(ledger.finalized.height, final)
        self.assertEqual((ledger.head.hash, ledger.conflict), (line[-1].hash, None))
        # without the limit what was settled is forgotten, and finality alone counts
        ledger = self.started(forge.genesis, disk=disk.copy())
        self.assertEqual(ledger._core().branches.tree.finalized.info.hash, ledger.finalized.hash)

    def test_what_was_chosen_by_hand_stands_against_an_allowance(self) -> None:
        forge = Forge(genesis_of(4))
        self.clock.now += 10**6
        ledger = self.started(forge.genesis, max_reorg_depth=3)
        common = forge.line(forge.root, range(1, 9))
        ours = forge.line(common[-1], range(9, 49, 4))
        theirs = forge.line(common[-1], range(10, 55, 4), base=0)
        third = forge.line(common[-1], range(11, 60, 4), base=0)
        for made in (*common, *ours):
            self.feed(ledger, made.raw)
        for branch in (theirs, third):
            self.get(ledger.add_headers([made.header.raw for made in branch]))
        self.assertEqual(self.get(ledger.set_finalized(theirs[1].hash)), "")
        self.assertIn("chosen by hand", self.get(ledger.accept_reorg(third[-1].hash)))
        for made in theirs:
            self.feed(ledger, made.raw)
        self.assertEqual((ledger.head.hash, ledger.finalized.hash), (theirs[-1].hash, theirs[1].hash))


class Trusted(Harness):
    def test_roots_up_to_an_assumed_block_are_looked_at_once_per_batch(self) -> None:
        self.clock.now = TIME + 10**6
        quarry = Quarry(work_genesis())
        line = quarry.line(quarry.root, 3)
        line.append(quarry.grow(line[-1], state_root=bytes(32)))
        line += quarry.line(line[-1], 3)
        raws, headers = [made.raw for made in line], [made.header.raw for made in line]
        for more, height in (({}, 3), ({"assume_valid": line[-1].hash}, 7), ({"assume_valid": line[2].hash}, 3)):
            ledger = self.started(quarry.genesis, **more)
            self.get(ledger.add_headers(headers))
            self.get(ledger.submit_blocks(raws, line[-1].hash))
            self.assertEqual(ledger.head.height, height)
        ledger = self.started(quarry.genesis, assume_valid=line[-1].hash, verify="all")
        self.get(ledger.add_headers(headers))
        self.get(ledger.submit_blocks(raws, line[-1].hash))
        self.assertEqual(ledger.head.height, 3)
