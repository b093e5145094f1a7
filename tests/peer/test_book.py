"""The address book: back-offs, limits, what is told to others."""

from collections import deque
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import Penalty, Reason
from chainp2p.peer.address import NodeAddress
from chainp2p.peer.book import BOOK_LIMIT, FAILURES_MAX, AddressBook, Known
from chainp2p.peer.ends import LinkEnd
from chainp2p.peer.enr import make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from chainp2p.settings import PRIVATE, PUBLIC

US = b"\xee" * 32
KEYS = [NodeKey(bytes([n]) * 32) for n in range(1, 9)]


def record(key, ip="8.8.8.8", port=30303, seq=1):
    return make_enr(key, seq, node_pairs(b"\x01" * 32, 1, ip, port))


def ended(peer_id, reason=Reason.CONNECTION_LOST, penalty=Penalty.NONE, outbound=True, ready=False, by_us=True):
    return LinkEnd(0.0, peer_id, ("h", 1), reason, "", by_us, outbound, ready, penalty)


def book(profile=PUBLIC):
    return AddressBook(profile, Random(1), US)


class HoldTest(SynchronousTestCase):
    def test_held_peers_are_dialled_without_room_and_again_and_again(self):
        shelf = book(PRIVATE)
        address = NodeAddress(KEYS[0].peer_id, "8.8.8.8", 1)
        self.assertTrue(shelf.hold(address))
        now = 0.0
        for _ in range(40):
            self.assertEqual(shelf.due(now, (), 0), [address])
            shelf.ended(address.peer_id, ended(None), now)
            self.assertEqual(shelf.due(now, (), 0), [])
            due = shelf.next_due(now, (), 0)
            self.assertLessEqual(due - now, 30.0 * 1.25)
            now = due
        self.assertGreater(due, 800)
        self.assertEqual(shelf.due(now, {address.peer_id}, 9), [])
        self.assertIsNone(shelf.next_due(now, {address.peer_id}, 9))

    def test_not_ourselves(self):
        self.assertFalse(book().hold(NodeAddress(US, "8.8.8.8", 1)))
        shelf = book()
        shelf.hold(NodeAddress(KEYS[0].peer_id, "8.8.8.8", 1))
        shelf.ended(KEYS[0].peer_id, ended(KEYS[0].peer_id, Reason.SELF), 0.0)
        self.assertIsNone(shelf.next_due(1e6, (), 9))
        self.assertEqual(shelf.due(1e6, (), 9), [])

    def test_holding_forgives_failures(self):
        shelf = book()
        peer_id = KEYS[0].peer_id
        shelf.learn(record(KEYS[0]), "8.8.4.4")
        shelf.ended(peer_id, ended(peer_id, Reason.MISBEHAVED, Penalty.MALICIOUS), 0.0)
        self.assertEqual(shelf.due(1.0, (), 9), [])
        shelf.hold(NodeAddress(peer_id, "8.8.8.8", 1), trusted=True)
        known = shelf.get(peer_id)
        self.assertEqual((known.trusted, known.address.enr.seq, shelf.is_held(peer_id)), (True, 1, True))
        self.assertEqual(len(shelf.due(1.0, (), 0)), 1)
        shelf.hold(NodeAddress(peer_id, "8.8.8.8", 1))
        self.assertTrue(shelf.get(peer_id).trusted)
        self.assertTrue(shelf.distrust(peer_id))
        self.assertFalse(shelf.distrust(peer_id))
        self.assertFalse(shelf.distrust(b"\x01" * 32))
        self.assertEqual((shelf.get(peer_id).trusted, shelf.is_held(peer_id)), (False, True))
        self.assertTrue(shelf.forget(peer_id))
        self.assertFalse(shelf.forget(peer_id))


