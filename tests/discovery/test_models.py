"""Table and lookup beside naive models of them, which search plain lists from the start each time."""

from random import Random

from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.crowding import IN_BUCKET, IN_TABLE
from chainp2p.discovery.lookup import ALPHA, QUESTIONS_MAX, Lookup
from chainp2p.discovery.table import BUCKET_SIZE, FAILURES_MAX, NEAREST, REPLACEMENTS, BucketTable, log_distance
from chainp2p.peer.enr import Enr

OWN = bytes(32)
#: Ids in the two furthest buckets and in the one of all that are near: more than have places and wait for one.
IDS = [
    (top + low).to_bytes(32, "big")
    for top, count in ((1 << 255, 45), (1 << 254, 20), (0, 40))
    for low in range(1, count)
]
#: Addresses in few subnets and netgroups, and private ones, for which no bound holds.
IPS = ["20.1.1.1", "20.1.1.2", "20.1.1.3", "20.1.2.1", "20.2.1.1"]
IPS += [f"3{one}.{one}.{one}.{one}" for one in range(10)] + [f"10.0.0.{one}" for one in range(40)]


def record(node_id, seq=1, ip=""):
    pairs = {b"ip": bytes(map(int, ip.split("."))), b"udp": b"\x76\x5f"} if ip else {}
    return Enr(node_id + b"%d" % seq + ip.encode(), seq, pairs, bytes(64), node_id)


def kin(ip, bounds):
    """What an address belongs to, and how many of it may be together."""
    if ip.startswith("10."):
        return []
    parts = ip.split(".")
    return [(parts, bounds.address), (parts[:3], bounds.subnet), (parts[:2], bounds.group)]


def fits(ip, others, bounds):
    return all(
        sum(other.split(".")[: len(parts)] == parts for other in others) < limit for parts, limit in kin(ip, bounds)
    )


@define(eq=False)
class Known:
    enr: Enr
    ip: str
    port: int
    checked_at: float | None = None
    failures: int = 0


class NaiveTable:
    def __init__(self):
        self.entries = []  # of all buckets, in the order of checks
        self.waiting = []  # in the order in which they came

    @staticmethod
    def bucket(node_id):
        return max(NEAREST, log_distance(OWN, node_id))

    def here(self, some, node_id):
        return [one for one in some if self.bucket(one.enr.peer_id) == self.bucket(node_id)]

    @staticmethod
    def find(some, node_id):
        return next((one for one in some if one.enr.peer_id == node_id), None)

    def room(self, node_id, ip):
        near, everywhere = self.here(self.entries, node_id), self.entries
        return fits(ip, [one.ip for one in near], IN_BUCKET) and fits(ip, [one.ip for one in everywhere], IN_TABLE)

    def place(self, one):
        self.waiting = [other for other in self.waiting if other.enr.peer_id != one.enr.peer_id]
        self.entries.append(one)

    def add(self, enr, ip, port):
        node_id = enr.peer_id
        known = self.find(self.entries, node_id)
        new = Known(enr, ip, port)
        if known is not None:
            if enr.seq <= known.enr.seq and enr != known.enr:
                return
            if (ip, port) == (known.ip, known.port):
                known.enr = enr
                return
            self.entries.remove(known)
            if self.room(node_id, ip):
                self.place(new)
            else:
                self.follow(node_id)
            return
        if len(self.here(self.entries, node_id)) < BUCKET_SIZE and self.room(node_id, ip):
            self.place(new)
            return
        older = self.find(self.waiting, node_id)
        if older is not None:
            self.waiting.remove(older)
            new = older if older.enr.seq > enr.seq else new
        queue = self.here(self.waiting, node_id)
        if fits(new.ip, [one.ip for one in queue], IN_BUCKET):
            self.waiting.append(new)
            if len(queue) == REPLACEMENTS:
                self.waiting.remove(queue[0])

    def follow(self, node_id):
        for one in reversed(self.here(self.waiting, node_id)):
            if self.room(node_id, one.ip):
                self.place(one)
                return

    def answered(self, node_id, now):
        one = self.find(self.entries, node_id)
        if one is not None:
            self.entries.remove(one)
            one.checked_at, one.failures = now, 0
            self.entries.append(one)

    def failed(self, node_id):
        one = self.find(self.entries, node_id)
        if one is not None:
            one.failures += 1
            if one.checked_at is None or one.failures >= FAILURES_MAX:
                self.remove(node_id)

    def remove(self, node_id):
        self.waiting = [one for one in self.waiting if one.enr.peer_id != node_id]
        one = self.find(self.entries, node_id)
        if one is not None:
            self.entries.remove(one)
            self.follow(node_id)

    def to_check(self, now, every):
        """All that may be chosen."""
        fresh = [one for one in self.entries if one.failures or one.checked_at is None]
        if fresh:
            return [one.enr for one in fresh]
        late = [one for one in self.entries if now - one.checked_at >= every]
        first = min((one.checked_at for one in late), default=0.0)
        return [one.enr for one in late if one.checked_at == first]


