"""The conformance kit passes a good chain and names what a bad one breaks."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain import rules
from chainp2p.testing.conformance import Nonconforming, RulesConformance
from tests.chain.counter import CounterRules


def apples(number: int) -> bytes:
    return b"apples 1 %d" % number


class Conformance(SynchronousTestCase):
    def kit(self, kind: type, **options: object) -> RulesConformance:
        randoms = Random(5)
        return RulesConformance(lambda: kind(Random(randoms.random())), apples, blocks=6, **options)

    def check_breaks(self, kind: type, text: str, **options: object) -> None:
        error = self.assertRaises(Nonconforming, self.kit(kind, **options).check)
        self.assertIn(text, str(error))

    def test_good(self) -> None:
        self.kit(CounterRules).check()

    def test_memory_beside_the_state(self) -> None:
        class Remembers(CounterRules):
            calls = 0

            def connect(self, block, state):
                super().connect(block, state)
                if block.transactions:
                    Remembers.calls += 1
                    state.set(b"calls", b"%d" % Remembers.calls)

        self.check_breaks(Remembers, "the same block on the same state writes something else")

    def test_rank_that_stands_still(self) -> None:
        class Flat(CounterRules):
            def check_header(self, header, parent, ancestors, now):
                super().check_header(header, parent, ancestors, now)
                return rules.Summary(rank=bytes(32))

        self.check_breaks(Flat, "is not connected")

    def test_looking_back_further_than_said(self) -> None:
        class Far(CounterRules):
            lookback = 2
            far = 3

            def check_header(self, header, parent, ancestors, now):
                list(zip(range(self.far), ancestors, strict=False))
                return super().check_header(header, parent, ancestors, now)

        class Near(Far):
            far = 2

        self.check_breaks(Far, "lookback")
        self.kit(Near).check()

    def test_answer_that_depends_on_time(self) -> None:
        class Clocked(CounterRules):
            def check_header(self, header, parent, ancestors, now):
                summary = super().check_header(header, parent, ancestors, now)
                return rules.Summary(summary.rank, rest=b"%d" % int(now))

        self.check_breaks(Clocked, "depends on the time")

    def test_bytes_that_change(self) -> None:
        class Turned(CounterRules):
            def read_block(self, raw):
                block = super().read_block(raw)
                return rules.ReadBlock(block.header, block.raw_header, block.transactions[::-1])

        self.check_breaks(Turned, "write_block: makes")

    def test_exception_for_bad_bytes(self) -> None:
        class Careless(CounterRules):
            def read_block(self, raw):
                if len(raw) < 60:
                    raise IndexError("out of range")
                return super().read_block(raw)

        self.check_breaks(Careless, "IndexError: out of range")

    def test_slow(self) -> None:
        self.check_breaks(CounterRules, "0.0 s are allowed", seconds=0.0)

    def test_producer_that_makes_nothing(self) -> None:
        class Idle(CounterRules):
            def propose(self, parent, state, transactions, now):
                return None

        self.check_breaks(Idle, "made no block")