class LearnTest(SynchronousTestCase):
    def test_sequence_numbers(self):
        shelf = book()
        self.assertTrue(shelf.learn(record(KEYS[0], port=1, seq=2), "8.8.4.4"))
        self.assertFalse(shelf.learn(record(KEYS[0], port=9, seq=1), "8.8.4.4"))
        self.assertFalse(shelf.learn(record(KEYS[0], port=9, seq=2), "8.8.4.4"))
        shelf.reached(KEYS[0].peer_id, 0.0)
        self.assertTrue(shelf.learn(record(KEYS[0], port=1, seq=3), "8.8.4.4"))
        self.assertEqual(len(shelf.relayable(1.0)), 1)
        self.assertTrue(shelf.learn(record(KEYS[0], port=9, seq=4), "8.8.4.4"))
        self.assertEqual(shelf.get(KEYS[0].peer_id).address.port, 9)
        self.assertEqual(shelf.relayable(1.0), [])

    def test_useless_records(self):
        shelf = AddressBook(PUBLIC, Random(1), KEYS[0].peer_id)
        self.assertFalse(shelf.learn(record(KEYS[0]), "8.8.4.4"))
        self.assertFalse(shelf.learn(make_enr(KEYS[1], 1, {}), "8.8.4.4"))
        self.assertNotIn(KEYS[1].peer_id, shelf)

    def test_private_addresses(self):
        for profile, source, welcome in (
            (PUBLIC, "8.8.4.4", False),
            (PUBLIC, "10.0.0.1", True),
            (PUBLIC, "127.0.0.1", True),
            (PRIVATE, "8.8.4.4", True),
        ):
            self.assertEqual(book(profile).learn(record(KEYS[0], "10.0.0.2"), source), welcome)

    def test_four_ids_an_ip(self):
        shelf, local = book(), book(PRIVATE)
        self.assertEqual([shelf.learn(record(key), "8.8.4.4") for key in KEYS], [True] * 4 + [False] * 4)
        self.assertTrue(all(local.learn(record(key, "127.0.0.1"), "127.0.0.1") for key in KEYS))

    def test_a_record_does_not_move_a_held_peer(self):
        shelf = book(PRIVATE)
        peer_id = KEYS[0].peer_id
        shelf.hold(NodeAddress(peer_id, "10.0.0.1", 1))
        self.assertTrue(shelf.learn(record(KEYS[0], "10.0.0.2"), "10.0.0.1"))
        self.assertEqual((shelf.get(peer_id).address.host, shelf.get(peer_id).address.enr.seq), ("10.0.0.1", 1))
        by_record = record(KEYS[1], "10.0.0.3")
        shelf.hold(NodeAddress(KEYS[1].peer_id, "10.0.0.3", 30303, by_record))
        self.assertTrue(shelf.learn(record(KEYS[1], "10.0.0.4", seq=2), "10.0.0.3"))
        self.assertEqual(shelf.get(KEYS[1].peer_id).address.host, "10.0.0.4")

    def test_room_is_made_by_the_worst(self):
        shelf = book(PRIVATE)
        held = NodeAddress(bytes(32), "10.0.0.9", 1)
        shelf.hold(held)
        for n in range(1, BOOK_LIMIT):
            address = NodeAddress(n.to_bytes(32, "big"), "10.0.0.1", n)
            shelf._known[address.peer_id] = Known(address, reached_at=1.0, failures=n % 2)
        victim = shelf.get((77).to_bytes(32, "big"))
        victim.reached_at = None
        self.assertTrue(shelf.learn(record(KEYS[0], "10.0.0.2"), "10.0.0.1"))
        self.assertNotIn(victim.address.peer_id, shelf)
        for known in list(shelf._known.values()):
            known.held = True
        self.assertFalse(shelf.learn(record(KEYS[1], "10.0.0.3"), "10.0.0.1"))


