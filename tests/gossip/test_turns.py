"""Deficit round robin beside what it should come to: by rounds where all is there at first, else by bounds."""

from itertools import product
from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.gossip.turns import Turns

QUANTUM, DEAREST = 10.0, 25.0
costs = st.integers(1, int(DEAREST)).map(float)


def by_rounds(queues: list[list[float]]) -> list[tuple[int, int]]:
    """The order that is right where all work is there at first: a piece begins in the round whose credit covers it and
    all before it of that peer; in a round peers come in order."""
    rounds = []
    for peer, queue in enumerate(queues):
        total = 0.0
        for index, cost in enumerate(queue):
            total += cost
            rounds.append((ceil(total / QUANTUM), peer, index))
    return [(peer, index) for _, peer, index in sorted(rounds)]


class ByRounds(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=300)
    @given(st.lists(st.lists(costs, max_size=12), max_size=5), st.integers(1, 4))
    def test_the_same_order(self, queues: list[list[float]], room: int) -> None:
        turns: Turns[int, tuple[int, int]] = Turns(QUANTUM, room)
        for peer, queue in enumerate(queues):
            for index, cost in enumerate(queue):
                turns.ask(peer, cost, (peer, index))
        order: list[tuple[int, int]] = []
        while begun := turns.next():
            self.assertLessEqual(turns.under_way, room)
            order += begun
            turns.ended()
            for _ in begun[1:]:
                turns.ended()
        self.assertEqual(order, by_rounds(queues))
        self.assertEqual([turns.waiting(peer) for peer in range(len(queues))], [0] * len(queues))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 3), costs),
        st.tuples(st.just("ask"), st.integers(0, 3), costs),
        st.tuples(st.just("next")),
        st.tuples(st.just("free")),
        st.tuples(st.just("ended")),
        st.tuples(st.just("withdraw"), st.integers(0, 3), st.integers(0, 60)),
        st.tuples(st.just("left"), st.integers(0, 3)),
    ),
    max_size=80,
)


class AnySchedule(SynchronousTestCase):
    """Lists in place of queues; who waits is looked at after each step."""

    @settings(deadline=None, derandomize=True, max_examples=400)
    @given(steps, st.integers(1, 4))
    def test_oldest_first_nothing_lost_no_room_idle_and_nobody_ahead(self, script: list, room: int) -> None:
        turns: Turns[int, int] = Turns(QUANTUM, room)
        waiting: dict[int, list[tuple[int, float]]] = {peer: [] for peer in range(4)}
        served = dict.fromkeys(range(4), 0.0)
        # what each had been served when the later of two became busy: before that they do not compare
        since: dict[tuple[int, int], tuple[float, float]] = {}
        for number, step in enumerate(script):
            match step:
                case "ask", peer, cost:
                    if not waiting[peer]:
                        for other in range(4):
                            since[peer, other] = served[peer], served[other]
                            since[other, peer] = served[other], served[peer]
                    turns.ask(peer, cost, number)
                    waiting[peer].append((number, cost))
                case ("next",):
                    free = room - turns.under_way
                    begun = turns.next()
                    self.assertEqual(len(begun), min(free, sum(map(len, waiting.values()))))
                    for work in begun:
                        (peer,) = [peer for peer, queue in waiting.items() if queue and queue[0][0] == work]
                        served[peer] += waiting[peer].pop(0)[1]
                        self.fair(waiting, served, since)
                case ("free",):
                    before = turns.under_way
                    self.assertEqual(turns.free(), before < room and not any(waiting.values()))
                    self.assertLessEqual(turns.under_way, room)
                case ("ended",) if turns.under_way:
                    turns.ended()
                case "withdraw", peer, number:
                    turns.withdraw(peer, lambda work, number=number: work == number)
                    waiting[peer] = [pair for pair in waiting[peer] if pair[0] != number]
                case "left", peer:
                    self.assertEqual(turns.left(peer), [work for work, _ in waiting[peer]])
                    waiting[peer] = []
            self.assertEqual([turns.waiting(peer) for peer in range(4)], [len(waiting[peer]) for peer in range(4)])

    def fair(self, waiting: dict, served: dict[int, float], since: dict) -> None:
        """While two have work waiting, neither gets more than a quantum and two of the dearest pieces ahead."""
        busy = [peer for peer, queue in waiting.items() if queue]
        for one, other in product(busy, busy):
            own, others = since[one, other]
            self.assertLessEqual((served[one] - own) - (served[other] - others), QUANTUM + 2 * DEAREST)


class Rules(SynchronousTestCase):
    def test_a_flood_costs_another_peer_one_turn(self) -> None:
        turns: Turns[str, str] = Turns(QUANTUM, 1)
        for _ in range(10_000):
            turns.ask("flood", 1.0, "flood")
        turns.next()
        turns.ask("other", 5.0, "other")
        before = 0
        while True:
            turns.ended()
            (work,) = turns.next()
            if work == "other":
                break
            before += 1
        self.assertLess(before, QUANTUM)

    def test_credit_is_not_saved(self) -> None:
        turns: Turns[str, int] = Turns(QUANTUM, 100)
        turns.ask("one", 1.0, 0)
        turns.next()
        turns.ended()
        for n in range(20):
            turns.ask("one", 1.0, n)
        turns.ask("two", 1.0, 99)
        self.assertEqual(turns.next().index(99), 10)

    def test_dear_work_comes_too(self) -> None:
        turns: Turns[str, str] = Turns(QUANTUM, 1)
        turns.ask("dear", 95.0, "dear")
        for _ in range(200):
            turns.ask("cheap", 5.0, "cheap")
        order = []
        while begun := turns.next():
            order += begun
            turns.ended()
        self.assertEqual(order.index("dear"), 9 * 2)

    def test_who_is_not_known_has_nothing(self) -> None:
        turns: Turns[str, int] = Turns(QUANTUM, 1)
        turns.withdraw("nobody", lambda work: True)
        self.assertEqual((turns.left("nobody"), turns.waiting("nobody"), turns.next()), ([], 0, []))
