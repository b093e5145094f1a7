"""The mesh: sizes, lots, who stays, back-offs, and a network of meshes."""

from collections import deque
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.gossip.mesh import (
    BACKOFF,
    CROSSED,
    DEGREE,
    DIALLED,
    FIRST,
    FORGIVEN,
    GRACE,
    HIGH,
    LONGEST_BACKOFF,
    LOW,
    MESHED_ABOVE,
    Asked,
    Beat,
    Mesh,
)


class MeshTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.useless: set[int] = set()
        self.mesh: Mesh[int] = Mesh(Random(1), self.useless.__contains__)

    def join(self, count: int, dialled: int = 0) -> None:
        for n in range(count):
            self.mesh.joined(n, n < dialled)

    def test_it_sleeps_with_few_peers(self) -> None:
        self.join(MESHED_ABOVE)
        self.assertFalse(self.mesh.awake)
        self.assertEqual(self.mesh.beat(0.0), Beat())
        self.assertEqual({self.mesh.asked(n, 0.0) for n in range(MESHED_ABOVE)}, {Asked.TAKEN})
        self.assertEqual(self.mesh.beat(1.0), Beat())
        self.mesh.joined(99, False)
        self.assertTrue(self.mesh.awake)
        beat = self.mesh.beat(2.0)
        self.assertEqual((beat.asked, len(beat.put_out)), ((), MESHED_ABOVE - DEGREE))
        self.mesh.left(99)
        self.assertEqual((self.mesh.awake, len(self.mesh.members)), (False, DEGREE))

    def test_others_are_asked_in_below_low_only(self) -> None:
        self.join(30)
        beat = self.mesh.beat(0.0)
        self.assertEqual((len(beat.asked), beat.put_out), (DEGREE, ()))
        self.assertEqual(set(beat.asked), set(self.mesh.members))
        self.mesh.left(self.mesh.members[0])
        self.assertEqual(self.mesh.beat(1.0), Beat())
        self.mesh.left(self.mesh.members[0])
        self.assertEqual(len(self.mesh.beat(2.0).asked), DEGREE - LOW + 1)

    def test_above_high_some_are_put_out(self) -> None:
        self.join(40, dialled=20)
        for n in range(HIGH + 1):
            self.assertIs(self.mesh.asked(n, 0.0), Asked.TAKEN)
        self.assertIs(self.mesh.asked(0, 0.0), Asked.TAKEN)  # it is a member already
        self.assertEqual(len(self.mesh.beat(0.0).put_out), HIGH + 1 - DEGREE)
        self.assertEqual(len(self.mesh.members), DEGREE)

    def test_strangers_are_taken_below_high_and_dialled_ones_always(self) -> None:
        self.join(40, dialled=1)
        taken = [self.mesh.asked(n, 0.0) for n in range(1, 40)]
        self.assertEqual(taken, [Asked.TAKEN] * HIGH + [Asked.REFUSED] * (39 - HIGH))
        self.assertIs(self.mesh.asked(0, 0.0), Asked.TAKEN)
        self.assertIn(0, self.mesh)

    def test_some_are_always_dialled(self) -> None:
        self.join(40, dialled=3)
        for n in range(10, 10 + HIGH):
            self.mesh.asked(n, 0.0)
        beat = self.mesh.beat(0.0)
        self.assertEqual((len(beat.asked), beat.put_out), (DIALLED, ()))
        self.assertTrue(set(beat.asked) < {0, 1, 2})
        for second in range(1, 200):
            self.mesh.beat(float(second))
            self.assertGreaterEqual(sum(n in self.mesh for n in (0, 1, 2)), DIALLED)

    def test_those_that_were_first_stay(self) -> None:
        self.join(40, dialled=3)
        for n in (0, *range(10, 10 + HIGH)):
            self.mesh.asked(n, 0.0)
        for n in range(10, 15):
            self.mesh.first(n, float(n))
        self.mesh.beat(20.0)
        self.assertTrue({0, *range(15 - FIRST, 15)} <= set(self.mesh.members))

    def test_useless_ones_go_first_and_come_last(self) -> None:
        self.join(40)
        for n in range(HIGH):
            self.mesh.asked(n, 0.0)
        self.useless.update(range(3))
        self.mesh.joined(99, True)
        self.mesh.asked(99, 0.0)
        self.assertTrue({0, 1, 2} <= set(self.mesh.beat(0.0).put_out))
        self.useless.update(range(35))
        for peer in self.mesh.members:
            self.mesh.left(peer)
        asked = self.mesh.beat(0.0).asked
        self.assertEqual((set(asked[:5]), len(asked)), (set(range(35, 40)), DEGREE))

    def test_who_brings_a_block_first_is_asked_in(self) -> None:
        self.join(40)
        self.mesh.beat(0.0)
        outside = next(n for n in range(40) if n not in self.mesh)
        self.mesh.first(outside, 0.5)
        self.mesh.first(99, 0.5)  # it has left
        self.assertEqual(self.mesh.beat(1.0).asked, (outside,))
        self.assertEqual(self.mesh.beat(2.0), Beat())
        self.mesh.put_out(outside, 0.0, 2.0)
        self.mesh.first(outside, 2.5)
        self.assertEqual(self.mesh.beat(3.0), Beat())

    def test_who_put_us_out_is_left_alone(self) -> None:
        self.join(MESHED_ABOVE + 1)
        self.mesh.beat(0.0)
        for peer in tuple(self.mesh.members):
            self.mesh.put_out(peer, 0.0, 1.0)
        gone = set(range(MESHED_ABOVE + 1)) - set(self.mesh.beat(1.0).asked)
        for peer in gone:
            self.mesh.put_out(peer, 1e9, 1.0)
        for peer in tuple(self.mesh.members):
            self.mesh.put_out(peer, 0.0, 2.0)
        self.assertEqual(self.mesh.beat(2.0 + BACKOFF - 0.1), Beat())
        self.assertEqual(len(self.mesh.beat(2.0 + BACKOFF).asked), DEGREE)
        self.mesh.put_out(99, 0.0, 2.0)  # it has left
        self.assertEqual(LONGEST_BACKOFF, max(peer.closed_until for peer in self.mesh._peers.values()) - 1.0)

    def fill(self) -> int:
        """Let one be put out, and answer it."""
        self.join(40)
        for n in range(HIGH):
            self.mesh.asked(n, 0.0)
        self.assertIs(self.mesh.asked(HIGH, 0.0), Asked.REFUSED)
        return HIGH

    def test_who_asks_too_early_pays(self) -> None:
        one, now = self.fill(), 1.0
        self.assertEqual([self.mesh.asked(one, now) for _ in range(CROSSED)], [Asked.REFUSED] * CROSSED)
        early = [self.mesh.asked(one, now) for _ in range(FORGIVEN - CROSSED)]
        self.assertEqual(early, [Asked.EARLY] * (FORGIVEN - CROSSED))
        now += BACKOFF - GRACE - 0.1  # each refusal begins the time anew
        self.assertIs(self.mesh.asked(one, now), Asked.HOSTILE)

    def test_who_waits_does_not(self) -> None:
        one, now = self.fill(), 0.0
        for _ in range(5):
            now += BACKOFF - GRACE
            self.assertIs(self.mesh.asked(one, now), Asked.REFUSED)
        self.mesh.left(0)
        self.assertIs(self.mesh.asked(one, now + BACKOFF), Asked.TAKEN)

    def test_who_leaves_and_asks_at_once_crossed_nothing(self) -> None:
        self.join(40)
        self.mesh.asked(0, 0.0)
        self.mesh.put_out(0, BACKOFF, 1.0)
        self.assertIs(self.mesh.asked(0, 1.0), Asked.EARLY)

    def test_words_that_cross(self) -> None:
        one = self.fill()
        self.mesh.put_out(one, BACKOFF, 0.1)
        self.assertIs(self.mesh.asked(one, 0.1), Asked.REFUSED)

    def test_whom_it_does_not_know(self) -> None:
        self.assertIs(self.mesh.asked(7, 0.0), Asked.TAKEN)
        self.mesh.left(7)
        self.assertEqual(self.mesh.members, ())

    steps = st.lists(
        st.tuples(
            st.sampled_from(["join", "dial", "leave", "ask", "out", "first", "useless", "beat", "wait"]),
            st.integers(0, 45),
        ),
        max_size=150,
    )

    @given(st.integers(0, 2**32), st.integers(0, 40), steps)
    @settings(max_examples=60, deadline=None, derandomize=True)
    def test_whatever_happens(self, seed: int, count: int, steps: list[tuple[str, int]]) -> None:
        useless: set[int] = set()
        mesh: Mesh[int] = Mesh(Random(seed), useless.__contains__)
        # what the other ends believe, and when they were told last; an oracle of dictionaries
        dialled: dict[int, bool] = {n: n % 4 == 0 for n in range(count)}
        believed: set[int] = set()
        told: dict[int, float] = {}
        now = 0.0
        for n in range(count):
            mesh.joined(n, dialled[n])
        for step, n in steps:
            if step in ("join", "dial") and n not in dialled:
                dialled[n] = step == "dial"
                mesh.joined(n, dialled[n])
            elif step == "leave":
                mesh.left(n)
                dialled.pop(n, None)
                told.pop(n, None)
                believed.discard(n)
            elif step == "ask" and n in dialled:
                answer = mesh.asked(n, now)
                waited = n in believed or now >= told.get(n, -BACKOFF) + BACKOFF - GRACE
                full = len(dialled) > MESHED_ABOVE and len(believed) >= HIGH and not dialled[n] and n not in believed
                self.assertEqual(answer is Asked.TAKEN, waited and not full)
                if answer is Asked.TAKEN:
                    believed.add(n)
                else:
                    told[n] = now
            elif step == "out" and n in dialled:
                mesh.put_out(n, 0.0, now)
                believed.discard(n)
                told[n] = now
            elif step == "first":
                mesh.first(n, now)
            elif step == "useless":
                useless ^= {n}
            elif step == "wait":
                now += n
            elif step == "beat":
                now += 1.0
                beat = mesh.beat(now)
                self.assertTrue(set(beat.put_out) <= believed and not set(beat.asked) & believed)
                self.assertTrue(all(now >= told.get(one, -BACKOFF) + BACKOFF for one in beat.asked))
                self.assertTrue(not beat.put_out or len(believed) > HIGH)
                believed = (believed - set(beat.put_out)) | set(beat.asked)
                told.update(dict.fromkeys(beat.put_out, now))
                free = [one for one in dialled if now >= told.get(one, -BACKOFF) + BACKOFF]
                if len(dialled) > MESHED_ABOVE:
                    self.assertLessEqual(len(believed), HIGH + DIALLED)
                    self.assertTrue(len(believed) >= LOW or set(free) <= believed)
            self.assertEqual(set(mesh.members), believed)