class BackOffTest(SynchronousTestCase):
    def delay(self, reason, penalty=Penalty.NONE, times=1, profile=PUBLIC, **options):
        shelf = book(profile)
        shelf.learn(record(KEYS[0], "10.0.0.2"), "10.0.0.1")
        peer_id = KEYS[0].peer_id
        for _ in range(times):
            shelf.ended(peer_id, ended(peer_id, reason, penalty, **options), 0.0)
        return shelf.next_due(0.0, (), 9)

    def test_doubling(self):
        for times, low, high in ((1, 22.5, 37.5), (2, 45, 75), (8, 2_700, 4_500), (11, 2_700, 4_500)):
            self.assertTrue(low <= self.delay(Reason.CONNECTION_LOST, times=times) <= high, times)
        self.assertLessEqual(self.delay(Reason.PING_TIMEOUT, profile=PRIVATE), 1.25)

    def test_given_up_unless_it_ever_worked(self):
        self.assertIsNone(self.delay(Reason.CONNECTION_LOST, times=FAILURES_MAX + 1))
        shelf = book()
        shelf.learn(record(KEYS[0], "10.0.0.2"), "10.0.0.1")
        shelf.reached(KEYS[0].peer_id, 5.0)
        for _ in range(FAILURES_MAX + 1):
            shelf.ended(KEYS[0].peer_id, ended(None), 0.0)
        self.assertIn(KEYS[0].peer_id, shelf)
        shelf.met(KEYS[0].peer_id)
        shelf.met(US)
        self.assertEqual(shelf.get(KEYS[0].peer_id).failures, 0)

    def test_kinds(self):
        self.assertEqual(self.delay(Reason.DUPLICATE), 0.0)
        self.assertEqual(self.delay(Reason.CONNECTION_LOST, outbound=False), 0.0)
        self.assertIsNone(self.delay(Reason.WRONG_PEER_ID))

    def test_the_endpoint_of_a_wrong_id_may_come_back(self):
        shelf = book()
        shelf.learn(record(KEYS[0]), "8.8.4.4")
        shelf.ended(KEYS[0].peer_id, ended(KEYS[1].peer_id, Reason.WRONG_PEER_ID), 0.0)
        self.assertTrue(shelf.learn(record(KEYS[1]), "8.8.4.4"))

    def test_strangers_leave_no_trace(self):
        shelf = book()
        shelf.ended(KEYS[0].peer_id, ended(KEYS[0].peer_id, outbound=False), 0.0)
        shelf.reached(KEYS[0].peer_id, 0.0)
        self.assertNotIn(KEYS[0].peer_id, shelf)

    def test_two_dials_a_minute_an_ip(self):
        shelf = book()
        for key in KEYS[:4]:
            shelf.learn(record(key), "8.8.4.4")
        self.assertEqual(len(shelf.due(0.0, (), 1)), 1)
        self.assertEqual(len(shelf.due(1.0, (), 1)), 1)
        self.assertEqual(shelf.due(2.0, (), 9), [])
        self.assertEqual(shelf.next_due(2.0, (), 9), 62.0)
        self.assertEqual(len(shelf.due(62.0, (), 9)), 2)

    def test_dials_are_forgotten(self):
        shelf = book()
        shelf._dials = {f"8.8.{n // 250}.{n % 250}": deque([0.0]) for n in range(BOOK_LIMIT + 1)}
        shelf.learn(record(KEYS[0], "9.9.9.9"), "8.8.4.4")
        self.assertEqual(len(shelf.due(100.0, (), 9)), 1)
        self.assertEqual(list(shelf._dials), ["9.9.9.9"])

    @settings(deadline=None, derandomize=True, max_examples=50)
    @given(st.lists(st.tuples(st.sampled_from([*Reason]), st.sampled_from([*Penalty]), st.booleans()), max_size=30))
    def test_a_held_peer_is_dialled_again_within_an_hour_and_a_quarter(self, ends):
        shelf = book()
        peer_id = KEYS[0].peer_id
        shelf.hold(NodeAddress(peer_id, "8.8.8.8", 1))
        for reason, penalty, by_us in ends:
            if reason is not Reason.SELF:
                shelf.ended(peer_id, ended(peer_id, reason, penalty, by_us=by_us), 0.0)
        self.assertLessEqual(shelf.next_due(0.0, (), 0), 4_500.0)


class RelayTest(SynchronousTestCase):
    def test_reached_within_a_day(self):
        shelf = book()
        shelf.learn(record(KEYS[0]), "8.8.4.4")
        self.assertEqual(shelf.relayable(0.0), [])
        shelf.reached(KEYS[0].peer_id, 100.0)
        self.assertEqual(shelf.relayable(200.0), [record(KEYS[0])])
        self.assertEqual(shelf.relayable(90_000.0), [])
