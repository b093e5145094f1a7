"""The bucket table: which nodes are known by their distance from ours, and which of them are alive."""

from collections.abc import Container, Iterable
from typing import TYPE_CHECKING

from attrs import Factory, define

from chainp2p.discovery.crowding import IN_BUCKET, IN_TABLE, Crowding
from chainp2p.peer.enr import Enr

if TYPE_CHECKING:
    import random as random_module

__all__ = ["BUCKET_SIZE", "BucketTable", "Entry", "log_distance"]

#: Entries of a bucket (specification: k = 16), and records that wait for a place in it.
BUCKET_SIZE, REPLACEMENTS = 16, 16
#: All that are nearer than this share one bucket: no network has nodes there, and who grinds ids could fill each one
#: (go-ethereum ``p2p/discover/table.go``: 17 buckets).
NEAREST = 240
#: Checks without an answer after which an entry goes, if somebody waits for its place or not.
FAILURES_MAX = 2


def log_distance(first: bytes, second: bytes) -> int:
    """Return the logarithmic distance of two node ids: 0 for the same one, else 1 to 256."""
    return (int.from_bytes(first, "big") ^ int.from_bytes(second, "big")).bit_length()


@define
class Entry:
    """A node in a bucket. *checked_at*: when it last answered, *ponged_at*: a PING; None: never yet."""

    enr: Enr
    ip: str
    port: int
    checked_at: float | None = None
    ponged_at: float | None = None
    failures: int = 0

    @property
    def live(self) -> bool:
        return self.checked_at is not None


@define
class _Bucket:
    """Entries in the order of checks; those that wait in the order in which they came."""

    entries: dict[bytes, Entry] = Factory(dict)
    waiting: dict[bytes, Entry] = Factory(dict)
    crowding: Crowding = Factory(lambda: Crowding(IN_BUCKET))
    queue: Crowding = Factory(lambda: Crowding(IN_BUCKET))


