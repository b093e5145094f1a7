"""Bans and waits between whole networks: both ends, over restarts, by the rules and by the operator."""

from twisted.internet.protocol import ClientFactory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import Penalty, Reason
from chainp2p.net.conduct_store import PRUNE_SENTENCES, SAVE_SENTENCE, SCHEMA, read_sentences, sentence_row
from chainp2p.peer import conduct
from chainp2p.peer.address import parse_node
from chainp2p.peer.causes import CauseKind
from chainp2p.peer.conduct import Sentence, SentenceKind
from chainp2p.settings import PUBLIC
from chainp2p.testing.databases import MemoryDisk
from tests.net.test_network import GENESIS, StubChain, World

DAY = 86_400.0


class _Star(SynchronousTestCase):
    """A hub and nodes that hold it; the hub holds nobody."""

    nodes = 4

    def setUp(self):
        self.world = World()
        self.hub = self.world.node().start()
        self.others = [self.world.node(static_nodes=(self.hub.address,)).start() for _ in range(self.nodes)]
        self.other = self.others[0]
        self.world.run(2)
        self.assertEqual(len(self.hub.peers), self.nodes)

    def blame(self, reason=Reason.MISBEHAVED, penalty=Penalty.MALICIOUS):
        self.link().fault(reason, "lies", penalty)
        self.world.run(0.1)

    def link(self):
        return next(link for link in self.hub.network.links() if link.peer_id == self.other.key.peer_id)

    def here(self):
        return self.other.key.peer_id in self.hub.peers

    def causes(self, *kinds):
        about = self.hub.network._causes.about(self.other.key.peer_id)
        return [cause for cause in about if cause.kind in kinds]

    def until_it_is_back(self, limit):
        start = self.world.clock.seconds()
        while not self.here():
            self.world.run(1)
            self.assertLess(self.world.clock.seconds() - start, limit)
        return self.world.clock.seconds() - start


class BanTest(_Star):
    def test_both_ends_know_until_when_and_why(self):
        self.blame()
        (ban,) = self.hub.network.bans()
        self.assertEqual(
            (ban.peer_id, ban.kind, ban.rule, ban.reason),
            (self.other.key.peer_id, SentenceKind.BAN, "ban_for_fault", "misbehaved"),
        )
        self.assertTrue(abs(ban.since - self.hub.network.now()) < 1)
        self.assertAlmostEqual(ban.until - ban.since, DAY, delta=0.001)
        (cause,) = self.causes(CauseKind.BANNED)
        self.assertEqual(
            (cause.code, cause.address[0], cause.evidence["detail"], cause.evidence["peers_left"]),
            ("ban_for_fault", self.other.ip, "lies", 3),
        )
        self.world.run(100)
        self.assertFalse(self.here())
        for node, by_us in ((self.hub, True), (self.other, False)):
            end = node.network.ends()[0]
            self.assertEqual((end.reason, end.by_us), (Reason.BANNED, by_us))
            self.assertRegex(end.detail, r"^until 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC, for misbehaved: lies$")
        self.assertEqual(self.hub.network.ends()[0].code, "ban_for_fault")

    def test_it_ends_and_that_is_noted(self):
        self.patch(conduct, "BAN_TIME", 1_800.0)
        self.blame()
        self.world.run(1_790)
        self.assertFalse(self.here())
        self.until_it_is_back(45)
        (lifted,) = self.causes(CauseKind.UNBANNED)
        self.assertEqual((lifted.code, self.hub.network.bans()), ("ban_expired", []))

    def test_it_survives_a_restart_and_a_clock_set_back(self):
        self.blame()
        (before,) = self.hub.network.bans()
        self.world.run(3_600)
        self.hub.stop().start()
        self.world.run(40)
        (after,) = self.hub.network.bans()
        self.assertEqual((after.peer_id, after.reason, after.detail), (before.peer_id, before.reason, before.detail))
        self.assertAlmostEqual(after.until, before.until, delta=0.01)
        self.assertFalse(self.here())
        self.hub.stop().build()
        now = self.hub.network.now
        self.hub.network._conduct._now = lambda: now() - 1e7
        self.hub.network.start()
        self.world.run(1)
        (after,) = self.hub.network.bans()
        self.assertAlmostEqual(after.until - after.since, DAY, delta=2)

    def test_one_that_ended_while_the_node_was_down(self):
        self.patch(conduct, "BAN_TIME", 1_800.0)
        self.blame()
        self.hub.stop()
        self.world.run(1_800)
        self.hub.start()
        self.until_it_is_back(40)
        self.assertEqual([cause.code for cause in self.causes(CauseKind.UNBANNED)], ["ban_expired"])

    def test_it_is_not_dialled(self):
        self.blame()
        self.assertIn(self.other.key.peer_id, self.hub.network._book)
        self.other.stop().start(static_nodes=())
        self.world.run(600)
        self.assertFalse([end for end in self.hub.network.ends() if end.outbound])
        self.assertTrue(self.hub.network.unban_peer(self.other.key.peer_id))
        self.until_it_is_back(10)
        self.assertTrue(self.link().outbound)

    def test_a_second_link_of_the_key_ends_with_it(self):
        second = self.world.node(ip="10.0.9.9", key=self.other.key, static_nodes=(self.hub.address,)).start()
        live = []
        while len(live) < 2:
            self.world.run(0.001)
            live = [link for link in self.hub.network._roster.live() if link.peer_id == self.other.key.peer_id]
        live[0].fault(Reason.MISBEHAVED, "lies")
        self.assertEqual([link.end.reason for link in live], [Reason.MISBEHAVED, Reason.BANNED])
        second.stop()

    def test_it_survives_a_kill(self):
        self.blame()
        self.hub.host.kill()
        self.hub.disk.crash()
        self.hub.host = self.hub.host.boot()
        self.hub.start()
        self.world.run(60)
        self.assertEqual([one.kind for one in self.hub.network.bans()], [SentenceKind.BAN])
        self.assertFalse(self.here())
        self.assertEqual(len(self.hub.peers), 3)


