"""The address book: whom to dial, when again, and whom to tell others about."""

from collections import Counter, deque
from collections.abc import Container, Iterable, Iterator
from typing import TYPE_CHECKING

from attrs import evolve

from chainp2p.errors import Reason
from chainp2p.peer.address import NodeAddress
from chainp2p.peer.buckets import LOOK_LIMIT, PUBLIC_BUCKETS, SMALL_BUCKETS
from chainp2p.peer.dialrate import PERIOD, DialRate
from chainp2p.peer.ends import LinkEnd
from chainp2p.peer.enr import Enr
from chainp2p.peer.known import Known, Learnt, Lost, address_group, known_at
from chainp2p.peer.netgroup import source_address
from chainp2p.peer.shelves import Shelves
from chainp2p.peer.votes import is_private
from chainp2p.settings import Profile

if TYPE_CHECKING:
    import random

__all__ = ["AddressBook", "Known", "Learnt", "Lost"]

#: A record proves a key, not its address: so many ids an IP, whatever the ids (loopback and private ranges exempt).
IDS_PER_IP = 4
#: A record is told to others for so long after the last contact (seconds).
RELAY_AGE = 86_400.0
#: Records tried in vain this often are forgotten, unless they are held.
FAILURES_MAX = 12
#: A repeated record counts as heard of at most so often (seconds): not each repetition is a write to disk.
SEEN_STEP = 3_600.0
#: An address is fresh for so long after somebody told us of it or it was reached (seconds); what is told again counts
#: an hour later at most (:data:`SEEN_STEP`).
FRESH = 2 * 3_600.0
#: Peers that are dialled first after a restart (Bitcoin Core, ``MAX_BLOCK_RELAY_ONLY_ANCHORS``).
ANCHORS_LIMIT = 2
#: Own endpoints that are remembered.
OWN_LIMIT = 16
#: A large book always has somebody to dial soon; it is looked at again after so long (seconds).
LOOK_AGAIN = 1.0


