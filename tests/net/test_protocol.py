"""Links face to face: the greeting under every cut, its abuses, and every way in which a link ends."""

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import PeerFault, PeerGone, Penalty, Reason
from chainp2p.net.life import Phase
from chainp2p.wire.codec import encode
from chainp2p.wire.frames import encode_frames
from chainp2p.wire.messages import (
    Ack,
    AnnounceBlocks,
    Disconnect,
    GetPeers,
    Hello,
    NewBlock,
    NewTransaction,
    Ping,
    Pong,
    Refused,
    Status,
)
from tests.net.pump import GENESIS, A, B, FakeHost, Pair, Stranger, Transport, status_of


def frames(message, message_id=1):
    return b"".join(encode_frames(message.spec.kind, message_id, encode(message)))


HELLO = frames(Hello(1, GENESIS, 0), 1)
GREETING = HELLO + frames(Ack(A), 2) + frames(status_of(A), 3)


class GreetingTest(SynchronousTestCase):
    """Both sides of the handshake."""

    def test_both_become_ready(self):
        pair = Pair().ready()
        self.assertEqual(pair.a.peer_id, B)
        self.assertEqual(pair.b.peer_id, A)
        self.assertEqual(pair.a.status.agent, "test/1")
        self.assertEqual(pair.b.status.observed, (bytes((10, 0, 0, 1)), 30303))
        self.assertIs(pair.a.phase, Phase.READY)

    def test_nothing_is_sent_before_the_handshake(self):
        pair = Pair()
        self.assertEqual(pair.ta.total + pair.tb.total, 0)
        pair.secure()
        self.assertGreater(pair.ta.total, 0)

    def test_every_cut_of_the_stream(self):
        for cut in range(1, len(GREETING)):
            stranger = Stranger().say(GREETING[:cut], GREETING[cut:])
            self.assertEqual(stranger.host.ready, [stranger.link], cut)

    def test_byte_by_byte(self):
        pair = Pair().secure()
        pair.pump(1)
        self.assertTrue(pair.host_a.ready and pair.host_b.ready)

    def test_later_settings_warn(self):
        clock = Clock()
        later = ((0, b"\x05" * 32), (100, b"\x06" * 32))
        pair = Pair(host_b=FakeHost(clock, B, settings=later), clock=clock).ready()
        self.assertIn("from height 100", pair.a.warning)

    def test_status_before_ready_is_our_mistake(self):
        with self.assertRaises(AssertionError):
            Pair().a.status  # noqa: B018

    def test_observed_of_a_name_is_empty(self):
        stranger = Stranger(secure=False)
        stranger.link.address = ("somewhere", 1)
        stranger.link.handshakeCompleted()
        stranger.say(GREETING)
        sent = [message for message in stranger.messages() if isinstance(message, Status)]
        self.assertEqual(sent[0].observed, (b"", 0))


