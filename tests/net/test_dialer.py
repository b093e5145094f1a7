"""Dials between whole networks on a virtual clock: what each link is for, and why a dial made none."""

import errno
from random import Random

from twisted.internet import error as errors
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import Reason
from chainp2p.net.endpoints import why_no_connection
from chainp2p.peer import outbound
from chainp2p.peer.address import NodeAddress, parse_node
from chainp2p.peer.causes import CauseKind
from chainp2p.peer.key import NodeKey
from chainp2p.peer.link import Credit
from chainp2p.peer.outbound import Purpose
from chainp2p.settings import PUBLIC
from chainp2p.wire.messages import NO_TRANSACTIONS
from tests.net.test_network import World

ABSENT = NodeKey(b"\x63" * 32).peer_id


class DialTest(SynchronousTestCase):
    full, blocks = 1, 2

    def setUp(self):
        self.patch(outbound, "FULL_SLOTS", self.full)
        self.patch(outbound, "BLOCK_SLOTS", self.blocks)
        self.world = World()

    def hub(self, others, **options):
        """Start nodes, the first of which learns of all the others from one that dials it."""
        nodes = [self.world.node().start() for _ in range(others)]
        hub = self.world.node(**options).start()
        nodes[0].network.add_peer(parse_node(hub.address))
        self.world.run(1)
        for node in nodes[1:]:
            hub.network.learn(node.network.enr, hub.network.links()[0])
        return hub, nodes

    def purposes(self, node):
        return sorted(link.purpose.value for link in node.network.links() if link.outbound)


class BlockOnlyTest(DialTest):
    def test_both_ends_know(self):
        hub, _ = self.hub(4)
        self.world.run(2)
        self.assertEqual(self.purposes(hub), ["block_only", "block_only", "full"])
        for link in (one for one in hub.network.links() if one.outbound):
            quiet = link.purpose is Purpose.BLOCKS
            far = next(one for one in self.world_links() if one.local_address == link.address and one.expected is None)
            self.assertEqual((link.block_only, far.block_only), (quiet, quiet))
            self.assertEqual(bool(far.status.flags & NO_TRANSACTIONS), quiet)
            self.assertFalse(link.status.flags)

    def world_links(self):
        return [link for node in self.nodes for link in node.network.links()]

    def hub(self, others, **options):
        made, self.nodes = super().hub(others, **options)
        return made, self.nodes

    def test_records_are_not_told_over_them(self):
        hub, nodes = self.hub(4)
        self.world.run(2)
        quiet = {link.peer_id for link in hub.network.links() if link.block_only}
        hub.network._announce(hub.network.enr.raw)
        self.world.run(1)
        self.assertEqual({node.key.peer_id for node in nodes if not node.user.records}, quiet)

    def test_they_are_the_anchors_of_the_next_run(self):
        hub, _ = self.hub(5, profile=PUBLIC)
        self.world.run(2)
        quiet = {link.peer_id for link in hub.network.links() if link.block_only}
        hub.stop().start()
        self.world.run(2)
        anchors = {link.peer_id for link in hub.network.links() if link.purpose is Purpose.ANCHOR}
        self.assertEqual(anchors, quiet)
        self.assertEqual(self.purposes(hub)[:2], ["anchor", "anchor"])

    def test_held_ones_are_for_everything(self):
        hub, nodes = self.hub(1)
        hub.network.add_peer(parse_node(nodes[0].address))
        self.world.run(1)
        self.assertFalse(any(link.block_only for link in hub.network.links()))


class FeelerTest(DialTest):
    blocks = 0

    def test_a_look_and_no_more(self):
        hub, nodes = self.hub(4)
        self.world.run(40)
        self.assertEqual(self.purposes(hub), ["full"])
        looks = [end for end in hub.network.ends() if end.rule == "feeler"]
        self.assertGreaterEqual(len(looks), 2)
        self.assertEqual({(end.reason, end.by_us, end.ready) for end in looks}, {(Reason.SHUTDOWN, True, True)})
        self.assertFalse([link for _, link, *_ in hub.user.log if link.purpose is Purpose.FEELER])
        for node in (node for node in nodes if node.key.peer_id in {end.peer_id for end in looks}):
            self.assertIn(Reason.SHUTDOWN, node.reasons)
            self.assertIn(node.network.enr.raw, hub.network.relayable(self.world.clock.seconds()))


class FullTest(DialTest):
    def test_a_peer_without_room_has_a_good_address(self):
        full = self.world.node(max_peers=1).start()
        first, second = (self.world.node(bootstrap_nodes=(full.address,)).start() for _ in range(2))
        self.world.run(10)
        refused = next(node for node in (first, second) if not node.peers)
        self.assertEqual(set(refused.reasons), {Reason.TOO_MANY_PEERS})
        known = refused.network._book.get(full.key.peer_id)
        self.assertIsNotNone(known.reached_at)
        self.assertFalse(known.here)


