"""The driver of a block producer, on a virtual clock."""

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.interfaces import FinalizedChanged, HeadChanged, HeaderInfo, TransactionAdded
from chainp2p.errors import Reason
from chainp2p.events import EventBus
from chainp2p.node.production import Production


def info(height: int) -> HeaderInfo:
    return HeaderInfo(bytes([height]) * 32, b"\0" * 32, height, height.to_bytes(32, "big"))


class Status:
    def __init__(self, rank: bytes) -> None:
        self.rank = rank


class Link:
    def __init__(self, height: int) -> None:
        self.status = Status(info(height).rank)


class Producer:
    """One block a second, or on demand."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.events = EventBus()
        self.head = info(0)
        self.sole = False
        self.allowed = True
        self.times: list[float] = []
        self.when: float | None = 0.0
        self.answer = None

    def can_produce(self) -> bool:
        return self.allowed

    def sole_producer(self) -> bool:
        return self.sole

    def warm_up_seconds(self) -> float:
        return 10.0

    def next_time(self, now: float) -> float | None:
        return self.when

    def abandon(self) -> None:
        pass

    def produce(self, now: float) -> Deferred:
        self.times.append(self.clock.seconds())
        if self.answer is not None:
            return self.answer
        self.when = now + 1.0
        return succeed(b"block")


class ProductionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.chain = Producer(self.clock)

    def make(self, alone: bool) -> Production:
        production = Production(chain=self.chain, reactor=self.clock, now=self.clock.seconds, alone=alone)
        self.addCleanup(production.stop)
        production.start()
        return production

    def test_a_sole_signer_alone_begins_at_once(self) -> None:
        self.chain.sole = True
        self.make(alone=True)
        self.clock.pump([0.25] * 10)
        self.assertEqual(self.chain.times, [0.25, 1.25, 2.25])

    def test_a_sole_signer_with_bootstrap_peers_waits(self) -> None:
        self.chain.sole = True
        self.make(alone=False)
        self.clock.pump([0.5] * 18)
        self.assertEqual(self.chain.times, [])
        self.clock.pump([0.5] * 4)
        self.assertEqual(self.chain.times[0], 10.0)

    def test_a_peer_that_is_ready_before_the_start_counts(self) -> None:
        production = Production(chain=self.chain, reactor=self.clock, now=self.clock.seconds, alone=False)
        production.joined(Link(3))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        production.start()
        self.addCleanup(production.stop)
        self.clock.pump([0.5] * 24)
        self.assertEqual(self.chain.times, [])

    def test_it_catches_up_before_it_seals(self) -> None:
        production = self.make(alone=False)
        production.joined(
            Link(3),
        )
        self.clock.pump([0.5] * 30)
        self.assertEqual(self.chain.times, [])
        self.chain.head = info(3)
        self.chain.events.publish(HeadChanged(self.chain.head, (), ()))
        self.clock.advance(0)
        self.assertEqual(len(self.chain.times), 1)

    def test_the_wait_begins_anew_when_the_last_peer_leaves(self) -> None:
        production = self.make(alone=False)
        link = Link(3)
        production.joined(link)
        self.clock.advance(9)
        production.left(link, Reason.CONNECTION_LOST)
        self.clock.pump([0.5] * 18)
        self.assertEqual(self.chain.times, [])
        self.clock.pump([0.5] * 3)
        self.assertEqual(len(self.chain.times), 1)

    def test_on_demand_it_wakes_for_a_transaction(self) -> None:
        self.chain.sole, self.chain.when = True, None
        self.make(alone=True)
        self.clock.advance(100)
        self.assertEqual(self.chain.times, [])
        self.chain.when = 100.0
        self.chain.events.publish(TransactionAdded(b"", 1, True))
        self.clock.advance(0)
        self.assertEqual(self.chain.times, [100.0])

    def test_without_a_key_it_sleeps(self) -> None:
        self.chain.sole, self.chain.allowed = True, False
        self.make(alone=True)
        self.clock.advance(100)
        self.assertEqual(self.chain.times, [])

    def test_it_goes_on_once_an_operator_has_settled_a_conflict(self) -> None:
        self.chain.sole, self.chain.allowed = True, False
        self.make(alone=True)
        self.clock.advance(100)
        self.chain.allowed, self.chain.when = True, 100.0
        self.chain.events.publish(FinalizedChanged(info(0)))
        self.clock.advance(0)
        self.assertEqual(self.chain.times, [100.0])

    def test_one_at_a_time_and_what_changes_meanwhile_is_not_lost(self) -> None:
        self.chain.sole = True
        self.chain.answer = running = Deferred()
        self.make(alone=True)
        self.clock.advance(0)
        self.chain.events.publish(TransactionAdded(b"", 1, True))
        self.clock.advance(5)
        self.assertEqual(len(self.chain.times), 1)
        self.chain.answer = None
        running.callback(None)
        self.clock.advance(0)
        self.assertEqual(len(self.chain.times), 2)

    def test_a_producer_that_declines_is_not_asked_in_a_loop(self) -> None:
        self.chain.sole = True
        self.chain.answer = succeed(None)
        self.make(alone=True)
        self.clock.pump([0.01] * 100)
        self.assertLess(len(self.chain.times), 25)
        self.assertGreater(len(self.chain.times), 5)

    def test_a_failure_is_logged_and_tried_again_later(self) -> None:
        self.chain.sole = True
        self.chain.answer = fail(RuntimeError("disk"))
        self.make(alone=True)
        self.clock.advance(0)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.chain.answer = None
        self.clock.advance(0.9)
        self.assertEqual(len(self.chain.times), 1)
        self.clock.advance(0.2)
        self.assertEqual(len(self.chain.times), 2)

    def test_stopping_waits_for_the_block_and_ends_all_timers(self) -> None:
        self.chain.sole = True
        self.chain.answer = running = Deferred()
        production = self.make(alone=True)
        self.clock.advance(0)
        done = production.stop()
        self.assertNoResult(done)
        running.callback(b"block")
        self.successResultOf(done)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.chain.events.publish(TransactionAdded(b"", 1, True))
        production.joined(Link(1))
        self.clock.advance(100)
        self.assertEqual(len(self.chain.times), 1)
        self.assertIsNone(production.stop())
