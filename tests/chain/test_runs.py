"""Checking headers batch after batch, with none of them kept: toy chain and chains of rules."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from chainp2p.chain.interfaces import HeadersRejected, IHeaderRuns
from chainp2p.errors import Ours
from chainp2p.testing.toychain import ToyChain, ToyHeader
from tests.chain.counter import CounterRules
from tests.chain.test_stored import StoredCase


class Toys(SynchronousTestCase):
    def test_in_parts_as_in_one(self) -> None:
        for seed in range(20):
            chance = Random(seed)
            theirs, ours = ToyChain(), ToyChain()
            for _ in range(60):
                theirs.submit_block(theirs.make(weight=chance.randrange(1, 9)))
            raws = self.successResultOf(theirs.headers_after(theirs.genesis_hash, 100))
            known = chance.randrange(20)
            ours.add_headers(raws[:known])
            best = ours.best_header
            infos, after, at = [], None, chance.randrange(known + 1)
            whole = self.successResultOf(ours.check_headers(raws[at:]))
            while at < len(raws):
                part = raws[at : at + chance.randrange(1, 30)]
                found, after = self.successResultOf(ours.check_run(part, after))
                infos += found
                at += len(part)
            self.assertEqual(infos, whole)
            self.assertEqual((ours.best_header, self.successResultOf(ours.locate(raws[-1]))), (best, None))

    def test_what_is_refused(self) -> None:
        verifyObject(IHeaderRuns, ToyChain())
        chain = ToyChain()
        one = ToyHeader(chain.genesis_hash, 1, 1, 0, bytes(32), bytes(8)).raw
        _, after = self.successResultOf(chain.check_run([one], None))
        bad = ToyHeader(chain.block_hash(one), 3, 1, 0, bytes(32), bytes(8)).raw
        self.assertEqual(self.failureResultOf(chain.check_run([bad], after), HeadersRejected).value.index, 0)
        two = ToyHeader(chain.block_hash(one), 2, 1, 0, bytes(32), bytes(8)).raw
        self.assertTrue(self.failureResultOf(chain.check_run([two], None), HeadersRejected).value.parent_missing)


class Looking(CounterRules):
    """Each header looks at the *far* before it, and adds their number to its rank."""

    lookback, far = 3, 3

    def check_header(self, header, parent, ancestors, now):
        summary = super().check_header(header, parent, ancestors, now)
        seen = [place.header.height for _, place in zip(range(self.far), ancestors, strict=False)]
        assert seen == [header.height - 1 - step for step in range(len(seen))]
        return type(summary)(rank=(int.from_bytes(summary.rank, "big") + len(seen)).to_bytes(32, "big"))


class TooFar(Looking):
    far = 5


class Rules(StoredCase):
    rules = Looking

    def test_in_parts_as_in_one(self) -> None:
        verifyObject(IHeaderRuns, self.chain)
        headers = [self.chain.split(raw)[0] for raw in self.make(12)]
        whole = self.wait(self.chain.check_headers(headers))
        for size in (1, 2, 3, 5, 12):
            after, infos = None, []
            for at in range(0, 12, size):
                found, after = self.wait(self.chain.check_run(headers[at : at + size], after))
                infos += found
                self.assertLessEqual(len(after), 3)
            self.assertEqual(infos, whole)
        self.wait(self.chain.add_headers(headers[:6]))
        _, after = self.wait(self.chain.check_run(headers[:6], None))
        self.assertEqual(after, ())
        self.assertEqual(self.wait(self.chain.check_run(headers[6:], after))[0], whole[6:])
        self.assertEqual(self.chain.best_header, whole[5])
        error = self.fails(self.chain.check_run([headers[8], b"x"], None), HeadersRejected)
        self.assertTrue(error.parent_missing)

    def test_who_looks_back_further_than_said_is_told(self) -> None:
        far = self.open(TooFar)
        headers = [self.chain.split(raw)[0] for raw in self.make(7)]
        _, after = self.wait(far.check_run(headers[:3], None))
        _, after = self.wait(far.check_run(headers[3:4], after))
        self.assertIn("lookback of 3", str(self.fails(far.check_run(headers[4:], after), Ours)))

    def test_rules_that_do_not_say_have_no_runs(self) -> None:
        self.assertFalse(IHeaderRuns.providedBy(self.open(type("Silent", (CounterRules,), {"lookback": None}))))
