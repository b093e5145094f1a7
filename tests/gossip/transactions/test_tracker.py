"""The fetch tracker beside a naive model that looks at everything each time, and its rules one by one."""

from random import Random

from attrs import define, evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.gossip.transactions.tracker import FetchLimits, FetchTracker

LIMITS = FetchLimits(announced=5, in_flight=2, ids=2, bytes=100, seconds=5.0)
PATIENT = evolve(LIMITS, patience=2.0)
IDS = [bytes([n]) * 32 for n in range(8)]
peers = st.integers(0, 3)
ids = st.sampled_from(IDS)


@define(eq=False)
class Row:
    """One announcement.

    :param since: the moment, as a number, since when it could be asked for.
    """

    peer: int
    id: bytes
    size: int
    lot: float
    ready_at: float
    since: int
    until: float | None = None
    failed: bool = False


class AgainstTheModel(RuleBasedStateMachine):
    """A list of announcements and nothing else; each request is held against the rules, one after the other."""

    limits = LIMITS

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.moment = 0
        self.preferred: dict[int, bool] = {}
        self.useless: set[int] = set()
        self.rows: list[Row] = []
        self.lots = Random(1)
        self.tracker: FetchTracker[int] = FetchTracker(self.limits, lambda peer: peer in self.useless, lot=self.draw)

    def draw(self) -> float:
        self.lot = self.lots.random()
        return self.lot

    def of(self, peer: int) -> list[Row]:
        return [row for row in self.rows if row.peer == peer]

    def about(self, id: bytes) -> list[Row]:
        return [row for row in self.rows if row.id == id]

    def flying(self, id: bytes) -> bool:
        return any(row.until is not None for row in self.about(id))

    def able(self, peer: int) -> bool:
        return sum(row.until is not None for row in self.of(peer)) < self.limits.in_flight

    def tick(self) -> int:
        self.moment += 1
        return self.moment

    def remove(self, rows: list[Row]) -> None:
        for row in rows:
            self.rows.remove(row)
            if row.until is not None:
                self.reopen(row.id)
        self.clean()

    def reopen(self, id: bytes) -> None:
        moment = self.tick()
        for row in self.about(id):
            row.since = moment

    def fail(self, rows: list[Row]) -> None:
        for row in rows:
            flew, row.until, row.failed = row.until is not None, None, True
            if flew:
                self.reopen(row.id)
        self.clean()

    def clean(self) -> None:
        self.rows = [row for row in self.rows if not all(other.failed for other in self.about(row.id))]

    @rule(peer=peers, preferred=st.booleans())
    def join(self, peer: int, preferred: bool) -> None:
        if peer not in self.preferred:
            self.preferred[peer] = preferred
            self.tracker.joined(peer, preferred)

    @rule(peer=peers)
    def leave(self, peer: int) -> None:
        self.tracker.left(peer)
        self.preferred.pop(peer, None)
        self.remove(self.of(peer))

    @rule(peer=peers, id=ids, size=st.integers(1, 120))
    def announce(self, peer: int, id: bytes, size: int) -> None:
        taken = self.tracker.announced(peer, id, size, self.now)
        again = any(row.id == id for row in self.of(peer))
        if peer not in self.preferred or (not again and len(self.of(peer)) >= self.limits.announced):
            assert not taken
            return
        assert taken
        if not again:
            patient = not self.preferred[peer] and any(self.preferred.values())
            ready_at = self.now + (self.limits.patience if patient else 0.0)
            self.rows.append(Row(peer, id, size, self.lot, ready_at, self.tick()))

    @rule(peer=peers, id=ids)
    def does_not_deliver(self, peer: int, id: bytes) -> None:
        self.tracker.failed(peer, (id,))
        self.fail([row for row in self.of(peer) if row.id == id])

    @rule(peer=peers, id=ids)
    def delivers_others(self, peer: int, id: bytes) -> None:
        self.tracker.again(peer, (id,))
        for row in self.of(peer):
            if row.id == id and row.until is not None:
                row.until = None
                self.reopen(id)

    @rule(id=ids)
    def arrives(self, id: bytes) -> None:
        self.tracker.forget(id)
        for row in self.about(id):
            self.rows.remove(row)

    @rule(peer=peers)
    def changes_use(self, peer: int) -> None:
        self.useless ^= {peer}

    @rule(seconds=st.sampled_from((0.0, 1.0, 2.0, 5.0)))
    def asks(self, seconds: float) -> None:
        self.now += seconds
        self.fail([row for row in self.rows if row.until is not None and row.until <= self.now])
        for peer, requested in self.tracker.next(self.now):
            assert 0 < len(requested) <= self.limits.ids
            rows = [next(row for row in self.of(peer) if row.id == id) for id in requested]
            assert len(rows) == 1 or sum(row.size for row in rows) <= self.limits.bytes
            assert [row.since for row in rows] == sorted(row.since for row in rows)
            for row in rows:
                assert not row.failed and row.ready_at <= self.now and not self.flying(row.id) and self.able(peer)
                row.until = self.now + self.limits.seconds
        for row in self.rows:
            if row.until == self.now + self.limits.seconds:
                # who would have come before it was asked for other things: no room
                better = [other for other in self.ready(row.id) if self.rank(other) < self.rank(row)]
                assert not any(self.able(other.peer) for other in better)
            elif not self.flying(row.id):
                assert not any(self.able(other.peer) for other in self.ready(row.id))

    def ready(self, id: bytes) -> list[Row]:
        return [row for row in self.about(id) if not row.failed and row.ready_at <= self.now]

    def rank(self, row: Row) -> tuple[bool, bool, float]:
        return row.peer in self.useless, not self.preferred[row.peer], row.lot

    @invariant()
    def knows_the_same(self) -> None:
        tracker = self.tracker
        assert {id for id in IDS if id in tracker} == {row.id for row in self.rows}
        assert len(tracker) == len({row.id for row in self.rows})
        for id in IDS:
            assert sorted(tracker.announcers(id)) == sorted(row.peer for row in self.about(id))
            assert [tracker.asked(id)] == ([row.peer for row in self.about(id) if row.until is not None] or [None])
            for peer in self.preferred:
                sizes = [row.size for row in self.of(peer) if row.id == id]
                assert tracker.size(peer, id) == (sizes[0] if sizes else None)
        late = [row.ready_at for row in self.rows if row.ready_at > self.now and not row.failed]
        next_time = tracker.next_time
        assert next_time is None or next_time >= 0
        assert not late or (next_time is not None and next_time <= min(late))


