"""Finality against its definition, counted naively over whole chains, and its safety under partitions."""

import random

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.consensus.finality import (
    Tally,
    Vote,
    count_vote,
    decode_tally,
    encode_tally,
    first_tally,
    quorum,
)


@define(eq=False)
class Block:
    """A header of the model; ``signers`` is the list at its height."""

    slot: int
    hash: bytes
    signer: bytes
    base: int
    signers: tuple[bytes, ...]
    parent: "Block | None"
    tally: Tally = field(default=None)

    def chain(self) -> "list[Block]":
        found, step = [], self
        while step is not None:
            found.append(step)
            step = step.parent
        return found


class Naive:
    """The design's sentences, word by word."""

    def __init__(self) -> None:
        self._justified: dict[bytes, Block] = {}

    def votes(self, voter: Block, block: Block) -> bool:
        return voter.parent is not None and (voter is block or block.slot > voter.base)

    def enough(self, block: Block, voters: "list[Block]") -> bool:
        names = {voter.signer for voter in voters if voter.signer in block.signers and self.votes(voter, block)}
        return 3 * len(names) > 2 * len(block.signers)

    def justified(self, tip: Block) -> Block:
        if tip.hash not in self._justified:
            chain = tip.chain()
            found = (block for index, block in enumerate(chain) if self.enough(block, chain[: index + 1]))
            self._justified[tip.hash] = next(found, chain[-1])
        return self._justified[tip.hash]

    def finalized(self, tip: Block) -> Block:
        chain = tip.chain()
        for index, block in enumerate(chain):
            voters = [voter for voter in chain[: index + 1] if self.justified(voter).slot >= block.slot]
            if self.enough(block, voters):
                return block
        return chain[-1]


def name(number: int) -> bytes:
    return number.to_bytes(20, "big")


def start(signers: tuple[bytes, ...]) -> Block:
    genesis = bytes(32)
    return Block(0, genesis, b"", 0, signers, None, first_tally(genesis, signers))


class Maker:
    """Grows blocks with hashes of their own."""

    def __init__(self) -> None:
        self._count = 0

    def grow(self, parent: Block, slot: int, signer: bytes, base: int, signers: tuple[bytes, ...]) -> Block:
        self._count += 1
        block = Block(slot, self._count.to_bytes(32, "big"), signer, base, signers, parent)
        block.tally = count_vote(parent.tally, Vote(slot, block.hash, signer, base, signers))
        return block


