"""TLS between two links in memory: what is agreed on, and who is refused with which reason."""

import gc
import weakref

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import PeerFault, Penalty, Reason
from chainp2p.net.certificate import make_certificate
from chainp2p.net.factory import PeerFactory
from chainp2p.net.security import ALPN, TlsSecurity
from chainp2p.peer.key import NodeKey
from chainp2p.wire.messages import Ping
from tests.net.pump import FakeHost, Transport
from tests.net.test_certificate import crafted

NOW = 1_800_000_000.0
KEY_A, KEY_B = NodeKey(b"\x05" * 32), NodeKey(b"\x06" * 32)


class Evil(TlsSecurity):
    """A node that breaks one rule."""

    def __init__(self, key, clock, certificate=None, extra=False, alpn=ALPN, old=False, now=NOW):
        super().__init__(key, lambda: now, 1, clock)
        if certificate is not None:
            self._identity = certificate
        context = self._context()
        if extra:
            context.add_extra_chain_cert(make_certificate(KEY_B, NOW, 9)[0])
        if alpn != ALPN:
            context = SSL.Context(SSL.TLS_METHOD)
            context.use_certificate(self._identity[0])
            context.use_privatekey(self._identity[1])
            context.set_verify(SSL.VERIFY_PEER, lambda *args: True)
            if alpn:
                context.set_alpn_protos([alpn])
        if old:
            context.set_min_proto_version(SSL.TLS1_2_VERSION)
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
        self._client._context = self._server._context = context


class TlsPair:
    """*a* dials *b* over TLS."""

    def __init__(self, make_a=None, make_b=None, expected=KEY_B.peer_id):
        self.clock = Clock()
        self.host_a, self.host_b = FakeHost(self.clock, KEY_A.peer_id), FakeHost(self.clock, KEY_B.peer_id)
        self.host_a.security = (make_a or self.good)(KEY_A, self.clock)
        self.host_b.security = (make_b or self.good)(KEY_B, self.clock)
        dialled, accepted = [], []
        dialling = PeerFactory(self.host_a, expected, dialled.append)
        listening = PeerFactory(self.host_b, opened=accepted.append)
        self.ta, self.tb = Transport(self.clock, None, 30303), Transport(self.clock, None, 40000)
        for here, there in ((self.ta, self.tb), (self.tb, self.ta)):
            here.other = there
        self.ta.protocol = self.host_a.security.client(dialling).buildProtocol(None)
        self.tb.protocol = self.host_b.security.server(listening).buildProtocol(None)
        self.tb.protocol.makeConnection(self.tb)
        self.ta.protocol.makeConnection(self.ta)
        (self.a,), (self.b,) = dialled, accepted

    @staticmethod
    def good(key, clock):
        return TlsSecurity(key, lambda: NOW, 1, clock)

    def pump(self, limit=None):
        moved = True
        while moved:
            self.clock.advance(0)
            moved = self.ta.move(limit) | self.tb.move(limit)
            self.clock.advance(0)
        return self

    def reasons(self):
        self.pump()
        return [host.ends[0].reason if host.ends else None for host in (self.host_a, self.host_b)]


