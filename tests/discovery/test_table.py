"""Buckets against their rules, and lookups in a network that a list of ids stands for."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.crowding import IN_BUCKET, IN_TABLE, Bounds, Crowding
from chainp2p.discovery.limits import ADDRESSES_MAX, CHALLENGES, PACKETS, Limits
from chainp2p.discovery.lookup import ALPHA, Lookup, distances_towards
from chainp2p.discovery.table import (
    BUCKET_SIZE,
    NEAREST,
    REPLACEMENTS,
    BucketTable,
    log_distance,
)
from chainp2p.peer.enr import Enr

OWN = bytes(32)


def record(number, seq=1):
    """A record of a node whose id is *number*; nobody checks its signature here."""
    return Enr(b"%d/%d" % (number, seq), seq, {}, bytes(64), number.to_bytes(32, "big"))


def placed(number, ip):
    """A record of a node with an address."""
    pairs = {b"ip": bytes(map(int, ip.split("."))), b"udp": b"\x76\x5f"}
    return Enr(b"%d" % number, 1, pairs, bytes(64), number.to_bytes(32, "big"))


def far(number):
    """An id at distance 256."""
    return (1 << 255) + number


class TableTest(SynchronousTestCase):
    def setUp(self):
        self.table = BucketTable(OWN, Random(1))

    def add(self, number, ip="10.0.0.1", seq=1, port=1):
        return self.table.add(record(number, seq), ip, port)

    def ids(self, entries):
        return [int.from_bytes(entry.enr.peer_id, "big") for entry in entries]

    def ids_of(self, records):
        return [int.from_bytes(enr.peer_id, "big") for enr in records]

    def test_distance(self):
        self.assertEqual(log_distance(OWN, OWN), 0)
        self.assertEqual(log_distance(OWN, (1).to_bytes(32, "big")), 1)
        self.assertEqual(log_distance(OWN, far(0).to_bytes(32, "big")), 256)

    def test_ourselves_are_no_entry(self):
        self.assertFalse(self.add(0))

    def test_the_old_keep_their_places_and_the_newest_waits_first(self):
        for number in range(BUCKET_SIZE + REPLACEMENTS + 3):
            self.assertEqual(self.add(far(number)), number < BUCKET_SIZE)
        self.assertEqual(len(self.table), BUCKET_SIZE)
        self.table.failed(far(3).to_bytes(32, "big"))
        self.assertIn(far(BUCKET_SIZE + REPLACEMENTS + 2).to_bytes(32, "big"), self.table)
        self.assertEqual(len(self.table), BUCKET_SIZE)

    def test_a_live_entry_may_miss_one_check(self):
        self.add(far(1))
        node = far(1).to_bytes(32, "big")
        self.table.answered(node, 10.0)
        self.table.failed(node)
        self.assertIn(node, self.table)
        self.table.failed(node)
        self.assertNotIn(node, self.table)
        self.table.failed(node)
        self.table.answered(node, 11.0)
        self.assertEqual(self.table.sizes(), {})

    def test_subnets(self):
        for number in range(5):
            self.add(far(number), f"5.6.7.{number}")
        self.assertEqual(len(self.table), IN_BUCKET.subnet)
        for distance in range(200, 256):
            self.add(1 << distance, f"5.6.7.{distance}")
        self.assertEqual(len(self.table), IN_TABLE.subnet)
        self.table.remove(far(0).to_bytes(32, "big"))
        self.assertEqual(len(self.table), IN_TABLE.subnet)  # one that waited has its place
        for number in range(5, 12):
            self.add(far(number), "192.168.1.1")
        self.assertEqual(len(self.table), IN_TABLE.subnet + 7)

    def test_an_address_has_two_places_and_a_netgroup_twenty(self):
        for distance in range(1, 256):
            self.add(1 << distance, "5.6.7.8")
        self.assertEqual(len(self.table), IN_TABLE.address)
        for distance in range(1, 256):
            for number in range(8):
                self.add((1 << distance) + number, f"5.6.{distance}.{number}")
        self.assertEqual(len(self.table), IN_TABLE.group)
        self.assertLessEqual(max(count for count, _ in self.table.sizes().values()), IN_BUCKET.group)

    def test_what_is_very_near_shares_one_bucket(self):
        for distance in range(256):
            for number in range(BUCKET_SIZE):
                self.add((1 << distance) + number)
        self.assertEqual(len(self.table), BUCKET_SIZE * (256 - NEAREST + 1))
        self.assertEqual(min(self.table.sizes()), NEAREST)
        for number in range(BUCKET_SIZE):
            self.table.answered((1 + number).to_bytes(32, "big"), 1.0)
        told = self.table.at_distances([1, 2])
        self.assertEqual(sorted(self.ids_of(told)), [1, 2, 3])

    def test_those_of_one_subnet_leave_room_for_others_to_wait(self):
        for number in range(BUCKET_SIZE):
            self.add(far(number))
        self.add(far(20), "5.6.7.8")
        for number in range(30, 90):
            self.add(far(number), f"6.6.6.{number}")
        for number in range(3):
            self.table.failed(far(number).to_bytes(32, "big"))
        waited = {entry.ip for entry in self.table._buckets[256].entries.values() if entry.ip != "10.0.0.1"}
        self.assertEqual(waited, {"6.6.6.30", "6.6.6.31", "5.6.7.8"})

    def test_a_node_that_moves_needs_room_there(self):
        for number in range(5):
            self.add(far(number), f"{20 + number}.1.1.1")
        for number in range(5):
            self.add(far(number), f"5.6.7.{number}", seq=2)
        self.assertEqual(len(self.table), IN_BUCKET.subnet)
        moved = self.table.get(far(0).to_bytes(32, "big"))
        self.assertEqual((moved.ip, moved.live, moved.enr.seq), ("5.6.7.0", False, 2))
        self.add(far(7), "5.6.7.9")
        self.add(far(8), "8.8.8.8")
        self.assertEqual(len(self.table), IN_BUCKET.subnet + 1)
        self.table.remove(moved.enr.peer_id)
        self.assertIn(far(7).to_bytes(32, "big"), self.table)

    def test_newer_records(self):
        self.add(far(1), seq=3)
        node = far(1).to_bytes(32, "big")
        self.table.answered(node, 1.0)
        self.add(far(1), "10.0.0.2", seq=2)
        self.assertEqual(self.table.get(node).ip, "10.0.0.1")
        self.add(far(1), "10.0.0.1", seq=4)
        self.assertTrue(self.table.get(node).live)
        self.add(far(1), "10.0.0.2", seq=5)
        entry = self.table.get(node)
        self.assertEqual((entry.ip, entry.enr.seq, entry.live), ("10.0.0.2", 5, False))

    def test_checks(self):
        self.assertIsNone(self.table.to_check(0.0, 60.0))
        self.add(far(1))
        self.add(far(2))
        first = self.table.to_check(0.0, 60.0)
        second = self.table.to_check(0.0, 60.0, {first.enr.peer_id})
        self.assertNotEqual(first, second)
        self.table.answered(first.enr.peer_id, 0.0)
        self.table.answered(second.enr.peer_id, 1.0)
        self.assertIsNone(self.table.to_check(59.0, 60.0))
        self.assertIs(self.table.to_check(60.0, 60.0), first)
        self.table.failed(second.enr.peer_id)
        self.assertIs(self.table.to_check(2.0, 60.0), second)

    def test_whom_to_hear(self):
        for number in (1, 2, 3):
            self.table.add(record(number), "10.0.0.1", number)
        ids = [record(number).peer_id for number in (1, 2, 3)]
        self.assertIsNone(self.table.to_hear(0.0, 240.0))  # none has answered anything
        for at, node_id in enumerate(ids[:2]):
            self.table.answered(node_id, float(at))
        self.table.ponged(ids[0], 5.0)
        self.table.ponged(b"unknown", 5.0)
        self.assertEqual(self.table.to_hear(10.0, 240.0).enr.peer_id, ids[1])
        self.assertIsNone(self.table.to_hear(10.0, 240.0, {ids[1]}))
        self.table.ponged(ids[1], 6.0)
        self.assertIsNone(self.table.to_hear(244.0, 240.0))
        self.assertEqual(self.table.to_hear(250.0, 240.0).enr.peer_id, ids[0])

    def test_only_the_live_are_told(self):
        for number in range(10):
            self.add(far(number))
            self.add(4 + number)
        for number in range(5):
            self.table.answered(far(number).to_bytes(32, "big"), 1.0)
        self.assertEqual(len(self.table.at_distances([256, 256, 3])), 5)
        self.assertEqual(len(self.table.at_distances([256], 3)), 3)
        self.assertEqual(self.ids(self.table.closest(far(3).to_bytes(32, "big"), 2)), [far(3), far(2)])
        self.assertEqual(self.table.sizes()[256], (10, 5))


class CrowdingTest(SynchronousTestCase):
    def test_bounds(self):
        crowding = Crowding(Bounds(1, 2, 3))
        taken = []
        for ip in ("5.6.7.1", "5.6.7.1", "5.6.7.2", "5.6.7.3", "5.6.8.1", "5.6.9.1", "5.7.9.1", "10.0.0.1", "10.0.0.1"):
            if crowding.fits(ip):
                crowding.add(ip)
                taken.append(ip)
        self.assertEqual(taken, ["5.6.7.1", "5.6.7.2", "5.6.8.1", "5.7.9.1", "10.0.0.1", "10.0.0.1"])
        for ip in taken:
            crowding.remove(ip)
        self.assertEqual(len(crowding._counts), 0)

    def test_ipv6(self):
        crowding = Crowding(Bounds(1, 2, 3))
        crowding.add("2a00:1:2:3::1")
        self.assertFalse(crowding.fits("2a00:1:2:3::2"))
        self.assertTrue(crowding.fits("2a00:1:2:4::2"))


class Ideal:
    """A network in which every node knows the sixteen closest to each of its buckets."""

    def __init__(self, seed, count, deaf=0.0):
        self.random = Random(seed)
        self.ids = [self.random.randrange(1, 1 << 256) for _ in range(count)]
        self.records = {number.to_bytes(32, "big"): record(number) for number in self.ids}
        self.deaf = {node for node in self.records if self.random.random() < deaf}

    def answer(self, node, distances):
        near = [enr for other, enr in self.records.items() if log_distance(node, other) in distances]
        return self.random.sample(near, min(len(near), BUCKET_SIZE))

    def closest(self, target, count):
        wanted = int.from_bytes(target, "big")
        heard = [node for node in self.records if node not in self.deaf]
        return sorted(heard, key=lambda node: int.from_bytes(node, "big") ^ wanted)[:count]


class LookupTest(SynchronousTestCase):
    def test_distances(self):
        target = bytes(32)
        self.assertEqual(distances_towards(target, far(0).to_bytes(32, "big")), (256, 255, 254))
        self.assertEqual(distances_towards(target, (1).to_bytes(32, "big")), (1, 2, 3))
        self.assertEqual(distances_towards(target, (1 << 99).to_bytes(32, "big")), (100, 101, 99))
        self.assertEqual(distances_towards(target, target), (0, 1, 2))

    @settings(deadline=None, derandomize=True, max_examples=25)
    @given(st.integers(0, 1_000), st.sampled_from([0.0, 0.3]))
    def test_finds_the_closest(self, seed, deaf):
        net = Ideal(seed, 150, deaf)
        target = net.random.randbytes(32)
        lookup = Lookup(target, OWN, net.random.sample(list(net.records.values()), 12))
        asked = []
        waiting = []
        while not lookup.done:
            new = lookup.poll()
            waiting += new
            self.assertLessEqual(len(waiting), ALPHA)
            self.assertTrue(waiting, "a lookup that is not done has somebody to wait for")
            enr = waiting.pop(net.random.randrange(len(waiting)))
            asked.append(enr.peer_id)
            if enr.peer_id in net.deaf:
                lookup.failed(enr.peer_id)
            else:
                lookup.answered(enr.peer_id, net.answer(enr.peer_id, distances_towards(target, enr.peer_id)))
        self.assertLessEqual(max(asked.count(node) for node in asked), 2)
        self.assertEqual(lookup.result()[0].peer_id, net.closest(target, 1)[0])
        self.assertLessEqual(lookup.rounds, 8)
        self.assertEqual(lookup.poll(), [])

    def test_answers_that_nobody_asked_for(self):
        lookup = Lookup(bytes(32), OWN, [record(far(1))])
        lookup.answered(far(1).to_bytes(32, "big"), [record(far(2))])
        lookup.failed(far(9).to_bytes(32, "big"))
        self.assertEqual([enr.peer_id for enr in lookup.poll()], [far(1).to_bytes(32, "big")])
        self.assertEqual(lookup.poll(), [])

    def test_candidates_are_bounded_and_updated(self):
        lookup = Lookup(bytes(32), OWN, [record(far(1)), record(0)])
        lookup.poll()
        lookup.answered(far(1).to_bytes(32, "big"), [record(far(number), 1) for number in range(2, 1_000)])
        self.assertLessEqual(len(lookup._candidates), 256)
        lookup = Lookup(bytes(32), OWN, [record(far(1)), record(far(1), 5), record(far(1), 4)])
        self.assertEqual([enr.seq for enr in lookup.poll()], [5])

    def play(self, answers, seeds):
        """Ask until it is over; *answers* says what a node tells, None: it does not answer."""
        lookup = Lookup(bytes(32), OWN, seeds)
        asked = []
        while not lookup.done:
            polled = lookup.poll()
            self.assertTrue(polled)
            for enr in polled:
                asked.append(enr)
                told = answers(enr)
                if told is None:
                    lookup.failed(enr.peer_id)
                else:
                    lookup.answered(enr.peer_id, told)
        self.assertEqual(lookup.poll(), [])
        return lookup.result(), asked

    def test_ids_near_the_target_at_few_addresses(self):
        good = [placed(far(number), f"{20 + number}.1.1.1") for number in range(30)]
        for dead in (False, True):
            nearer = iter(range(1 << 200, 0, -(1 << 188)))

            def answers(enr, dead=dead, nearer=nearer):
                if enr.udp_endpoint[0].startswith("5.") and dead:
                    return None
                bad = [placed(next(nearer), f"5.6.{number % 2}.7") for number in range(12)]
                return [*good, *bad] if enr is good[0] else bad

            result, asked = self.play(answers, good[:1])
            bad = [enr for enr in asked if enr.udp_endpoint[0].startswith("5.")]
            self.assertLessEqual(len({enr.peer_id for enr in bad}), 4)
            self.assertEqual(sum(enr in good for enr in result), 16 if dead else 12)

    def test_a_flood_of_candidates_leaves_those_of_others(self):
        lookup = Lookup(bytes(32), OWN, [placed(far(number), f"{20 + number}.1.1.1") for number in range(30)])
        lookup._hear((placed(1 + number, f"5.6.7.{number % 256}") for number in range(5_000)), 2)
        ips = [candidate.ip for candidate in lookup._candidates.values()]
        self.assertEqual(sum(not ip.startswith("5.") for ip in ips), 30)
        self.assertLessEqual(len(ips), 256)

    def test_nobody_to_ask(self):
        lookup = Lookup(bytes(32), OWN, [])
        self.assertTrue(lookup.done)
        self.assertEqual((lookup.poll(), lookup.result(), lookup.rounds), ([], [], 0))


class LimitsTest(SynchronousTestCase):
    def test_rate_of_an_address(self):
        limits = Limits(loopback_exempt=False)
        taken = sum(limits.may_arrive("5.6.7.8", 0.0) for _ in range(1_000))
        self.assertEqual(taken, PACKETS.burst)
        self.assertTrue(limits.may_arrive("5.6.7.9", 0.0))
        self.assertEqual(sum(limits.may_arrive("5.6.7.8", 1.0) for _ in range(1_000)), 50)
        self.assertEqual(limits.refused, 1_000 - PACKETS.burst + 950)

    def test_an_ipv6_subnet_is_one_address(self):
        limits = Limits()
        taken = sum(limits.may_arrive(f"2001:db8::{number:x}", 0.0) for number in range(1_000))
        self.assertEqual(taken, PACKETS.burst)

    def test_loopback(self):
        for exempt, taken in ((True, 1_000), (False, PACKETS.burst)):
            limits = Limits(exempt)
            self.assertEqual(sum(limits.may_arrive("127.0.0.1", 0.0) for _ in range(1_000)), taken)

    def test_memory_is_bounded(self):
        limits = Limits()
        for number in range(ADDRESSES_MAX + 100):
            limits.may_arrive(f"5.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)
        self.assertEqual(len(limits._full_at), ADDRESSES_MAX)

    def test_challenges(self):
        limits = Limits()
        self.assertEqual(sum(limits.may_challenge(0.0) for _ in range(2_000)), CHALLENGES.burst)
        self.assertEqual(sum(limits.may_challenge(0.5) for _ in range(2_000)), 500)