class NetworkTests(SynchronousTestCase):
    def test_meshes_of_a_network_agree_and_hold_together(self) -> None:
        """Words take a beat each way; a third of the nodes is linked to few."""
        for seed in range(4):
            with self.subTest(seed=seed):
                self.play(Random(seed))

    def play(self, chance: Random) -> None:
        nodes = {n: Mesh[int](Random(chance.random())) for n in range(60)}
        for one in nodes:
            for other in range(one):
                if chance.random() < (0.7 if other % 3 else 0.2):
                    nodes[one].joined(other, True)
                    nodes[other].joined(one, False)
        words: deque[tuple[str, int, int]] = deque()
        answers: set[Asked] = set()
        for second in range(150):
            for _ in range(len(words)):
                word, source, target = words.popleft()
                if word == "prune":
                    nodes[target].put_out(source, BACKOFF, second)
                else:
                    answers.add(answer := nodes[target].asked(source, second))
                    if answer is not Asked.TAKEN:
                        words.append(("prune", target, source))
            for one, mesh in nodes.items():
                beat = mesh.beat(second)
                words += [("graft", one, other) for other in beat.asked]
                words += [("prune", one, other) for other in beat.put_out]
        self.assertLessEqual(answers, {Asked.TAKEN, Asked.REFUSED})
        self.assertFalse(words)
        for one, mesh in nodes.items():
            self.assertTrue(not mesh.awake or LOW <= len(mesh.members) <= HIGH, len(mesh.members))
            self.assertTrue(all(one in nodes[other] for other in mesh.members))
        reached, todo = {0}, [0]
        while todo:
            fresh = set(nodes[todo.pop()].members) - reached
            reached |= fresh
            todo += fresh
        awake = {one for one, mesh in nodes.items() if mesh.awake}
        self.assertLessEqual(awake, reached)