class FailureTest(DialTest):
    def failed(self, address, seconds=12):
        node = self.world.node(bootstrap_nodes=(address,)).start()
        self.world.run(seconds)
        cause = next(one for one in node.network.explainer.facts(ABSENT).causes)
        self.assertIs(cause.kind, CauseKind.DIAL_FAILED)
        self.assertEqual(node.network.ends()[0].rule, cause.code)
        self.assertEqual(cause.evidence["purpose"], "held")
        node.stop()
        return cause

    def test_each_has_its_rule(self):
        host = self.world.net.host("empty", "10.0.9.9")
        self.assertEqual(host.ip, "10.0.9.9")
        for where, rule in (
            ("10.0.9.9:1", "refused"),
            ("10.0.9.10:1", "timed_out"),
            ("nobody.example:1", "name_unknown"),
        ):
            cause = self.failed(f"{ABSENT.hex()}@{where}")
            self.assertEqual((cause.code, cause.evidence["dialled"]), (rule, where[:-2]))

    def test_what_errors_mean(self):
        for error, rule in (
            (errors.DNSLookupError("x"), "name_unknown"),
            (errors.UnknownHostError(), "name_unknown"),
            (errors.ConnectionRefusedError(), "refused"),
            (errors.NoRouteError(), "no_route"),
            (errors.TimeoutError(), "timed_out"),
            (errors.TCPTimedOutError(), "timed_out"),
            (errors.ConnectError(errno.ENETUNREACH), "no_route"),
            (errors.ConnectBindError(errno.EMFILE, "x"), "no_descriptors"),
            (OSError(errno.EPERM, "x"), "forbidden"),
            (errors.ConnectError(), "not_connected"),
            (ValueError(), "not_connected"),
        ):
            found, text = why_no_connection(error)
            self.assertEqual(found, rule, error)
            self.assertTrue(text)

    def test_many_dead_addresses_cost_few_sockets(self):
        hub, _ = self.hub(1)
        for n in range(60):
            hub.network._book.hold(NodeAddress(bytes([100 + n]) * 32, f"10.0.8.{n + 1}", 1))
        hub.network._dialer.plan()
        self.world.run(1)
        self.assertEqual(len(hub.network._dialer.attempts), outbound.HELD_DIALS)
        hub.stop()
        self.assertEqual(hub.network._dialer.attempts, [])
        self.assertEqual(list(hub.host.getDelayedCalls()), [])


class NameTest(DialTest):
    def test_a_name_is_looked_up_for_each_dial(self):
        first, second = (self.world.node(key=NodeKey(b"\x55" * 32)).start() for _ in range(2))
        names, find = {"node.example": first.host}, self.world.net.find
        self.world.net.find = lambda text: names.get(text) or find(text)
        node = self.world.node(static_nodes=(f"{first.key.peer_id.hex()}@node.example:30303",)).start()
        self.world.run(2)
        self.assertEqual(node.network.links()[0].address[0], first.ip)
        view = node.network.peers()[0]
        self.assertEqual((view.dialled, view.purpose), (("node.example", 30303), "held"))
        self.assertIsNone(first.network.peers()[0].dialled)
        names["node.example"] = second.host
        first.stop()
        self.world.run(10)
        self.assertEqual(node.network.links()[0].address[0], second.ip)
        gone = node.network.explainer.facts(first.key.peer_id).causes
        self.assertIn("node.example", [cause.evidence.get("dialled") for cause in gone])


class StaleTest(DialTest):
    blocks = 0

    def heads(self, node):
        for height in range(1, 12):
            node.chain.reach(height)
            self.world.run(1)

    def extra(self):
        self.patch(outbound, "PROTECTED", 0)
        hub, _ = self.hub(3)
        hub.network._dialer._outbound._feeler_at = 1e9
        self.heads(hub)
        self.assertEqual(self.purposes(hub), ["full"])
        self.world.run(62)
        self.assertEqual(self.purposes(hub), ["extra", "full"])
        return hub

    def test_an_extra_link_that_brings_nothing_goes(self):
        hub = self.extra()
        self.world.run(31)
        self.assertEqual(self.purposes(hub), ["full"])
        self.assertEqual(hub.network.ends()[0].rule, "extra_no_better")

    def test_one_that_brings_a_block_takes_the_place_of_another(self):
        hub = self.extra()
        (extra,) = (link for link in hub.network.links() if link.purpose is Purpose.EXTRA)
        (worst,) = (link for link in hub.network.links() if link.purpose is Purpose.FULL)
        extra.credit(Credit.BLOCK)
        self.world.run(31)
        self.assertEqual([link for link in hub.network.links() if link.outbound], [extra])
        self.assertEqual((worst.end.rule, worst.end.reason), ("outdone", Reason.TOO_MANY_PEERS))
        self.assertIs(extra.purpose, Purpose.FULL)


class ChurnTest(DialTest):
    full, blocks = 3, 1

    def test_nothing_is_left_over_after_storms(self):
        chance = Random(5)
        hub, nodes = self.hub(8)
        for _ in range(60):
            node = chance.choice(nodes[1:])
            node.stop()
            self.world.run(chance.random() * 10)
            node.start()
            self.assertLessEqual(len(self.purposes(hub)), 3 + 1 + 1)
        self.world.run(60)
        self.assertLessEqual(len(self.purposes(hub)), 4)
        self.assertGreaterEqual(len(hub.peers), 4)
