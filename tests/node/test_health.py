"""Liveness and readiness."""

from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.node.health import FREE_LIMIT, GRACE, Health, Readiness


class ReadinessTests(SynchronousTestCase):
    def test_at_first_everything_counts(self) -> None:
        self.assertEqual(Readiness().observe([("peers", "no peers")], 0.0), ["no peers"])

    def test_later_only_what_lasts(self) -> None:
        readiness = Readiness()
        self.assertEqual(readiness.observe([], 0.0), [])
        self.assertEqual(readiness.observe([("peers", "0")], 1.0), [])
        self.assertEqual(readiness.observe([("peers", "00")], 0.9 + GRACE), [])
        self.assertEqual(readiness.observe([("peers", "000"), ("disk", "full")], 1.0 + GRACE), ["000"])
        self.assertEqual(readiness.observe([], 2.0 + GRACE), [])
        self.assertEqual(readiness.observe([("peers", "0")], 3.0 + GRACE), [])


class Executor:
    def __init__(self) -> None:
        self.free = FREE_LIMIT
        self.busy: list[str] = []

    def run(self, f, *args):
        return succeed(self.free)

    def stuck(self, seconds: float) -> list[str]:
        return self.busy


class HealthTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.executor, self.wrong = Clock(), Executor(), []
        self.health = Health(
            reactor=self.clock,
            executor=self.executor,
            checks=[lambda: self.wrong[0] if self.wrong else None],
            folder=object(),
        )

    def test_not_ready_before_the_first_look(self) -> None:
        self.assertEqual(self.health.readyz(), ["starting"])
        self.health.start()
        self.addCleanup(self.health.stop)
        self.assertEqual(self.health.readyz(), [])

    def test_a_reason_that_lasts_is_told(self) -> None:
        self.health.start()
        self.addCleanup(self.health.stop)
        self.wrong.append(("peers", "peers: 0 connected, 1 are needed"))
        self.clock.pump([1.0] * 9)
        self.assertEqual(self.health.readyz(), [])
        self.clock.pump([1.0] * 4)
        self.assertEqual(self.health.readyz(), ["peers: 0 connected, 1 are needed"])
        self.wrong.clear()
        self.clock.pump([1.0])
        self.assertEqual(self.health.readyz(), [])

    def test_a_full_disk(self) -> None:
        self.executor.free = FREE_LIMIT - 1
        self.health.start()
        self.addCleanup(self.health.stop)
        self.assertIn("disk", self.health.readyz()[0])

    def test_a_late_reactor(self) -> None:
        self.health.start()
        self.addCleanup(self.health.stop)
        for _ in range(12):
            self.clock.advance(2.5)
        self.assertIn("1.5 s late", self.health.readyz()[0])

    def test_a_stuck_writer(self) -> None:
        self.assertEqual(self.health.livez(), [])
        self.executor.busy.append("writer")
        self.assertIn("writer", self.health.livez()[0])

    def test_stopping_leaves_no_timer(self) -> None:
        self.health.start()
        self.health.stop()
        self.health.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