class AgreementTest(SynchronousTestCase):
    def test_both_know_each_other(self):
        pair = TlsPair().pump()
        self.assertEqual((pair.a.peer_id, pair.b.peer_id), (KEY_B.peer_id, KEY_A.peer_id))
        self.assertTrue(pair.host_a.ready and pair.host_b.ready)
        handle = pair.ta.protocol.getHandle()
        self.assertEqual(handle.get_protocol_version_name(), "TLSv1.3")
        self.assertEqual(handle.get_alpn_proto_negotiated(), ALPN)
        self.assertIsNone(pair.tb.protocol.getHandle().get_servername())
        self.assertFalse(pair.ta.protocol.getHandle().session_reused() if hasattr(handle, "session_reused") else False)

    def test_byte_by_byte(self):
        pair = TlsPair().pump(1)
        self.assertTrue(pair.host_a.ready and pair.host_b.ready)

    def test_a_session_is_never_resumed(self):
        """A dialler that offers the session of its last link has to show its certificate again."""
        sessions = []
        security = Evil(KEY_A, Clock())
        security._client._context.set_session_cache_mode(SSL.SESS_CACHE_CLIENT)

        def connection(protocol):
            made = SSL.Connection(security._client._context, None)
            if sessions:
                made.set_session(sessions[0])
            return made

        security._client.clientConnectionForTLS = connection
        server = TlsSecurity(KEY_B, lambda: NOW, 1, Clock())
        for _ in range(2):
            pair = TlsPair(lambda key, clock: security, lambda key, clock: server)
            for _ in range(20):  # their TLS transports run on the clocks of the two securities
                pair.pump()
                security._clock.advance(0)
                server._clock.advance(0)
            self.assertTrue(pair.host_b.ready)
            self.assertIsNotNone(pair.tb.protocol.host_key)
            self.assertEqual(pair.b.peer_id, KEY_A.peer_id)
            sessions.append(pair.ta.protocol.getHandle().get_session())

    def test_each_certificate_is_checked_once(self):
        from chainp2p.net import security

        count = []
        self.patch(security, "check_certificate", lambda der, now: count.append(der) or check(der, now))
        from chainp2p.net.certificate import check_certificate as check

        TlsPair().pump()
        self.assertEqual(len(count), 2)

    def test_requests_and_close(self):
        pair = TlsPair().pump()
        answer = pair.a.request(Ping(1))
        pair.pump()
        self.successResultOf(answer)
        pair.b.close(Reason.SHUTDOWN)
        self.assertEqual(pair.reasons(), [Reason.SHUTDOWN, Reason.SHUTDOWN])
        self.assertTrue(pair.host_a.gone and pair.host_b.gone)
        self.assertEqual(pair.clock.getDelayedCalls(), [])


class RefusalTest(SynchronousTestCase):
    def evil(self, **options):
        return lambda key, clock: Evil(key, clock, **options)

    def bad(self, **faults):
        from cryptography.hazmat.primitives.asymmetric import ec

        private = ec.generate_private_key(ec.SECP256R1())
        return x509.load_der_x509_certificate(crafted(private=private, **faults)), private

    def test_wrong_peer_id(self):
        pair = TlsPair(expected=b"\x01" * 32)
        self.assertEqual(pair.reasons(), [Reason.WRONG_PEER_ID, Reason.WRONG_PEER_ID])

    def test_bad_certificate_of_the_dialler(self):
        """TLS 1.3: the dialler's handshake is done when the refusal comes; the alert says what it is."""
        pair = TlsPair(self.evil(certificate=self.bad(value=b"")))
        self.assertEqual(pair.reasons(), [Reason.BAD_CERTIFICATE, Reason.BAD_CERTIFICATE])
        self.assertFalse(pair.host_a.ends[0].by_us)
        self.assertIn("missing", pair.host_b.ends[0].detail)
        self.assertIs(pair.host_b.ends[0].penalty, Penalty.MALICIOUS)

    def test_bad_certificate_of_the_listener(self):
        pair = TlsPair(make_b=self.evil(certificate=self.bad(days=(-3, -2))))
        reasons = pair.reasons()
        self.assertEqual(reasons[0], Reason.BAD_CERTIFICATE)
        self.assertIn("not valid at this time", pair.host_a.ends[0].detail)
        self.assertEqual(reasons[1], Reason.BAD_CERTIFICATE)  # the alert says so
        self.assertFalse(pair.host_b.ends[0].by_us)

    def test_a_key_that_is_not_welcome(self):
        """It is refused in the middle of the handshake, and its owner hears why."""
        for side in (0, 1):
            pair = TlsPair()
            hosts = [pair.host_a, pair.host_b]
            unlisted = PeerFault(Reason.NOT_ALLOWED, "not on the allow-list", Penalty.NONE)
            hosts[side].unwelcome = {hosts[1 - side].own_id: unlisted}
            self.assertEqual(pair.reasons(), [Reason.NOT_ALLOWED, Reason.NOT_ALLOWED])
            self.assertEqual([host.ends[0].by_us for host in hosts], [side == 0, side == 1])
            self.assertIs(hosts[side].ends[0].penalty, Penalty.NONE)
            self.assertEqual(hosts[0].ready + hosts[1].ready, [])

    def test_more_than_one_certificate(self):
        for side in ("make_a", "make_b"):
            pair = TlsPair(**{side: self.evil(extra=True)})
            finder = pair.host_b if side == "make_a" else pair.host_a
            pair.reasons()
            self.assertEqual(finder.ends[0].reason, Reason.BAD_CERTIFICATE, side)
            self.assertEqual(finder.ready, [])

    def test_another_alpn(self):
        for alpn in (b"h2", None):
            pair = TlsPair(self.evil(alpn=alpn))
            self.assertEqual(pair.reasons()[1], Reason.WRONG_VERSION, alpn)
            pair = TlsPair(make_b=self.evil(alpn=alpn))
            self.assertEqual(pair.reasons()[0], Reason.WRONG_VERSION, alpn)

    def test_old_tls(self):
        pair = TlsPair(self.evil(old=True))
        self.assertEqual(pair.reasons()[1], Reason.MALFORMED_FRAME)
        self.assertIn("TLS", pair.host_b.ends[0].detail)

    def test_key_that_is_not_secp256k1(self):
        import json

        from tests.net.test_certificate import VECTORS

        self.assertIn("spec_1_ed25519", json.dumps(VECTORS["valid"]))
        pair = TlsPair()
        pair.pump()
        from chainp2p.errors import PeerFault
        from chainp2p.net.certificate import HostKey

        pair.ta.protocol.host_key = HostKey(None, b"")
        fault = self.assertRaises(PeerFault, pair.host_a.security.proven, pair.ta.protocol)
        self.assertIs(fault.reason, Reason.BAD_CERTIFICATE)


