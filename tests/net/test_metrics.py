"""Every queue of a link has a bound, and what is in it can be seen."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.net.metrics import BOUNDS, network_metrics
from chainp2p.net.serving import AT_ONCE, WAITING_LIMIT, Serving
from chainp2p.peer.inbox import TURN
from chainp2p.peer.requests import OPEN_LIMIT
from chainp2p.wire import AnnounceBlocks, Blocks, GetBlocks, Headers, NewBlock, NewTransaction, encode
from chainp2p.wire.frames import encode_frames
from chainp2p.wire.messages import GetHeaders, GetPeers, Peers
from chainp2p.wire.sending import CONTROL_LIMIT, QUEUE_LIMIT
from tests.net.pump import A, B, FakeHost, Pair

H = bytes(32)


class MetricsTest(SynchronousTestCase):
    def setUp(self):
        self.waiting = []
        handlers = {
            NewBlock: self.slow,
            GetPeers: self.slow,
            NewTransaction: lambda link, message: None,
            GetBlocks: lambda link, message: Blocks((bytes(2_000_000),)),
            GetHeaders: lambda link, message: Headers((bytes(1_000),) * 2_000),
        }
        self.clock = Clock()
        self.host = FakeHost(self.clock, B, handlers)
        self.pair = Pair(FakeHost(self.clock, A), self.host, self.clock).ready()

    def slow(self, link, message):
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def queue(self, name, which="chainp2p_queue_bytes"):
        metrics = network_metrics([self.pair.a, self.pair.b], self.host.budget, {})
        return sum(value for metric, labels, value in metrics if (metric, labels) == (which, {"queue": name}))

    def test_names_and_bounds(self):
        metrics = network_metrics([self.pair.b], self.host.budget, {"useless_faults": 3})
        found = {(name, *labels.values()): value for name, labels, value in metrics}
        self.assertEqual(found["chainp2p_links", "inbound"], 1)
        self.assertEqual(found["chainp2p_links", "outbound"], 0)
        self.assertEqual(found["chainp2p_useless_faults_total",], 3)
        self.assertEqual(found["chainp2p_over_quota_total",], 0)
        self.assertEqual(found["chainp2p_held_limit_bytes",], 256_000_000)
        for name, limit in BOUNDS.items():
            self.assertEqual(found["chainp2p_queue_limit_bytes", name], limit)

    def test_a_link_that_ends_has_no_queues(self):
        self.pair.b.close(0)
        self.assertEqual(self.pair.b.queued(), {})
        self.assertEqual(Pair(clock=self.clock).b.queued(), {})

    def test_received(self):
        self.pair.a.send(NewBlock(bytes(200_000)))
        self.pair.ta.move(100_000)
        self.assertEqual(self.queue("partial"), 65_536)
        self.pair.pump()
        self.assertEqual((self.queue("partial"), self.queue("handlers")), (0, 200_012))
        for _ in range(TURN + 5):
            self.pair.a.send(NewTransaction(bytes(88)))
        while self.pair.ta.move():
            pass
        self.assertEqual(self.queue("turn"), 500)
        self.assertEqual(self.queue("turn", "chainp2p_queue_highest_bytes"), 500)
        self.waiting[0].callback(None)
        self.assertEqual(self.queue("handlers"), 0)

    def test_requests_that_wait_on_either_side(self):
        for _ in range(OPEN_LIMIT + 5):
            self.pair.a.request(GetPeers()).addErrback(lambda _: None)
        self.pair.pump()
        self.assertEqual((self.queue("asked"), self.queue("asking")), ((OPEN_LIMIT - AT_ONCE) * 4, 5 * 4))
        for deferred in self.waiting:
            deferred.callback(Peers(()))
        self.assertLess(self.queue("asked"), (OPEN_LIMIT - AT_ONCE) * 4)

    def test_a_peer_that_does_not_read(self):
        """What is kept for it is the limit and one reply, whatever it asks and whatever we announce."""
        self.pair.ta.reading = False
        asked = [GetBlocks(H, 1), GetHeaders(H, 2_000)] * 20
        frames = [encode_frames(1, number, encode(message)) for number, message in enumerate(asked, 1)]
        self.pair.b.dataReceived(b"".join(b"".join(one) for one in frames))
        for number in range(2_000):
            self.pair.b.send(NewBlock(bytes(10_000)), AnnounceBlocks(((H, number),)))
        self.clock.advance(0)
        outbox = self.pair.b._outbox.queue
        self.assertLess(outbox.queued, QUEUE_LIMIT + 2_100_000)
        self.assertLess(self.queue("send_block_push"), QUEUE_LIMIT + 10_100)
        self.assertLess(self.queue("send_control"), CONTROL_LIMIT)
        self.assertEqual(self.host.budget.total, outbox.queued + self.pair.b._serving.waiting)
        self.assertGreater(self.pair.b.dropped, 1_900)
        self.assertLess(len(self.pair.tb.buffer), 256 * 1024)
        self.clock.advance(61)
        self.assertEqual(self.host.ends[0].reason.code, "not_reading")
        self.assertEqual(self.host.budget.total, 0)

    def test_one_large_reply_at_a_time(self):
        running = []

        def slow(link, message):
            running.append(Deferred())
            return running[-1]

        host = FakeHost(self.clock, B, {GetBlocks: slow, GetHeaders: slow})
        pair = Pair(FakeHost(self.clock, A), host, self.clock).ready()
        answers = [pair.a.request(message) for message in (GetBlocks(H, 1), GetHeaders(H, 1), GetBlocks(H, 1))]
        pair.pump()
        self.assertEqual(len(running), 1)
        for number, reply in enumerate((Blocks((b"a",)), Headers((b"b",)), Blocks((b"c",)))):
            running[number].callback(reply)
            pair.pump()
            self.assertEqual(self.successResultOf(answers[number]), reply)


class ServingTest(SynchronousTestCase):
    def test_waiting_requests_have_a_bound_in_bytes(self):
        replies = []
        full = True
        serving = Serving(
            None,
            {GetPeers: lambda link, message: Peers(())},
            frozenset(),
            lambda request_id, message: replies.append((request_id, type(message).__name__)),
            lambda: full,
            self.fail,
        )
        serving.asked(1, GetPeers(), WAITING_LIMIT - 10)
        serving.asked(2, GetPeers(), 11)
        serving.asked(3, GetPeers(), 10)
        self.assertEqual((replies, serving.waiting), ([(2, "Refused")], WAITING_LIMIT))
        full = False
        serving.turn()
        self.assertEqual((replies[1:], serving.waiting), ([(1, "Peers"), (3, "Peers")], 0))
        full = True
        serving.asked(4, GetPeers(), 10)
        serving.close()
        self.assertEqual(serving.waiting, 0)