class AbuseTest(SynchronousTestCase):
    """Each ends with its name on the side that found it, and on the other."""

    def check_both(self, pair, ours, theirs=None):
        self.assertEqual(pair.secure().ends(), [ours, theirs or ours])
        self.assertEqual(len(pair.host_a.ends), 1)
        self.assertEqual(len(pair.host_b.ends), 1)
        self.assertTrue(pair.host_a.gone and pair.host_b.gone)
        self.assertEqual(pair.clock.getDelayedCalls(), [])

    def check(self, stranger, reason, told=True):
        self.assertEqual(stranger.end.reason, reason, stranger.end)
        self.assertTrue(stranger.end.by_us)
        last = stranger.messages()[-1]
        self.assertEqual(isinstance(last, Disconnect) and last.reason == reason, told)
        self.assertTrue(stranger.lost)
        self.assertEqual(stranger.clock.getDelayedCalls(), [])

    def test_wrong_genesis(self):
        clock = Clock()
        self.check_both(Pair(host_b=FakeHost(clock, B, genesis=b"\x09" * 32), clock=clock), Reason.WRONG_GENESIS)

    def test_wrong_version(self):
        clock = Clock()
        self.check_both(Pair(host_b=FakeHost(clock, B, version=2), clock=clock), Reason.WRONG_VERSION)

    def test_wrong_settings(self):
        clock = Clock()
        other = FakeHost(clock, B, settings=((0, b"\x0c" * 32),))
        pair = Pair(host_b=other, clock=clock)
        self.check_both(pair, Reason.WRONG_SETTINGS)
        self.assertIn("0c0c0c0c", pair.host_a.ends[0].detail)
        self.assertIs(pair.host_a.ends[0].penalty, Penalty.INCOMPATIBLE)

    def test_wrong_peer_id_is_found_by_the_dialler(self):
        pair = Pair(expected=b"\xcc" * 32)
        self.check_both(pair, Reason.WRONG_PEER_ID)
        self.assertTrue(pair.host_a.ends[0].by_us)
        self.assertFalse(pair.host_b.ends[0].by_us)

    def test_ack_of_another_id(self):
        self.check(Stranger().say(HELLO, frames(Ack(B), 2)), Reason.WRONG_PEER_ID)

    def test_own_id(self):
        pair = Pair(proven_b=A, expected=A)
        self.assertEqual(pair.secure().ends()[0], Reason.SELF)

    def test_host_refuses(self):
        clock = Clock()
        host = FakeHost(clock, B, refuse=PeerFault(Reason.REMOVED, "by the operator", Penalty.NONE))
        self.check_both(Pair(host_b=host, clock=clock), Reason.REMOVED)

    def test_bad_certificate(self):
        stranger = Stranger(proven=PeerFault(Reason.BAD_CERTIFICATE, "two certificates"))
        self.assertEqual(stranger.end.reason, Reason.BAD_CERTIFICATE)
        self.assertIsNone(stranger.end.peer_id)
        self.assertEqual(stranger.transport.total, 0)
        stranger.link.handshakeCompleted()
        self.assertEqual(len(stranger.host.ends), 1)

    def test_garbage(self):
        self.check(Stranger().say(b"\xff" * 64), Reason.OVERSIZE)
        self.check(Stranger().say(bytes(64)), Reason.MALFORMED_FRAME)
        self.check(Stranger().say(frames(Hello(1, GENESIS, 0)) + b"GET / HTTP/1.1\r\n\r\n"), Reason.OVERSIZE)

    def test_oversize_frame(self):
        self.check(Stranger().say((6 + 65_537).to_bytes(4, "little") + bytes(6)), Reason.OVERSIZE)

    def test_huge_count(self):
        huge = (17).to_bytes(4, "little") + (2**62).to_bytes(8, "little")
        self.check(Stranger().say(GREETING, b"".join(encode_frames(0, 4, huge))), Reason.OVERSIZE)

    def test_out_of_order(self):
        self.check(Stranger().say(frames(Ack(A))), Reason.OUT_OF_ORDER)
        self.check(Stranger().say(HELLO, HELLO), Reason.OUT_OF_ORDER)
        self.check(Stranger().say(frames(GetPeers())), Reason.OUT_OF_ORDER)
        self.check(Stranger().say(GREETING, frames(status_of(A), 4)), Reason.OUT_OF_ORDER)
        self.check(Stranger().say(GREETING, HELLO), Reason.OUT_OF_ORDER)

    def test_unexpected_reply(self):
        self.check(Stranger().say(GREETING, frames(Pong(1), 9)), Reason.UNEXPECTED_REPLY)
        unknown = b"".join(encode_frames(2, 9, (999).to_bytes(4, "little")))
        self.check(Stranger().say(GREETING, unknown), Reason.UNEXPECTED_REPLY)

    def test_half_a_handshake(self):
        for start in (b"", HELLO, HELLO + frames(Ack(A), 2), GREETING[:-1]):
            stranger = Stranger()
            if start:
                stranger.say(start)
            stranger.clock.advance(9.9)
            self.assertIsNone(stranger.end)
            stranger.clock.advance(0.2)
            self.check(stranger, Reason.HANDSHAKE_TIMEOUT)

    def test_no_security_in_time(self):
        stranger = Stranger(secure=False)
        stranger.clock.advance(10.1)
        self.assertEqual(stranger.end.reason, Reason.HANDSHAKE_TIMEOUT)
        self.assertIn("securing", stranger.end.detail)

    def test_unknown_tag_is_skipped_and_counted(self):
        unknown = (999).to_bytes(4, "little") + bytes(100_000)
        stranger = Stranger().say(GREETING, b"".join(encode_frames(0, 4, unknown)), frames(Ping(1), 5))
        self.assertEqual(stranger.host.unknown, [999])
        self.assertIsNone(stranger.end)
        self.assertIsInstance(stranger.messages()[-1], Pong)

    def test_unknown_request_is_refused(self):
        stranger = Stranger().say(GREETING, b"".join(encode_frames(1, 4, (999).to_bytes(4, "little"))))
        self.assertEqual(stranger.messages()[-1], Refused(2, 0))
        self.assertIsNone(stranger.end)

    def test_unknown_tag_in_the_greeting(self):
        stranger = Stranger().say(b"".join(encode_frames(1, 4, (999).to_bytes(4, "little"))), GREETING)
        self.assertEqual(stranger.host.unknown, [999])
        self.assertEqual(len(stranger.host.ready), 1)

    def test_what_follows_the_end_is_not_read(self):
        stranger = Stranger(host=None)
        stranger.say(GREETING + frames(Disconnect(0, "bye"), 4) + HELLO)
        stranger.say(b"\xff" * 100)
        self.assertEqual([end.reason for end in stranger.host.ends], [Reason.SHUTDOWN])


