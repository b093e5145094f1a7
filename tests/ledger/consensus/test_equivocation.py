"""Signers that contradict themselves, against the definition."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.chain.tree import HeaderTree
from chainp2p.ledger.consensus.engine import Entry
from chainp2p.ledger.consensus.equivocation import SealWatch
from chainp2p.ledger.consensus.poa import rank_of
from tests.ledger.forge import Forge, Made
from tests.ledger.network import Disk, Harness, genesis_of


def contradict(one: Made, other: Made) -> bool:
    """The design's sentence, for one before other in order of slots."""
    if one.entry.signer != other.entry.signer or one is other:
        return False
    if one.entry.slot == other.entry.slot:
        return True
    return other.entry.base < one.entry.slot < other.entry.slot and one not in other.chain()


class WatchTests(Harness):
    @settings(deadline=None, derandomize=True, max_examples=40)
    @given(st.integers(0, 2**32), st.booleans())
    def test_all_contradicting_signers_are_seen_and_nobody_else(self, seed: int, honest: bool) -> None:
        chance = random.Random(seed)
        forge = Forge(genesis_of(3))
        header = forge.root.header
        root = HeaderInfo(header.hash, header.parent, 0, rank_of(forge.root.entry, 0))
        tree: HeaderTree[Entry] = HeaderTree(root, forge.root.entry)
        watch = SealWatch(tree)
        made = [forge.root]
        while len(made) < 14:
            parent = made[-1] if chance.random() < 0.6 else chance.choice(made)
            slot = parent.entry.slot + chance.randint(1, 3)
            base = 0
            if chance.random() < 0.5:
                base = chance.randrange(slot)
            one = forge.grow(parent, slot, base)
            if one.hash not in [other.hash for other in made]:
                made.append(one)
        blamed: set[bytes] = set()
        pairs: set[frozenset[bytes]] = set()
        rest = made[1:]
        for one in rest:
            info = HeaderInfo(one.hash, one.header.parent, one.header.number, rank_of(one.entry, one.header.number))
            for evidence in watch.saw(tree.add(info, one.entry)):
                blamed.add(evidence.signer)
                pairs.add(frozenset((evidence.first, evidence.second)))
        expected = {frozenset((a.hash, b.hash)) for a in rest for b in rest if contradict(a, b)}
        self.assertEqual(blamed, {b.entry.signer for a in rest for b in rest if contradict(a, b)})
        self.assertLessEqual(pairs, expected)

    def test_evidence_is_kept_and_shown_and_the_blocks_stay_valid(self) -> None:
        self.clock.now += 100
        forge = Forge(genesis_of(2))
        one, twin = forge.grow(forge.root, 1), forge.grow(forge.root, 1, extra=b"twin")
        disk = Disk()
        ledger = self.started(forge.genesis, disk=disk)
        for made in (one, twin):
            self.feed(ledger, made.raw)
        (evidence,) = ledger.evidence
        self.assertEqual((evidence.first, evidence.second), (one.hash, twin.hash))
        self.assertEqual((evidence.first_slot, evidence.second_slot), (1, 1))
        self.assertEqual(ledger.head.hash, min(one.hash, twin.hash))
        higher = forge.grow(twin, 2)
        self.feed(ledger, higher.raw)
        self.assertEqual(ledger.head.hash, higher.hash)
        again = self.started(forge.genesis, disk=disk.copy())
        self.assertEqual(again.evidence, [evidence])