class SparedTest(_Star):
    def spared(self, rule):
        waits = []
        for _ in range(3):
            self.blame()
            (wait,) = self.hub.network.bans()
            self.assertEqual((wait.kind, wait.rule), (SentenceKind.WAIT, rule))
            waits.append(round(wait.until - wait.since))
            self.world.run(waits[-1] - 2)
            self.assertFalse(self.here())
            self.until_it_is_back(40)
        self.assertEqual(waits, [60, 120, 240])
        self.assertEqual({cause.code for cause in self.causes(CauseKind.NOTED)}, {rule})

    def test_too_few_would_be_left(self):
        self.others.pop().stop()
        self.spared("ban_spared_few_peers")

    def test_held(self):
        self.hub.network.add_peer(parse_node(self.other.address))
        self.spared("ban_spared_held")

    def test_listed(self):
        self.hub.network.allow({node.key.peer_id: "" for node in self.others})
        self.spared("ban_spared_listed")

    def test_incompatible_is_redialled_later_and_later(self):
        stranger = self.world.node(chain=StubChain(b"\x09" * 32)).start()
        self.hub.network.add_peer(parse_node(stranger.address))
        times = []
        for _ in range(660):
            self.world.run(1)
            times += [self.world.clock.seconds()] * (len(stranger.network.ends()) - len(times))
        self.assertEqual(
            [round(later - earlier) for earlier, later in zip(times, times[1:], strict=False)], [60, 120, 240]
        )
        (redial,) = self.hub.network.bans()
        self.assertEqual(
            (redial.kind, redial.rule, redial.reason), (SentenceKind.REDIAL, "redial_incompatible", "wrong_genesis")
        )
        self.assertTrue(self.hub.network.unban_peer(stranger.key.peer_id))
        self.world.run(1)
        self.assertEqual([one.count for one in self.hub.network.bans()], [1])  # dialled at once, and counted anew
        stranger.chain.genesis_hash = GENESIS
        stranger.stop().start(static_nodes=(self.hub.address,))
        self.world.run(3)
        self.assertIn(stranger.key.peer_id, self.hub.peers)
        self.assertEqual(self.hub.network.bans(), [])
        self.hub.stop().start()
        self.assertEqual(self.hub.network.bans(), [])