class EndTest(SynchronousTestCase):
    """Every end has one reason."""

    def test_close_is_told(self):
        pair = Pair().ready()
        pair.a.close(Reason.SHUTDOWN, "good night")
        self.assertEqual(pair.ends(), [Reason.SHUTDOWN, Reason.SHUTDOWN])
        end = pair.host_b.ends[0]
        self.assertEqual((end.detail, end.by_us, end.ready, end.peer_id), ("good night", False, True, A))
        self.assertFalse(end.outbound)
        self.assertIs(pair.a.phase, Phase.GONE)
        pair.a.close(Reason.REMOVED)
        self.assertEqual(len(pair.host_a.ends), 1)

    def test_disconnect_of_strange_words(self):
        stranger = Stranger().say(GREETING, frames(Disconnect(200, "new\nreason"), 4))
        self.assertEqual(stranger.end.reason, Reason.CONNECTION_LOST)
        self.assertEqual(stranger.end.detail, "reason 200: new?reason")

    def test_fault(self):
        pair = Pair().ready()
        pair.a.fault(Reason.MISBEHAVED, "a" * 300, Penalty.MALICIOUS)
        self.assertEqual(pair.ends(), [Reason.MISBEHAVED, Reason.MISBEHAVED])
        self.assertIs(pair.host_a.ends[0].penalty, Penalty.MALICIOUS)
        self.assertEqual(len(pair.host_b.ends[0].detail), 256)

    def test_useless_does_not_end(self):
        pair = Pair().ready()
        pair.a.fault(Reason.MISBEHAVED, "slow", Penalty.USELESS)
        self.assertEqual(pair.host_a.small_faults, [(Reason.MISBEHAVED, "slow")])
        self.assertIsNone(pair.a.end)

    def test_refused_after_tls(self):
        stranger = Stranger()
        stranger.transport.lose()
        self.assertEqual(stranger.end.reason, Reason.REFUSED_AFTER_TLS)
        self.assertFalse(stranger.end.by_us)

    def test_connection_lost(self):
        stranger = Stranger().say(HELLO)
        stranger.transport.lose(ConnectionLost("cable"))
        self.assertEqual(stranger.end.reason, Reason.CONNECTION_LOST)
        self.assertIn("cable", stranger.end.detail)

    def test_security_gives_the_reason(self):
        stranger = Stranger(secure=False)
        stranger.link.connectionLost(Failure(PeerFault(Reason.MALFORMED_FRAME, "TLS: no")))
        self.assertEqual(stranger.end.reason, Reason.MALFORMED_FRAME)

    def test_cut_when_the_last_word_does_not_leave(self):
        pair = Pair().ready()
        pair.tb.reading = False
        pair.a.close(Reason.SHUTDOWN)
        self.assertEqual(pair.host_a.gone, [])
        pair.clock.advance(1.0)
        pair.clock.advance(0)
        self.assertEqual(pair.host_a.gone, [pair.a])

    def test_a_closed_link_does_nothing(self):
        pair = Pair().ready()
        pair.a.close(Reason.SHUTDOWN)
        pair.a.send(Hello(1, GENESIS, 0))
        pair.a.send_raw(encode(AnnounceBlocks(())))
        self.failureResultOf(pair.a.request(GetPeers()), PeerGone)
        self.failureResultOf(Pair().a.request(GetPeers()), PeerGone)


