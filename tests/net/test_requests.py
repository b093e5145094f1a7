"""Requests over links: replies, deadlines, cancelling, the limit of open ones, slow handlers, and 100 MB both ways."""

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import PeerFault, PeerGone, Reason, RequestRefused, RequestTimedOut
from chainp2p.peer.requests import OPEN_LIMIT
from chainp2p.wire.codec import encode
from chainp2p.wire.frames import encode_frames
from chainp2p.wire.messages import (
    Blocks,
    GetBlocks,
    GetHeaders,
    GetMempool,
    GetPeers,
    Headers,
    Mempool,
    NewTransaction,
    NotFound,
    Peers,
    Ping,
    Refused,
)
from tests.net.pump import A, B, FakeHost, Pair

H = b"\x07" * 32


def pair_with(handlers, **options):
    clock = Clock()
    return Pair(FakeHost(clock, A, handlers), FakeHost(clock, B, handlers), clock, **options).ready()


class ReplyTest(SynchronousTestCase):
    """What a handler may answer with, and what the asker gets."""

    def ask(self, handler, message=None):
        pair = pair_with({GetPeers: handler, GetHeaders: handler})
        answer = pair.a.request(message or GetPeers())
        pair.pump()
        return pair, answer

    def test_value_deferred_and_coroutine(self):
        async def later(link, message):
            return Peers((b"x",))

        for handler in (lambda link, message: Peers((b"x",)), lambda link, message: succeed(Peers((b"x",))), later):
            _, answer = self.ask(handler)
            self.assertEqual(self.successResultOf(answer), Peers((b"x",)))

    def test_not_found_is_an_answer(self):
        _, answer = self.ask(lambda link, message: NotFound((H,)), GetHeaders(H, 5))
        self.assertEqual(self.successResultOf(answer), NotFound((H,)))

    def test_refused(self):
        _, answer = self.ask(lambda link, message: Refused(1, 250))
        refused = self.failureResultOf(answer, RequestRefused).value
        self.assertEqual((refused.reason, refused.retry_ms), (1, 250))

    def test_nobody_serves_it(self):
        pair = Pair().ready()
        answer = pair.a.request(GetMempool())
        pair.pump()
        self.assertEqual(self.failureResultOf(answer, RequestRefused).value.reason, 2)

    def test_fault_of_the_asker(self):
        def handler(link, message):
            raise PeerFault(Reason.MISBEHAVED, "asks too much")

        pair, answer = self.ask(handler)
        self.assertEqual(self.failureResultOf(answer, PeerGone).value.reason, Reason.MISBEHAVED)
        self.assertEqual(pair.ends(), [Reason.MISBEHAVED, Reason.MISBEHAVED])

    def test_our_mistakes_are_logged_and_not_sent(self):
        def raises(link, message):
            raise KeyError("secret")

        async def raises_later(link, message):
            raise KeyError("secret")

        for handler in (raises, raises_later):
            _, answer = self.ask(handler)
            self.assertEqual(self.failureResultOf(answer, RequestRefused).value.reason, 0)
            self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        for wrong, error in ((NotFound(()), TypeError), (None, TypeError), (Peers((b"x",) * 101), ValueError)):
            _, answer = self.ask(lambda link, message, wrong=wrong: wrong)
            self.assertEqual(self.failureResultOf(answer, RequestRefused).value.reason, 0)
            self.assertEqual(len(self.flushLoggedErrors(error)), 1)

    def test_more_than_asked_is_a_fault(self):
        pair, answer = self.ask(lambda link, message: Headers((b"h",) * 6), GetHeaders(H, 5))
        self.assertEqual(self.failureResultOf(answer, PeerGone).value.reason, Reason.UNEXPECTED_REPLY)
        self.assertEqual(pair.host_a.ends[0].reason, Reason.UNEXPECTED_REPLY)


