"""Whose headers are looked at next, what they have to reach, and what is held meanwhile."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.sync.claims import Claim, Claims
from chainp2p.sync.headers.quests import FRESH, HELD_BESIDE, Quests, parse_rank
from chainp2p.sync.headers.sieve import HELD_BYTES, Sieve, Stage


def info(number: int, name: bytes = b"n") -> HeaderInfo:
    return HeaderInfo(name * 32, bytes(32), number, number.to_bytes(32, "big"))


START = info(0, b"g")


class Bars(SynchronousTestCase):
    def setUp(self) -> None:
        self.quests: Quests[str] = Quests(parse_rank("3"))
        self.quests.joined("a", info(9).rank)

    def test_fresh_and_not(self) -> None:
        self.assertEqual(self.quests.bar("a", info(FRESH - 1), 0.0), info(9).rank)
        self.assertEqual(self.quests.bar("a", info(FRESH), 0.0), info(3).rank)
        self.quests.joined("a", info(2).rank)
        self.assertEqual(self.quests.bar("a", START, 0.0), info(3).rank)
        self.assertEqual(self.quests.bar("nobody", START, 0.0), info(3).rank)

    def test_less_is_enough_when_it_is_pardoned(self) -> None:
        self.assertTrue(self.quests.judge("a", info(5), False, 600.0))
        self.assertEqual(self.quests.short, 1)
        self.assertEqual(self.quests.bar("a", START, 599.0), info(9).rank)
        self.assertTrue(self.quests.judge("a", info(6), False, 900.0))
        self.assertEqual(self.quests.bar("a", START, 600.0), info(6).rank)
        self.assertFalse(self.quests.judge("a", info(9), True, 1_200.0))
        self.assertEqual(self.quests.bar("a", START, 1_200.0), info(9).rank)
        self.assertEqual(self.quests.short, 0)
        self.quests.left("a")

    def test_ranks_in_words(self) -> None:
        self.assertEqual(parse_rank("0x0a"), bytes(31) + b"\x0a")
        for text in ("", "x", "-1", "1" + 64 * "0"):
            self.assertRaises((ValueError, OverflowError), parse_rank, text)


class Turns(SynchronousTestCase):
    """Against claims that all state the same."""

    def setUp(self) -> None:
        self.quests: Quests[str] = Quests()
        self.claims: Claims[str] = Claims(before=self.quests.order)

    def join(self, name: str, stated: int = 100) -> None:
        self.quests.joined(name, info(stated).rank)
        self.claims.joined(name, name.encode() * 32, Claim(name.encode() * 32, stated, info(stated).rank))

    def show(self, name: str, rank: int, seconds: float = 1.0) -> None:
        """It shows *rank* in one more header, which takes so long."""
        sieve = self.quests.get(name).sieve or self.quests.begun(name, Sieve(START, info(10**9).rank, b"k"))
        sieve.looked([bytes(100)], [info(rank, name[:1].encode())], None, START)
        self.quests.spent(name, seconds, False)

    def turn(self) -> str:
        """Whose turn it is of those that were looked at."""
        name = self.claims.for_headers(0.0, lambda name: self.quests.get(name).sieve is not None)
        assert name is not None
        self.quests.resume(name)
        return name

    def test_the_best_goes_on(self) -> None:
        names = "abcdefghijklmnopqrst"
        for index, name in enumerate(names):
            self.join(name)
            self.show(name, 5_000 if name == "k" else 10 + index)
        self.assertEqual(self.turn(), "k")
        self.show("b", 5_001)
        self.assertEqual(self.turn(), "b")

    def test_of_equals_the_nearest_and_who_holds_what_it_showed(self) -> None:
        for name, seconds in (("a", 3.0), ("b", 0.1), ("c", 1.0)):
            self.join(name)
            self.show(name, 10, seconds)
        self.assertEqual(self.turn(), "b")
        sieve = self.quests.get("b").sieve
        assert sieve is not None
        sieve.let_go()
        self.assertEqual(self.turn(), "c")

    def test_a_look_leaves_the_one_whose_turn_it_was_what_it_holds(self) -> None:
        for name in "abc":
            self.join(name)
            self.show(name, 10, 0.1 if name == "a" else 0.2)
            sieve = self.quests.get(name).sieve
            assert sieve is not None
            sieve.looked([bytes(HELD_BESIDE)], [info(11)], None, START)
        self.assertEqual(self.turn(), "a")
        self.quests.resume("d", look=True)
        held = [self.quests.get(name).sieve.held for name in "abc"]  # type: ignore[union-attr]
        self.assertGreater(held[0], HELD_BESIDE)
        self.assertEqual(held[1:], [0, 0])

    def test_who_is_gone_has_no_turn_any_more(self) -> None:
        self.join("a")
        self.show("a", 10)
        self.assertEqual(self.turn(), "a")
        self.assertEqual(self.quests._turn, "a")
        self.quests.left("a")
        self.assertIsNone(self.quests._turn)
        self.assertIsNone(self.quests.resume("a"))
        self.assertIsNone(self.quests._turn)

    def test_what_is_good_enough_comes_before_all(self) -> None:
        for name in "ab":
            self.join(name)
        sieve = self.quests.begun("b", Sieve(START, info(5).rank, b"k"))
        sieve.let_go()
        sieve.looked([b"x"], [info(6)], None, START)
        self.assertIs(sieve.stage, Stage.AGAIN)
        self.assertEqual(self.claims.for_headers(0.0), "b")

    def test_little_is_held_of_those_whose_turn_it_is_not(self) -> None:
        names = "abcdefgh"
        for number, name in enumerate(names):
            self.join(name)
            sieve = self.quests.begun(name, Sieve(START, info(10**9).rank, b"k"))
            sieve.looked([bytes(HELD_BESIDE // 2 - 100)], [info(number + 1)], None, START)
        self.quests.resume("a")
        held = [self.quests.get(name).sieve.held for name in names]  # type: ignore[union-attr]
        self.assertLessEqual(sum(held[1:]), HELD_BESIDE)
        self.assertGreater(held[-1], 0)
        self.assertGreater(held[0], 0)
        self.assertLess(HELD_BYTES + HELD_BESIDE, 6 << 20)

    def test_dawdling(self) -> None:
        self.join("a")
        self.assertFalse(self.quests.dawdles("a"))
        sieve = self.quests.begun("a", Sieve(START, info(5).rank, b"k"))
        sieve.let_go()
        self.quests.spent("a", 10.0, False)
        sieve.looked([b"x"], [info(6)], None, START)
        self.quests.spent("a", 50.0, True)
        self.assertFalse(self.quests.dawdles("a"))
        self.quests.spent("a", 0.1, True)
        self.assertTrue(self.quests.dawdles("a"))
        self.quests.ended("a")
        self.quests.spent("a", 1.0, True)
        self.assertFalse(self.quests.dawdles("a"))