class Patient(AgainstTheModel):
    limits = PATIENT


class Model(SynchronousTestCase):
    def play(self, machine: type[RuleBasedStateMachine]) -> None:
        options = settings(deadline=None, derandomize=True, max_examples=60, stateful_step_count=40)
        run_state_machine_as_test(machine, settings=options)  # type: ignore[no-untyped-call]

    def test_without_patience(self) -> None:
        self.play(AgainstTheModel)

    def test_with_patience(self) -> None:
        self.play(Patient)


class Rules(SynchronousTestCase):
    def make(self, limits: FetchLimits = LIMITS, **preferred: bool) -> FetchTracker[str]:
        tracker: FetchTracker[str] = FetchTracker(limits, lot=Random(7).random)
        for peer in preferred or ("a", "b", "c"):
            tracker.joined(peer, preferred.get(peer, peer == "b"))
        return tracker

    def test_preferred_first_then_the_next_after_five_seconds(self) -> None:
        tracker = self.make()
        for peer in "abc":
            tracker.announced(peer, IDS[0], 10, 0.0)
        self.assertEqual(tracker.next(0.0), [("b", (IDS[0],))])
        self.assertEqual(tracker.next(4.9), [])
        ((second, asked),) = tracker.next(5.0)
        self.assertEqual((asked, tracker.asked(IDS[0])), ((IDS[0],), second))
        tracker.left(second)
        ((third, _),) = tracker.next(5.0)
        self.assertEqual({second, third}, {"a", "c"})
        tracker.failed(third, (IDS[0],))
        self.assertEqual((tracker.next(6.0), len(tracker)), ([], 0))
        self.assertIsNone(tracker.size(third, IDS[0]))

    def test_who_announces_again_and_again_is_asked_once(self) -> None:
        """A silent peer that we dialled cannot keep a thing from us for longer than one turn."""
        tracker = self.make()
        asked = []
        for second in range(0, 30, 5):
            for peer in "ba":
                tracker.announced(peer, IDS[0], 10, second)
            asked += [peer for peer, _ in tracker.next(second)]
        self.assertEqual(asked[:2], ["b", "a"])
        self.assertEqual(asked, ["b", "a"] * 2)  # when both have failed they may try anew

    def test_a_full_peer_is_passed_over(self) -> None:
        tracker = self.make()
        for id in IDS[:3]:
            tracker.announced("b", id, 10, 0.0)
            tracker.announced("a", id, 10, 0.0)
        self.assertEqual(tracker.next(0.0), [("b", (IDS[0], IDS[1])), ("a", (IDS[2],))])

    def test_what_had_to_wait_for_room_is_asked_when_there_is_some(self) -> None:
        tracker = self.make(a=False)
        for id in IDS[:4]:
            tracker.announced("a", id, 10, 0.0)
        self.assertEqual(tracker.next(0.0), [("a", (IDS[0], IDS[1]))])
        tracker.forget(IDS[0])
        self.assertEqual(tracker.next(0.0), [("a", (IDS[2],))])
        tracker.again("a", (IDS[1], IDS[3]))
        self.assertEqual(tracker.next(0.0), [("a", (IDS[3],))])  # in order: what came back is last
        tracker.failed("a", (IDS[2],))
        self.assertEqual(tracker.next(0.0), [("a", (IDS[1],))])

    def test_lots_decide_among_equals(self) -> None:
        """Who is first with all of its announcements gets no more than its share of the requests."""
        tracker = self.make(FetchLimits(1_000, 1_000, 256, 10**9, 5.0), a=False, b=False, c=False, d=False)
        for n in range(1_000):
            for peer in "abcd":
                tracker.announced(peer, n.to_bytes(32, "big"), 10, 0.0)
        first = sum(len(ids) for peer, ids in tracker.next(0.0) if peer == "a")
        self.assertTrue(200 < first < 300, first)

    def test_the_word_of_others_waits_while_a_preferred_one_is_here(self) -> None:
        tracker = self.make(PATIENT)
        tracker.announced("a", IDS[0], 10, 1.0)
        self.assertEqual((tracker.next(1.0), tracker.next_time), ([], 3.0))
        tracker.announced("b", IDS[0], 10, 2.0)
        self.assertEqual(tracker.next(2.0), [("b", (IDS[0],))])
        tracker.left("b")
        self.assertEqual((tracker.next(3.0), tracker.next_time), ([("a", (IDS[0],))], None))
        tracker.announced("c", IDS[1], 10, 3.0)
        self.assertEqual(tracker.next(3.0), [("c", (IDS[1],))])

    def test_what_left_meanwhile_wakes_nobody(self) -> None:
        tracker = self.make(PATIENT)
        tracker.announced("a", IDS[0], 10, 1.0)
        tracker.announced("c", IDS[1], 10, 1.5)
        tracker.left("a")
        self.assertEqual(tracker.next_time, 3.5)
        tracker.forget(IDS[1])
        self.assertEqual((tracker.next_time, tracker.next(9.0), len(tracker)), (None, [], 0))

    def test_a_flood_that_waits_is_not_looked_at_again(self) -> None:
        """25,000 announcements of silent peers, and then messages of another one: each costs what it says."""
        limits = FetchLimits(5_000, 100, 256, 10**9, 5.0)
        tracker: FetchTracker[int] = FetchTracker(limits, lot=Random(1).random)
        for peer in range(6):
            tracker.joined(peer, True)
        for peer in range(5):
            for n in range(5_000):
                tracker.announced(peer, (peer * 5_000 + n).to_bytes(32, "big"), 10, 0.0)
        self.assertEqual(sum(len(ids) for _, ids in tracker.next(0.0)), 500)
        best, choices = tracker._best, []
        tracker._best = lambda thing, last: choices.append(thing) or best(thing, last)  # type: ignore[method-assign]
        for n in range(100):
            tracker.announced(5, bytes([n]) + b"x" * 31, 10, 0.0)
            tracker.next(0.0)
        self.assertEqual(len(choices), 100)
        self.assertEqual(len(tracker), 25_100)

    def test_a_stranger_announces_nothing(self) -> None:
        tracker = self.make()
        self.assertFalse(tracker.announced("z", IDS[0], 1, 0.0))
        tracker.left("z")
        tracker.forget(IDS[0])
