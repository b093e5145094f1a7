"""The bucket table: which nodes are known by their distance from ours, and which of them are alive."""

from collections import Counter
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING

from attrs import define

from chainp2p.peer.enr import Enr
from chainp2p.peer.netgroup import subnet
from chainp2p.peer.votes import is_private

if TYPE_CHECKING:
    import random as random_module

__all__ = ["BUCKET_SIZE", "BucketTable", "Entry", "log_distance"]

#: Entries of a bucket (specification: k = 16), and records that wait for a place in it.
BUCKET_SIZE, REPLACEMENTS = 16, 16
#: Nodes of one /24 (IPv6: /48) in a bucket and in the table (wire design; go-ethereum ``p2p/discover/table.go``).
SUBNET_IN_BUCKET, SUBNET_IN_TABLE = 2, 10
#: Checks without an answer after which an entry goes, if somebody waits for its place or not.
FAILURES_MAX = 2


def log_distance(first: bytes, second: bytes) -> int:
    """Return the logarithmic distance of two node ids: 0 for the same one, else 1 to 256."""
    return (int.from_bytes(first, "big") ^ int.from_bytes(second, "big")).bit_length()


@define
class Entry:
    """A node in a bucket. *checked_at*: when it last answered, None: never yet."""

    enr: Enr
    ip: str
    port: int
    checked_at: float | None = None
    failures: int = 0

    @property
    def live(self) -> bool:
        return self.checked_at is not None


