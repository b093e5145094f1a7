"""Ancestor search, claims and state, without a network."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.sync.blocks.sources import Source
from chainp2p.sync.claims import ASKED_LAST, PASSED_OVER, PATIENCE_ALONE, PATIENCE_MAX, Claim, Claims
from chainp2p.sync.headers.ancestor import AncestorSearch
from chainp2p.sync.state import Activity, Phase, SyncState, short


def rank(n: int) -> bytes:
    return n.to_bytes(32, "big")


def info(height: int, weight: int = 0, name: bytes = b"h") -> HeaderInfo:
    return HeaderInfo(name * 32, bytes(32), height, rank(weight or height))


class Search(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=500)
    @given(st.integers(0, 100_000), st.integers(0, 100_000), st.integers(-1, 100_000))
    def test_finds_the_highest_common_height_or_none_above_the_floor(self, top: int, floor: int, common: int) -> None:
        floor = min(floor, top)
        search, asked = AncestorSearch(top, floor), 0
        while (height := search.ask()) is not None:
            self.assertTrue(floor <= height <= top)
            asked += 1
            self.assertLess(asked, 40)
            (search.has if height <= common else search.lacks)(height)
        self.assertEqual(search.found, min(common, top) if common >= floor else None)

    def test_steps(self) -> None:
        search, heights = AncestorSearch(2_000, 1_000), []
        while (height := search.ask()) is not None:
            heights.append(height)
            search.lacks(height)
        self.assertEqual([2_000 - height for height in heights], [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 1_000])
        self.assertIsNone(search.found)
        near = AncestorSearch(1_500, 1_000)
        near.lacks(1_500)
        self.assertEqual(near.ask(), 1_000)


class Choosing(SynchronousTestCase):
    def setUp(self) -> None:
        self.claims: Claims[str] = Claims()
        for name, weight in (("a", 5), ("b", 9), ("c", 7)):
            self.claims.joined(name, name.encode() * 32, Claim(name.encode() * 32, weight, rank(weight)))

    def test_best_rank_first_then_who_did_not_fail(self) -> None:
        self.assertEqual(self.claims.for_headers(0.0), "b")
        self.claims.failed("b", 0.0)
        self.assertEqual(self.claims.for_headers(0.0), "c")
        self.claims.failed("c", 1.0)
        self.claims.failed("a", 2.0)
        self.assertEqual(self.claims.for_headers(3.0), "b")
        self.assertEqual(self.claims.for_headers(3.0 + PASSED_OVER), "b")

    def test_the_useless_come_after_those_who_failed_and_before_liars(self) -> None:
        useless = {"b"}
        claims: Claims[str] = Claims(useless.__contains__)
        for name, weight in (("a", 5), ("b", 9), ("c", 7)):
            claims.joined(name, name.encode() * 32, Claim(name.encode() * 32, weight, rank(weight)))
        self.assertEqual(claims.for_headers(0.0), "c")
        claims.failed("a", 0.0)
        claims.served("c", claims["c"].claim, info(6), 0.0)
        self.assertEqual(
            claims.sources(0.0),
            [Source("a", 5, failed=True, patience=4.0), Source("b", 9, (False, True)), Source("c", 7, (True, False))],
        )
        useless.clear()
        self.assertEqual(claims.for_headers(PASSED_OVER), "b")

    def test_claims_without_rank_come_after(self) -> None:
        self.claims.heard("a", b"x" * 32, 50)
        self.assertEqual((self.claims.for_headers(0.0), self.claims.highest), ("b", 50))
        self.claims.drop_losing(info(20, name=b"z"))
        self.assertEqual(self.claims.for_headers(0.0), "a")
        self.claims.heard("a", b"x" * 32, 0)
        self.claims.heard("a", b"y" * 32, 0)
        self.assertEqual(self.claims["a"].claim, Claim(b"y" * 32, 50))
        self.claims.heard("nobody", b"y" * 32, 1)

    def test_a_newer_claim_stays_open(self) -> None:
        old = self.claims["b"].claim
        self.claims.heard("b", b"n" * 32, 10)
        self.claims.settle("b", old)
        self.assertTrue(self.claims["b"].open)
        self.claims.known("b", self.claims["b"].claim, info(10))
        self.assertFalse(self.claims["b"].open)
        self.assertEqual(self.claims["b"].tip, info(10))

    def test_a_liar_is_asked_last_for_ten_minutes(self) -> None:
        claim = self.claims["b"].claim
        self.claims.served("b", claim, info(3), 0.0)
        self.claims.heard("b", b"n" * 32, 10)
        self.claims.settle("a", self.claims["a"].claim)
        self.claims.failed("c", 1.0)
        self.assertEqual(self.claims.for_headers(2.0), "c")
        self.claims.settle("c", self.claims["c"].claim)
        self.assertEqual(self.claims.for_headers(2.0), "b")
        self.assertEqual(self.claims.sources(2.0)[1].standing, (True, False))
        self.assertEqual(self.claims.sources(ASKED_LAST + 2.0)[1].standing, (False, False))
        self.claims.served("a", self.claims["a"].claim, info(5), 0.0)
        self.assertEqual(self.claims["a"].asked_last_until, 0.0)

    def test_rests(self) -> None:
        self.claims.postpone("b", 5.0)
        self.claims.rest("c", 6.0)
        self.assertEqual(self.claims.for_headers(0.0), "a")
        self.assertEqual(self.claims.next_time(0.0), 5.0)
        self.assertEqual([source.key for source in self.claims.sources(0.0)], ["a", "c"])
        self.assertEqual([source.key for source in self.claims.sources(9.0)], ["a", "b", "c"])
        self.assertEqual(self.claims.for_headers(6.0), "b")
        self.assertIsNone(self.claims.next_time(6.0))

    def test_polls_in_turn(self) -> None:
        self.assertEqual([self.claims.for_poll(0.0) for _ in range(4)], ["a", "b", "c", "a"])
        self.assertIsNone(Claims[str]().for_poll(0.0))
        self.assertIsNone(Claims[str]().for_headers(0.0))

    def test_patience_follows_the_peer(self) -> None:
        for _ in range(9):
            self.claims.failed("a", 0.0)
        self.assertEqual(self.claims.patience("a"), PATIENCE_MAX)
        self.claims.answered("a", 3.0)
        self.assertEqual(self.claims.patience("a"), 12.0)
        self.claims.answered("a", 0.1)
        self.assertEqual(self.claims.patience("a"), 2.0)
        self.claims.left("b")
        self.claims.left("c")
        self.assertEqual(self.claims.patience("a"), PATIENCE_ALONE)

    def test_fallback_goes_by_what_was_served(self) -> None:
        self.assertEqual(self.claims.for_fallback(info(1, name=b"z"), 0.0), [])
        for name, weight in (("a", 5), ("b", 9), ("c", 6)):
            self.claims.served(name, self.claims[name].claim, info(weight), 0.0)
        self.assertEqual(self.claims.for_fallback(info(3), 0.0), ["b", "a"])
        self.assertEqual(self.claims.for_fallback(info(3), ASKED_LAST), ["b", "c", "a"])
        self.assertEqual(self.claims.for_fallback(info(6, name=b"a"), ASKED_LAST), ["b"])

    def test_among_equals_who_comes_before(self) -> None:
        before = {"a": (2, 0), "b": (1, 0), "c": (0, 5)}
        claims: Claims[str] = Claims(before=before.__getitem__)
        for name, weight in (("a", 5), ("b", 9), ("c", 7)):
            claims.joined(name, name.encode() * 32, Claim(name.encode() * 32, weight, rank(weight)))
        self.assertEqual(claims.for_headers(0.0), "c")
        claims.fell_short("c", 0.0)
        self.assertEqual(claims.for_headers(0.0), "b")
        self.assertTrue(claims.others_wait("b", 0.0))
        for name in "ac":
            claims.settle(name, claims[name].claim)
        self.assertFalse(claims.others_wait("b", 0.0))
        claims.unfinished("a")
        self.assertEqual(claims["a"].claim, Claim(b"", 5))
        self.assertTrue(claims.others_wait("b", 0.0))

    def test_who_brought_nothing_comes_after_and_then_in_turn(self) -> None:
        for name in "abc":
            self.claims.heard(name, name.encode() * 32, 10)
            self.claims.turned(name, name == "a", 1.0 if name == "c" else 1.5)
        self.claims.heard("b", b"x" * 32, 10**9)
        order = []
        for now in (2.0, 3.0, 4.0, 5.0):
            order.append(self.claims.for_headers(now))
            self.claims.turned(order[-1] or "", False, now)
        self.assertEqual(order, ["a", "c", "b", "a"])
        self.claims.turned("c", True, 6.0)
        self.assertEqual(self.claims.for_headers(6.0, strangers=False), "c")
        self.assertIsNone(self.claims.for_headers(6.0, lambda name: name == "a", strangers=False))

    def test_how_they_stand(self) -> None:
        self.assertEqual(Claims[str]().standing(), "no peers")
        for name in "abc":
            self.claims.settle(name, self.claims[name].claim)
        self.assertEqual(self.claims.standing(), "in step with all peers")
        self.claims.parted("a", self.claims["a"].claim, 5.0)
        self.claims.heard("b", b"n" * 32, 10)
        self.assertEqual(
            self.claims.standing(),
            "1 of 3 peers have nothing of our chain from the finalized block on, "
            "1 asked to wait, or have headers from the future",
        )
        self.claims.served("a", self.claims["a"].claim, info(5), 0.0)
        self.assertNotIn("nothing", self.claims.standing())

    def test_who_left_is_nobody(self) -> None:
        claim = self.claims["a"].claim
        self.claims.left("a")
        self.claims.left("a")
        for act in (
            lambda: self.claims.served("a", claim, info(1), 0.0),
            lambda: self.claims.answered("a", 1.0),
            lambda: self.claims.failed("a", 0.0),
            lambda: self.claims.postpone("a", 0.0),
            lambda: self.claims.rest("a", 0.0),
            lambda: self.claims.known("a", claim, info(1)),
            lambda: self.claims.settle("a", claim),
            lambda: self.claims.parted("a", claim, 0.0),
        ):
            act()
        self.assertIsNone(self.claims.get("a"))
        self.assertEqual(len(self.claims), 2)


class State(SynchronousTestCase):
    def test_words(self) -> None:
        doing = Activity("p is asked", 10.0, 14.0, "q is asked")
        self.assertEqual(doing.text(11.5), "p is asked, since 1.5 s; in 2.5 s: q is asked")
        self.assertEqual(Activity("no peers", 1.0).text(1.0), "no peers, since 0.0 s")
        self.assertEqual((short(None), short(b"\xab" * 32)), ("nobody", "abababab"))

    def test_behind(self) -> None:
        states = [SyncState(phase, 0, 10, high, None, "") for phase in Phase for high in (18, 19)]
        self.assertEqual(
            [state.behind for state in states], [False, False, False, True, False, True, False, True, False, False]
        )