class FinalityTests(SynchronousTestCase):
    def agree(self, tip: Block, naive: Naive) -> None:
        justified, final = naive.justified(tip), naive.finalized(tip)
        self.assertEqual((tip.tally.justified.slot, tip.tally.justified.hash), (justified.slot, justified.hash))
        self.assertEqual((tip.tally.finalized.slot, tip.tally.finalized.hash), (final.slot, final.hash))

    def test_quorum_is_more_than_two_thirds(self) -> None:
        for n in range(1, 100):
            self.assertEqual(quorum(n), min(v for v in range(n + 2) if 3 * v > 2 * n))

    def test_one_signer_finalizes_each_block_at_once(self) -> None:
        maker, signers = Maker(), (name(1),)
        tip = start(signers)
        for slot in range(1, 6):
            tip = maker.grow(tip, slot, name(1), 0, signers)
            self.assertEqual(tip.tally.justified.hash, tip.hash)
            self.assertEqual(tip.tally.finalized.hash, tip.hash)

    def test_four_signers_justify_after_three_blocks_and_finalize_after_six(self) -> None:
        maker, signers = Maker(), tuple(map(name, range(4)))
        chain = [start(signers)]
        for slot in range(1, 7):
            chain.append(maker.grow(chain[-1], slot, signers[slot % 4], 0, signers))
        self.assertEqual(chain[2].tally.justified.slot, 0)
        self.assertEqual(chain[3].tally.justified.hash, chain[1].hash)
        self.assertEqual(chain[4].tally.finalized.slot, 0)
        self.assertEqual(chain[5].tally.finalized.hash, chain[1].hash)

    def test_genesis_and_a_base_at_the_slot_below_vote_for_nothing_older(self) -> None:
        maker, signers = Maker(), (name(1), name(2))
        first = maker.grow(start(signers), 1, name(1), 0, signers)
        second = maker.grow(first, 2, name(2), 1, signers)
        self.assertEqual(second.tally.justified.slot, 0)

    @settings(deadline=None, derandomize=True, max_examples=150)
    @given(st.integers(0, 2**32), st.integers(1, 7), st.booleans())
    def test_any_tree_agrees_with_the_naive_count(self, seed: int, n: int, changing: bool) -> None:
        chance, maker, naive = random.Random(seed), Maker(), Naive()
        everyone = tuple(map(name, range(n + 3)))
        lists = [everyone[:n]]
        while changing and len(lists) < 5:
            last = lists[-1]
            outside = [signer for signer in everyone if signer not in last]
            if outside and (len(last) == 1 or chance.random() < 0.5):
                lists.append((*last, chance.choice(outside)))
            else:
                gone = chance.choice(last)
                lists.append(tuple(signer for signer in last if signer != gone))
        span = chance.randint(2, 8)
        depth = {bytes(32): 0}
        tips = [start(lists[0])]
        for _ in range(35):
            parent = tips[-1] if chance.random() < 0.8 else chance.choice(tips)
            height = depth[parent.hash] + 1
            signers = lists[min(height // span, len(lists) - 1)]
            slot = parent.slot + chance.choice((1, 1, 1, 2, 3))
            base = 0 if chance.random() < 0.6 else chance.randrange(slot)
            block = maker.grow(parent, slot, chance.choice(signers), base, signers)
            depth[block.hash] = height
            tips.append(block)
            self.agree(block, naive)

    @settings(deadline=None, derandomize=True, max_examples=30)
    @given(st.integers(0, 2**32))
    def test_a_stored_tally_goes_on_as_the_same(self, seed: int) -> None:
        chance, maker = random.Random(seed), Maker()
        lists = [tuple(map(name, range(4))), tuple(map(name, range(5))), tuple(map(name, range(1, 5)))]
        tip, naive = start(lists[0]), Naive()
        for height in range(1, 30):
            tip.tally = decode_tally(encode_tally(tip.tally))
            signers = lists[height // 10]
            slot = tip.slot + chance.randint(1, 2)
            tip = maker.grow(tip, slot, chance.choice(signers), chance.choice((0, 0, tip.slot)), signers)
            self.agree(tip, naive)

    def test_long_chains_without_finality_cost_no_more_per_header(self) -> None:
        maker, signers = Maker(), tuple(map(name, range(4)))
        tip = start(signers)
        for slot in range(1, 2000):
            tip = maker.grow(tip, slot, signers[slot % 2], 0, signers)
        self.assertEqual(tip.tally.finalized.slot, 0)
        self.assertEqual(sum(map(len, tip.tally.votes.values())), 2)


class Signer:
    """An honest signer: best branch it knows, base by its own memory."""

    def __init__(self, address: bytes, genesis: Block) -> None:
        self.address = address
        self.known = {genesis.hash: genesis}
        self.head = genesis
        self.final = genesis
        self.own: list[Block] = []

    def rank(self, block: Block) -> tuple[int, int, int]:
        return block.tally.justified.slot, len(block.chain()), -block.slot

    def learn(self, blocks: "list[Block]") -> None:
        for block in blocks:
            if block.hash in self.known:
                continue
            self.known[block.hash] = block
            better = self.rank(block), [-byte for byte in block.hash]
            if better > (self.rank(self.head), [-byte for byte in self.head.hash]) and self.final in block.chain():
                self.head = block
        final = self.known[self.head.tally.finalized.hash]
        if final.slot > self.final.slot:
            self.final = final

    def seal(self, maker: Maker, slot: int, signers: tuple[bytes, ...]) -> Block:
        ancestors = {block.hash for block in self.head.chain()}
        base = max((block.slot for block in self.own if block.hash not in ancestors), default=0)
        block = maker.grow(self.head, slot, self.address, base, signers)
        self.own.append(block)
        return block


class SafetyTests(SynchronousTestCase):
    """Random delays and partitions, faulty signers under a third on every side: finality never contradicts itself."""

    SCHEDULES = 3000

    def schedule(self, seed: int) -> "list[Block]":
        chance, maker = random.Random(seed), Maker()
        n = chance.choice((2, 3, 4, 4, 5, 7))
        faulty = set(range(chance.randint(0, (n - 1) // 3)))
        signers = tuple(map(name, range(n)))
        genesis = start(signers)
        sides = 2 if chance.random() < 0.7 else 3
        honest = [Signer(signers[index], genesis) for index in range(n) if index not in faulty]
        mail: list[tuple[int, Signer, list[Block]]] = []
        all_blocks = [genesis]
        side = {signer.address: chance.randrange(sides) for signer in honest}
        for slot in range(1, 40):
            if chance.random() < 0.15:
                side = {signer.address: chance.randrange(sides) for signer in honest}
            made: list[tuple[Block, int | None]] = []
            for when, signer, blocks in mail:
                if when <= slot:
                    signer.learn(blocks)
            mail = [entry for entry in mail if entry[0] > slot]
            index = slot % n
            if index in faulty:
                # the adversary seals on every side, with the most dangerous bases it can claim
                for target in range(sides):
                    heads = [signer.head for signer in honest if side[signer.address] == target]
                    if heads:
                        parent = chance.choice(heads)
                        base = 0 if chance.random() < 0.7 else chance.randrange(slot)
                        made.append((maker.grow(parent, slot, signers[index], base, signers), target))
            else:
                signer = next(other for other in honest if other.address == signers[index])
                if chance.random() < 0.9 and signer.head.slot < slot:
                    block = signer.seal(maker, slot, signers)
                    signer.learn([block])
                    made.append((block, side[signer.address]))
            for block, target in made:
                all_blocks.append(block)
                for other in honest:
                    if side[other.address] == target or chance.random() < 0.2:
                        mail.append((slot + chance.randint(1, 3), other, block.chain()[::-1]))
            if chance.random() < 0.1:
                for other in honest:
                    for another in honest:
                        mail.append((slot + 1, other, another.head.chain()[::-1]))
        return [signer.final for signer in honest]

    def test_no_two_honest_nodes_finalize_conflicting_blocks(self) -> None:
        moved = 0
        for seed in range(self.SCHEDULES):
            finals = sorted(self.schedule(seed), key=lambda block: block.slot)
            moved += finals[-1].slot > 0
            for lower, higher in zip(finals, finals[1:], strict=False):
                self.assertIn(lower, higher.chain(), f"seed {seed}")
        self.assertGreater(moved, self.SCHEDULES // 4)
