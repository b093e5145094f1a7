"""Both address families on sockets of this machine."""

from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.trial.unittest import SkipTest, TestCase

from chainp2p.errors import StartupError
from chainp2p.net.endpoints import Listeners
from chainp2p.net.sockets import take_udp


class PortsTest(TestCase):
    def take(self, interface, port=0, **options):
        from twisted.internet import reactor  # noqa: TID251

        taken = take_udp(reactor, DatagramProtocol(), interface, port, 1_281, **options)
        self.addCleanup(lambda: maybeDeferred(taken.stopListening))
        return taken

    def test_spare(self):
        number = self.take("127.0.0.1").getHost().port
        self.assertRaises(CannotListenError, self.take, "127.0.0.1", number)
        self.assertNotIn(self.take("127.0.0.1", number, spare=True).getHost().port, (0, number))
        self.assertRaises(CannotListenError, self.take, "192.0.2.1", 0, spare=True)

    @inlineCallbacks
    def test_both_families_on_one_port(self):
        six = self.six()
        number = six.getHost().port
        four = self.take("", number)
        self.assertEqual(four.getHost().port, number)
        self.assertEqual(six.getHost().type, "UDP")
        self.assertRaises(CannotListenError, self.take, "::", number)
        self.assertNotEqual(self.take("::", number, spare=True).getHost().port, number)
        yield six.stopListening()
        self.assertEqual(self.take("::", number).getHost().host, "::")

    def six(self):
        try:
            return self.take("::")
        except CannotListenError as error:
            raise SkipTest(f"no IPv6 here: {error}") from None

    @inlineCallbacks
    def test_listeners_of_both_families(self):
        from twisted.internet import reactor  # noqa: TID251

        self.six()
        listeners = Listeners()
        self.addCleanup(lambda: Deferred.fromCoroutine(listeners.stop()))
        ((host, number),) = yield Deferred.fromCoroutine(listeners.start(reactor, ["tcp6:0"], Factory()))
        self.assertEqual(host, "::")
        again = Listeners()
        both = yield Deferred.fromCoroutine(again.start(reactor, [f"tcp:{number}"], Factory()))
        self.addCleanup(lambda: Deferred.fromCoroutine(again.stop()))
        self.assertEqual(both, (("0.0.0.0", number),))
        third = Deferred.fromCoroutine(Listeners().start(reactor, [f"tcp6:{number}:interface=\\:\\:"], Factory()))
        error = yield self.assertFailure(third, StartupError)
        self.assertIn("in use", str(error))
