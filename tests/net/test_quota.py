"""Quotas on links, seen from both ends, and turns."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import Penalty, Reason, RequestRefused
from chainp2p.peer.inbox import TURN
from chainp2p.peer.quota import REPORT_EVERY, Quota
from chainp2p.wire import NewTransaction, Ping, Pong, encode
from chainp2p.wire.frames import encode_frames
from chainp2p.wire.messages import GetPeers, Message, NewBlock, Peers, Refused
from chainp2p.wire.schema import Kind
from tests.net.pump import A, B, FakeHost, Pair
from tests.net.test_network import World

FIVE = Quota(1.0, 5.0, lambda message, size: 1.0)
UNKNOWN = b"\xe7\x03\0\0"


class QuotaTest(SynchronousTestCase):
    def setUp(self):
        self.seen = []
        handlers = {
            GetPeers: lambda link, message: Peers(()),
            NewTransaction: lambda link, message: self.seen.append(message.transaction),
        }
        self.host = FakeHost(Clock(), B, handlers)
        self.host.quotas = dict.fromkeys((Ping, GetPeers, NewTransaction, Message), FIVE)
        self.pair = Pair(FakeHost(self.host.reactor, A), self.host, self.host.reactor).ready()

    def ask(self, count, message=None):
        answers = [self.pair.a.request(message or GetPeers()) for _ in range(count)]
        self.pair.pump()
        return answers

    def test_requests_are_refused_and_served_again_when_they_were_told(self):
        *first, late = self.ask(6)
        for answer in first:
            self.assertEqual(self.successResultOf(answer), Peers(()))
        refused = self.failureResultOf(late, RequestRefused).value
        self.assertEqual((refused.reason, refused.retry_ms), (1, 1000))
        self.pair.clock.advance(refused.retry_ms / 1000)
        [again] = self.ask(1)
        self.assertEqual(self.successResultOf(again), Peers(()))

    def test_pings_go_unanswered(self):
        *first, late = self.ask(6, Ping(1))
        for answer in first:
            self.assertEqual(self.successResultOf(answer), Pong(7))
        self.assertNoResult(late)
        self.assertEqual(self.pair.ends(), [None, None])

    def test_notifications_are_dropped_and_counted_once_a_minute(self):
        for number in range(8):
            self.pair.a.send(NewTransaction(bytes([number])))
        self.pair.pump()
        self.assertEqual(self.seen, [bytes([number]) for number in range(5)])
        self.assertEqual([reason for reason, _ in self.host.small_faults], [Reason.MISBEHAVED])
        self.pair.clock.advance(REPORT_EVERY)
        for number in range(8):
            self.pair.a.send(NewTransaction(bytes([number])))
        self.pair.pump()
        self.assertEqual(len(self.host.small_faults), 2)
        self.assertEqual(self.pair.b.quota.over, 6)

    def flood(self, message):
        frames = [
            frame for number in range(1, 52) for frame in encode_frames(message.spec.kind, number, encode(message))
        ]
        self.pair.ta.write(b"".join(frames))
        return self.pair.ends()

    def test_ten_times_as_much_ends_the_link(self):
        for message in (Ping(1), GetPeers(), NewTransaction(b"")):
            self.setUp()
            theirs, ours = self.flood(message)
            self.assertEqual(ours, Reason.MISBEHAVED)
            end = self.host.ends[0]
            self.assertEqual((end.rule, end.penalty, end.by_us), ("message_quota", Penalty.USELESS, True))
            self.assertIn(type(message).__name__, end.detail)
            if message.spec.kind is Kind.NOTIFICATION:  # the real link at the other end knows of no such requests
                self.assertEqual((theirs, self.pair.host_a.ends[0].detail), (Reason.MISBEHAVED, end.detail))
            self.assertLessEqual(len(self.seen), 5)
            self.assertEqual(self.pair.clock.getDelayedCalls(), [])

    def test_unknown_messages_have_a_quota(self):
        self.pair.ta.write(b"".join(encode_frames(0, number, UNKNOWN)[0] for number in range(1, 52)))
        self.assertEqual(self.pair.ends(), [Reason.MISBEHAVED] * 2)
        self.assertIn("unknown messages", self.host.ends[0].detail)


class TurnTest(SynchronousTestCase):
    """A flood over one link, and another link on the same reactor."""

    def setUp(self):
        self.seen = []
        self.clock = Clock()
        self.host = FakeHost(self.clock, B, {NewTransaction: self.saw})
        self.loud = Pair(FakeHost(self.clock, A), self.host, self.clock).ready()
        self.calm = Pair(FakeHost(self.clock, A), self.host, self.clock).ready()

    def saw(self, link, message):
        self.seen.append(message.transaction)

    def pour(self, count):
        for _ in range(count):
            self.loud.a.send(NewTransaction(b"flood"))
        while self.loud.ta.move():
            pass

    def test_others_wait_for_one_turn_at_most(self):
        self.pour(3 * TURN)
        self.assertEqual(len(self.seen), TURN)
        self.assertFalse(self.loud.tb.reading)
        self.calm.a.send(NewTransaction(b"calm"))
        self.calm.ta.move()
        self.assertEqual(self.seen[-1], b"calm")
        self.loud.pump()
        self.assertTrue(self.loud.tb.reading)
        self.assertEqual(len(self.seen), 3 * TURN + 1)
        self.assertEqual(self.host.budget.total, 0)

    def test_what_waits_is_held_memory(self):
        self.pour(TURN + 10)
        self.assertEqual(self.host.budget.total, 10 * len(encode(NewTransaction(b"flood"))))
        self.loud.pump()
        self.assertEqual(self.host.budget.total, 0)

    def test_an_end_forgets_what_waits(self):
        self.pour(2 * TURN)
        self.loud.b.close(Reason.SHUTDOWN)
        self.assertEqual(self.loud.ends(), [Reason.SHUTDOWN] * 2)
        self.assertEqual(len(self.seen), TURN)
        self.assertEqual((self.host.budget.total, self.clock.getDelayedCalls()[2:]), (0, []))

    def test_the_last_words_of_one_who_leaves_are_heard(self):
        self.pour(TURN + 10)
        self.loud.a.close(Reason.SHUTDOWN, "good night")
        self.loud.tb.reading = True
        self.loud.ta.move()
        self.loud.tb.lose()
        self.assertEqual(len(self.seen), TURN + 10)
        self.assertEqual((self.host.ends[0].reason, self.host.ends[0].detail), (Reason.SHUTDOWN, "good night"))

    def test_a_block_that_is_handled_slowly_and_a_flood_pause_reading_together(self):
        self.pour(TURN + 1)
        self.assertFalse(self.loud.tb.reading)
        self.loud.pump()
        self.assertTrue(self.loud.tb.reading)
        self.loud.a.send(NewBlock(b"x"))
        self.loud.pump()
        self.assertIsNone(self.loud.b.end)
        self.assertNotIn(Refused, [type(one) for one in self.seen])


class NetworkTest(SynchronousTestCase):
    """What the operator sees."""

    def setUp(self):
        world = World()
        self.hub = world.node().start()
        self.other = world.node(static_nodes=(self.hub.address,)).start()
        world.run(1)
        self.world = world

    def flood(self, count):
        link = self.other.network.links()[0]
        for _ in range(count):
            link.request(Ping(1), timeout=1).addErrback(lambda _: None)
        self.world.run(2)

    def causes(self):
        return [cause for cause in self.hub.network._causes.about(self.other.key.peer_id) if "quota" in cause.code]

    def counted(self):
        metrics = {name: value for name, _, value in self.hub.network.metrics()}
        return metrics["chainp2p_over_quota_total"]

    def test_what_is_dropped_is_noted_and_counted(self):
        self.flood(20)
        [cause] = self.causes()
        self.assertEqual((cause.code, cause.text), ("above_quota", "sends more Ping than is of use"))
        self.assertEqual(cause.evidence["message"], "Ping")
        self.assertEqual(self.counted(), 12)
        self.assertGreater(self.hub.network.useless_score(self.other.key.peer_id), 0.9)
        self.assertEqual(len(self.hub.peers), 1)

    def test_a_flood_ends_with_its_rule_on_both_sides(self):
        self.flood(100)
        end = self.hub.network.ends()[0]
        self.assertEqual((end.reason, end.code, end.by_us), (Reason.MISBEHAVED, "message_quota", True))
        self.assertIn("message_quota", [cause.code for cause in self.causes()])
        self.assertGreaterEqual(self.counted(), 72)
        theirs = self.other.network.ends()[0]
        self.assertEqual((theirs.reason, theirs.detail, theirs.by_us), (Reason.MISBEHAVED, end.detail, False))

    def test_who_holds_more_than_its_share_ends_when_memory_is_short(self):
        third = self.world.node(static_nodes=(self.hub.address,)).start()
        self.world.run(1)
        greedy, modest = self.hub.network.links()
        self.hub.network.host.budget.holds(modest, 4_000_000, 0.0)
        self.hub.network.host.budget.holds(greedy, 253_000_000, None)
        end = self.hub.network.ends()[0]
        self.assertEqual((end.code, end.peer_id), ("process_memory", greedy.peer_id))
        self.assertEqual(modest.peer_id, third.key.peer_id)
        self.assertIsNone(modest.end)