class StrangerTest(SynchronousTestCase):
    """A listener and somebody who does not speak TLS as we do."""

    def setUp(self):
        self.clock = Clock()
        self.host = FakeHost(self.clock, KEY_B.peer_id)
        self.host.security = TlsSecurity(KEY_B, lambda: NOW, 1, self.clock)
        self.transport = Transport(self.clock, None, 40000)
        self.transport.other = self
        self.connected, self.reading, self.protocol, self.buffer = True, True, self, bytearray()
        self.heard = b""
        protocol = self.host.security.server(PeerFactory(self.host)).buildProtocol(None)
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)

    def dataReceived(self, data):
        self.heard += data

    def connectionLost(self, reason):
        pass

    def test_no_room(self):
        factory = self.host.security.server(PeerFactory(self.host, room=lambda _: False))
        self.assertIsNone(factory.buildProtocol(None))

    def test_silence(self):
        self.clock.advance(2.9)
        self.assertEqual(self.host.ends, [])
        self.clock.advance(0.2)
        self.clock.advance(0)
        self.assertEqual(self.host.ends[0].reason, Reason.HANDSHAKE_TIMEOUT)
        self.assertIn("ClientHello", self.host.ends[0].detail)
        self.assertEqual(self.host.ends[0].code, "client_hello_late")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_garbage(self):
        self.transport.protocol.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 4)
        while self.transport.move():
            pass
        self.clock.advance(0)
        self.assertEqual(self.host.ends[0].reason, Reason.MALFORMED_FRAME)
        self.assertIn("TLS", self.host.ends[0].detail)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def hello(self):
        client = SSL.Connection(Evil(KEY_A, self.clock)._client._context, None)
        client.set_connect_state()
        try:
            client.do_handshake()
        except SSL.WantReadError:
            pass
        return client.bio_read(65_536)

    def test_half_a_hello(self):
        hello = self.hello()
        self.transport.protocol.dataReceived(hello[: len(hello) // 2])
        self.clock.advance(3.1)
        self.clock.advance(0)
        self.assertEqual(self.host.ends[0].reason, Reason.HANDSHAKE_TIMEOUT)

    def test_hello_and_then_nothing(self):
        self.transport.protocol.dataReceived(self.hello())
        self.clock.advance(9.9)
        self.assertEqual(self.host.ends, [])
        self.clock.advance(0.2)
        self.clock.advance(0)
        self.assertEqual(self.host.ends[0].reason, Reason.HANDSHAKE_TIMEOUT)
        self.assertIn("securing", self.host.ends[0].detail)

    def test_cut(self):
        self.transport.protocol.dataReceived(self.hello())
        self.transport.lose()
        self.assertEqual(len(self.host.ends), 1)
        self.assertEqual(self.host.ends[0].reason, Reason.CONNECTION_LOST)

    def test_openssl_lets_go_at_once(self):
        for data in (self.hello()[:100], self.hello(), b"GET / HTTP/1.1\r\n\r\n"):
            self.setUp()
            held = weakref.ref(self.transport.protocol._tlsConnection)
            gc.disable()
            self.addCleanup(gc.enable)
            self.transport.protocol.dataReceived(data)
            self.transport.lose()
            self.assertIsNone(held(), data)
