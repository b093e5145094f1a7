"""Who is asked to push: three, by who was first, one of them dialled."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.gossip.blocks.pushers import LEAD, PUSHERS, REMEMBERED, Pushers


def id(n: int) -> bytes:
    return n.to_bytes(32, "big")


class PushersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pushers: Pushers[str] = Pushers()

    def join(self, names: str, dialled: bool = False) -> list[tuple[str, bool]]:
        return [change for name in names for change in self.pushers.joined(name, dialled)]

    def first(self, peer: str, n: int, now: float = 0.0) -> list[tuple[str, bool]]:
        """*peer*, which is not asked to push, has block *n* well before the others push it."""
        self.pushers.announced(peer, id(n), now)
        self.pushers.pushed("a", id(n), now + LEAD)
        return self.pushers.good(id(n))

    def test_the_first_three(self) -> None:
        self.assertEqual(self.join("abcde"), [("a", True), ("b", True), ("c", True)])
        self.assertEqual([one in self.pushers for one in "abcd"], [True, True, True, False])

    def test_who_announced_first_takes_the_place_of_who_was_first_longest_ago(self) -> None:
        self.join("abcde")
        self.pushers.pushed("a", id(1), 0.0)
        self.pushers.pushed("b", id(1), 0.1)
        self.assertEqual(self.pushers.good(id(1)), [])
        self.assertEqual(self.first("d", 2), [("b", False), ("d", True)])
        self.assertEqual(self.first("b", 3), [("c", False), ("b", True)])  # it had pushed

    def test_a_small_lead_is_chance(self) -> None:
        self.join("abcde")
        self.pushers.announced("d", id(1), 0.0)
        self.pushers.pushed("b", id(1), LEAD / 2)
        self.pushers.pushed("c", id(1), 9.0)
        self.assertEqual(self.pushers.good(id(1)), [])
        self.assertEqual(self.first("e", 2)[0], ("a", False))

    def test_only_good_blocks_count(self) -> None:
        self.join("abcd")
        self.pushers.announced("d", id(1), 0.0)
        self.assertEqual(self.pushers.good(id(2)), [])
        self.assertEqual(self.pushers.good(id(1)), [("a", False), ("d", True)])  # nobody pushed it at all
        self.assertEqual(self.pushers.good(id(1)), [])

    def lose(self, peer: str) -> None:
        """*peer* wins a place, pushes nothing, and loses it to those that do."""
        self.assertEqual(self.first(peer, 1)[-1], (peer, True))
        for n in (2, 3):
            for one in "abc":
                self.pushers.pushed(one, id(n), 0.0)
            self.pushers.good(id(n))
        while peer in self.pushers:
            changes = self.first(next(one for one in "abc" if one not in self.pushers), 20)
            self.assertTrue(changes)

    def test_words_alone_win_a_place_once(self) -> None:
        self.join("abcd")
        self.lose("d")
        self.assertEqual(self.first("d", 30), [])
        # unless there are no others
        for one in "ab":
            self.pushers.left(one)
        self.assertIn("d", self.pushers)

    def test_who_gives_what_it_announced_wins_a_place_again(self) -> None:
        self.join("abcd")
        self.lose("d")
        self.pushers.brought("stranger")
        self.assertEqual(self.first("d", 30), [])
        self.pushers.brought("d")
        self.assertEqual(self.first("d", 31)[-1], ("d", True))

    def test_one_place_is_a_dialled_peers(self) -> None:
        self.join("abc")
        self.assertEqual(self.join("o", dialled=True), [("a", False), ("o", True)])
        for n in range(9):
            others = [one for one in "abc" if one not in self.pushers]
            for one in "abc":
                self.pushers.pushed(one, id(n), 0.0)
            self.pushers.good(id(n))
            self.pushers.announced(others[0], id(100 + n), 0.0)
            self.pushers.good(id(100 + n))
            self.assertIn("o", self.pushers)
        self.assertEqual(self.join("p", dialled=True), [])

    def test_who_leaves_is_replaced_by_a_dialled_one_first(self) -> None:
        self.join("abcd")
        self.join("e", dialled=True)
        self.assertIn("e", self.pushers)
        self.pushers.announced("a", id(1), 0.0)
        self.assertEqual(self.pushers.left("a"), [])
        self.assertEqual(self.pushers.good(id(1)), [])
        self.assertEqual(self.pushers.left("e"), [("d", True)])
        self.assertEqual(self.pushers.left("b"), [])
        self.assertEqual((self.pushers.left("x"), len(self.pushers)), ([], 2))

    def test_strangers_and_many_blocks(self) -> None:
        self.join("abcd")
        self.pushers.announced("x", id(1), 0.0)
        self.pushers.pushed("x", id(1), 0.0)
        self.assertEqual(self.pushers.good(id(1)), [])
        for n in range(REMEMBERED + 1):
            self.pushers.announced("d", id(n), 0.0)
        self.assertEqual(self.pushers.good(id(0)), [])
        self.assertEqual(self.pushers.good(id(1))[-1], ("d", True))

    @settings(deadline=None, derandomize=True, max_examples=300)
    @given(
        st.lists(
            st.tuples(st.sampled_from("jldapgb"), st.integers(0, 6), st.integers(0, 3), st.floats(0, 0.03)), max_size=60
        )
    )
    def test_what_peers_were_told_is_who_is_chosen(self, steps: list[tuple[str, int, int, float]]) -> None:
        pushers: Pushers[int] = Pushers()
        here: dict[int, bool] = {}
        told: set[int] = set()
        now = 0.0
        for verb, peer, block, passed in steps:
            now += passed
            changes: list[tuple[int, bool]] = []
            if verb in "jd" and peer not in here:
                here[peer] = verb == "d"
                changes = pushers.joined(peer, verb == "d")
            elif verb == "l" and peer in here:
                del here[peer]
                told.discard(peer)
                changes = pushers.left(peer)
            elif verb == "a":
                pushers.announced(peer, id(block), now)
            elif verb == "p":
                pushers.pushed(peer, id(block), now)
            elif verb == "b":
                pushers.brought(peer)
            elif verb == "g":
                changes = pushers.good(id(block))
            for one, wanted in changes:
                self.assertIn(one, here)
                self.assertEqual(wanted, one not in told)
                (told.add if wanted else told.discard)(one)
            self.assertEqual(told, {one for one in here if one in pushers})
            self.assertEqual(len(told), min(PUSHERS, len(here)))
            if any(here.values()):
                self.assertTrue(any(here[one] for one in told))
