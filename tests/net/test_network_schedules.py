"""Two nodes under random schedules of dials, losses, cuts and restarts: in the end one link, and no event too many."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.net.factory import PeerFactory
from chainp2p.peer.key import NodeKey
from chainp2p.peer.link import PeerJoined
from chainp2p.testing.network import Weather
from tests.net.test_network import World, _Client

ACTIONS = st.one_of(
    st.tuples(st.just("dial"), st.integers(0, 1)),
    st.tuples(st.just("drop"), st.just(0)),
    st.tuples(st.just("cut"), st.integers(1, 120)),
    st.tuples(st.just("restart"), st.integers(0, 1)),
    st.tuples(st.just("wait"), st.sampled_from([0.001, 0.004, 0.02, 0.3, 4.0, 31.0])),
)


class ScheduleTest(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=60)
    @given(st.lists(ACTIONS, max_size=12), st.sampled_from([0.0, 0.001, 0.1]))
    def test_one_link_in_the_end(self, actions, delay):
        world = World()
        world.net.set_weather(Weather(low=delay, high=delay * 2))
        nodes = [world.node(key=NodeKey(bytes([n]) * 32)) for n in (11, 12)]
        for node, other in zip(nodes, reversed(nodes), strict=True):
            node.start(static_nodes=(other.address,))
            node.settings["static_nodes"] = (other.address,)
        for action, value in actions:
            if action == "dial":
                node, other = nodes[value], nodes[1 - value]
                factory = PeerFactory(node.network.host, other.key.peer_id, node.network._roster.opened)
                node.host.connectTCP(other.ip, 30303, node.network.host.security.client(_Client(factory)))
            elif action == "drop":
                world.net.drop_links()
            elif action == "cut":
                world.net.partition(["n1"], ["n2"])
                world.run(value)
                world.net.heal()
            elif action == "restart":
                self.check_events(nodes[value])
                nodes[value].stop()
                nodes[value].seen.clear()
                nodes[value].start()
            else:
                world.run(value)
        world.run(240)
        for node, other in zip(nodes, reversed(nodes), strict=True):
            self.assertEqual(node.peers, [other.key.peer_id])
            self.assertEqual(len(node.user.links), 1)
            self.assertEqual(node.network.links(), node.user.links)
            self.check_events(node)
            self.assertIsInstance(node.seen[-1], PeerJoined)
        ends = [node.network.links()[0] for node in nodes]
        self.assertNotEqual(ends[0].outbound, ends[1].outbound)
        self.assertEqual(ends[0].local_address[1], ends[1].address[1])
        for node in nodes:
            node.stop()
            self.assertEqual(list(node.host.getDelayedCalls()), [])

    def check_events(self, node):
        """Here and gone in turn."""
        kinds = [type(event) is PeerJoined for event in node.seen]
        self.assertEqual(kinds, [n % 2 == 0 for n in range(len(kinds))])