class NotificationTest(SynchronousTestCase):
    """From send to handler."""

    def pair(self, handler, **options):
        clock = Clock()
        host = FakeHost(clock, B, {NewTransaction: handler, NewBlock: handler, AnnounceBlocks: handler})
        return Pair(host_b=host, clock=clock, **options).ready()

    def test_delivered(self):
        seen = []
        pair = self.pair(lambda link, message: seen.append((link, message)))
        pair.a.send(NewTransaction(b"tx"))
        pair.a.send_raw(encode(NewTransaction(b"raw")))
        pair.pump()
        self.assertEqual(seen, [(pair.b, NewTransaction(b"tx")), (pair.b, NewTransaction(b"raw"))])

    def test_without_a_handler(self):
        pair = Pair().ready()
        pair.a.send(NewTransaction(b"tx"))
        pair.pump()
        self.assertIsNone(pair.b.end)

    def test_fault_of_a_handler_ends_the_link(self):
        def at_once(link, message):
            raise PeerFault(Reason.MISBEHAVED, "bad")

        async def later(link, message):
            raise PeerFault(Reason.MISBEHAVED, "bad")

        for handler in (at_once, later):
            pair = self.pair(handler)
            pair.a.send(NewTransaction(b"tx"))
            self.assertEqual(pair.ends(), [Reason.MISBEHAVED, Reason.MISBEHAVED])

    def test_our_exception_is_logged(self):
        def at_once(link, message):
            raise KeyError("ours")

        async def later(link, message):
            raise KeyError("ours")

        for handler in (at_once, later):
            pair = self.pair(handler)
            pair.a.send(NewTransaction(b"tx"))
            self.assertEqual(pair.ends(), [None, None])
            self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_late_failures_of_handlers(self):
        waiting = []

        def handler(link, message):
            waiting.append(Deferred())
            return waiting[-1]

        pair = self.pair(handler)
        pair.a.send(NewTransaction(b"1"))
        pair.a.send(NewTransaction(b"2"))
        pair.pump()
        waiting[0].errback(KeyError("ours"))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        waiting[1].errback(PeerFault(Reason.MISBEHAVED))
        self.assertEqual(pair.ends(), [Reason.MISBEHAVED, Reason.MISBEHAVED])

    def test_unhandled_bytes_pause_reading(self):
        waiting = []

        def handler(link, message):
            waiting.append(Deferred())
            return waiting[-1]

        pair = self.pair(handler)
        for _ in range(3):
            pair.a.send(NewBlock(bytes(2_000_000)))
            pair.pump()
        self.assertFalse(pair.tb.reading)
        self.assertGreater(pair.host_b.budget.total, 5_000_000)
        pair.a.send(NewTransaction(b"waits"))
        pair.clock.advance(100)  # nobody dies because we are slow
        pair.pump()
        self.assertIsNone(pair.b.end)
        self.assertEqual(len(waiting), 3)
        waiting[0].callback(None)
        self.assertTrue(pair.tb.reading)
        pair.pump()
        self.assertEqual(len(waiting), 4)
        for deferred in waiting[1:]:
            deferred.callback(None)
        self.assertEqual(pair.host_b.budget.total, 0)

    def test_the_process_runs_short(self):
        pair = self.pair(lambda link, message: Deferred())
        pair.host_b.budget.limit = 100_000
        pair.a.send(NewBlock(bytes(200_000)))
        pair.pump(70_000)
        self.assertIn(pair.b, pair.host_b.short)
        pair.b.close(Reason.NOT_READING)
        self.assertEqual(pair.host_b.budget.total, 0)

    def test_a_block_that_does_not_fit_is_announced(self):
        seen = []
        pair = self.pair(lambda link, message: seen.append(type(message)))
        pair.tb.reading = False
        announce = AnnounceBlocks(((b"\x07" * 32, 9),))
        for _ in range(8):
            pair.a.send(NewBlock(bytes(500_000)), announce)
        pair.a.send_raw(encode(NewBlock(bytes(500_000))))
        pair.tb.reading = True
        pair.pump()
        self.assertIn(NewBlock, seen)
        self.assertIn(AnnounceBlocks, seen)
        self.assertLess(len(seen), 9)
        self.assertLess(pair.ta.largest, 256 * 1024)


