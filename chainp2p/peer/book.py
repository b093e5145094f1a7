"""The address book: whom to dial, when again, and whom to tell others about."""

from collections import deque
from collections.abc import Container
from typing import TYPE_CHECKING

from attrs import define, evolve, field

from chainp2p.errors import Reason
from chainp2p.peer.address import NodeAddress
from chainp2p.peer.ends import LinkEnd
from chainp2p.peer.enr import Enr
from chainp2p.peer.votes import is_loopback, is_private
from chainp2p.settings import Profile

if TYPE_CHECKING:
    import random

__all__ = ["AddressBook", "Known"]

#: Records that are kept; the worst ones go first.
BOOK_LIMIT = 2_000
#: A record proves a key, not its address: so many ids an IP, whatever the ids (loopback and private ranges exempt).
IDS_PER_IP = 4
#: Dials a minute to one IP, whatever the ids.
DIALS_PER_MINUTE = 2
#: A record is told to others for so long after the last contact (seconds).
RELAY_AGE = 86_400.0
#: Records tried in vain this often are forgotten, unless they are held.
FAILURES_MAX = 12


@define
class Known:
    """What is known of one peer's address; times in seconds on the caller's clock."""

    address: NodeAddress
    held: bool = False  #: bootstrap, static or added: dialled for ever
    trusted: bool = False
    failures: int = 0
    not_before: float = 0.0
    reached_at: float | None = None  #: dialled with success, or inbound from the address that its record names
    own: bool = field(default=False)  #: this address is ourselves