class TableModelTest(SynchronousTestCase):
    def same(self, table, naive, now, target):
        told = [(one.enr.raw, one.ip, one.port, one.checked_at, one.failures) for one in map(table.get, IDS) if one]
        kept = [naive.find(naive.entries, node_id) for node_id in IDS]
        self.assertEqual(told, [(one.enr.raw, one.ip, one.port, one.checked_at, one.failures) for one in kept if one])
        self.assertEqual(len(table), len(naive.entries))
        live = [one.enr for one in naive.entries if one.checked_at is not None]
        wanted = int.from_bytes(target, "big")
        live.sort(key=lambda enr: int.from_bytes(enr.peer_id, "big") ^ wanted)
        self.assertEqual([one.enr for one in table.closest(target)], live[:BUCKET_SIZE])
        for distance in (256, 255, 6, 3, 1):
            found = table.at_distances([distance])
            right = [enr for enr in live if log_distance(OWN, enr.peer_id) == distance]
            self.assertEqual(len(found), min(len(right), BUCKET_SIZE))
            self.assertLessEqual({enr.raw for enr in found}, {enr.raw for enr in right})
        chosen, allowed = table.to_check(now, 60.0), naive.to_check(now, 60.0)
        self.assertEqual(chosen is None, not allowed)
        if chosen is not None:
            self.assertIn(chosen.enr, allowed)

    @settings(deadline=None, derandomize=True, max_examples=25)
    @given(st.integers(0, 10_000), st.sampled_from([1.0, 20.0]), st.sampled_from([0.3, 0.6]))
    def test_they_agree(self, seed, step, adds):
        random = Random(seed)
        table, naive, now = BucketTable(OWN, Random(1)), NaiveTable(), 0.0
        for number in range(300):
            now += step
            node_id = random.choice(IDS)
            if number < 60 or random.random() < adds:
                seq, ip, port = random.randint(1, 3), random.choice(IPS), random.randint(1, 2)
                for one in (table, naive):
                    one.add(record(node_id, seq, ip), ip, port)
            else:
                name = random.choice(["answered", "answered", "failed", "failed", "remove"])
                for one in (table, naive):
                    getattr(one, name)(node_id, *((now,) if name == "answered" else ()))
            if number % 10 == 0:
                self.same(table, naive, now, node_id)
        self.same(table, naive, now, IDS[7])


class NaiveLookup:
    """All candidates sorted at each question: (distance, record, state, failures)."""

    def __init__(self, target, seeds):
        self.target = int.from_bytes(target, "big")
        self.states = {}
        self.asked = []
        self.hear(seeds)

    def hear(self, records):
        for enr in records:
            if enr.peer_id != OWN:
                self.states.setdefault(enr.peer_id, [enr, "heard", 0])

    def nearest(self, failures):
        some = [
            one
            for one in self.states.values()
            if (one[1] != "failed" or one[2] <= failures)
            and (one[1] != "heard" or fits(one[0].ip, self.asked, IN_BUCKET))
        ]
        return sorted(some, key=lambda one: int.from_bytes(one[0].peer_id, "big") ^ self.target)[:BUCKET_SIZE]

    def poll(self):
        out = sum(one[1] == "asked" for one in self.states.values())
        open = [one for one in self.nearest(0) if one[1] == "heard"]
        if not open and not out:
            open = [one for one in self.nearest(1) if one[1] == "failed"]
        chosen = []
        for one in open:
            if len(chosen) + out < ALPHA and (one[1] == "failed" or fits(one[0].ip, self.asked, IN_BUCKET)):
                if one[1] == "heard":
                    self.asked.append(one[0].ip)
                one[1] = "asked"
                chosen.append(one[0])
        return chosen

    @property
    def done(self):
        return all(one[1] == "answered" for one in self.nearest(1))

    def answered(self, node_id, records):
        self.states[node_id][1] = "answered"
        self.hear(records)

    def failed(self, node_id):
        self.states[node_id][1] = "failed"
        self.states[node_id][2] += 1

    def result(self):
        return [one[0] for one in self.nearest(0) if one[1] == "answered"]


class LookupModelTest(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=40)
    @given(st.integers(0, 10_000), st.sampled_from([0.0, 0.05, 0.4, 1.0]), st.booleans())
    def test_they_agree(self, seed, deaf, crowded):
        random = Random(seed)
        ips = IPS if crowded else [f"{a}.{b}.0.1" for a in range(20, 60) for b in range(10)]
        nodes = [record(random.randbytes(32), 1, random.choice(ips)) for _ in range(80)]
        target = random.randbytes(32)
        seeds = random.sample(nodes, 5)
        lookup, naive = Lookup(target, OWN, seeds), NaiveLookup(target, seeds)
        waiting = []
        while not lookup.done:
            self.assertFalse(naive.done)
            asked = lookup.poll()
            self.assertEqual(asked, naive.poll())
            waiting += asked
            enr = waiting.pop(random.randrange(len(waiting)))
            if random.random() < deaf:
                for one in (lookup, naive):
                    one.failed(enr.peer_id)
            else:
                heard = random.sample(nodes, 16)
                for one in (lookup, naive):
                    one.answered(enr.peer_id, heard)
        self.assertTrue(naive.done)
        self.assertEqual(lookup.result(), naive.result())

    def test_who_makes_up_ever_closer_ids_does_not_keep_it_going(self):
        lookup = Lookup(bytes(32), b"\xff" * 32, [record(b"\xfe" * 32)])
        asked = 0
        while not lookup.done:
            for enr in lookup.poll():
                asked += 1
                number = int.from_bytes(enr.peer_id, "big")
                lookup.answered(enr.peer_id, [record((number - 1 - one).to_bytes(32, "big")) for one in range(16)])
        self.assertEqual(asked, QUESTIONS_MAX)
        self.assertEqual(lookup.poll(), [])
