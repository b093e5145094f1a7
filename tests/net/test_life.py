"""The life of a link: each state owns its timer, whatever leads out of it stops that, and no way leads back."""

from xml.etree import ElementTree

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import Reason
from chainp2p.net.life import Phase, owned, transitions
from chainp2p.net.picture import render_life
from chainp2p.net.protocol import PeerProtocol
from chainp2p.peer.address import parse_node
from chainp2p.peer.key import NodeKey
from tests.net.pump import A, B, FakeHost, Pair, Transport
from tests.net.test_network import World

ORDER = [phase.value for phase in Phase]


class MachineTest(SynchronousTestCase):
    def test_no_way_back(self):
        for state, _, following in transitions():
            self.assertLess(ORDER.index(state), ORDER.index(following))

    def test_every_state_leads_to_the_end(self):
        ways = transitions()
        self.assertEqual({state for state, _, _ in ways}, set(ORDER) - {"gone"})
        for state in ORDER[:-1]:
            self.assertTrue({"ended", "lost"} & {event for old, event, _ in ways if old == state})

    def test_its_picture(self):
        picture = ElementTree.fromstring(render_life())
        words = [element.text or "" for element in picture.iter("{http://www.w3.org/2000/svg}text")]
        for state, event, _ in transitions():
            self.assertIn(state, words)
            self.assertTrue(any(event in word.split(", ") for word in words), event)
        for state in ORDER[:-1]:
            self.assertIn(owned()[state], words)


class TimerTest(SynchronousTestCase):
    """Which calls are planned in which state."""

    def setUp(self):
        self.clock = Clock()

    def planned(self):
        return [round(call.getTime() - self.clock.seconds(), 3) for call in self.clock.getDelayedCalls()]

    def test_one_in_each_state(self):
        pair = Pair(clock=self.clock)
        self.assertEqual((pair.a.phase, self.planned()), (Phase.SECURING, [10, 10]))
        self.clock.advance(4)
        pair.secure()
        self.assertEqual((pair.a.phase, self.planned()), (Phase.GREETING, [6, 6]))
        pair.pump()
        self.assertIs(pair.a.phase, Phase.READY)
        self.assertEqual(len(self.planned()), 2)
        self.assertGreater(min(self.planned()), 10)
        pair.tb.reading = False
        pair.a.close(Reason.SHUTDOWN)
        self.assertIs(pair.a.phase, Phase.CLOSING)
        self.assertEqual(self.planned()[0], 1)
        self.assertEqual(len(self.planned()), 2)
        self.clock.advance(1)
        self.clock.advance(0)
        self.assertIs(pair.a.phase, Phase.GONE)
        self.assertEqual(self.planned(), [])

    def test_the_deadline_is_one_for_both_parts(self):
        pair = Pair(clock=self.clock)
        self.clock.advance(9)
        pair.secure()
        self.clock.advance(1)
        self.assertIs(pair.a.end.reason, Reason.HANDSHAKE_TIMEOUT)
        self.assertIn("greeting", pair.a.end.detail)

    def test_an_end_from_any_state_stops_its_timer(self):
        for steps in range(3):
            clock = self.clock = Clock()
            pair = Pair(clock=clock)
            if steps:
                pair.secure()
            if steps > 1:
                pair.pump()
            pair.a.close(Reason.SHUTDOWN)
            pair.pump()
            clock.advance(0)
            self.assertEqual((pair.a.phase, pair.b.phase), (Phase.GONE, Phase.GONE))
            self.assertEqual(self.planned(), [])
            pair.a.close(Reason.REMOVED)
            self.assertEqual(len(pair.host_a.ends), 1)


class DialingTest(SynchronousTestCase):
    """Before the connection stands."""

    def setUp(self):
        self.host = FakeHost(Clock(), A)
        self.link = PeerProtocol(self.host, B, outbound=True)
        self.cancelled = []
        self.attempt = Deferred(self.cancelled.append)
        self.link.dial(("10.0.0.9", 30303), self.attempt)

    def test_given_up(self):
        self.assertIs(self.link.phase, Phase.DIALING)
        self.link.close(Reason.REMOVED, "by the operator")
        self.assertEqual(self.cancelled, [self.attempt])
        self.failureResultOf(self.attempt, CancelledError)
        self.assertIs(self.link.phase, Phase.GONE)
        (end,) = self.host.ends
        self.assertEqual(
            (end.reason, end.address, end.ready, end.outbound), (Reason.REMOVED, ("10.0.0.9", 30303), False, True)
        )
        self.link.close(Reason.SHUTDOWN)
        self.assertEqual(len(self.host.ends), 1)

    def test_failed(self):
        self.attempt.errback(ConnectionRefusedError())
        self.failureResultOf(self.attempt, ConnectionRefusedError)
        self.assertIs(self.link.phase, Phase.GONE)
        self.link.close(Reason.SHUTDOWN)
        self.assertEqual(self.host.ends, [])  # the dialer tells of it

    def test_connected(self):
        transport = Transport(self.host.reactor, B, 30303)
        transport.other = transport.protocol = self.link
        self.link.makeConnection(transport)
        self.assertIs(self.link.phase, Phase.SECURING)
        self.assertEqual(self.link.address, ("10.0.0.1", 30303))
        self.attempt.callback(self.link)
        self.assertIs(self.link.phase, Phase.SECURING)
        self.link.close(Reason.SHUTDOWN)
        self.assertEqual(self.cancelled, [])

    def test_a_removed_peer_is_dialled_no_longer(self):
        world = World()
        node = world.node().start()
        absent = NodeKey(b"\x63" * 32).peer_id
        for stop in (node.network.remove_peer, node.network.ban_peer):
            before = len(node.network.ends())
            node.network.unban_peer(absent)
            node.network.add_peer(parse_node(f"{absent.hex()}@10.0.0.99:1"))
            world.run(0.2)
            self.assertEqual([link.phase for link in node.network._dialer.links], [Phase.DIALING])
            stop(absent)
            self.assertEqual(node.network._dialer.links, [])
            self.assertEqual(len(node.network.ends()), before + 1)
            world.run(30)
            self.assertEqual(len(node.network.ends()), before + 1)
        self.assertEqual({end.reason for end in node.network.ends()}, {Reason.REMOVED, Reason.BANNED})
        node.stop()
        self.assertEqual(list(node.host.getDelayedCalls()), [])