class AddressBook:
    """Known peers by id, with their back-offs.

    1. Held peers are dialled whatever happens. Learnt ones stand in tables (:class:`~chainp2p.peer.shelves.Shelves`),
       and are dialled only while there is room.
    2. Who is picked is picked by group first: among the new the group of the source, among the tried its own.
    3. A lower sequence number never replaces a record; four ids an IP at most, loopback and private ranges exempt; the
       peer's own word, from that IP, goes before those of others. A peer that moves is new at its new address.
    4. Back-off doubles from the profile's minimum to its maximum, with jitter of a quarter, so that a crowd does not
       return in step. A duplicate costs nothing. Who stays away for its conduct is not the book's to know.
    5. An id that does not match on dialling removes the record, not the endpoint.
    6. What nobody spoke of for 30 days is forgotten.

    Cost: a constant for each call but :meth:`relayable`, which passes over the book. Memory: 65,536 new and 16,384
    tried addresses at most, a quarter of it in small networks, and those that the operator names.
    """

    def __init__(self, profile: Profile, chance: "random.Random", own_id: bytes) -> None:
        self._profile = profile
        self._random = chance
        self._own_id = own_id
        self._held: dict[bytes, Known] = {}
        self._changed: dict[bytes, None] = {}
        self._rate = DialRate()
        self._anchors: list[bytes] = []
        self._own: deque[tuple[str, int]] = deque(maxlen=OWN_LIMIT)
        #: What became of all records that we were told since the start.
        self.learnt: Counter[Learnt] = Counter()
        #: What slots go by; whoever knows it can choose whom to displace.
        self.secret = chance.randbytes(32)
        self._shelves = self._empty_shelves()

    def _empty_shelves(self) -> Shelves:
        buckets = PUBLIC_BUCKETS if self._profile.name == "public" else SMALL_BUCKETS
        return Shelves(self.secret, buckets, self._touch)

    def _touch(self, peer_id: bytes) -> None:
        self._changed[peer_id] = None
        if peer_id in self._anchors and self.get(peer_id) is None:
            self._anchors.remove(peer_id)

    # -- what is known

    def __contains__(self, peer_id: bytes) -> bool:
        return self.get(peer_id) is not None

    def __len__(self) -> int:
        return len(self._held) + len(self._shelves)

    def __iter__(self) -> Iterator[Known]:
        yield from self._held.values()
        yield from self._shelves

    def get(self, peer_id: bytes) -> Known | None:
        """Return what is known of a peer."""
        return self._held.get(peer_id) or self._shelves.get(peer_id)

    def is_held(self, peer_id: bytes) -> bool:
        """Tell whether the operator named this peer."""
        return peer_id in self._held

    def at_ip(self, ip: str) -> list[Known]:
        """Return the held peers at an address, and the others if it is a public one."""
        return [known for known in self._held.values() if known.address.host == ip] + self._shelves.at_ip(ip)

    def counts(self) -> dict[str, int]:
        """Return how many peers are held, how many slots are taken, and how many tried ones are claimed."""
        return {"held": len(self._held), **self._shelves.counts()}

    def relayable(self, now: float) -> list[bytes]:
        """Return the records that may be told to others: those reached within a day."""
        return [known.record for known in self if known.record and known.was_here(RELAY_AGE, now)]

    @property
    def news(self) -> int:
        """How many addresses have been new to us since the start."""
        return self.learnt[Learnt.NEW] + self.learnt[Learnt.MOVED]

    # -- over restarts

    def restore(self, secret: bytes, stored: Iterable[Known], anchors: Iterable[bytes]) -> None:
        """Begin again with what an earlier run stored; who is held stays held."""
        held, self._held = self._held, {}
        self.secret = secret
        self._shelves = self._empty_shelves()
        for known in stored:
            if known.peer_id == self._own_id or known.peer_id in self:
                continue
            sources = known.sources or (known.group,)
            if not (known.tried and self._shelves.add_tried(known, sources, known.seen_at)):
                first = next((one for one in sources if self._shelves.add(known, one, known.seen_at)), None)
                for source in sources if first else ():
                    self._shelves.place(known, source, known.seen_at)
        self._anchors = [peer_id for peer_id in anchors if peer_id in self][:ANCHORS_LIMIT]
        for known in held.values():
            self.hold(known.address, known.trusted)
        self._changed.clear()

    def changes(self, limit: int) -> list[tuple[bytes, Known | None]]:
        """Return up to *limit* peers of which something has changed since they were returned; None: forgotten."""
        ids = [peer_id for peer_id, _ in zip(self._changed, range(limit), strict=False)]
        for peer_id in ids:
            del self._changed[peer_id]
        return [(peer_id, self.get(peer_id)) for peer_id in ids]

    def anchor(self, peer_id: bytes) -> None:
        """A link that carries blocks only, which we opened, is ready: dial this peer first after a restart."""
        if peer_id in self._anchors or peer_id not in self:
            return
        if len(self._anchors) >= ANCHORS_LIMIT:
            gone = [other for other in self._anchors if not self._is_here(other)]
            self._anchors.remove((gone or self._anchors)[0])
        self._anchors.append(peer_id)

    def _is_here(self, peer_id: bytes) -> bool:
        known = self.get(peer_id)
        return known is not None and known.here

    def anchors(self) -> list[NodeAddress]:
        """Return the last peers with which we had links for blocks only: whom to dial first after a restart."""
        return [known.address for known in map(self.get, self._anchors) if known is not None]

    # -- what is told

    def hold(self, address: NodeAddress, trusted: bool = False) -> bool:
        """Dial this peer from now on, at once; False if it is ourselves."""
        peer_id = address.peer_id
        if peer_id == self._own_id:
            return False
        host, known = address.host, self.get(peer_id)
        held = known_at(evolve(address, enr=None), held=True, trusted=trusted)
        if address.enr is not None:
            held.record, held.seq = address.enr.raw, address.enr.seq
        if known is not None:
            held.trusted = trusted or known.trusted
            held.reached_at, held.seen_at, held.here = known.reached_at, known.seen_at, known.here
            if known.seq > held.seq:
                held.record, held.seq = known.record, known.seq
        self._held[peer_id] = held
        if known is not None and not known.held:
            self._shelves.remove(known)
        if (host, address.port) in self._own:
            self._own.remove((host, address.port))
        self._touch(peer_id)
        return True

    def distrust(self, peer_id: bytes) -> bool:
        """Take trust back and keep the peer; False if it had none."""
        known = self._held.get(peer_id)
        if known is None or not known.trusted:
            return False
        known.trusted = False
        return True

    def forget(self, peer_id: bytes) -> bool:
        """Forget a peer, held or not."""
        known = self.get(peer_id)
        if known is None:
            return False
        if known.held:
            del self._held[peer_id]
            self._touch(peer_id)
        else:
            self._shelves.remove(known)
        return True

    def learn(self, enr: Enr, source_ip: str, now: float) -> Learnt:
        """Take a record that a peer at *source_ip* told us."""
        learnt = self._learn(enr, source_ip, now)
        self.learnt[learnt] += 1
        return learnt

    def _learn(self, enr: Enr, source_ip: str, now: float) -> Learnt:
        endpoint = enr.tcp_endpoint
        if endpoint is None:
            return Learnt.NO_ENDPOINT
        if enr.peer_id == self._own_id or endpoint in self._own:
            return Learnt.OWN
        told = known_at(NodeAddress(enr.peer_id, *endpoint), record=enr.raw, seq=enr.seq, seen_at=now)
        if told.private and not self._profile.private_addresses and not is_private(source_ip):
            return Learnt.PRIVATE
        known = self.get(enr.peer_id)
        if known is None:
            return self._learn_new(told, source_ip, now)
        if told.seq > known.seq:
            return self._learn_newer(known, told, source_ip, now)
        if now - known.seen_at >= SEEN_STEP:
            known.seen_at = now
            self._touch(known.peer_id)
        if told.seq == known.seq and not known.held and not known.tried:
            self._shelves.place(known, address_group(source_ip), now)
        return Learnt.KNOWN

    def _learn_new(self, told: Known, source_ip: str, now: float) -> Learnt:
        host, spare = told.address.host, None
        if not told.private and len(there := self._shelves.at_ip(host)) >= IDS_PER_IP:
            if source_address(source_ip) == source_address(host):
                spare = next((other for other in there if other.reached_at is None), None)
            if spare is None:
                return Learnt.IDS_PER_IP
        if not self._shelves.add(told, address_group(source_ip), now):
            return Learnt.NO_SLOT
        if spare is not None and spare.peer_id in self:
            self._shelves.remove(spare)
        return Learnt.NEW

    def _learn_newer(self, known: Known, told: Known, source_ip: str, now: float) -> Learnt:
        if known.address != told.address:
            if not known.held:
                self._shelves.remove(known)
                learnt = self._learn_new(told, source_ip, now)
                return Learnt.MOVED if learnt is Learnt.NEW else learnt
            # Where the operator has said where a peer is, its record does not move it.
            if known.record and Enr.decode(known.record).tcp_endpoint == (known.address.host, known.address.port):
                told.held, told.trusted = True, known.trusted
                self._held[known.peer_id] = known = told
        known.record, known.seq, known.seen_at = told.record, told.seq, now
        self._touch(known.peer_id)
        return Learnt.MOVED

    # -- what happened

    def met(self, peer_id: bytes) -> None:
        """A link to *peer_id* has stood for a while, whoever opened it: earlier failures are forgiven."""
        known = self.get(peer_id)
        if known is not None:
            known.failures = 0

    def reached(self, peer_id: bytes, now: float) -> None:
        """A link to *peer_id* became ready at the address that the book holds."""
        known = self.get(peer_id)
        if known is None:
            return
        known.reached_at, known.here = now, True
        self._touch(peer_id)
        if not known.held:
            self._shelves.reached(known, now)

    def ended(self, peer_id: bytes, end: LinkEnd, now: float) -> Lost | None:
        """A link to, or an attempt to dial, *peer_id* has ended; return what that cost it apart from its back-off."""
        known = self.get(peer_id)
        if known is None or end.reason is Reason.DUPLICATE or not (end.outbound or end.ready):
            return None
        was_here, known.here = known.here, False
        if was_here:
            known.reached_at = now
        if end.reason is Reason.SELF:
            self._own.append((known.address.host, known.address.port))
        known.failures += 1
        delay = min(self._profile.redial_min * 2.0 ** min(known.failures - 1, 30), self._profile.redial_max)
        known.not_before = now + delay * self._random.uniform(0.75, 1.25)
        self._touch(peer_id)
        if known.held:
            return None
        if end.reason in (Reason.SELF, Reason.WRONG_PEER_ID):
            self._shelves.remove(known)
        elif known.failures > FAILURES_MAX and known.reached_at is None:
            self._shelves.remove(known)
            return Lost.GIVEN_UP
        elif not end.ready and not was_here and self._shelves.failed(known, now):
            return Lost.SLOT
        return None

    # -- whom to dial

    def held_due(self, now: float) -> list[NodeAddress]:
        """Return the held peers whose back-off is over, in random order."""
        due = [known.address for known in self._held.values() if known.not_before <= now and not self._is_own(known)]
        self._random.shuffle(due)
        return due

    def pick(
        self, now: float, *, fresh: bool | None = None, avoid_groups: Container[str] = (), busy: Container[bytes] = ()
    ) -> NodeAddress | None:
        """Return one learnt peer to dial now and count it as dialled; None if none will do.

        :param fresh: True: one that stands among the new; False: among the tried; None: as a coin falls, and one of the
            others if none of these will do.
        :param avoid_groups: netgroups that have a link already; private ranges and loopback are exempt.
        :param busy: ids that are connected, being dialled or kept away.
        """
        tried = self._random.random() < 0.5 if fresh is None else not fresh
        for table in (tried, not tried) if fresh is None else (tried,):
            for known in self._shelves.shuffled(table, self._random):
                if known.is_stale(now):
                    self._shelves.remove(known)
                elif known.peer_id not in busy and self._may_dial(known, avoid_groups, now):
                    known.dialled_at = now
                    self._rate.count(known, now)
                    return known.address
        return None

    def candidates(
        self, now: float, *, avoid_groups: Container[str] = (), busy: Container[bytes] = (), limit: int
    ) -> int:
        """Return how many learnt peers, no two of one netgroup, could be dialled now and are fresh: reached, or told
        of and not dialled in vain, within :data:`FRESH`. Counts to *limit*, and looks at no more than a draw does.
        """
        groups: set[str] = set()
        for tried in (True, False):
            for known in self._shelves.shuffled(tried, self._random):
                fresh = known.was_here(FRESH, now) or (now - known.seen_at < FRESH and not known.failures)
                if fresh and known.peer_id not in busy and self._may_dial(known, avoid_groups, now):
                    groups.add(known.endpoint if known.private else known.group)
                if len(groups) >= limit:
                    return limit
        return len(groups)

    def collisions(self, now: float) -> list[NodeAddress]:
        """Return the tried addresses whose slots others claim, the oldest claim first: a feeler decides each."""
        return [known.address for known in self._shelves.claimed(now) if self._may_dial(known, (), now)]

    def next_due(self, now: float, busy: Container[bytes], room: int) -> float | None:
        """When there may be somebody to dial next; None: not before something changes."""
        if room > 0 and len(self._shelves) > LOOK_LIMIT:
            return now + LOOK_AGAIN
        times = [
            known.not_before if known.held or self._rate.allows(known, now) else max(known.not_before, now + PERIOD)
            for known in (self if room > 0 else self._held.values())
            if known.peer_id not in busy and not self._is_own(known)
        ]
        return min(times, default=None)

    def _is_own(self, known: Known) -> bool:
        return (known.address.host, known.address.port) in self._own

    def _may_dial(self, known: Known, avoid_groups: Container[str], now: float) -> bool:
        if known.not_before > now or not (known.private or known.group not in avoid_groups):
            return False
        return self._rate.allows(known, now)
