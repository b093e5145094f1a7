"""What the address book knows of one peer, and what becomes of what it is told."""

from enum import Enum
from functools import lru_cache
from typing import Any

from attrs import define, field

from chainp2p.peer.address import NodeAddress
from chainp2p.peer.netgroup import netgroup
from chainp2p.peer.votes import is_private

__all__ = ["HORIZON", "Known", "Learnt", "Lost", "address_group", "known_at"]

#: An address of which nothing was heard for so long is worth nothing (seconds; Bitcoin Core, ``ADDRMAN_HORIZON``).
HORIZON = 30 * 86_400.0
#: Failures in a row after which an address that never answered may be replaced, and one that did, if that was more
#: than a week ago (Bitcoin Core, ``ADDRMAN_RETRIES``, ``ADDRMAN_MAX_FAILURES``, ``ADDRMAN_MIN_FAIL``; seconds).
RETRIES, FAILURES_OF_OLD, OLD = 3, 10, 7 * 86_400.0
#: While a dial may still be under way nothing is said against an address (seconds; Bitcoin Core, ``IsTerrible``).
DIAL_TIME = 60.0


@lru_cache(maxsize=1_024)
def address_group(host: str) -> str:
    """Return whose say an address has: its netgroup; alone where it means something only in its own network."""
    return host if is_private(host) else netgroup(host)


@define
class Known:
    """One peer's address; times in seconds on the caller's clock.

    :param group: :func:`address_group` of the address.
    :param private: loopback or of a private range: no limits go by it.
    :param record: the newest signed record, empty if there is none, and its sequence number.
    :param sources: groups of those who told us of it, as far as they found a slot.
    """

    address: NodeAddress
    group: str
    private: bool
    record: bytes = b""
    seq: int = -1
    sources: tuple[str, ...] = ()
    held: bool = False  #: bootstrap, static or added: dialled for ever
    trusted: bool = False
    tried: bool = False  #: stands in the table of those that were reached
    failures: int = 0  #: in a row
    not_before: float = 0.0
    seen_at: float = 0.0  #: last told of
    dialled_at: float | None = None
    reached_at: float | None = None  #: dialled with success, or inbound from the address that its record names
    here: bool = field(default=False)  #: a link to this very address is ready

    @property
    def peer_id(self) -> bytes:
        return self.address.peer_id

    @property
    def endpoint(self) -> str:
        """Address and port, by which slots go."""
        return f"{self.address.host} {self.address.port}"

    def was_here(self, within: float, now: float) -> bool:
        """Tell whether there is a link, or was one not longer ago than that."""
        return self.here or (self.reached_at is not None and now - self.reached_at < within)

    def is_stale(self, now: float) -> bool:
        """Tell whether nothing was heard of it for 30 days."""
        return now - self.seen_at > HORIZON and not self.was_here(HORIZON, now)

    def is_worthless(self, now: float) -> bool:
        """Tell whether another address may have its slot."""
        if self.held or self.here or (self.dialled_at is not None and now - self.dialled_at < DIAL_TIME):
            return False
        if self.is_stale(now):
            return True
        if self.reached_at is None:
            return self.failures >= RETRIES
        return self.failures >= FAILURES_OF_OLD and now - self.reached_at > OLD


def known_at(address: NodeAddress, **facts: Any) -> Known:
    """Return what is known of a peer at *address*."""
    private = is_private(address.host)
    return Known(address, address.host if private else netgroup(address.host), private, **facts)


class Learnt(Enum):
    """What became of a record that somebody told us; the value is the code of the rule."""

    NEW = "new"
    MOVED = "moved"  #: a newer record of a peer that is known
    KNOWN = "known"
    NO_ENDPOINT = "no_endpoint"
    OWN = "own_address"
    PRIVATE = "private_address"  #: told in public
    IDS_PER_IP = "ids_per_ip"
    NO_SLOT = "no_slot"  #: its slot belongs to an address that is worth more

    @property
    def useful(self) -> bool:
        """Whether there may be somebody to dial now that was not before."""
        return self in (Learnt.NEW, Learnt.MOVED)


class Lost(Enum):
    """What the end of a dial cost a peer; the value is the code of the rule."""

    GIVEN_UP = "given_up"  #: nobody ever answered there: it is forgotten
    SLOT = "slot_lost"  #: another address has its tried slot now
