"""The two tables of the address book: slots, claims, and that no sequence of events breaks them."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.peer.address import NodeAddress
from chainp2p.peer.buckets import (
    BUCKET_SIZE,
    GROUP_LIMIT,
    LOOK_LIMIT,
    NEW_PER_SOURCE,
    PUBLIC_BUCKETS,
    TRIED_PER_GROUP,
    Buckets,
    Places,
    Table,
)
from chainp2p.peer.known import DIAL_TIME, FAILURES_OF_OLD, HORIZON, OLD, RETRIES, Known, address_group
from chainp2p.peer.shelves import CLAIMS_LIMIT, FRESH_CONTACT, SOURCES_LIMIT, TEST_WINDOW, Shelves
from chainp2p.peer.votes import is_private

SECRET = b"s" * 32


def known(number, host="8.8.8.8", port=None, **facts):
    address = NodeAddress(number.to_bytes(32, "big"), host, port or 1 + number)
    return Known(address, address_group(host), is_private(host), b"r", **facts)


def shelves(buckets=PUBLIC_BUCKETS):
    return Shelves(SECRET, buckets, lambda peer_id: None)


class PlacesTest(SynchronousTestCase):
    def test_one_source_reaches_64_new_buckets_and_one_group_8_tried_ones(self):
        places = Places(SECRET, PUBLIC_BUCKETS)
        new = {places.new(f"{n}.1.1.1 1", f"{n}.1.0.0/16", "9.9.0.0/16") // BUCKET_SIZE for n in range(3_000)}
        tried = {places.tried(f"8.8.{n % 256}.{n // 256} 1", "8.8.0.0/16") // BUCKET_SIZE for n in range(3_000)}
        self.assertEqual((len(new) <= NEW_PER_SOURCE, len(tried) <= TRIED_PER_GROUP), (True, True))
        self.assertTrue(len(new) > 50 and len(tried) > 6, (len(new), len(tried)))

    def test_many_sources_and_groups_reach_all(self):
        places = Places(SECRET, PUBLIC_BUCKETS)
        new = {places.new("8.8.8.8 1", "8.8.0.0/16", f"{n}") // BUCKET_SIZE for n in range(10_000)}
        tried = {places.tried(f"{n}", f"{n}") // BUCKET_SIZE for n in range(4_000)}
        self.assertEqual((len(new), len(tried)), (PUBLIC_BUCKETS.new, PUBLIC_BUCKETS.tried))

    def test_nobody_can_tell_a_slot_without_the_secret(self):
        one, other = Places(SECRET, PUBLIC_BUCKETS), Places(b"t" * 32, PUBLIC_BUCKETS)
        names = [(f"8.8.8.{n} 1", "8.8.0.0/16") for n in range(100)]
        self.assertLess(sum(one.tried(*name) == other.tried(*name) for name in names), 5)
        self.assertEqual(
            [one.tried(*name) for name in names], [Places(SECRET, PUBLIC_BUCKETS).tried(*n) for n in names]
        )


class TableTest(SynchronousTestCase):
    def test_each_group_has_one_say(self):
        table, chance = Table(), Random(1)
        for n in range(1_000):
            table.put(n, "large" if n else "small", n.to_bytes(2, "big"))
        first = [next(table.shuffled(chance)) for _ in range(400)]
        self.assertTrue(150 < first.count(bytes(2)) < 250, first.count(bytes(2)))
        self.assertEqual(len(set(table.shuffled(chance))), 1 + LOOK_LIMIT // 2)
        table.take(0, "small", bytes(2))
        self.assertNotIn(bytes(2), set(table.shuffled(chance)))
        self.assertEqual(len(table), 999)

    def test_a_look_is_bounded(self):
        table = Table()
        for n in range(5_000):
            table.put(n, f"{n % 1_000}", n.to_bytes(2, "big"))
        self.assertLessEqual(len(list(table.shuffled(Random(1)))), LOOK_LIMIT)
        self.assertEqual(len(list(table.shuffled(Random(1)))), GROUP_LIMIT * 4)
        self.assertEqual(list(Table().shuffled(Random(1))), [])


class WorthTest(SynchronousTestCase):
    def test_who_may_be_displaced(self):
        month, week = HORIZON + 1.0, OLD + 1.0
        cases = [
            (known(1), 0.0, False),
            (known(1), month, True),
            (known(1, here=True), month, False),
            (known(1, held=True), month, False),
            (known(1, failures=RETRIES - 1), 0.0, False),
            (known(1, failures=RETRIES), 0.0, True),
            (known(1, failures=RETRIES, dialled_at=0.0), DIAL_TIME - 1, False),
            (known(1, failures=RETRIES, dialled_at=0.0), DIAL_TIME, True),
            (known(1, failures=RETRIES, reached_at=0.0), week, False),
            (known(1, failures=FAILURES_OF_OLD, reached_at=0.0), week, True),
            (known(1, failures=FAILURES_OF_OLD, reached_at=0.0), OLD, False),
            (known(1, seen_at=-HORIZON, reached_at=0.0), 1.0, False),
        ]
        for number, (one, now, worthless) in enumerate(cases):
            self.assertEqual(one.is_worthless(now), worthless, number)


class NewTest(SynchronousTestCase):
    def setUp(self):
        self.shelves = shelves(Buckets(2, 1))
        taken = {}
        # three endpoints of one slot
        for n in range(10_000):
            one = known(n, "8.8.8.8", 1 + n)
            same = taken.setdefault(self.shelves._new_slot(one, "a"), [])
            same.append(one)
            if len(same) == 3:
                self.one, self.two, self.three = same
                break

    def test_the_first_keeps_its_slot(self):
        self.assertTrue(self.shelves.add(self.one, "a", 0.0))
        self.assertFalse(self.shelves.add(self.two, "a", 0.0))
        self.assertEqual(list(self.shelves), [self.one])

    def test_unless_it_is_worthless(self):
        self.shelves.add(self.one, "a", 0.0)
        self.assertTrue(self.shelves.add(self.two, "a", HORIZON + 1))
        self.assertEqual(list(self.shelves), [self.two])

    def test_or_has_another_one_while_the_newcomer_has_none(self):
        self.shelves.add(self.one, "a", 0.0)
        other = next(f"b{n}" for n in range(99) if self.shelves.place(self.one, f"b{n}", 0.0))
        self.assertTrue(self.shelves.add(self.two, "a", 0.0))
        self.assertEqual((self.one.sources, self.two.sources), ((other,), ("a",)))
        self.assertFalse(self.shelves.add(self.three, "a", 0.0))

    def test_eight_sources_at_most_each_once(self):
        big = shelves()
        big.add(self.one, "a", 0.0)
        self.assertFalse(big.place(self.one, "a", 0.0))
        for n in range(20):
            big.place(self.one, f"b{n}", 0.0)
        self.assertEqual((len(self.one.sources), big.counts()["new"]), (SOURCES_LIMIT, SOURCES_LIMIT))


class TriedTest(SynchronousTestCase):
    def pair(self, number=0, port=1):
        """Two peers at one endpoint, told by different sources, the first reached long ago."""
        first, second = known(2 * number, port=port), known(2 * number + 1, port=port)
        self.shelves.add(first, f"a{number}", 0.0)
        self.shelves.add(second, f"b{number}", 0.0)
        first.reached_at = second.reached_at = 0.0
        self.shelves.reached(first, 0.0)
        return first, second

    def setUp(self):
        self.shelves = shelves()
        self.old = FRESH_CONTACT + 1

    def test_who_was_here_lately_keeps_its_slot_without_a_test(self):
        first, second = self.pair()
        self.shelves.reached(second, FRESH_CONTACT - 1)
        self.assertEqual((self.shelves.claimed(self.old), first.tried, second.tried), ([], True, False))

    def test_worthless_ones_go_at_once(self):
        first, second = self.pair()
        first.failures = FAILURES_OF_OLD
        self.shelves.reached(second, OLD + 1)
        self.assertEqual((first.tried, first.sources, second.tried), (False, ("a0",), True))

    def test_a_test_decides(self):
        first, second = self.pair()
        self.shelves.reached(second, self.old)
        self.assertEqual(self.shelves.claimed(self.old), [first])
        self.shelves.failed(first, self.old)
        self.assertEqual((first.tried, second.tried, self.shelves.claimed(self.old)), (False, True, []))
        self.assertEqual(self.shelves.counts(), {"new": 1, "tried": 1, "claims": 0})

    def test_a_failure_says_nothing_while_there_is_a_link(self):
        first, second = self.pair()
        self.shelves.reached(second, self.old)
        first.here = True
        self.shelves.failed(first, self.old)
        self.assertTrue(first.tried)
        self.assertEqual((self.shelves.claimed(self.old), self.shelves.counts()["claims"]), ([], 0))

    def test_who_cannot_be_tested_for_long_loses(self):
        first, second = self.pair()
        self.shelves.reached(second, self.old)
        self.shelves.claimed(self.old + TEST_WINDOW)
        self.assertTrue(first.tried)
        self.shelves.claimed(self.old + TEST_WINDOW + 1)
        self.assertEqual((first.tried, second.tried), (False, True))

    def test_a_slot_that_becomes_free_goes_to_who_claims_it(self):
        first, second = self.pair()
        self.shelves.reached(second, self.old)
        self.shelves.remove(first)
        self.shelves.claimed(self.old)
        self.assertTrue(second.tried)

    def test_of_two_claims_on_one_slot_the_older_wins(self):
        first, second = self.pair()
        third = known(50, port=1, reached_at=0.0)
        self.shelves.add(third, "c", 0.0)
        for one in (second, third):
            self.shelves.reached(one, self.old)
        self.assertEqual(self.shelves.claimed(self.old), [first])
        self.shelves.claimed(self.old + TEST_WINDOW + 1)
        self.assertEqual((second.tried, third.tried, self.shelves.counts()["claims"]), (True, False, 0))

    def test_claims_are_bounded(self):
        for n in range(CLAIMS_LIMIT + 5):
            _, second = self.pair(n, port=100 + n)
            self.shelves.reached(second, self.old)
        self.assertEqual(self.shelves.counts()["claims"], CLAIMS_LIMIT)

    def test_who_goes_back_and_finds_its_new_slot_taken_is_forgotten(self):
        first, second = self.pair()
        usurper = known(50, port=1)
        self.shelves.add(usurper, "a0", 0.0)
        first.failures = FAILURES_OF_OLD
        self.shelves.reached(second, OLD + 1)
        self.assertIsNone(self.shelves.get(first.peer_id))
        self.assertEqual({one.peer_id for one in self.shelves}, {second.peer_id, usurper.peer_id})

    def test_restored_ones_take_free_slots_only(self):
        first, second = known(1, port=1), known(2, port=1)
        self.assertTrue(self.shelves.add_tried(first, ("a", "b"), 0.0))
        self.assertFalse(self.shelves.add_tried(second, ("a",), 0.0))
        self.assertEqual((first.sources, list(self.shelves)), (("a", "b"), [first]))


EVENTS = st.lists(
    st.tuples(st.sampled_from("lprfed"), st.integers(0, 24), st.integers(0, 11), st.integers(0, 90_000)), max_size=120
)


class ModelTest(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=200)
    @given(EVENTS)
    def test_tables_and_peers_always_agree(self, events):
        gone = set()
        tables = Shelves(SECRET, Buckets(2, 1), gone.add)
        now = 0.0
        for what, number, source, later in events:
            now += later
            one = tables.get(number.to_bytes(32, "big"))
            if one is None:
                # few endpoints, so that slots are wanted by many
                tables.add(known(number, f"8.8.8.{number % 3}", 1 + number % 5, seen_at=now), f"{source}", now)
            elif what == "l":
                one.seen_at = now
            elif what == "p" and not one.tried:
                tables.place(one, f"{source}", now)
            elif what == "r":
                one.reached_at, one.failures, one.here = now, 0, source % 2 == 0
                tables.reached(one, now)
            elif what == "f":
                one.here = False
                one.failures += 1 + source
                tables.failed(one, now)
            elif what == "e":
                tables.claimed(now)
            else:
                tables.remove(one)
            self.check(tables)

    def check(self, tables):
        new, tried, ips = {}, {}, {}
        for one in tables:
            if one.tried:
                tried[tables._tried_slot(one)] = one.peer_id
            else:
                self.assertTrue(one.sources)
                for source in one.sources:
                    new[tables._new_slot(one, source)] = one.peer_id
            ips.setdefault(one.address.host + "/32", []).append(one.peer_id)
        self.assertEqual((new, tried), (tables._new._slots, tables._tried._slots))
        drawers = sorted(peer_id for drawer in tables._new._drawers.values() for peer_id in drawer)
        self.assertEqual(drawers, sorted(new.values()))
        self.assertEqual({ip: sorted(ids) for ip, ids in tables._ids.items()}, {ip: sorted(i) for ip, i in ips.items()})
        for peer_id in tables._claims:
            self.assertFalse(tables.get(peer_id).tried)