class BucketTable:
    """Nodes by distance, in buckets of sixteen.

    1. An old node that answers keeps its place: those that have been there for long will be there longest, and a flood
       of new ids pushes nobody out (Maymounkov and Mazieres, "Kademlia", section 2.2).
    2. A full bucket keeps newcomers as replacements; one takes the place of an entry that stops answering, the newest
       first.
    3. Only nodes that have answered a PING are told to others or used to answer FINDNODE: what is merely heard of
       would make us amplify an attacker's list.
    4. Few nodes of one subnet, in a bucket and in all; loopback and private addresses are exempt.
    5. A record with a lower number never replaces one with a higher; one that moves the node to another address has to
       answer there first.

    Cost: O(1) to add and remove, one pass over the table for the closest to a target.
    """

    def __init__(self, own_id: bytes, random: "random_module.Random") -> None:
        self._own_id = own_id
        self._random = random
        self._buckets: dict[int, dict[bytes, Entry]] = {}
        self._waiting: dict[int, dict[bytes, Entry]] = {}
        self._subnets: Counter[str] = Counter()

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._buckets.values())

    def __contains__(self, node_id: bytes) -> bool:
        return node_id in self._bucket(node_id)

    def _bucket(self, node_id: bytes) -> dict[bytes, Entry]:
        return self._buckets.get(log_distance(self._own_id, node_id), {})

    def get(self, node_id: bytes) -> Entry | None:
        """Return the entry of a node."""
        return self._bucket(node_id).get(node_id)

    @property
    def live(self) -> list[Entry]:
        """All entries that have answered."""
        return [entry for bucket in self._buckets.values() for entry in bucket.values() if entry.live]

    def sizes(self) -> dict[int, tuple[int, int]]:
        """Return distance -> (entries, live ones) of the buckets that hold any."""
        return {
            distance: (len(bucket), sum(entry.live for entry in bucket.values()))
            for distance, bucket in sorted(self._buckets.items())
            if bucket
        }

    def add(self, enr: Enr, ip: str, port: int) -> bool:
        """A node is heard of; False if there is no place and it waits or is dropped."""
        distance = log_distance(self._own_id, enr.peer_id)
        if not distance:
            return False
        bucket = self._buckets.setdefault(distance, {})
        known = bucket.get(enr.peer_id)
        if known is not None:
            self._update(known, enr, ip, port)
            return True
        entry = Entry(enr, ip, port)
        if len(bucket) < BUCKET_SIZE and self._fits(bucket, ip):
            self._place(bucket, entry)
            return True
        waiting = self._waiting.setdefault(distance, {})
        older = waiting.pop(enr.peer_id, None)
        waiting[enr.peer_id] = older if older is not None and older.enr.seq > enr.seq else entry
        if len(waiting) > REPLACEMENTS:
            del waiting[next(iter(waiting))]
        return False

    def _update(self, known: Entry, enr: Enr, ip: str, port: int) -> None:
        if enr.seq <= known.enr.seq:
            return
        known.enr = enr
        if (ip, port) != (known.ip, known.port):
            self._leave(known)
            known.ip, known.port, known.checked_at = ip, port, None
            self._enter(known)

    def _fits(self, bucket: dict[bytes, Entry], ip: str) -> bool:
        if is_private(ip):
            return True
        net = subnet(ip)
        in_bucket = sum(subnet(entry.ip) == net for entry in bucket.values())
        return in_bucket < SUBNET_IN_BUCKET and self._subnets[net] < SUBNET_IN_TABLE

    def _place(self, bucket: dict[bytes, Entry], entry: Entry) -> None:
        bucket[entry.enr.peer_id] = entry
        self._enter(entry)

    def _enter(self, entry: Entry) -> None:
        self._subnets[subnet(entry.ip)] += 1

    def _leave(self, entry: Entry) -> None:
        net = subnet(entry.ip)
        self._subnets[net] -= 1
        if not self._subnets[net]:
            del self._subnets[net]

    def answered(self, node_id: bytes, now: float) -> None:
        """A node answered from the address of its entry: it is alive, and checked last."""
        bucket = self._bucket(node_id)
        entry = bucket.pop(node_id, None)
        if entry is not None:
            entry.checked_at, entry.failures = now, 0
            bucket[node_id] = entry  # the order of a bucket is the order of checks

    def failed(self, node_id: bytes) -> None:
        """A node did not answer; after :data:`FAILURES_MAX` times, at once if it never did, it goes."""
        bucket = self._bucket(node_id)
        entry = bucket.get(node_id)
        if entry is None:
            return
        entry.failures += 1
        if entry.live and entry.failures < FAILURES_MAX:
            return
        self.remove(node_id)

    def remove(self, node_id: bytes) -> None:
        """Forget a node, and let one that waits have its place."""
        distance = log_distance(self._own_id, node_id)
        self._waiting.get(distance, {}).pop(node_id, None)
        bucket = self._buckets.get(distance, {})
        entry = bucket.pop(node_id, None)
        if entry is None:
            return
        self._leave(entry)
        waiting = self._waiting.get(distance, {})
        for other_id, other in reversed(list(waiting.items())):
            if self._fits(bucket, other.ip):
                del waiting[other_id]
                self._place(bucket, other)
                return

    def to_check(self, now: float, every: float, busy: Container[bytes] = ()) -> Entry | None:
        """Return whom to ping next: one that has never answered or failed to answer last time, else the one checked
        longest ago in a random bucket.

        :param every: no node is checked more often than once in so many seconds.
        :param busy: nodes that are being checked.
        """
        entries = [entry for bucket in self._buckets.values() for entry in bucket.values()]
        fresh = [one for one in entries if (one.failures or not one.live) and one.enr.peer_id not in busy]
        if fresh:
            return self._random.choice(fresh)
        oldest = [next(iter(bucket.values())) for bucket in self._buckets.values() if bucket]
        due = [
            entry
            for entry in oldest
            if entry.checked_at is not None and now - entry.checked_at >= every and entry.enr.peer_id not in busy
        ]
        return self._random.choice(due) if due else None

    def closest(self, target: bytes, count: int = BUCKET_SIZE) -> list[Entry]:
        """Return the live entries closest to *target*, the closest first."""
        wanted = int.from_bytes(target, "big")
        return sorted(self.live, key=lambda entry: int.from_bytes(entry.enr.peer_id, "big") ^ wanted)[:count]

    def at_distances(self, distances: Iterable[int], count: int = BUCKET_SIZE) -> list[Enr]:
        """Return live records at these distances from us, at most *count*, chosen at random where there are more."""
        found: list[Enr] = []
        for distance in dict.fromkeys(distances):
            here = [entry.enr for entry in self._buckets.get(distance, {}).values() if entry.live]
            room = count - len(found)
            found += here if len(here) <= room else self._random.sample(here, room)
            if len(found) >= count:
                break
        return found
