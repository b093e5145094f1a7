"""The rules of peer exchange by the table."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.exchange import Allowance, Answers, AskGate, of_network, rules_for
from chainp2p.peer.enr import make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from chainp2p.peer.rate import Rate

PUBLIC, SMALL = rules_for(60.0, public=True), rules_for(5.0, public=False)


class Taking(SynchronousTestCase):
    @settings(deadline=None, derandomize=True)
    @given(st.lists(st.tuples(st.floats(0, 500), st.integers(0, 300)), max_size=30))
    def test_never_more_than_burst_and_rate(self, script: list[tuple[float, int]]) -> None:
        allowance, now, taken = Allowance(Rate(0.1, 100.0)), 0.0, 0
        for wait, wanted in script:
            now += wait
            got = allowance.take(wanted, now)
            taken += got
            self.assertTrue(0 <= got <= wanted)
            self.assertLessEqual(taken, 100 + 0.1 * now + 1e-6)

    def test_it_refills(self) -> None:
        allowance = Allowance(Rate(10.0, 1_000.0))
        self.assertEqual([allowance.take(n, now) for n, now in ((900, 5.0), (900, 5.0), (900, 15.0))], [900, 100, 100])


class Asking(SynchronousTestCase):
    def test_once_an_interval_give_or_take(self) -> None:
        gate = AskGate(5.0)
        self.assertEqual(gate.wait(100.0), 0.0)
        self.assertEqual(gate.wait(101.0), 4.0)
        self.assertEqual(gate.wait(104.5), 0.0)


class Answering(SynchronousTestCase):
    def setUp(self) -> None:
        self.known = [bytes([n, n >> 8]) for n in range(150)]

    def answer(self, answers: Answers, now: float) -> tuple[bytes, ...]:
        return answers.answer(lambda: self.known, now)

    def test_public_full_for_a_day(self) -> None:
        answers = Answers(PUBLIC, random.Random(1).sample)
        first = self.answer(answers, 0.0)
        self.assertEqual(len(set(first)), 100)
        self.known = []
        self.assertEqual(self.answer(answers, 86_399.0), first)
        self.assertEqual(self.answer(answers, 86_401.0), ())

    def test_public_short_for_a_minute(self) -> None:
        answers = Answers(PUBLIC, random.Random(1).sample)
        self.known = self.known[:10]
        self.assertEqual(self.answer(answers, 0.0), tuple(self.known))
        self.known = self.known[:5]
        self.assertEqual(len(self.answer(answers, 59.0)), 10)
        self.assertEqual(len(self.answer(answers, 61.0)), 5)

    def test_small_networks_fresh(self) -> None:
        answers = Answers(SMALL, random.Random(1).sample)
        self.assertEqual(len(self.answer(answers, 0.0)), 100)
        self.known = self.known[:5]
        self.assertEqual(len(self.answer(answers, 0.0)), 5)


class Networks(SynchronousTestCase):
    def test_own_genesis_only(self) -> None:
        key = NodeKey(b"\1" * 32)
        genesis = b"\2" * 32
        self.assertTrue(of_network(make_enr(key, 1, node_pairs(genesis, 1)), genesis))
        self.assertTrue(of_network(make_enr(key, 1, node_pairs(genesis, 7)), genesis))
        self.assertFalse(of_network(make_enr(key, 1, node_pairs(b"\3" * 32, 1)), genesis))
        self.assertFalse(of_network(make_enr(key, 1, {}), genesis))
