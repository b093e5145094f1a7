"""Headers of the ledger checked batch after batch: as in one, of constant size, whatever a leaked key seals."""

import gc
import random

from zope.interface.verify import verifyObject

import chainp2p.ledger.branches
import chainp2p.ledger.senders
from chainp2p.chain.interfaces import HeadersRejected, IHeaderRuns
from chainp2p.ledger.branches import SHORT_RUN
from chainp2p.ledger.candidate import Candidate
from chainp2p.ledger.consensus.finality import span_count
from chainp2p.ledger.formats import header
from chainp2p.ledger.senders import SenderRecovery
from chainp2p.primitives.secp256k1 import recover
from tests.ledger.consensus.test_poa import planned
from tests.ledger.forge import Forge
from tests.ledger.network import Harness, genesis_of
from tests.ledger.test_senders import Cores


class Runs(Harness):
    def setUp(self) -> None:
        super().setUp()
        self.clock.now += 10**7

    def test_in_parts_as_in_one(self) -> None:
        for seed in range(6):
            chance = random.Random(seed)
            genesis = planned([(0, [0, 1]), (9, [0, 1, 2])]) if seed % 2 else genesis_of(3)
            forge = Forge(genesis)
            slots, slot = [], 0
            for _ in range(30):
                slot += chance.randint(1, 3)
                slots.append(slot)
            raws = [made.header.raw for made in forge.line(forge.root, slots)]
            ledger = self.started(genesis)
            verifyObject(IHeaderRuns, ledger)
            whole = self.get(ledger.check_headers(raws))
            known = chance.randrange(12)
            self.get(ledger.add_headers(raws[:known]))
            at = chance.randrange(known + 1)
            infos, after = [], None
            while at < len(raws):
                part = raws[at : at + chance.randint(1, 9)]
                found, after = self.get(ledger.check_run(part, after))
                infos, at = infos + found, at + len(part)
            self.assertEqual(infos, whole[-len(infos) :])
            self.assertEqual(ledger.best_header.height, known)

    def test_the_continuation_holds_no_ancestor(self) -> None:
        forge = Forge(genesis_of(1))
        raws = [made.header.raw for made in forge.line(forge.root, range(1, 200))]
        ledger = self.started(forge.genesis)
        after = None
        for raw in raws:
            _, after = self.get(ledger.check_run([raw], after))
        gc.collect()
        self.assertEqual(len([one for one in gc.get_objects() if isinstance(one, Candidate)]), 1)
        assert after is not None
        self.assertIsNone(after.parent)

    def test_a_bad_one_is_named_and_a_missing_parent(self) -> None:
        forge = Forge(genesis_of(2))
        line = forge.line(forge.root, (1, 2, 3))
        bad = forge.grow(line[-1], 4, seal=False)
        ledger = self.started(forge.genesis)
        _, after = self.get(ledger.check_run([line[0].header.raw], None))
        raws = [one.header.raw for one in (*line[1:], bad)]
        error = self.failureResultOf(ledger.check_run(raws, after), HeadersRejected).value
        self.assertEqual((error.index, error.condemned), (2, False))
        error = self.failureResultOf(ledger.check_run(raws, None), HeadersRejected).value
        self.assertTrue(error.parent_missing)

    def test_of_long_runs_samples_of_the_seals_are_looked_at(self) -> None:
        forge = Forge(genesis_of(2))
        line = forge.line(forge.root, range(1, 321))
        raws = [made.header.raw for made in line]
        ledger = self.started(forge.genesis)
        recovered: list[bytes] = []

        def counting(seal: bytes, digest: bytes) -> bytes:
            recovered.append(digest)
            return recover(seal, digest)

        self.patch(header, "recover", counting)
        found, after = self.get(ledger.check_run(raws, None))
        self.assertEqual([info.hash for info in found], [made.hash for made in line])
        self.assertTrue(5 <= len(recovered) <= 45, len(recovered))
        again = set(recovered)
        self.get(ledger.check_run(raws, None))
        self.assertEqual(set(recovered), again)
        self.get(ledger.check_run(raws[:SHORT_RUN], None))
        self.assertEqual(len(set(recovered) - again) + len(again & set(recovered[-SHORT_RUN:])), SHORT_RUN)
        del recovered[:]
        self.get(ledger.add_headers(raws))
        self.assertEqual(len(recovered), len(raws))

    def test_who_has_no_key_is_found_out_and_a_bad_seal_is_never_stored(self) -> None:
        forge = Forge(genesis_of(2))
        line = [forge.root]
        for slot in range(1, 321):
            line.append(forge.grow(line[-1], slot, seal=False))
        ledger = self.started(forge.genesis)
        raws = [made.header.raw for made in line[1:]]
        error = self.failureResultOf(ledger.check_run(raws, None), HeadersRejected).value
        self.assertLess(error.index, 100)
        self.assertIn("seal", str(error.reason))
        error = self.failureResultOf(ledger.add_headers(raws), HeadersRejected).value
        self.assertEqual((error.index, ledger.best_header.height), (0, 0))

    def test_stored_in_parts_the_bad_one_is_named(self) -> None:
        self.patch(chainp2p.ledger.senders, "WORTH_A_PROCESS", 4)
        self.patch(chainp2p.ledger.senders, "PROCESS_CHUNK", 2)
        forge = Forge(genesis_of(2))
        good = forge.line(forge.root, range(1, 8))
        bad = forge.grow(good[-1], 8, seal=False)
        raws = [made.header.raw for made in (*good, bad)]
        for bad_at, count in ((7, 8), (None, 7), (None, 4), (None, 3)):
            ledger, cores = self.started(forge.genesis), Cores(1)
            ledger._recovery = SenderRecovery(cores)
            done = ledger.add_headers(raws[:count])
            heights = []
            while not done.called:
                cores.processes[0].go()
                heights.append(ledger.best_header.height)
            if bad_at is None:
                self.assertEqual([info.height for info in self.get(done)], list(range(1, count + 1)))
            else:
                error = self.failureResultOf(done, HeadersRejected).value
                self.assertEqual((error.index, ledger.best_header.height), (bad_at, bad_at))
                self.assertEqual(heights, [0, 4, 4, 7])  # the first part is stored before the second is looked at

    def test_votes_in_ever_more_pieces_are_not_followed(self) -> None:
        """A leaked key leaves a gap in each header: it claims to come from another branch every time."""
        self.patch(chainp2p.ledger.branches, "SPANS_MAX", 20)
        forge = Forge(genesis_of(4))
        made = forge.root
        raws = []
        for slot in range(1, 200, 4):
            made = forge.grow(made, slot, base=slot - 1)
            raws.append(made.header.raw)
        self.assertEqual(span_count(made.entry.tally), 50)
        ledger = self.started(forge.genesis)
        _, after = self.get(ledger.check_run(raws[:20], None))
        error = self.failureResultOf(ledger.check_run(raws[20:30], after), HeadersRejected).value
        self.assertTrue(error.condemned)
