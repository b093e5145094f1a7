"""Two sides that both make blocks for long, heal, and agree within 2n slots; only ledgers and delays, no network."""

import heapq
import random

from chainp2p.chain.interfaces import NotYet, ParentMissing
from chainp2p.ledger.chain import Ledger
from tests.ledger.network import TIME, Harness, genesis_of

PERIOD = 0.25


class Delays(Harness):
    """Blocks travel with a delay each; who misses a parent asks the sender for its whole branch at once."""

    def play(self, seed: int, n: int, blocks: int) -> tuple[int, list[Ledger]]:
        """Return after how many slots from the end of long delays on all heads were one, and the ledgers."""
        chance = random.Random(seed)
        self.clock.now = TIME
        genesis = genesis_of(n, 250)
        ledgers = [self.started(genesis, index) for index in range(n)]
        self.split, self.delay = True, 2 * PERIOD
        order = 0
        queue: list[tuple[float, int, int, int, bytes]] = []

        def send(source: int, raw: bytes) -> None:
            nonlocal order
            for target in range(n):
                if target != source and not (self.split and (target < n // 2) != (source < n // 2)):
                    order += 1
                    arrival = self.clock.now + chance.random() * self.delay
                    heapq.heappush(queue, (arrival, order, source, target, raw))

        def receive(source: int, target: int, raw: bytes) -> None:
            nonlocal order
            verdict = self.feed(ledgers[target], raw)
            if isinstance(verdict, ParentMissing):
                for above in self.branch(ledgers[source]):
                    self.feed(ledgers[target], above)
                self.feed(ledgers[target], raw)
            elif isinstance(verdict, NotYet):
                order += 1
                heapq.heappush(queue, (verdict.when, order, source, target, raw))
            else:
                self.assertNotEqual(type(verdict).__name__, "Invalid")

        slot = 0
        healed = calm = None
        while True:
            slot += 1
            start = ledgers[0].engine.start_of(slot)
            while queue and queue[0][0] <= start:
                self.clock.now, _, source, target, raw = heapq.heappop(queue)
                receive(source, target, raw)
            self.clock.now = start
            index = slot % n
            raw = self.get(ledgers[index].produce(start))
            if raw is not None:
                send(index, raw)
            sides = [ledgers[0].head.height, ledgers[-1].head.height]
            if self.split and min(sides) >= blocks:
                self.split, healed = False, slot
            if healed is not None and slot == healed + 2 * n:
                self.delay, calm = PERIOD / 4, slot + 2  # what is still under way arrives within two periods
            if calm is not None and slot >= calm:
                self.clock.now = start + PERIOD / 4
                while queue and queue[0][0] <= self.clock.now:
                    _, _, source, target, raw = heapq.heappop(queue)
                    receive(source, target, raw)
                if len({ledger.head.hash for ledger in ledgers}) == 1:
                    return slot - calm, ledgers
                self.assertLess(slot - calm, 4 * n, f"seed {seed}")

    def branch(self, ledger: Ledger) -> list[bytes]:
        after = self.get(ledger.hash_at(ledger.finalized.height))
        return self.get(ledger.blocks_from(after, 10_000, 1 << 30))

    def check(self, seeds: range, n: int, blocks: int) -> int:
        slowest = 0
        for seed in seeds:
            slots, ledgers = self.play(seed, n, blocks)
            slowest = max(slowest, slots)
            self.assertLessEqual(slots, 2 * n, f"seed {seed}")
            highest = max(ledgers, key=lambda ledger: ledger.finalized.height)
            for ledger in ledgers:
                self.assertIsNone(ledger.conflict)
                self.assertEqual(ledger.evidence, [])
                final = self.get(highest.hash_at(ledger.finalized.height))
                self.assertEqual(final, ledger.finalized.hash, f"seed {seed}")
        return slowest

    def test_two_signers(self) -> None:
        self.check(range(6), 2, 40)

    def test_four_signers(self) -> None:
        self.check(range(6), 4, 40)

    def test_three_hundred_blocks_a_side(self) -> None:
        self.check(range(1), 4, 300)