class BucketTable:
    """Nodes by distance, in buckets of sixteen.

    1. An old node that answers keeps its place: those that have been there for long will be there longest, and a flood
       of new ids pushes nobody out (Maymounkov and Mazieres, "Kademlia", section 2.2).
    2. A full bucket keeps newcomers as replacements; one takes the place of an entry that stops answering, the newest
       first.
    3. Only nodes that have answered a PING are told to others or used to answer FINDNODE: what is merely heard of
       would make us amplify an attacker's list.
    4. Few nodes of one address, one subnet and one netgroup, in a bucket, in all, and among those that wait for a
       bucket; loopback and private addresses are exempt.
    5. A record with a lower number never replaces one with a higher. A node that moves to another address, by a newer
       record or because we choose another one of its record, has to answer there first, and needs room there as any
       other.

    Cost: O(1) to add and remove, one pass over the table for the closest to a target. Memory: 17 buckets.
    """

    def __init__(self, own_id: bytes, random: "random_module.Random") -> None:
        self._own_id = own_id
        self._random = random
        self._buckets: dict[int, _Bucket] = {}
        self._crowding = Crowding(IN_TABLE)

    def __len__(self) -> int:
        return sum(len(bucket.entries) for bucket in self._buckets.values())

    def __contains__(self, node_id: bytes) -> bool:
        return self.get(node_id) is not None

    def _bucket(self, node_id: bytes) -> _Bucket:
        distance = max(NEAREST, log_distance(self._own_id, node_id))
        bucket = self._buckets.get(distance)
        if bucket is None:
            bucket = self._buckets[distance] = _Bucket()
        return bucket

    def get(self, node_id: bytes) -> Entry | None:
        """Return the entry of a node."""
        return self._bucket(node_id).entries.get(node_id)

    @property
    def live(self) -> list[Entry]:
        """All entries that have answered."""
        return [
            entry
            for bucket in self._buckets.values()
            for entry in bucket.entries.values()
            if entry.checked_at is not None
        ]

    def sizes(self) -> dict[int, tuple[int, int]]:
        """Return distance -> (entries, live ones) of the buckets that hold any; :data:`NEAREST`: so near, or nearer."""
        return {
            distance: (len(bucket.entries), sum(entry.live for entry in bucket.entries.values()))
            for distance, bucket in sorted(self._buckets.items())
            if bucket.entries
        }

    def waiting(self) -> dict[int, int]:
        """Return distance -> how many wait for a place, of the buckets for which anybody does."""
        return {distance: len(one.waiting) for distance, one in sorted(self._buckets.items()) if one.waiting}

    def add(self, enr: Enr, ip: str, port: int) -> bool:
        """A node is heard of; False if there is no place and it waits or is dropped."""
        if enr.peer_id == self._own_id:
            return False
        bucket = self._bucket(enr.peer_id)
        known = bucket.entries.get(enr.peer_id)
        if known is not None:
            return self._update(bucket, known, enr, ip, port)
        entry = Entry(enr, ip, port)
        if len(bucket.entries) < BUCKET_SIZE and self._fits(bucket, ip):
            self._place(bucket, entry)
            return True
        self._queue(bucket, entry)
        return False

    def _queue(self, bucket: _Bucket, entry: Entry) -> None:
        """Let a node wait, as the newest; one that has no room among its kin does not."""
        older = self._unqueue(bucket, entry.enr.peer_id)
        if older is not None and older.enr.seq > entry.enr.seq:
            entry = older
        if not bucket.queue.fits(entry.ip):
            return
        bucket.waiting[entry.enr.peer_id] = entry
        bucket.queue.add(entry.ip)
        if len(bucket.waiting) > REPLACEMENTS:
            self._unqueue(bucket, next(iter(bucket.waiting)))

    def _unqueue(self, bucket: _Bucket, node_id: bytes) -> Entry | None:
        entry = bucket.waiting.pop(node_id, None)
        if entry is not None:
            bucket.queue.remove(entry.ip)
        return entry

    def _update(self, bucket: _Bucket, known: Entry, enr: Enr, ip: str, port: int) -> bool:
        if enr.seq <= known.enr.seq and enr != known.enr:
            return True
        if (ip, port) == (known.ip, known.port):
            known.enr = enr
            return True
        self._leave(bucket, known)
        if not self._fits(bucket, ip):
            self._follow(bucket)
            return False
        self._place(bucket, Entry(enr, ip, port))
        return True

    def _fits(self, bucket: _Bucket, ip: str) -> bool:
        return bucket.crowding.fits(ip) and self._crowding.fits(ip)

    def _place(self, bucket: _Bucket, entry: Entry) -> None:
        self._unqueue(bucket, entry.enr.peer_id)
        bucket.entries[entry.enr.peer_id] = entry
        bucket.crowding.add(entry.ip)
        self._crowding.add(entry.ip)

    def _leave(self, bucket: _Bucket, entry: Entry) -> None:
        del bucket.entries[entry.enr.peer_id]
        bucket.crowding.remove(entry.ip)
        self._crowding.remove(entry.ip)

    def _follow(self, bucket: _Bucket) -> None:
        """Let one that waits have the place that is free, the newest that fits."""
        for other in reversed(bucket.waiting.values()):
            if self._fits(bucket, other.ip):
                self._place(bucket, other)
                return

    def answered(self, node_id: bytes, now: float) -> None:
        """A node answered from the address of its entry: it is alive, and checked last."""
        entries = self._bucket(node_id).entries
        entry = entries.pop(node_id, None)
        if entry is not None:
            entry.checked_at, entry.failures = now, 0
            entries[node_id] = entry  # the order of a bucket is the order of checks

    def failed(self, node_id: bytes) -> None:
        """A node did not answer; after :data:`FAILURES_MAX` times, at once if it never did, it goes."""
        entry = self.get(node_id)
        if entry is None:
            return
        entry.failures += 1
        if entry.live and entry.failures < FAILURES_MAX:
            return
        self.remove(node_id)

    def remove(self, node_id: bytes) -> None:
        """Forget a node, and let one that waits have its place."""
        bucket = self._bucket(node_id)
        self._unqueue(bucket, node_id)
        entry = bucket.entries.get(node_id)
        if entry is not None:
            self._leave(bucket, entry)
            self._follow(bucket)

    def ponged(self, node_id: bytes, now: float) -> None:
        """A node answered a PING."""
        entry = self.get(node_id)
        if entry is not None:
            entry.ponged_at = now

    def to_hear(self, now: float, every: float, busy: Container[bytes] = ()) -> Entry | None:
        """Return the live node whose last PONG was longest ago, and longer than *every* seconds.

        :param busy: nodes that are being checked.
        """
        due = [
            one
            for bucket in self._buckets.values()
            for one in bucket.entries.values()
            if one.live and (one.ponged_at is None or now - one.ponged_at >= every) and one.enr.peer_id not in busy
        ]
        return min(due, key=lambda one: one.ponged_at or 0.0, default=None)

    def to_check(self, now: float, every: float, busy: Container[bytes] = ()) -> Entry | None:
        """Return whom to ping next: one that has never answered or failed to answer last time, else the one checked
        longest ago, so that whoever leaves is found out as soon as all have been asked.

        :param every: no node is checked more often than once in so many seconds.
        :param busy: nodes that are being checked.
        """
        fresh = [
            one
            for bucket in self._buckets.values()
            for one in bucket.entries.values()
            if (one.failures or one.checked_at is None) and one.enr.peer_id not in busy
        ]
        if fresh:
            return self._random.choice(fresh)
        oldest = [next(iter(bucket.entries.values())) for bucket in self._buckets.values() if bucket.entries]
        due = [
            entry
            for entry in oldest
            if entry.checked_at is not None and now - entry.checked_at >= every and entry.enr.peer_id not in busy
        ]
        return min(due, key=lambda entry: entry.checked_at or 0.0, default=None)

    def closest(self, target: bytes, count: int = BUCKET_SIZE) -> list[Entry]:
        """Return the live entries closest to *target*, the closest first."""
        wanted = int.from_bytes(target, "big")
        return sorted(self.live, key=lambda entry: int.from_bytes(entry.enr.peer_id, "big") ^ wanted)[:count]

    def at_distances(self, distances: Iterable[int], count: int = BUCKET_SIZE) -> list[Enr]:
        """Return live records at these distances from us, at most *count*, chosen at random where there are more."""
        found: list[Enr] = []
        for distance in dict.fromkeys(distances):
            bucket = self._buckets.get(max(NEAREST, distance))
            here = [entry.enr for entry in bucket.entries.values() if entry.live] if bucket is not None else []
            if distance <= NEAREST:
                here = [enr for enr in here if log_distance(self._own_id, enr.peer_id) == distance]
            room = count - len(found)
            found += here if len(here) <= room else self._random.sample(here, room)
            if len(found) >= count:
                break
        return found