class AddressBook:
    """Known peers by id, with their back-offs.

    1. Held peers are dialled whatever happens; learnt ones only while there is room.
    2. A lower sequence number never replaces a record; four ids an IP at most, loopback and private ranges exempt.
    3. Back-off doubles from the profile's minimum to its maximum, with jitter of a quarter, so that a crowd does not
       return in step. A duplicate costs nothing. Who stays away for its conduct is not the book's to know.
    4. An id that does not match on dialling removes the record, not the endpoint.

    Cost: one pass over the book for each round of dials; it is bounded by :data:`BOOK_LIMIT`.
    """

    def __init__(self, profile: Profile, chance: "random.Random", own_id: bytes) -> None:
        self._profile = profile
        self._random = chance
        self._own_id = own_id
        self._known: dict[bytes, Known] = {}
        self._dials: dict[str, deque[float]] = {}

    def __contains__(self, peer_id: bytes) -> bool:
        return peer_id in self._known

    def get(self, peer_id: bytes) -> Known | None:
        """Return what is known of a peer."""
        return self._known.get(peer_id)

    def is_held(self, peer_id: bytes) -> bool:
        """Tell whether the operator named this peer."""
        known = self._known.get(peer_id)
        return known is not None and known.held

    def hold(self, address: NodeAddress, trusted: bool = False) -> bool:
        """Dial this peer from now on, at once; False if it is ourselves."""
        if address.peer_id == self._own_id:
            return False
        known = self._known.get(address.peer_id)
        enr = address.enr or (known.address.enr if known else None)
        trusted = trusted or (known is not None and known.trusted)
        reached = known.reached_at if known else None
        self._known[address.peer_id] = Known(evolve(address, enr=enr), held=True, trusted=trusted, reached_at=reached)
        return True

    def distrust(self, peer_id: bytes) -> bool:
        """Take trust back and keep the peer; False if it had none."""
        known = self._known.get(peer_id)
        if known is None or not known.trusted:
            return False
        self._known[peer_id] = evolve(known, trusted=False)
        return True

    def forget(self, peer_id: bytes) -> bool:
        """Forget a peer, held or not."""
        return self._known.pop(peer_id, None) is not None

    def learn(self, enr: Enr, source_ip: str) -> bool:
        """Take a record that a peer at *source_ip* told us; False if there is no use for it."""
        endpoint = enr.tcp_endpoint
        if endpoint is None or enr.peer_id == self._own_id:
            return False
        ip = endpoint[0]
        if not self._profile.private_addresses and is_private(ip) and not is_private(source_ip):
            return False
        known = self._known.get(enr.peer_id)
        if known is not None:
            older = known.address.enr
            if older is not None and enr.seq <= older.seq:
                return False
            moved = (known.address.host, known.address.port) != endpoint
            # Where the operator has said where a peer is, its record does not move it.
            keep = known.held and (older is None or known.address.host != older.ip)
            known.address = evolve(known.address, enr=enr) if keep else NodeAddress(enr.peer_id, *endpoint, enr)
            if moved and not keep:
                known.failures, known.not_before, known.reached_at, known.own = 0, 0.0, None, False
            return True
        if not is_private(ip) and sum(entry.address.host == ip for entry in self._known.values()) >= IDS_PER_IP:
            return False
        if len(self._known) >= BOOK_LIMIT and not self._make_room():
            return False
        self._known[enr.peer_id] = Known(NodeAddress(enr.peer_id, *endpoint, enr))
        return True

    def _make_room(self) -> bool:
        spare = [
            (known.reached_at or -1.0, -known.failures, key) for key, known in self._known.items() if not known.held
        ]
        if not spare:
            return False
        del self._known[min(spare)[2]]
        return True

    def met(self, peer_id: bytes) -> None:
        """A link to *peer_id* became ready, whoever opened it: earlier failures are forgiven."""
        known = self._known.get(peer_id)
        if known is not None:
            known.failures = 0

    def reached(self, peer_id: bytes, now: float) -> None:
        """A link to *peer_id* became ready at the address that the book holds."""
        known = self._known.get(peer_id)
        if known is not None:
            known.reached_at = now

    def ended(self, peer_id: bytes, end: LinkEnd, now: float) -> None:
        """A link to, or an attempt to dial, *peer_id* has ended."""
        known = self._known.get(peer_id)
        if known is None or end.reason is Reason.DUPLICATE or not (end.outbound or end.ready):
            return
        if end.reason is Reason.SELF:
            known.own = True
            return
        if end.reason is Reason.WRONG_PEER_ID and not known.held:
            del self._known[peer_id]
            return
        known.failures += 1
        if known.failures > FAILURES_MAX and not known.held and known.reached_at is None:
            del self._known[peer_id]
            return
        delay = min(self._profile.redial_min * 2.0 ** min(known.failures - 1, 30), self._profile.redial_max)
        known.not_before = now + delay * self._random.uniform(0.75, 1.25)

    def _may_dial(self, known: Known, now: float) -> bool:
        ip = known.address.host
        if known.held or is_loopback(ip):
            return True
        if is_private(ip):
            return True
        dials = self._dials.get(ip, ())
        return sum(now - at < 60.0 for at in dials) < DIALS_PER_MINUTE

    def due(self, now: float, busy: Container[bytes], room: int) -> list[NodeAddress]:
        """Return whom to dial now and count them as dialled.

        :param busy: ids that are connected or being dialled.
        :param room: how many that are not held may be dialled.
        """
        ready = [
            known
            for peer_id, known in self._known.items()
            if known.not_before <= now and not known.own and peer_id not in busy and self._may_dial(known, now)
        ]
        self._random.shuffle(ready)
        chosen = [known for known in ready if known.held]
        for known in ready:
            if known.held:
                continue
            if room <= 0:
                break
            ip = known.address.host
            if self._may_dial(known, now):  # again: an earlier one of this round may have the same IP
                if not is_private(ip):
                    self._dials.setdefault(ip, deque(maxlen=DIALS_PER_MINUTE)).append(now)
                chosen.append(known)
                room -= 1
        if len(self._dials) > BOOK_LIMIT:
            self._dials = {ip: dials for ip, dials in self._dials.items() if now - dials[-1] < 60.0}
        return [known.address for known in chosen]

    def next_due(self, now: float, busy: Container[bytes], room: int) -> float | None:
        """When :meth:`due` may have something next."""
        times = [
            max(known.not_before, now + (0.0 if self._may_dial(known, now) else 60.0))
            for peer_id, known in self._known.items()
            if not known.own and peer_id not in busy and (known.held or room > 0)
        ]
        return min(times, default=None)

    def relayable(self, now: float) -> list[Enr]:
        """Return the records that may be told to others: those reached within a day."""
        return [
            known.address.enr
            for known in self._known.values()
            if known.address.enr is not None and known.reached_at is not None and now - known.reached_at < RELAY_AGE
        ]