class KeepAliveTest(SynchronousTestCase):
    """Silence and stalls."""

    def test_ping_keeps_a_silent_link(self):
        pair = Pair().ready()
        before = pair.ta.total
        for _ in range(400):
            pair.clock.advance(1)
            pair.pump()
        self.assertEqual(pair.ends(), [None, None])
        self.assertGreater(pair.ta.total, before)
        self.assertLess(pair.ta.total - before, 40 * 30)

    def test_dead_after_90_seconds(self):
        pair = Pair().ready()
        pair.ta.move = pair.tb.move = lambda limit=None: False
        for _ in range(89):
            pair.clock.advance(1)
        self.assertIsNone(pair.a.end)
        pair.clock.advance(1.5)
        self.assertIs(pair.a.end.reason, Reason.PING_TIMEOUT)

    def test_a_peer_that_does_not_read(self):
        pair = Pair().ready()
        pair.tb.reading = False
        pair.a.send(NewBlock(bytes(1_000_000)))
        pair.b.send(NewTransaction(b"alive"))
        for _ in range(59):
            pair.clock.advance(1)
            pair.b.send(NewTransaction(b"alive"))
            pair.tb.move()
        self.assertIsNone(pair.a.end)
        pair.clock.advance(1)
        self.assertIs(pair.a.end.reason, Reason.NOT_READING)
        pair.clock.advance(1.5)
        pair.clock.advance(0)
        self.assertTrue(pair.host_a.gone)
        self.assertTrue(pair.host_b.gone)

    def test_slow_reading_is_progress(self):
        pair = Pair().ready()
        pair.a.send(NewBlock(bytes(1_000_000)))
        for _ in range(20):
            pair.clock.advance(20)
            pair.ta.move(100_000)
            pair.tb.move()
        self.assertIsNone(pair.a.end)

    def test_control_that_piles_up(self):
        pair = Pair().ready()
        pair.ta.reading = False
        for _ in range(10):
            pair.b.send(NewBlock(bytes(100_000)))
        stranger_pings = [frames(Ping(1), 10 + number) for number in range(6_000)]
        for ping in stranger_pings:
            pair.b.dataReceived(ping)
        self.assertIs(pair.b.end.reason, Reason.NOT_READING)

    def test_ping_is_answered(self):
        pair = Pair().ready()
        self.assertEqual(self.successResultOf(self.pinged(pair)), Pong(7))

    def pinged(self, pair):
        answer = pair.a.request(Ping(1))
        pair.pump()
        return answer

    def test_transport_is_bounded(self):
        self.assertEqual(Transport(Clock(), A, 1).capacity, 64 * 1024)
