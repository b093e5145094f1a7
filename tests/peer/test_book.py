"""The address book: back-offs, limits, whom to dial, what is told to others."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import Penalty, Reason
from chainp2p.peer.address import NodeAddress
from chainp2p.peer.book import ANCHORS_LIMIT, FAILURES_MAX, FRESH, LOOK_AGAIN, SEEN_STEP, AddressBook, Learnt
from chainp2p.peer.buckets import LOOK_LIMIT
from chainp2p.peer.ends import LinkEnd
from chainp2p.peer.enr import Enr, make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from chainp2p.peer.known import HORIZON
from chainp2p.peer.netgroup import netgroup
from chainp2p.settings import PRIVATE, PUBLIC

US = b"\xee" * 32
KEYS = [NodeKey(bytes([n]) * 32) for n in range(1, 9)]
IDS = [key.peer_id for key in KEYS]
DAY = 86_400.0


def record(key, ip="8.8.8.8", port=30303, seq=1):
    return make_enr(key, seq, node_pairs(b"\x01" * 32, 1, ip, port))


def unsigned(number, ip, port=30303, seq=1):
    """A record as ``Enr.decode`` returns it, without the cost of a signature."""
    peer_id = number.to_bytes(32, "big")
    pairs = {b"ip": bytes(map(int, ip.split("."))), b"tcp": port.to_bytes(2, "big")}
    return Enr(peer_id + bytes([seq]), seq, pairs, b"", peer_id)


def ended(peer_id, reason=Reason.CONNECTION_LOST, penalty=Penalty.NONE, outbound=True, ready=False, by_us=True):
    return LinkEnd(0.0, peer_id, ("h", 1), reason, "", by_us, outbound, ready, penalty)


def book(profile=PUBLIC, seed=1):
    return AddressBook(profile, Random(seed), US)


class HoldTest(SynchronousTestCase):
    def test_held_peers_are_dialled_without_room_and_again_and_again(self):
        shelf = book(PRIVATE)
        address = NodeAddress(IDS[0], "8.8.8.8", 1)
        self.assertTrue(shelf.hold(address))
        now = 0.0
        for _ in range(40):
            self.assertEqual(shelf.held_due(now), [address])
            shelf.ended(address.peer_id, ended(None), now)
            self.assertEqual(shelf.held_due(now), [])
            due = shelf.next_due(now, (), 0)
            self.assertLessEqual(due - now, 30.0 * 1.25)
            now = due
        self.assertGreater(due, 800)
        self.assertIsNone(shelf.next_due(now, {address.peer_id}, 9))
        self.assertIsNone(shelf.pick(now))

    def test_not_ourselves(self):
        self.assertFalse(book().hold(NodeAddress(US, "8.8.8.8", 1)))
        shelf = book()
        address = NodeAddress(IDS[0], "8.8.8.8", 1)
        shelf.hold(address)
        shelf.ended(IDS[0], ended(IDS[0], Reason.SELF), 0.0)
        self.assertIsNone(shelf.next_due(1e6, (), 9))
        self.assertEqual(shelf.held_due(1e6), [])
        shelf.hold(address)
        self.assertEqual(shelf.held_due(0.0), [address])

    def test_our_address_is_not_learnt_again(self):
        shelf = book()
        shelf.learn(record(KEYS[0]), "8.8.4.4", 0.0)
        shelf.ended(IDS[0], ended(US, Reason.SELF), 0.0)
        self.assertNotIn(IDS[0], shelf)
        self.assertEqual(shelf.learn(record(KEYS[1]), "8.8.4.4", 0.0), Learnt.OWN)

    def test_holding_forgives_failures(self):
        shelf = book()
        shelf.learn(record(KEYS[0]), "8.8.4.4", 0.0)
        shelf.ended(IDS[0], ended(IDS[0], Reason.MISBEHAVED, Penalty.MALICIOUS), 0.0)
        self.assertIsNone(shelf.pick(1.0))
        shelf.hold(NodeAddress(IDS[0], "8.8.8.8", 1), trusted=True)
        known = shelf.get(IDS[0])
        self.assertEqual((known.trusted, known.seq, shelf.is_held(IDS[0])), (True, 1, True))
        self.assertEqual(len(shelf.held_due(1.0)), 1)
        shelf.hold(NodeAddress(IDS[0], "8.8.8.8", 1))
        self.assertTrue(shelf.get(IDS[0]).trusted)
        self.assertTrue(shelf.distrust(IDS[0]))
        self.assertFalse(shelf.distrust(IDS[0]))
        self.assertFalse(shelf.distrust(b"\x01" * 32))
        self.assertEqual((shelf.get(IDS[0]).trusted, shelf.is_held(IDS[0])), (False, True))
        self.assertEqual(shelf.counts(), {"held": 1, "new": 0, "tried": 0, "claims": 0})
        self.assertTrue(shelf.forget(IDS[0]))
        self.assertFalse(shelf.forget(IDS[0]))
        self.assertEqual(len(shelf), 0)

    def test_a_record_does_not_move_a_peer_from_where_the_operator_put_it(self):
        shelf = book(PRIVATE)
        shelf.hold(NodeAddress(IDS[0], "10.0.0.1", 1))
        self.assertEqual(shelf.learn(record(KEYS[0], "10.0.0.2"), "10.0.0.1", 0.0), Learnt.MOVED)
        self.assertEqual((shelf.get(IDS[0]).address.host, shelf.get(IDS[0]).seq), ("10.0.0.1", 1))
        shelf.hold(NodeAddress(IDS[1], "10.0.0.3", 30303, record(KEYS[1], "10.0.0.3")), trusted=True)
        self.assertTrue(shelf.learn(record(KEYS[1], "10.0.0.4", seq=2), "10.0.0.3", 0.0).useful)
        known = shelf.get(IDS[1])
        self.assertEqual((known.address.host, known.trusted, known.held), ("10.0.0.4", True, True))

    def test_the_newest_record_stays_when_a_peer_is_held(self):
        shelf = book(PRIVATE)
        shelf.learn(record(KEYS[0], "10.0.0.1", seq=5), "10.0.0.9", 0.0)
        shelf.reached(IDS[0], 3.0)
        shelf.hold(NodeAddress(IDS[0], "10.0.0.1", 30303, record(KEYS[0], "10.0.0.1", seq=4)))
        known = shelf.get(IDS[0])
        self.assertEqual((known.seq, known.reached_at), (5, 3.0))


class LearnTest(SynchronousTestCase):
    def test_sequence_numbers(self):
        shelf = book()

        def learn(port, seq):
            return shelf.learn(record(KEYS[0], port=port, seq=seq), "8.8.4.4", 0.0)

        self.assertEqual([learn(1, 2), learn(9, 1), learn(9, 2)], [Learnt.NEW, Learnt.KNOWN, Learnt.KNOWN])
        shelf.reached(IDS[0], 0.0)
        self.assertEqual(learn(1, 3), Learnt.MOVED)
        self.assertEqual(shelf.relayable(1.0), [record(KEYS[0], port=1, seq=3).raw])
        self.assertTrue(shelf.get(IDS[0]).tried)
        self.assertEqual(learn(9, 4), Learnt.MOVED)
        known = shelf.get(IDS[0])
        self.assertEqual((known.address.port, known.tried, known.reached_at), (9, False, None))
        self.assertEqual(shelf.relayable(1.0), [])

    def test_useless_records(self):
        shelf = AddressBook(PUBLIC, Random(1), IDS[0])
        self.assertEqual(shelf.learn(record(KEYS[0]), "8.8.4.4", 0.0), Learnt.OWN)
        self.assertEqual(shelf.learn(make_enr(KEYS[1], 1, {}), "8.8.4.4", 0.0), Learnt.NO_ENDPOINT)
        self.assertFalse(Learnt.NO_ENDPOINT.useful)
        self.assertNotIn(IDS[1], shelf)

    def test_private_addresses(self):
        for profile, source, found in (
            (PUBLIC, "8.8.4.4", Learnt.PRIVATE),
            (PUBLIC, "10.0.0.1", Learnt.NEW),
            (PUBLIC, "127.0.0.1", Learnt.NEW),
            (PRIVATE, "8.8.4.4", Learnt.NEW),
        ):
            self.assertEqual(book(profile).learn(record(KEYS[0], "10.0.0.2"), source, 0.0), found)

    def test_four_ids_an_ip(self):
        shelf, local = book(), book(PRIVATE)
        found = [shelf.learn(record(key, port=n + 1), "8.8.4.4", 0.0) for n, key in enumerate(KEYS)]
        self.assertEqual(found, [Learnt.NEW] * 4 + [Learnt.IDS_PER_IP] * 4)
        for n, key in enumerate(KEYS):
            self.assertTrue(local.learn(record(key, "127.0.0.1", n + 1), "127.0.0.1", 0.0).useful)
        shelf.forget(IDS[0])
        self.assertEqual(shelf.learn(record(KEYS[7], port=9), "8.8.4.4", 0.0), Learnt.NEW)

    def test_all_of_a_64_is_one_ip(self):
        shelf = book()
        found = [shelf.learn(record(key, f"2600::{n}"), "8.8.4.4", 0.0) for n, key in enumerate(KEYS)]
        self.assertEqual(found.count(Learnt.IDS_PER_IP), 4)

    def test_what_a_peer_says_of_its_own_ip_goes_before_what_others_say(self):
        shelf = book()
        for n, key in enumerate(KEYS[:4]):
            shelf.learn(record(key, port=n + 1), "8.8.4.4", 0.0)
            shelf.reached(key.peer_id, 0.0) if n == 0 else None
        self.assertEqual(shelf.learn(record(KEYS[4], port=9), "8.8.8.8", 0.0), Learnt.NEW)
        self.assertIn(IDS[0], shelf)
        self.assertNotIn(IDS[1], shelf)
        for key in KEYS[2:5]:
            shelf.reached(key.peer_id, 0.0)
        self.assertEqual(shelf.learn(record(KEYS[5], port=10), "8.8.8.8", 0.0), Learnt.IDS_PER_IP)

    def test_one_endpoint_has_one_slot_whatever_the_ids(self):
        shelf = book()
        self.assertEqual(shelf.learn(record(KEYS[0]), "8.8.4.4", 0.0), Learnt.NEW)
        self.assertEqual(shelf.learn(record(KEYS[1]), "8.8.4.4", 0.0), Learnt.NO_SLOT)
        self.assertEqual(shelf.learn(record(KEYS[1]), "9.9.9.9", 0.0), Learnt.NEW)

    def test_who_is_told_of_again_by_others_stands_for_them_too(self):
        shelf = book()
        for source in ("8.8.4.4", "8.8.4.5", "9.9.9.9"):
            shelf.learn(record(KEYS[0]), source, 0.0)
        self.assertEqual(shelf.get(IDS[0]).sources, ("8.8.0.0/16", "9.9.0.0/16"))

    def test_repetition_counts_as_heard_of_once_an_hour(self):
        shelf = book()
        shelf.learn(record(KEYS[0]), "8.8.4.4", 0.0)
        shelf.changes(9)
        shelf.learn(record(KEYS[0]), "8.8.4.4", SEEN_STEP - 1)
        self.assertEqual((shelf.get(IDS[0]).seen_at, shelf.changes(9)), (0.0, []))
        shelf.learn(record(KEYS[0]), "8.8.4.4", SEEN_STEP)
        self.assertEqual((shelf.get(IDS[0]).seen_at, len(shelf.changes(9))), (SEEN_STEP, 1))


class BackOffTest(SynchronousTestCase):
    def delay(self, reason, times=1, profile=PUBLIC, **options):
        shelf = book(profile)
        shelf.learn(record(KEYS[0], "10.0.0.2"), "10.0.0.1", 0.0)
        for _ in range(times):
            shelf.ended(IDS[0], ended(IDS[0], reason, **options), 0.0)
        return shelf.next_due(0.0, (), 9)

    def test_doubling(self):
        for times, low, high in ((1, 22.5, 37.5), (2, 45, 75), (8, 2_700, 4_500), (11, 2_700, 4_500)):
            self.assertTrue(low <= self.delay(Reason.CONNECTION_LOST, times=times) <= high, times)
        self.assertLessEqual(self.delay(Reason.PING_TIMEOUT, profile=PRIVATE), 1.25)

    def test_given_up_unless_it_ever_worked(self):
        self.assertIsNone(self.delay(Reason.CONNECTION_LOST, times=FAILURES_MAX + 1))
        shelf = book()
        shelf.learn(record(KEYS[0], "10.0.0.2"), "10.0.0.1", 0.0)
        shelf.reached(IDS[0], 5.0)
        for _ in range(FAILURES_MAX + 1):
            shelf.ended(IDS[0], ended(None), 0.0)
        self.assertIn(IDS[0], shelf)
        shelf.met(IDS[0])
        shelf.met(US)
        self.assertEqual(shelf.get(IDS[0]).failures, 0)

    def test_kinds(self):
        self.assertEqual(self.delay(Reason.DUPLICATE), 0.0)
        self.assertEqual(self.delay(Reason.CONNECTION_LOST, outbound=False), 0.0)
        self.assertGreater(self.delay(Reason.SHUTDOWN, outbound=False, ready=True), 0.0)
        self.assertIsNone(self.delay(Reason.WRONG_PEER_ID))

    def test_the_endpoint_of_a_wrong_id_may_come_back(self):
        shelf = book()
        shelf.learn(record(KEYS[0]), "8.8.4.4", 0.0)
        shelf.ended(IDS[0], ended(IDS[1], Reason.WRONG_PEER_ID), 0.0)
        self.assertEqual(shelf.learn(record(KEYS[1]), "8.8.4.4", 0.0), Learnt.NEW)

    def test_strangers_leave_no_trace(self):
        shelf = book()
        shelf.ended(IDS[0], ended(IDS[0], outbound=False), 0.0)
        shelf.reached(IDS[0], 0.0)
        shelf.anchor(IDS[0])
        self.assertNotIn(IDS[0], shelf)
        self.assertEqual(shelf.anchors(), [])

    @settings(deadline=None, derandomize=True, max_examples=50)
    @given(st.lists(st.tuples(st.sampled_from([*Reason]), st.sampled_from([*Penalty]), st.booleans()), max_size=30))
    def test_a_held_peer_is_dialled_again_within_an_hour_and_a_quarter(self, ends):
        shelf = book()
        shelf.hold(NodeAddress(IDS[0], "8.8.8.8", 1))
        for reason, penalty, by_us in ends:
            if reason is not Reason.SELF:
                shelf.ended(IDS[0], ended(IDS[0], reason, penalty, by_us=by_us), 0.0)
        self.assertLessEqual(shelf.next_due(0.0, (), 0), 4_500.0)


class PickTest(SynchronousTestCase):
    def test_fresh_or_tried(self):
        shelf = book()
        shelf.learn(record(KEYS[0], "8.8.8.8"), "8.8.4.4", 0.0)
        self.assertIsNone(shelf.pick(0.0, fresh=False))
        self.assertEqual(shelf.pick(0.0, fresh=True).peer_id, IDS[0])
        shelf.reached(IDS[0], 0.0)
        self.assertIsNone(shelf.pick(0.0, fresh=True))
        self.assertEqual(shelf.pick(0.0).peer_id, IDS[0])
        self.assertEqual(shelf.counts(), {"held": 0, "new": 0, "tried": 1, "claims": 0})

    def test_a_coin_decides_between_new_and_tried(self):
        shelf = book(PRIVATE)
        for n, key in enumerate(KEYS[:2]):
            shelf.learn(record(key, f"10.0.0.{n + 1}"), "10.0.0.9", 0.0)
        shelf.reached(IDS[0], 0.0)
        picked = [shelf.pick(0.0).peer_id for _ in range(400)]
        self.assertTrue(150 < picked.count(IDS[0]) < 250, picked.count(IDS[0]))

    def test_busy_peers_and_groups_with_a_link_are_passed_over(self):
        shelf = book()
        shelf.learn(record(KEYS[0], "8.8.8.8"), "8.8.4.4", 0.0)
        self.assertIsNone(shelf.pick(0.0, busy={IDS[0]}))
        self.assertIsNone(shelf.pick(0.0, avoid_groups={netgroup("8.8.1.1")}))
        self.assertIsNotNone(shelf.pick(0.0, avoid_groups={netgroup("9.9.9.9")}))
        home = book(PRIVATE)
        home.learn(record(KEYS[0], "10.0.0.1"), "10.0.0.2", 0.0)
        self.assertIsNotNone(home.pick(0.0, avoid_groups={netgroup("10.0.0.1"), "10.0.0.1"}))

    def test_each_source_has_one_say_however_much_it_tells(self):
        shelf = book()
        for n in range(1_000):
            shelf.learn(unsigned(n, f"{11 + n % 80}.{n // 80}.1.1"), "8.8.4.4", 0.0)
        for n in range(3):
            shelf.learn(unsigned(5_000 + n, f"130.{n}.1.1"), f"9.{n}.0.1", 0.0)
        few = 0
        for turn in range(400):
            few += shelf.pick(turn * 60.0, fresh=True).host.startswith("130.")
        self.assertTrue(240 < few < 360, few)  # three of four sources

    def test_two_dials_a_minute_an_ip(self):
        shelf = book()
        for n, key in enumerate(KEYS[:4]):
            shelf.learn(record(key, port=n + 1), "8.8.4.4", 0.0)
        self.assertIsNotNone(shelf.pick(0.0))
        self.assertIsNotNone(shelf.pick(1.0))
        self.assertIsNone(shelf.pick(2.0))
        self.assertEqual(shelf.next_due(2.0, (), 9), 62.0)
        self.assertIsNotNone(shelf.pick(62.0))

    def test_what_nobody_spoke_of_for_a_month_is_forgotten(self):
        shelf = book()
        for n, key in enumerate(KEYS[:3]):
            shelf.learn(record(key, f"8.{n + 1}.8.8"), "8.8.4.4", 0.0)
        shelf.reached(IDS[0], 10.0)  # and the link stands
        shelf.reached(IDS[1], 10.0)
        shelf.ended(IDS[1], ended(IDS[1], ready=True), 20.0)
        self.assertEqual(shelf.pick(HORIZON + 15.0, busy={IDS[0]}).peer_id, IDS[1])
        self.assertIsNone(shelf.pick(HORIZON + 25.0, busy={IDS[0]}))
        self.assertEqual([known.peer_id for known in shelf], [IDS[0]])

    def test_a_large_book_is_not_passed_over_to_find_the_next_time(self):
        shelf = book(PRIVATE)
        for n in range(LOOK_LIMIT + 50):
            shelf.learn(unsigned(n, f"10.0.{n // 250}.{1 + n % 250}"), f"10.1.0.{1 + n % 250}", 0.0)
        self.assertGreater(len(shelf), LOOK_LIMIT)
        self.assertEqual(shelf.next_due(5.0, (), 1), 5.0 + LOOK_AGAIN)
        self.assertIsNone(shelf.next_due(5.0, (), 0))

    def test_the_whole_of_a_small_book_is_looked_at(self):
        shelf = book(PRIVATE)
        for n in range(200):
            shelf.learn(unsigned(n, f"10.0.0.{n + 1}"), f"10.1.0.{1 + n % 3}", 0.0)
        everybody = {known.peer_id for known in shelf}
        for last in sorted(everybody)[::20]:
            self.assertEqual(shelf.pick(0.0, busy=everybody - {last}).peer_id, last)


class CandidatesTest(SynchronousTestCase):
    def test_fresh_ones_of_different_groups_that_may_be_dialled(self):
        shelf = book()
        for number in range(8):
            # two of each group
            self.assertIs(shelf.learn(unsigned(number, f"{20 + number // 2}.1.{number}.1"), "8.8.4.4", 0.0), Learnt.NEW)
        self.assertEqual(shelf.news, 8)
        self.assertEqual(shelf.candidates(1.0, limit=16), 4)
        self.assertEqual(shelf.candidates(1.0, limit=3), 3)
        busy = [number.to_bytes(32, "big") for number in (0, 1, 2)]
        self.assertEqual(shelf.candidates(1.0, busy=busy, limit=16), 3)
        self.assertEqual(shelf.candidates(1.0, avoid_groups=[netgroup("21.1.1.1")], limit=16), 3)
        for number in (6, 7):
            shelf.ended(number.to_bytes(32, "big"), ended(None), 1.0)
        self.assertEqual(shelf.candidates(2_000.0, limit=16), 3)
        self.assertEqual(shelf.candidates(FRESH, limit=16), 0)
        # who was reached is fresh, and a link that ended is no dial in vain
        shelf.reached(bytes(32), FRESH)
        self.assertEqual(shelf.candidates(FRESH + 1, busy=[bytes(32)], limit=16), 0)
        shelf.ended(bytes(32), ended(bytes(32), ready=True), FRESH + 1)
        self.assertEqual(shelf.candidates(FRESH + 100, limit=16), 1)
        self.assertEqual(shelf.news, 8)

    def test_those_of_one_private_address_are_told_apart_by_port(self):
        shelf = book(PRIVATE)
        for number in range(5):
            shelf.learn(unsigned(number, "127.0.0.1", 30303 + number), "127.0.0.1", 0.0)
        self.assertEqual(shelf.candidates(1.0, limit=16), 5)


class CollisionTest(SynchronousTestCase):
    def setUp(self):
        """Two ids at one endpoint have one tried slot; the first has it since a day."""
        self.book = book()
        for key, source in ((KEYS[0], "8.8.4.4"), (KEYS[1], "9.9.9.9")):
            self.book.learn(record(key), source, 0.0)
        self.book.reached(IDS[0], 0.0)
        self.book.ended(IDS[0], ended(IDS[0], ready=True), 1.0)
        self.book.reached(IDS[1], DAY)

    def who(self):
        return [known.peer_id for known in self.book if known.tried]

    def test_the_old_one_is_tested_and_stays_if_it_answers(self):
        self.assertEqual(self.who(), [IDS[0]])
        self.assertEqual([address.peer_id for address in self.book.collisions(DAY)], [IDS[0]])
        self.book.reached(IDS[0], DAY)
        self.assertEqual((self.book.collisions(DAY), self.who()), ([], [IDS[0]]))
        self.assertIn(IDS[1], self.book)

    def test_the_old_one_goes_back_among_the_new_if_it_does_not(self):
        self.book.ended(IDS[0], ended(None), DAY + 5.0)
        self.assertEqual((self.book.collisions(DAY + 5.0), self.who()), ([], [IDS[1]]))
        self.assertEqual(self.book.get(IDS[0]).sources, ("8.8.0.0/16",))

    def test_back_off_holds_for_tests_too(self):
        self.book.get(IDS[0]).not_before = DAY + 60.0
        self.assertEqual(self.book.collisions(DAY), [])
        self.assertEqual(len(self.book.collisions(DAY + 60.0)), 1)


class RestartTest(SynchronousTestCase):
    def restarted(self, shelf, anchors=()):
        again = book(seed=2)
        again.restore(shelf.secret, [known for _, known in shelf.changes(10_000) if known is not None], anchors)
        return again

    def test_everything_has_its_slots_again(self):
        shelf = book()
        for n in range(2_000):
            shelf.learn(unsigned(n, f"{11 + n % 80}.{n // 80}.1.1"), f"8.{n % 50}.4.4", 0.0)
            shelf.learn(unsigned(n, f"{11 + n % 80}.{n // 80}.1.1"), f"8.{n % 49}.4.4", 0.0)
            if n % 4 == 0:
                shelf.reached(n.to_bytes(32, "big"), 1.0)
        before = {known.peer_id: (known.tried, known.sources) for known in shelf}
        counts = shelf.counts()
        again = self.restarted(shelf)
        self.assertEqual(
            {known.peer_id: (known.tried, set(known.sources)) for known in again},
            {peer_id: (tried, set(sources)) for peer_id, (tried, sources) in before.items()},
        )
        self.assertEqual({**again.counts(), "claims": 0}, {**counts, "claims": 0})
        self.assertEqual(again.changes(9), [])

    def test_changes_come_in_portions(self):
        shelf = book(PRIVATE)
        for n, key in enumerate(KEYS):
            shelf.learn(record(key, f"10.0.0.{n + 1}"), "10.0.0.9", 0.0)
        shelf.forget(IDS[0])
        first, rest = shelf.changes(5), shelf.changes(5)
        self.assertEqual((len(first), len(rest), shelf.changes(5)), (5, 3, []))
        self.assertEqual([peer_id for peer_id, known in first + rest if known is None], [IDS[0]])

    def test_held_peers_stay_held_and_strange_rows_are_passed_over(self):
        shelf = book()
        shelf.hold(NodeAddress(IDS[0], "8.8.8.8", 1), trusted=True)
        other = book()
        for n, key in enumerate(KEYS[:2]):
            other.learn(record(key, port=n + 1), "8.8.4.4", 0.0)
        rows = [known for _, known in other.changes(9)]
        shelf.restore(other.secret, rows + rows[1:], [IDS[1], IDS[2]])
        self.assertTrue(shelf.is_held(IDS[0]) and shelf.get(IDS[0]).trusted and shelf.get(IDS[0]).record)
        self.assertEqual((len(shelf), [one.peer_id for one in shelf.anchors()]), (2, [IDS[1]]))
        ours = AddressBook(PUBLIC, Random(1), IDS[1])
        ours.restore(other.secret, [known for known in rows if known.peer_id == IDS[1]], ())
        self.assertEqual(len(ours), 0)

    def test_the_last_two_block_peers_are_anchors(self):
        shelf = book(PRIVATE)
        for n, key in enumerate(KEYS[:4]):
            shelf.learn(record(key, f"10.0.0.{n + 1}"), "10.0.0.9", 0.0)
            shelf.reached(key.peer_id, 0.0)

        def names():
            return [address.peer_id for address in shelf.anchors()]

        for peer_id in (IDS[0], IDS[1], IDS[1]):
            shelf.anchor(peer_id)
        self.assertEqual(names(), IDS[:ANCHORS_LIMIT])
        shelf.ended(IDS[1], ended(IDS[1], ready=True), 1.0)
        self.assertEqual(names(), IDS[:2])  # gone, and still the last that was there
        shelf.anchor(IDS[2])
        self.assertEqual(names(), [IDS[0], IDS[2]])
        shelf.anchor(IDS[3])
        self.assertEqual(names(), [IDS[2], IDS[3]])
        shelf.forget(IDS[2])
        self.assertEqual(names(), [IDS[3]])


class RelayTest(SynchronousTestCase):
    def test_reached_within_a_day_or_here(self):
        shelf = book()
        shelf.learn(record(KEYS[0]), "8.8.4.4", 0.0)
        self.assertEqual(shelf.relayable(0.0), [])
        shelf.reached(IDS[0], 100.0)
        self.assertEqual(shelf.relayable(200.0), [record(KEYS[0]).raw])
        self.assertEqual(len(shelf.relayable(DAY + 200.0)), 1)  # the link still stands
        shelf.ended(IDS[0], ended(IDS[0], ready=True), DAY + 200.0)
        self.assertEqual(len(shelf.relayable(DAY + 300.0)), 1)
        self.assertEqual(shelf.relayable(2 * DAY + 200.0), [])
