"""``why`` of whole networks: what both ends say, over restarts and kills, and of peers that were never met."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import Penalty, Reason
from chainp2p.net.cause_store import CAUSE_SCHEMA, cause_statements, read_causes
from chainp2p.peer.causes import Cause, CauseKind
from chainp2p.peer.key import NodeKey
from chainp2p.peer.why import State
from chainp2p.testing.databases import MemoryDisk
from tests.net.test_network import StubChain, World

STRANGER = NodeKey(b"\x77" * 32).peer_id


class _Pair(SynchronousTestCase):
    """Two nodes; the second holds the first."""

    def setUp(self):
        self.world = World()
        self.near = self.world.node().start()
        self.far = self.world.node(static_nodes=(self.near.address,)).start()
        self.world.run(2)

    def why(self, node, other, kind="peer"):
        return node.network.explainer.why(kind, other if isinstance(other, bytes) else other.key.peer_id)


class BothEndsTest(_Pair):
    def test_who_is_here(self):
        for node, other, way in [(self.near, self.far, "inbound"), (self.far, self.near, "outbound")]:
            answer = self.why(node, other)
            self.assertEqual((answer.state, answer.code), (State.HERE, "connected"))
            self.assertIn(way, answer.line)
        self.assertEqual(self.why(self.near, self.near).state, State.OURSELVES)

    def test_who_is_greeting(self):
        late = self.world.node(static_nodes=(self.near.address,)).start()
        for _ in range(2_000):
            answer = self.why(self.near, late)
            if answer.state is not State.UNKNOWN:
                break
            self.world.run(0.001)
        self.assertEqual((answer.state, answer.code), (State.COMING, "greeting"))

    def test_who_was_stopped(self):
        self.near.stop()
        self.world.run(30)
        answer = self.why(self.far, self.near)
        self.assertEqual((answer.state, answer.code), (State.AWAY, "shutdown"))
        self.assertIn("dials since: refused", answer.line)
        dials, end = answer.history
        self.assertEqual(
            (dials.kind, dials.code, dials.meant), (CauseKind.DIAL_FAILED, "refused", self.near.key.peer_id)
        )
        self.assertGreater(dials.count, 1)
        self.assertEqual((end.evidence["by"], end.evidence["agent"]), ("peer", "test/1"))
        self.assertGreater(end.evidence["open_seconds"], 1)
        self.assertTrue(answer.evidence["held"])

    def test_who_was_banned_by_the_operator(self):
        self.near.network.ban_peer(self.far.key.peer_id, 3_600.0)
        self.world.run(5)
        self.assertEqual(self.why(self.near, self.far).code, "ban_by_operator")
        self.assertEqual(self.why(self.near, self.far, "ban").code, "ban_by_operator")
        self.assertEqual(self.why(self.far, self.near).code, "banned")
        self.assertEqual(self.why(self.far, self.near, "ban").code, "banned")
        self.near.network.unban_peer(self.far.key.peer_id)
        self.assertEqual(self.why(self.near, self.far, "ban").code, "ban_lifted")

    def test_what_the_operator_removed(self):
        self.near.network.remove_peer(self.far.key.peer_id)
        self.world.run(1)
        answer = self.why(self.near, self.far)
        self.assertEqual((answer.state, answer.code), (State.BARRED, "removed"))
        self.assertEqual(self.why(self.far, self.near).code, "removed")
        self.assertIn("it sent us away", self.why(self.far, self.near).line)
        self.near.network.unban_peer(self.far.key.peer_id)
        answer = self.why(self.near, self.far, "ban")
        self.assertEqual((answer.code, answer.history[1].code), ("ban_lifted", "removed"))


class NeverMetTest(_Pair):
    def test_never_known(self):
        self.assertEqual(self.why(self.near, STRANGER).code, "unknown")
        self.assertEqual(self.why(self.near, STRANGER, "ban").code, "not_banned")

    def test_another_network(self):
        other = self.world.node(chain=StubChain(genesis=b"\x09" * 32), static_nodes=(self.near.address,)).start()
        self.world.run(5)
        for node, culprit in ((self.near, other), (other, self.near)):
            answer = self.why(node, culprit)
            self.assertEqual((answer.state, answer.code), (State.AWAY, "wrong_genesis"))
        self.assertEqual(answer.evidence["rule"], "redial_incompatible")

    def test_an_address(self):
        explainer = self.near.network.explainer
        self.near.network.links()[0].close(Reason.PING_TIMEOUT, "silent")
        self.assertEqual(explainer.why_address(self.far.ip, None).code, "ping_timeout")
        self.assertEqual(explainer.why_address("192.0.2.1", 5).line[:11], "192.0.2.1:5")

    def test_ids_by_their_first_digits(self):
        explainer = self.near.network.explainer
        self.assertEqual(explainer.find(self.far.key.peer_id.hex()[:8]), [self.far.key.peer_id])
        self.assertEqual(explainer.find("f" * 20), [])
        self.near.network.remove_peer(STRANGER)
        self.assertEqual(explainer.find(STRANGER.hex()[:6]), [STRANGER])
        self.near.network.ban_peer(b"\x99" * 32, 60.0)
        self.assertEqual(explainer.find("9999"), [b"\x99" * 32])


class RestartTest(_Pair):
    def blame(self):
        self.near.network.links()[0].fault(Reason.OVERSIZE, "2 MB", Penalty.MALICIOUS)

    def codes(self):
        return [(one.code, one.count) for one in self.near.network._causes.about(self.far.key.peer_id)]

    def test_causes_survive_a_clean_stop(self):
        self.blame()
        self.near.stop()
        before = self.codes()
        self.assertIn("oversize", dict(before))
        self.far.stop()
        self.near.start()
        self.assertEqual(self.codes(), before)
        self.assertEqual(self.why(self.near, self.far).code, "oversize")

    def test_they_are_stored_within_a_second(self):
        self.blame()
        self.world.run(1.1)
        before = dict(self.codes())
        self.near.host.kill()
        self.near.disk.crash()
        self.near.host = self.near.host.boot()
        self.far.stop()
        self.near.start()
        self.assertLessEqual({"oversize", "ban_spared_few_peers"}, set(before))
        self.assertLessEqual(set(before), set(dict(self.codes())))

    def test_the_same_network_started_again_has_them_once(self):
        self.blame()
        self.near.stop()
        before = self.codes()
        outcome = []
        self.near.network.start().addBoth(outcome.append)
        self.world.run(0.01)
        self.assertEqual((outcome, self.codes()), ([None], before))

    def test_a_clock_that_was_wrong_leaves_no_future(self):
        self.blame()
        self.near.stop()
        self.far.stop()
        database = self.near.disk.open("node.sqlite")
        with database:
            database.execute("UPDATE cause SET last = last + 1e6")
        database.close()
        self.near.start()
        now = self.near.network.now()
        self.assertTrue(all(one.when <= now for one in self.near.network._causes.newest()))
        self.assertIn("oversize", self.why(self.near, self.far).line)


class TableTest(SynchronousTestCase):
    def test_what_is_written_is_read(self):
        database = MemoryDisk().open("node.sqlite")
        database.executescript(CAUSE_SCHEMA)
        first = Cause(1.5, CauseKind.NOTED, "a", None, ("::1", 5), "text", {"x": 1, "y": 0.5, "z": "é"})
        second = Cause(0.5, CauseKind.BANNED, "b", STRANGER, ("", 0), "", {}, STRANGER, 7, 0.25)
        for changed in ({1: first, 2: second, 3: first}, {3: None}):
            for sql, values in cause_statements(changed):
                database.execute(sql, values)
        self.assertEqual(read_causes(database), ((2, second), (1, first)))
        database.execute("UPDATE cause SET kind = 'abducted' WHERE number = 2")
        self.assertEqual(read_causes(database), ((1, first),))
