"""Whom blocks are rebuilt with: one after the other, the likeliest first, within bounds."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import chainp2p.gossip.blocks.building
from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.gossip.blocks.building import (
    ATTEMPTS,
    BLOCKS_PER_PEER,
    KEPT_PER_PEER,
    OPEN_IN_ALL,
    OPEN_PER_PEER,
    OVERDUE,
    PUSH_HEADSTART,
    Attempt,
    Building,
    GiveUp,
    Has,
    Sketch,
)
from chainp2p.wire.messages import CompactBlock

H, OTHER = b"h" * 32, b"o" * 32
SKETCH = Sketch(CompactBlock(b"header", b"123456", ((1, b"xy"),), 1), HeaderInfo(H, bytes(32), 1, bytes(32)))
UNSEEN = Sketch(CompactBlock(b"header", b"123456", (), 0), None)
LARGE = Sketch(CompactBlock(b"", bytes(KEPT_PER_PEER // 2), (), 1), None)
COMPACT, WHOLE = Has.COMPACT, Has.WHOLE


class BuildingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.building: Building[str] = Building()
        self.attempts: dict[tuple[str, bytes], Attempt] = {}
        for peer in "abcde":
            self.building.joined(peer, preferred=False)
        self.building.joined("dialled", preferred=True)

    def steps(self, now: float) -> list[object]:
        steps = self.building.next(now)
        self.attempts.update({(step.peer, step.hash): step for step in steps if isinstance(step, Attempt)})
        return steps

    def ended(self, peer: str, hash: bytes, now: float, mismatch: bool = False) -> None:
        self.building.ended(self.attempts[peer, hash], now, mismatch)

    def test_what_was_pushed_is_tried_at_once(self) -> None:
        self.assertTrue(self.building.pushed("a", H, SKETCH, 1.0))
        self.assertEqual((SKETCH.size, self.building.kept), (14, 14))
        self.assertEqual(self.steps(1.0), [Attempt("a", H, SKETCH)])
        self.assertEqual((self.building.kept, self.steps(1.0), H in self.building), (0, [], True))
        self.building.done(H)
        self.assertEqual((H in self.building, len(self.building)), (False, 0))
        self.building.done(H)

    def test_the_next_when_the_first_is_overdue(self) -> None:
        for peer in "ab":
            self.building.pushed(peer, H, SKETCH, 0.0)
        self.assertEqual(self.steps(0.0), [Attempt("a", H, SKETCH)])
        self.assertEqual(self.building.next_time(0.0), OVERDUE)
        self.assertEqual(self.steps(OVERDUE - 0.01), [])
        self.assertEqual(self.steps(OVERDUE), [Attempt("b", H, SKETCH)])

    def test_the_next_at_once_when_the_first_fails_or_leaves(self) -> None:
        for peer in "abc":
            self.building.pushed(peer, H, SKETCH, 0.0)
        self.steps(0.0)
        self.ended("a", H, 0.1)
        self.assertEqual(self.steps(0.1), [Attempt("b", H, SKETCH)])
        self.building.left("b", 0.2)
        self.assertEqual(self.steps(0.2), [Attempt("c", H, SKETCH)])
        # nobody is asked twice
        self.building.announced("a", H, COMPACT, 0.2)
        self.ended("c", H, 0.3)
        self.assertEqual(self.steps(0.3), [GiveUp(H, ("a", "c"))])

    def test_pushed_before_announced_and_dialled_before_others(self) -> None:
        self.building.announced("a", H, COMPACT, 0.0)
        self.building.announced("dialled", H, COMPACT, 0.0)
        self.building.pushed("b", H, SKETCH, 0.0)
        order = []
        for _ in range(ATTEMPTS):
            (step,) = self.steps(0.0)
            order.append(step.peer)
            self.ended(step.peer, H, 0.0)
        self.assertEqual(order, ["b", "dialled", "a"])
        self.assertEqual(self.steps(0.0), [GiveUp(H, ("b", "dialled", "a"))])

    def test_an_announced_block_waits_for_a_push(self) -> None:
        self.building.announced("a", H, COMPACT, 0.0, wait=True)
        self.assertEqual((self.steps(0.0), self.building.next_time(0.0)), ([], PUSH_HEADSTART))
        self.building.pushed("b", H, SKETCH, 0.1)
        self.assertEqual(self.steps(0.1), [Attempt("b", H, SKETCH)])
        self.building.announced("a", OTHER, COMPACT, 0.0, wait=True)
        self.assertEqual(self.steps(PUSH_HEADSTART), [Attempt("a", OTHER, None)])

    def test_a_push_takes_the_place_of_the_announcement(self) -> None:
        self.building.announced("a", H, COMPACT, 0.0)
        self.building.pushed("a", H, SKETCH, 0.0)
        self.building.announced("a", H, COMPACT, 0.0)
        self.assertEqual(self.steps(0.0), [Attempt("a", H, SKETCH)])
        self.assertEqual(self.building.kept, 0)

    def test_given_up_after_three(self) -> None:
        for peer in "abcde":
            self.building.pushed(peer, H, SKETCH, 0.0)
        now = 0.0
        for peer in "abc":
            self.assertEqual(self.steps(now), [Attempt(peer, H, SKETCH)])
            now += OVERDUE
        self.assertEqual(self.steps(now), [GiveUp(H, ("d", "e"))])
        self.ended("a", H, now)  # late: nothing is left to be told
        self.assertEqual((self.building.kept, self.steps(now + 9)), (0, []))

    def test_given_up_at_once_when_it_does_not_match(self) -> None:
        self.building.pushed("a", H, SKETCH, 0.0)
        self.steps(0.0)
        self.building.announced("b", H, COMPACT, 0.0)
        self.ended("a", H, 0.1, mismatch=True)
        self.assertEqual(self.steps(0.1), [GiveUp(H, ("b",))])

    def test_what_was_passed_on_unseen_may_be_followed_by_the_right_one(self) -> None:
        self.building.pushed("a", H, UNSEEN, 0.0)
        self.assertEqual(self.steps(0.0), [Attempt("a", H, UNSEEN)])
        self.building.announced("a", H, COMPACT, 0.1)
        self.building.pushed("a", H, SKETCH, 0.1)
        self.assertEqual(self.steps(0.1), [Attempt("a", H, SKETCH)])
        self.building.pushed("a", H, SKETCH, 0.1)
        self.assertEqual(self.steps(0.1), [])

    def test_what_was_passed_on_unseen_and_failed_is_asked_for(self) -> None:
        self.building.pushed("a", H, UNSEEN, 0.0)
        self.steps(0.0)
        self.ended("a", H, 0.1, mismatch=True)
        self.assertEqual(self.steps(0.1), [])
        self.assertEqual(self.steps(0.1 + PUSH_HEADSTART), [Attempt("a", H, None)])
        self.ended("a", H, 1.0)
        self.assertEqual(self.steps(1.0), [GiveUp(H, ("a",))])

    def test_who_knows_no_compact_form_is_only_fetched_from(self) -> None:
        self.building.announced("a", H, WHOLE, 0.0, wait=True)
        self.assertEqual(self.steps(0.0), [GiveUp(H, ("a",))])
        self.building.pushed("b", H, SKETCH, 1.0)
        self.steps(1.0)
        self.building.announced("a", H, WHOLE, 1.0)
        self.assertEqual(self.steps(1.0 + OVERDUE), [GiveUp(H, ("a",))])

    def test_the_last_one_is_waited_for(self) -> None:
        self.building.pushed("a", H, SKETCH, 0.0)
        self.steps(0.0)
        self.assertEqual(self.steps(OVERDUE), [])
        self.assertIsNone(self.building.next_time(OVERDUE))
        self.ended("a", H, 5.0)
        self.assertEqual(self.steps(5.0), [GiveUp(H, ("a",))])

    def test_when_all_have_left(self) -> None:
        self.building.announced("a", H, COMPACT, 0.0, wait=True)
        self.building.left("a", 0.0)
        self.building.left("a", 0.0)
        self.assertEqual(self.building.next_time(0.0), PUSH_HEADSTART)
        self.assertEqual(self.steps(PUSH_HEADSTART), [GiveUp(H, ())])
        self.assertEqual(len(self.building), 0)
        self.assertFalse(self.building.announced("a", H, COMPACT, 0.0))
        self.assertFalse(self.building.pushed("a", H, SKETCH, 0.0))

    def test_a_flood_fills_its_own_place(self) -> None:
        hashes = [bytes([n]) * 32 for n in range(BLOCKS_PER_PEER + 1)]
        taken = [self.building.announced("a", hash, COMPACT, 0.0) for hash in hashes]
        self.assertEqual(taken, [True] * BLOCKS_PER_PEER + [False])
        self.assertTrue(self.building.announced("b", hashes[-1], COMPACT, 0.0))
        self.assertEqual([self.building.pushed("b", hash, LARGE, 0.0) for hash in hashes[:3]], [True, True, False])
        self.assertEqual(self.building.kept, KEPT_PER_PEER)
        steps = self.steps(0.0)
        self.assertEqual(len([step for step in steps if step.peer == "a"]), OPEN_PER_PEER)
        self.assertEqual([step.hash for step in steps if step.peer == "b"], [hashes[0], hashes[1], hashes[-1]])

    def test_room_in_all(self) -> None:
        self.patch(chainp2p.gossip.blocks.building, "KEPT_IN_ALL", LARGE.size)
        self.assertTrue(self.building.pushed("a", H, LARGE, 0.0))
        self.assertFalse(self.building.pushed("b", H, LARGE, 0.0))
        self.building.left("a", 0.0)
        self.assertTrue(self.building.pushed("b", H, LARGE, 0.0))
        self.building.done(H)
        for n in range(30):
            self.building.joined(str(n), preferred=False)
            self.building.announced(str(n), bytes([n]) * 32, COMPACT, 0.0)
        self.assertEqual(len(self.steps(0.0)), OPEN_IN_ALL)
        self.assertEqual(self.steps(0.0), [])
        self.ended("0", bytes(32), 0.0)
        self.assertEqual(len(self.steps(0.0)), 2)  # that one is given up, another begins


HASHES = [bytes([n]) * 32 for n in range(4)]
calls = st.lists(
    st.tuples(st.sampled_from("jjlaaappwemd..."), st.integers(0, 4), st.sampled_from(HASHES), st.floats(0, 0.4)),
    max_size=80,
)


class Invariants(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=400)
    @given(calls)
    def test_every_schedule(self, schedule) -> None:
        """Each block that somebody has is tried with each at most once, three times in all, or given up; nothing of
        those that left stays, and at the end nothing is kept."""
        building: Building[int] = Building()
        here: set[int] = set()
        open: dict[tuple[int, bytes], Attempt] = {}
        tried: dict[bytes, list[int]] = {}
        now = 0.0
        for verb, peer, hash, passed in schedule:
            now += passed
            match verb:
                case "j" if peer not in here:
                    here.add(peer)
                    building.joined(peer, preferred=peer % 2 == 0)
                case "l":
                    here.discard(peer)
                    open = {one: step for one, step in open.items() if one[0] != peer}
                    tried = {hash: [one for one in peers if one != peer] for hash, peers in tried.items()}
                    building.left(peer, now)
                case "a" | "w":
                    self.assertEqual(
                        building.announced(peer, hash, WHOLE if verb == "w" else COMPACT, now, True), peer in here
                    )
                case "p":
                    self.assertEqual(building.pushed(peer, hash, SKETCH, now), peer in here)
                case "e" | "m":
                    step = open.pop((peer, hash), None)
                    if step is not None:
                        building.ended(step, now, mismatch=verb == "m")
                case "d":
                    open = {one: step for one, step in open.items() if one[1] != hash}
                    tried.pop(hash, None)
                    building.done(hash)
                case ".":
                    for step in building.next(now):
                        if isinstance(step, GiveUp):
                            self.assertTrue(set(step.peers) <= here)
                            open = {one: at for one, at in open.items() if one[1] != step.hash}
                            tried.pop(step.hash, None)
                        else:
                            self.assertIn(step.peer, here)
                            asked = tried.setdefault(step.hash, [])
                            self.assertNotIn(step.peer, asked)
                            asked.append(step.peer)
                            self.assertLessEqual(len(asked), ATTEMPTS)
                            open[step.peer, step.hash] = step
                    for one in {hash for _, hash in open}:
                        self.assertIn(one, building)
            self.assertEqual(building._open, len(open))
            self.assertGreaterEqual(building.kept, 0)
        # time alone settles every block whose attempts end
        for _ in range(40):
            for step in tuple(open.values()):
                building.ended(step, now)
            open = {(step.peer, step.hash): step for step in building.next(now) if isinstance(step, Attempt)}
            now = max(now, building.next_time(now) or now)
        self.assertEqual((len(building), building.kept, building._open), (0, 0, 0))
