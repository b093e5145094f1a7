"""Every reason for which a link ends, caused as it comes about, seen from both ends, whichever of them finds it."""

from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import PeerFault, Penalty, Reason
from chainp2p.net.life import Phase
from chainp2p.net.protocol import HANDSHAKE_TIMEOUT
from chainp2p.wire.codec import encode
from chainp2p.wire.frames import encode_frames
from chainp2p.wire.messages import Ack, GetPeers, Hello, NewBlock, NewTransaction, Ping, Pong
from tests.net.pump import GENESIS, A, B, FakeHost, Pair
from tests.net.test_security import TlsPair

DIALLER, LISTENER = 0, 1


class Scene:
    """Two ends, of which *finder* is to find what is wrong with the other."""

    def __init__(self, finder, **options):
        self.clock = Clock()
        self.hosts = [FakeHost(self.clock, A), FakeHost(self.clock, B)]
        self.finder = finder
        self.options = options
        self.finding, self.found = self.hosts[finder], self.hosts[1 - finder]

    def pair(self):
        self.pair_ = Pair(*self.hosts, clock=self.clock, **self.options)
        links, transports = (self.pair_.a, self.pair_.b), (self.pair_.ta, self.pair_.tb)
        self.ours, self.theirs = links[self.finder], links[1 - self.finder]
        self.our_transport, self.their_transport = transports[self.finder], transports[1 - self.finder]
        return self.pair_

    def ready(self):
        self.pair().ready()
        return self

    def says(self, *frames):
        """The other end writes bytes that no link of ours writes."""
        self.ready()
        for frame in frames:
            self.ours.dataReceived(frame)
        return self


def frame(message, message_id=99):
    return b"".join(encode_frames(message.spec.kind, message_id, encode(message)))


def closed(reason):
    def way(scene):
        scene.ready().ours.close(reason, "why")

    return way


def refused(reason):
    def way(scene):
        scene.finding.refuse = PeerFault(reason, "why", Penalty.NONE)
        scene.pair().secure()

    return way


def said(*frames):
    return lambda scene: scene.says(*frames)


def wrong_genesis(scene):
    scene.found._hello = Hello(1, b"\x09" * 32, 0)
    scene.pair().secure()


def wrong_version(scene):
    scene.found._hello = Hello(2, GENESIS, 0)
    scene.pair().secure()


def wrong_settings(scene):
    scene.found._status = {"settings": ((0, b"\x0c" * 32),)}
    scene.pair().secure()


def wrong_peer_id(scene):
    if scene.finder == DIALLER:
        scene.options["expected"] = b"\xcc" * 32
        scene.pair().secure()
    else:  # whom it meant is checked by the dialler; the listener hears what the dialler says of itself
        scene.pair().secure()
        scene.ours.dataReceived(frame(Hello(1, GENESIS, 0), 1) + frame(Ack(b"\xcc" * 32), 2))


def own_id(scene):
    side = "proven_b" if scene.finder == DIALLER else "proven_a"
    scene.options[side] = scene.finding.own_id
    scene.options["expected"] = None
    scene.pair().secure()


def bad_certificate(scene):
    side = "proven_b" if scene.finder == DIALLER else "proven_a"
    scene.options[side] = PeerFault(Reason.BAD_CERTIFICATE, "two certificates")
    scene.pair().secure()


def handshake_timeout(scene):
    scene.pair()
    scene.theirs.opened_at += 5  # it has more patience
    scene.pair_.secure()
    scene.their_transport.move = lambda limit=None: False  # what it says is lost on the way
    scene.clock.advance(HANDSHAKE_TIMEOUT)


def ping_timeout(scene):
    scene.ready()
    scene.their_transport.move = lambda limit=None: False  # what it says is lost on the way
    for _ in range(91):
        scene.clock.advance(1)
        scene.our_transport.move()


def not_reading(scene):
    scene.ready().their_transport.reading = False
    scene.ours.send(NewBlock(bytes(1_000_000)))
    for _ in range(61):
        scene.theirs.send(NewTransaction(b"alive"))
        scene.their_transport.move()
        scene.clock.advance(1)


def misbehaved(scene):
    def handler(link, message):
        raise PeerFault(Reason.MISBEHAVED, "bad block")

    scene.finding.handlers[NewBlock] = handler
    scene.ready().theirs.send(NewBlock(b"bad"))


def connection_lost(scene):
    scene.ready().our_transport.lose(ConnectionLost())


def refused_after_tls(scene):
    scene.pair().secure()
    scene.our_transport.lose()


