"""The fetch tracker beside a naive model that looks at everything each time."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.gossip.tracker import FetchLimits, FetchTracker

LIMITS = FetchLimits(announced=4, in_flight=2, ids=2, bytes=100, seconds=5.0)


class Model:
    """A list of announcements (in order), each with its state; nothing else."""

    def __init__(self, limits: FetchLimits) -> None:
        self.limits = limits
        self.preferred: dict[int, bool] = {}
        self.useless: set[int] = set()
        self.rows: list[dict] = []
        self.ready: list[bytes] = []

    def _mine(self, peer: int) -> list[dict]:
        return [row for row in self.rows if row["peer"] == peer]

    def announced(self, peer: int, id: bytes, size: int) -> bool:
        if peer not in self.preferred:
            return False
        if any(row["id"] == id for row in self._mine(peer)):
            return True
        if len(self._mine(peer)) >= self.limits.announced:
            return False
        self.rows.append({"peer": peer, "id": id, "size": size, "until": None})
        if id not in self.ready and not any(row["until"] for row in self.rows if row["id"] == id):
            self.ready.append(id)
        return True

    def remove(self, rows: list[dict]) -> None:
        for row in rows:
            self.rows.remove(row)
            others = [other for other in self.rows if other["id"] == row["id"]]
            if row["until"] is not None:
                self.ready.append(row["id"])
            if not others and row["id"] in self.ready:
                self.ready.remove(row["id"])

    def next(self, now: float) -> dict[int, list[bytes]]:
        expired = [row for row in self.rows if row["until"] is not None and row["until"] <= now]
        self.remove(sorted(expired, key=lambda row: row["asked"]))
        asked: dict[int, list[bytes]] = {}
        for id in list(self.ready):
            rows = [
                row
                for row in self.rows
                if row["id"] == id
                and sum(other["until"] is not None for other in self._mine(row["peer"])) < self.limits.in_flight
            ]
            rows.sort(key=lambda row: (row["peer"] in self.useless, not self.preferred[row["peer"]]))
            if rows:
                self.count = getattr(self, "count", 0) + 1
                rows[0].update(until=now + self.limits.seconds, asked=self.count)
                self.ready.remove(id)
                asked.setdefault(rows[0]["peer"], []).append(id)
        return asked


IDS = [bytes([n]) * 32 for n in range(8)]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.integers(0, 3), st.booleans()),
        st.tuples(st.just("leave"), st.integers(0, 3)),
        st.tuples(st.just("announce"), st.integers(0, 3), st.sampled_from(IDS), st.integers(1, 120)),
        st.tuples(st.just("fail"), st.integers(0, 3), st.sampled_from(IDS)),
        st.tuples(st.just("forget"), st.sampled_from(IDS)),
        st.tuples(st.just("useless"), st.integers(0, 3)),
        st.tuples(st.just("next"), st.floats(0, 4)),
    ),
    max_size=60,
)


class AgainstTheModel(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=400)
    @given(steps)
    def test_same_requests(self, script: list) -> None:
        model, now = Model(LIMITS), 0.0
        tracker: FetchTracker[int] = FetchTracker(LIMITS, lambda peer: peer in model.useless)
        for step in script:
            match step:
                case "join", peer, preferred if peer not in model.preferred:
                    tracker.joined(peer, preferred)
                    model.preferred[peer] = preferred
                case "leave", peer:
                    tracker.left(peer)
                    model.remove(model._mine(peer))
                    model.preferred.pop(peer, None)
                case "announce", peer, id, size:
                    self.assertEqual(tracker.announced(peer, id, size), model.announced(peer, id, size))
                case "fail", peer, id:
                    tracker.failed(peer, (id,))
                    model.remove([row for row in model.rows if row["peer"] == peer and row["id"] == id])
                case "forget", id:
                    tracker.forget(id)
                    rows = [row for row in model.rows if row["id"] == id]
                    model.remove(rows)
                case "useless", peer:
                    model.useless ^= {peer}
                case "next", seconds:
                    now += seconds
                    requests = tracker.next(now)
                    joined: dict[int, list[bytes]] = {}
                    for peer, ids in requests:
                        self.assertLessEqual(len(ids), LIMITS.ids)
                        sizes = [tracker.size(peer, id) or 0 for id in ids]
                        self.assertTrue(len(ids) == 1 or sum(sizes) <= LIMITS.bytes)
                        joined.setdefault(peer, []).extend(ids)
                    self.assertEqual(joined, model.next(now))
            self.assertEqual(len(tracker), len({row["id"] for row in model.rows}))
            self.assertEqual({id for id in IDS if id in tracker}, {row["id"] for row in model.rows})


class Rules(SynchronousTestCase):
    def setUp(self) -> None:
        self.tracker: FetchTracker[str] = FetchTracker(LIMITS)
        for peer, preferred in (("a", False), ("b", True), ("c", False)):
            self.tracker.joined(peer, preferred)

    def test_preferred_first_then_the_next_after_five_seconds(self) -> None:
        for peer in "abc":
            self.tracker.announced(peer, IDS[0], 10)
        self.assertEqual(self.tracker.next(0.0), [("b", (IDS[0],))])
        self.assertEqual(self.tracker.next(4.9), [])
        self.assertEqual(self.tracker.next(5.0), [("a", (IDS[0],))])
        self.tracker.left("a")
        self.assertEqual(self.tracker.next(5.0), [("c", (IDS[0],))])
        self.tracker.failed("c", (IDS[0],))
        self.assertEqual((self.tracker.next(6.0), len(self.tracker)), ([], 0))
        self.assertIsNone(self.tracker.size("c", IDS[0]))

    def test_a_full_peer_is_passed_over(self) -> None:
        for id in IDS[:3]:
            self.tracker.announced("b", id, 10)
            self.tracker.announced("a", id, 10)
        self.assertEqual(self.tracker.next(0.0), [("b", (IDS[0], IDS[1])), ("a", (IDS[2],))])

    def test_a_stranger_announces_nothing(self) -> None:
        self.assertFalse(self.tracker.announced("z", IDS[0], 1))
        self.tracker.left("z")