class DeadlineTest(SynchronousTestCase):
    """Nothing waits for ever."""

    def setUp(self):
        self.waiting = []
        self.pair = pair_with({GetPeers: self.slow})

    def slow(self, link, message):
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def test_time_out_and_the_late_reply(self):
        answer = self.pair.a.request(GetPeers(), timeout=5)
        sooner = self.pair.a.request(GetPeers(), timeout=1)
        self.pair.pump()
        self.pair.clock.advance(1.1)
        self.failureResultOf(sooner, RequestTimedOut)
        self.assertEqual(self.pair.host_a.small_faults, [(Reason.MISBEHAVED, "no answer in time")])
        self.assertNoResult(answer)
        self.pair.clock.advance(4)
        self.failureResultOf(answer, RequestTimedOut)
        self.waiting[0].callback(Peers(()))
        self.pair.pump()
        self.assertEqual(self.pair.ends(), [None, None])

    def test_cancel(self):
        answer = self.pair.a.request(GetPeers())
        self.pair.pump()
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.waiting[0].callback(Peers(()))
        self.assertEqual(self.pair.ends(), [None, None])

    def test_cancel_before_it_has_left(self):
        self.pair.a._outbox.cork()
        answer = self.pair.a.request(GetPeers())
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.pair.a._outbox.uncork()
        self.pair.pump()
        self.assertEqual(self.waiting, [])

    def test_the_link_goes(self):
        answers = [self.pair.a.request(GetPeers()) for _ in range(70)]
        self.pair.pump()
        self.pair.b.close(Reason.SHUTDOWN)
        self.pair.pump()
        for answer in answers:
            self.assertEqual(self.failureResultOf(answer, PeerGone).value.reason, Reason.SHUTDOWN)
        for waiting in self.waiting:
            waiting.callback(Peers(()))

    def test_a_handler_that_fails_after_the_end(self):
        answer = self.pair.a.request(GetPeers())
        self.pair.pump()
        self.pair.a.close(Reason.SHUTDOWN)
        self.pair.pump()
        self.failureResultOf(answer, PeerGone)
        self.waiting[0].errback(PeerFault(Reason.MISBEHAVED))
        self.assertEqual(self.pair.host_b.ends[0].reason, Reason.SHUTDOWN)

    def test_at_most_64_are_open_and_the_rest_wait(self):
        answers = [self.pair.a.request(GetPeers()) for _ in range(OPEN_LIMIT + 6)]
        ping = self.pair.a.request(Ping(1))
        self.pair.pump()
        self.successResultOf(ping)
        answers[-1].cancel()
        self.failureResultOf(answers[-1], CancelledError)
        served = 0
        while served < len(self.waiting):
            self.assertLessEqual(len(self.waiting) - served, 4)
            self.waiting[served].callback(Peers(()))
            served += 1
            self.pair.pump()
        self.assertEqual(served, OPEN_LIMIT + 5)
        for answer in answers[:-1]:
            self.assertEqual(self.successResultOf(answer), Peers(()))

    def test_waiting_requests_move_up_when_others_expire(self):
        first = [self.pair.a.request(GetPeers(), timeout=5) for _ in range(OPEN_LIMIT)]
        last = self.pair.a.request(GetPeers(), timeout=50)
        self.pair.pump()
        self.pair.clock.advance(6)
        for answer in first:
            self.failureResultOf(answer, RequestTimedOut)
        self.pair.pump()  # the other side still has 64 of ours on its list
        self.assertEqual(self.failureResultOf(last, RequestRefused).value.reason, 0)

    def test_more_than_64_at_once_are_refused(self):
        data = b"".join(b"".join(encode_frames(1, 100 + n, encode(GetPeers()))) for n in range(OPEN_LIMIT + 3))
        refused = []
        self.pair.b._reply = lambda request_id, message: refused.append((request_id, message))
        self.pair.b._serving._reply = self.pair.b._reply
        self.pair.b.dataReceived(data)
        self.pair.pump()
        self.assertEqual([request_id for request_id, _ in refused], [100 + OPEN_LIMIT + n for n in range(3)])
        self.assertEqual(refused[0][1].reason, 0)


class VolumeTest(SynchronousTestCase):
    """Large answers in both directions."""

    BLOCKS = Blocks(tuple(bytes(500_000) for _ in range(4)))

    def test_100_megabytes_each_way_at_once(self):
        pair = pair_with({GetBlocks: lambda link, message: succeed(self.BLOCKS)})
        answers = [link.request(GetBlocks(H, 4), timeout=600) for link in (pair.a, pair.b) for _ in range(50)]
        highest = 0
        while pair.ta.move(100_000) | pair.tb.move(100_000):
            queued = max(link._outbox.queue.queued for link in (pair.a, pair.b))
            highest = max(highest, queued, pair.host_a.budget.total)
        for answer in answers:
            self.assertIs(type(self.successResultOf(answer)), Blocks)
        self.assertGreater(pair.ta.total, 100_000_000)
        self.assertGreater(pair.tb.total, 100_000_000)
        self.assertLess(highest, 6_000_000)
        self.assertLess(max(pair.ta.largest, pair.tb.largest), 256 * 1024)

    def test_full_queues_on_both_sides_do_not_stop_reading(self):
        seen = []
        pair = pair_with(
            {
                GetBlocks: lambda link, message: self.BLOCKS,
                NewTransaction: lambda link, message: seen.append(link),
                GetMempool: lambda link, message: Mempool((H,)),
            }
        )
        answers = [link.request(GetBlocks(H, 4), timeout=600) for link in (pair.a, pair.b) for _ in range(3)]
        answers += [link.request(GetMempool(), timeout=600) for link in (pair.a, pair.b)]
        for link in (pair.a, pair.b):
            link.send(NewTransaction(b"still"))
        pair.pump(10_000)
        for answer in answers:
            self.successResultOf(answer)
        self.assertEqual(set(seen), {pair.a, pair.b})

    def test_replies_are_not_produced_for_one_who_does_not_read(self):
        produced = []
        pair = pair_with({GetBlocks: lambda link, message: produced.append(1) or self.BLOCKS})
        answers = [pair.a.request(GetBlocks(H, 4), timeout=600) for _ in range(60)]
        pair.ta.reading = False
        pair.pump()
        self.assertEqual(len(produced), 1)
        pair.ta.reading = True
        pair.pump()
        self.assertEqual(len(produced), 60)
        for answer in answers:
            self.successResultOf(answer)

    def test_one_bulk_reply_at_a_time(self):
        waiting = []

        def handler(link, message):
            waiting.append(Deferred())
            return waiting[-1]

        pair = pair_with({GetBlocks: handler, GetPeers: lambda link, message: Peers(())})
        answers = [pair.a.request(GetBlocks(H, 4)) for _ in range(2)]
        pair.pump()
        self.assertEqual(len(waiting), 1)
        waiting[0].callback(self.BLOCKS)
        pair.pump()
        self.assertEqual(len(waiting), 2)
        waiting[1].callback(NotFound((H,)))
        pair.pump()
        self.assertEqual([type(self.successResultOf(answer)) for answer in answers], [Blocks, NotFound])