class OperatorTest(_Star):
    def test_bans_whom_it_wants_for_as_long_as_it_wants(self):
        for node in self.others[1:]:
            node.stop()
        self.assertTrue(self.hub.network.ban_peer(self.other.key.peer_id, 600.0))
        self.assertFalse(self.hub.network.ban_peer(self.hub.key.peer_id))
        self.world.run(590)
        self.assertFalse(self.here())
        end = self.other.network.ends()[0]
        self.assertEqual(end.reason, Reason.BANNED)
        self.assertIn("by the operator until 20", end.detail)
        codes = {end.code for end in self.hub.network.ends() if end.peer_id == self.other.key.peer_id}
        self.assertEqual(codes, {"ban_by_operator"})
        self.until_it_is_back(45)

    def test_mistakes_are_lifted(self):
        network, peer = self.hub.network, self.other.key.peer_id
        for mistake, remedy, noted in (
            (network.ban_peer, network.unban_peer, ["ban_lifted"]),
            (network.remove_peer, network.unban_peer, ["ban_lifted"] * 2),
            (network.ban_peer, lambda _: network.add_peer(parse_node(self.other.address)), ["ban_lifted"] * 3),
        ):
            mistake(peer)
            self.world.run(5)
            self.assertFalse(self.here())
            self.assertEqual(network.removed(), [peer] if mistake == network.remove_peer else [])
            self.assertTrue(remedy(peer))
            self.assertFalse(network.unban_peer(peer))
            self.until_it_is_back(31)
            self.assertEqual([cause.code for cause in self.causes(CauseKind.UNBANNED)], noted)

    def test_the_settings_free_from_our_bans_and_not_from_the_operators(self):
        self.blame()
        self.hub.stop().start(bootstrap_nodes=(self.other.address,))
        self.assertEqual(self.hub.network.bans(), [])
        self.until_it_is_back(40)
        self.hub.network.ban_peer(self.other.key.peer_id)
        self.hub.stop().start(bootstrap_nodes=(self.other.address,))
        self.assertEqual([one.kind for one in self.hub.network.bans()], [SentenceKind.OPERATOR])
        self.world.run(60)
        self.assertFalse(self.here())


class UselessTest(_Star):
    nodes = 1

    def test_it_counts_is_seen_and_fades(self):
        self.link().fault(Reason.MISBEHAVED, "slow", Penalty.USELESS)
        self.assertFalse(self.link().useless)
        self.link().fault(Reason.MISBEHAVED, "slow", Penalty.USELESS)
        self.assertTrue(self.link().useless)
        self.assertEqual(self.hub.network.peers()[0].useless, 2.0)
        self.world.run(600)
        self.assertAlmostEqual(self.hub.network.useless_score(self.other.key.peer_id), 1.0, delta=0.001)
        self.assertFalse(self.link().useless)
        self.assertEqual(self.hub.network.bans(), [])


class StrangerTest(SynchronousTestCase):
    def test_an_address_is_last_choice_in_public(self):
        world = World()
        hub = world.node(ip="8.8.8.8", profile=PUBLIC).start()
        host = world.net.host("stranger", "9.9.9.9")
        host.connectTCP(hub.ip, 30303, ClientFactory.forProtocol(Protocol))
        world.run(15)
        self.assertEqual(hub.reasons, [Reason.HANDSHAKE_TIMEOUT])
        (cause,) = [one for one in hub.network._causes.newest() if one.code == "address_last_choice"]
        self.assertEqual((cause.address[0], cause.evidence["reason"]), ("9.9.9.9", "handshake_timeout"))
        self.assertTrue(hub.network._conduct.is_last_choice("9.9.9.9"))
        self.assertFalse(hub.network._conduct.is_last_choice("9.9.9.8"))
        world.run(3_600)
        self.assertFalse(hub.network._conduct.is_last_choice("9.9.9.9"))


class StoreTest(SynchronousTestCase):
    def test_the_table_is_bounded_and_keeps_the_operators(self):
        database = MemoryDisk().open("node.sqlite")
        database.executescript(SCHEMA)
        for number in range(5):
            kind = SentenceKind.OPERATOR if number == 0 else SentenceKind.BAN
            one = Sentence(bytes([number]) * 32, kind, "rule", "oversize", "", 0.0, 100.0 + number)
            database.execute(SAVE_SENTENCE, sentence_row(one))
        database.execute(PRUNE_SENTENCES, (3,))
        self.assertEqual([one.peer_id[0] for one in read_sentences(database)], [0, 3, 4])