#: How each comes about, and what the other end knows of it: the same where None.
WAYS = {
    Reason.SHUTDOWN: (closed(Reason.SHUTDOWN), None),
    Reason.WRONG_GENESIS: (wrong_genesis, None),
    Reason.WRONG_VERSION: (wrong_version, None),
    Reason.WRONG_SETTINGS: (wrong_settings, None),
    Reason.WRONG_PEER_ID: (wrong_peer_id, None),
    Reason.SELF: (own_id, None),
    Reason.DUPLICATE: (closed(Reason.DUPLICATE), None),
    Reason.DUPLICATE_KEY: (closed(Reason.DUPLICATE_KEY), None),
    Reason.MALFORMED_FRAME: (said(bytes(64)), None),
    Reason.OVERSIZE: (said(b"\xff" * 64), None),
    Reason.MALFORMED_MESSAGE: (said(b"".join(encode_frames(0, 9, encode(NewBlock(b"x"))[:-1]))), None),
    Reason.OUT_OF_ORDER: (said(frame(Hello(1, GENESIS, 0))), None),
    Reason.UNEXPECTED_REPLY: (said(frame(Pong(1))), None),
    Reason.HANDSHAKE_TIMEOUT: (handshake_timeout, None),
    Reason.PING_TIMEOUT: (ping_timeout, None),
    Reason.NOT_READING: (not_reading, Reason.CONNECTION_LOST),  # it reads nothing, so it cannot hear why
    Reason.TOO_MANY_PEERS: (refused(Reason.TOO_MANY_PEERS), None),
    Reason.BANNED: (refused(Reason.BANNED), None),
    Reason.REMOVED: (refused(Reason.REMOVED), None),
    Reason.NOT_ALLOWED: (refused(Reason.NOT_ALLOWED), None),
    Reason.MISBEHAVED: (misbehaved, None),
    Reason.REFUSED_AFTER_TLS: (refused_after_tls, Reason.REFUSED_AFTER_TLS),
    Reason.BAD_CERTIFICATE: (bad_certificate, Reason.REFUSED_AFTER_TLS),  # over TLS an alert says it, see test_security
    Reason.CONNECTION_LOST: (connection_lost, None),
}


class BothEndsTest(SynchronousTestCase):
    def test_all_of_them_are_here(self):
        self.assertEqual(list(WAYS), list(Reason))

    def test_whoever_finds_it(self):
        for reason, (way, other) in WAYS.items():
            for finder in (DIALLER, LISTENER):
                scene = Scene(finder)
                way(scene)
                scene.pair_.pump()
                scene.clock.advance(1)
                scene.clock.advance(0)
                name = f"{reason.code}, found by {'listener' if finder else 'dialler'}"
                ours, theirs = scene.finding.ends, scene.found.ends
                self.assertEqual((len(ours), len(theirs)), (1, 1), name)
                self.assertEqual((ours[0].reason, theirs[0].reason), (reason, other or reason), name)
                nobody = (Reason.CONNECTION_LOST, Reason.REFUSED_AFTER_TLS)
                self.assertEqual(ours[0].by_us, reason not in nobody, name)
                self.assertFalse(theirs[0].by_us and theirs[0].reason not in (reason,), name)
                self.assertEqual(ours[0].outbound, finder == DIALLER, name)
                self.assertEqual((scene.ours.phase, scene.theirs.phase), (Phase.GONE, Phase.GONE), name)
                self.assertEqual(scene.clock.getDelayedCalls(), [], name)

    def test_what_is_said_is_heard_over_tls(self):
        for reason in (reason for reason in Reason if reason < 256):
            for finder in (DIALLER, LISTENER):
                pair = TlsPair().pump()
                hosts = [pair.host_a, pair.host_b]
                (pair.a, pair.b)[finder].fault(reason, "the reason why")
                self.assertEqual(pair.reasons(), [reason, reason])
                ours, theirs = (hosts[side].ends[0] for side in (finder, 1 - finder))
                self.assertEqual((ours.by_us, theirs.by_us, theirs.detail), (True, False, "the reason why"))
                self.assertEqual((ours.penalty, theirs.penalty), (Penalty.MALICIOUS, Penalty.NONE))
                self.assertEqual(pair.clock.getDelayedCalls(), [])

    def test_what_is_said_at_the_door_is_heard_over_tls(self):
        for reason in (reason for reason in Reason if reason < 256):
            for finder in (DIALLER, LISTENER):
                pair = TlsPair()
                host = (pair.host_a, pair.host_b)[finder]
                host.refuse = PeerFault(reason, "not you", Penalty.NONE)
                self.assertEqual(pair.reasons(), [reason, reason])
                self.assertEqual((pair.host_b, pair.host_a)[finder].ends[0].detail, "not you")

    def test_requests_that_wait_are_told(self):
        for finder in (DIALLER, LISTENER):
            scene = Scene(finder).ready()
            answers = [link.request(GetPeers()) for link in (scene.ours, scene.theirs)]
            scene.ours.close(Reason.REMOVED, "by the operator")
            scene.pair_.pump()
            for answer in answers:
                self.assertIs(self.failureResultOf(answer).value.reason, Reason.REMOVED)
            self.failureResultOf(scene.theirs.request(Ping(1)))
