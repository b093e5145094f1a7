"""The two tables of the address book: the new and the tried, and who has which slot."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from chainp2p.peer.buckets import Buckets, Places, Table
from chainp2p.peer.known import Known
from chainp2p.peer.netgroup import source_address

if TYPE_CHECKING:
    import random

__all__ = ["Shelves"]

#: Sources of one address that are kept (Bitcoin Core, ``ADDRMAN_NEW_BUCKETS_PER_ADDRESS``).
SOURCES_LIMIT = 8
#: Tried addresses whose slot another one claims at the same time (Bitcoin Core, ``ADDRMAN_SET_TRIED_COLLISION_SIZE``).
CLAIMS_LIMIT = 10
#: A claim that was not tested for so long is granted (seconds; Bitcoin Core, ``ADDRMAN_TEST_WINDOW``).
TEST_WINDOW = 2_400.0
#: Who was reached so recently keeps its slot without a test (seconds; Bitcoin Core, ``ADDRMAN_REPLACEMENT``).
FRESH_CONTACT = 4 * 3_600.0


class Shelves:
    """Learnt addresses by slot (Bitcoin Core, ``addrman``).

    1. Who was told of stands among the *new*, once for each of up to eight source groups; who was reached at its
       address stands among the *tried*. Slots go by a secret, the endpoint and the group of the source or address, so
       one source group or address group fills a small part of a table.
    2. A new slot is taken from an address that is worthless, or that has others while the newcomer has none.
    3. Test before evict: a tried slot is taken from an address that is worthless, or to which a dial failed since
       another one claimed the slot.
    4. Who stands nowhere is forgotten.

    :param changed: told of each peer that got or lost a slot.
    """

    def __init__(self, secret: bytes, buckets: Buckets, changed: Callable[[bytes], None]) -> None:
        self._places = Places(secret, buckets)
        self._changed = changed
        self._known: dict[bytes, Known] = {}
        self._new, self._tried = Table(), Table()
        self._ids: dict[str, list[bytes]] = {}
        self._claims: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Known]:
        return iter(self._known.values())

    def get(self, peer_id: bytes) -> Known | None:
        """Return what is known of a peer that stands here."""
        return self._known.get(peer_id)

    def counts(self) -> dict[str, int]:
        """Return how many slots are taken, and how many tried ones are claimed."""
        return {"new": len(self._new), "tried": len(self._tried), "claims": len(self._claims)}

    def at_ip(self, ip: str) -> list[Known]:
        """Return who is said to be at one public IP."""
        return [self._known[peer_id] for peer_id in self._ids.get(source_address(ip), ())]

    def shuffled(self, tried: bool, chance: "random.Random") -> Iterator[Known]:
        """Draw from one table (:meth:`chainp2p.peer.buckets.Table.shuffled`)."""
        for peer_id in (self._tried if tried else self._new).shuffled(chance):
            known = self._known.get(peer_id)
            if known is not None:
                yield known

    # -- coming and going

    def add(self, known: Known, source: str, now: float) -> bool:
        """Let a newcomer stand among the new as told by *source*; False if its slot belongs to a better one."""
        known.sources, known.tried = (), False
        if not self.place(known, source, now):
            return False
        self._enter(known)
        return True

    def add_tried(self, known: Known, sources: tuple[str, ...], now: float) -> bool:
        """Let a newcomer stand among the tried, if its slot is free."""
        known.sources, known.tried = (), False
        if self._owner(known) is not None:
            return False
        self._enter(known)
        self.promote(known, now)
        known.sources = sources
        return True

    def remove(self, known: Known) -> None:
        """Take a peer out of the tables."""
        self._unplace(known)
        del self._known[known.peer_id]
        self._claims.pop(known.peer_id, None)
        if not known.private:
            ip = source_address(known.address.host)
            self._ids[ip].remove(known.peer_id)
            if not self._ids[ip]:
                del self._ids[ip]
        self._changed(known.peer_id)

    def _enter(self, known: Known) -> None:
        self._known[known.peer_id] = known
        if not known.private:
            self._ids.setdefault(source_address(known.address.host), []).append(known.peer_id)

    # -- the new

    def _new_slot(self, known: Known, source: str) -> int:
        return self._places.new(known.endpoint, known.group, source)

    def place(self, known: Known, source: str, now: float) -> bool:
        """Let an address stand among the new as told by *source* too; False if it gets no slot for that."""
        if source in known.sources or len(known.sources) >= SOURCES_LIMIT:
            return False
        slot = self._new_slot(known, source)
        other = self._known.get(self._new.at(slot) or b"")
        if other is not None:
            if not other.is_worthless(now) and (len(other.sources) == 1 or known.sources):
                return False
            self._displace(other, slot)
        self._new.put(slot, source, known.peer_id)
        known.sources += (source,)
        self._changed(known.peer_id)
        return True

    def _displace(self, known: Known, slot: int) -> None:
        source = next(source for source in known.sources if self._new_slot(known, source) == slot)
        self._new.take(slot, source, known.peer_id)
        known.sources = tuple(other for other in known.sources if other != source)
        self._changed(known.peer_id)
        if not known.sources:
            self.remove(known)

    def _unplace(self, known: Known) -> None:
        if known.tried:
            self._tried.take(self._tried_slot(known), known.group, known.peer_id)
        else:
            for source in known.sources:
                self._new.take(self._new_slot(known, source), source, known.peer_id)
        known.tried, known.sources = False, ()

    # -- the tried

    def _tried_slot(self, known: Known) -> int:
        return self._places.tried(known.endpoint, known.group)

    def _owner(self, known: Known) -> Known | None:
        """Who has the tried slot of *known*."""
        return self._known.get(self._tried.at(self._tried_slot(known)) or b"")

    def reached(self, known: Known, now: float) -> None:
        """A peer was reached at its address: it gets its tried slot, or claims it, or defends it."""
        if known.tried:
            self._settle(known, alive=True, now=now)
            return
        owner = self._owner(known)
        if owner is None or owner.is_worthless(now):
            self.promote(known, now)
        elif not owner.was_here(FRESH_CONTACT, now) and len(self._claims) < CLAIMS_LIMIT:
            self._claims.setdefault(known.peer_id, now)

    def failed(self, known: Known, now: float) -> bool:
        """A dial to a peer failed; True: it had a tried slot, which goes to who claimed it."""
        if known.tried and not known.here:
            self._settle(known, alive=False, now=now)
            return not known.tried
        return False

    def claimed(self, now: float) -> list[Known]:
        """Return the owners of claimed slots, the oldest claim first: a dial to each decides."""
        owners: dict[bytes, Known] = {}
        for peer_id, since in list(self._claims.items()):
            if peer_id not in self._claims:
                continue  # decided together with another claim on its slot
            claimant = self._known[peer_id]
            owner = self._owner(claimant)
            if owner is None:
                self.promote(claimant, now)
            elif owner.here or now - since > TEST_WINDOW:
                self._settle(owner, alive=owner.here, now=now)
            else:
                owners[owner.peer_id] = owner
        return list(owners.values())

    def promote(self, known: Known, now: float) -> None:
        """Let an address stand among the tried; who had its slot goes back among the new."""
        owner, sources = self._owner(known), known.sources
        self._unplace(known)
        if owner is not None:
            self._demote(owner, now)
        known.tried, known.sources = True, sources
        self._tried.put(self._tried_slot(known), known.group, known.peer_id)
        self._claims.pop(known.peer_id, None)
        self._changed(known.peer_id)

    def _demote(self, known: Known, now: float) -> None:
        source = (*known.sources, known.group)[0]
        self._unplace(known)
        self._changed(known.peer_id)
        if not self.place(known, source, now):
            self.remove(known)

    def _settle(self, owner: Known, *, alive: bool, now: float) -> None:
        """A dial to the owner of a tried slot has told whether it may keep it."""
        slot = self._tried_slot(owner)
        for peer_id in [other for other in self._claims if self._tried_slot(self._known[other]) == slot]:
            del self._claims[peer_id]
            if not alive:
                self.promote(self._known[peer_id], now)
                alive = True
