"""Our own record: signed anew when our address changes, its sequence number never falls."""

from collections.abc import Mapping

from attrs import frozen

from chainp2p.peer.enr import Enr, EnrError, endpoint_pairs, make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from chainp2p.primitives import rlp

__all__ = ["OwnRecord", "Place"]

#: The largest number of a record (EIP-778: 64 bits); nothing comes after it.
SEQ_MAX = 2**64 - 1


@frozen
class Place:
    """Where a node can be reached in one address family; None: that is not known, or not so.

    :param ip: IPv4 or IPv6; without it the ports are those of IPv4.
    """

    ip: str | None = None
    tcp: int | None = None
    udp: int | None = None


class OwnRecord:
    """The current own ENR.

    1. The same content keeps its number over restarts; a changed one takes the next.
    2. An own record seen elsewhere with a higher number (our database is an old copy): continue above it.

    :param stored: the raw record of the last run, if there was one.
    """

    def __init__(self, key: NodeKey, genesis: bytes, version: int, stored: bytes | None = None) -> None:
        self._key = key
        self._bare = node_pairs(genesis, version)
        last: Enr | None = None
        if stored is not None:
            try:
                last = Enr.decode(stored)
            except EnrError:
                last = None
        self._last = last if last is not None and last.peer_id == key.peer_id else None
        self.enr = self._make(self._bare)

    def _make(self, pairs: Mapping[bytes, rlp.Item]) -> Enr:
        last = self._last
        enr = make_enr(self._key, last.seq if last else 1, pairs)
        if last is not None and enr.raw != last.raw:
            enr = make_enr(self._key, last.seq + 1, pairs)
        return enr

    def place(self, *places: Place) -> bool:
        """We can be reached there, one place a family; True if that is news and the record has changed."""
        pairs = dict(self._bare)
        for place in places:
            pairs |= endpoint_pairs(place.ip, place.tcp, place.udp)
        enr = self._make(pairs)
        changed = self._last is None or enr.raw != self._last.raw
        self.enr = self._last = enr
        return changed

    def seen(self, seq: int) -> bool:
        """Somebody has a record of ours with this number; True if ours had to be signed anew above it."""
        if not self.enr.seq < seq < SEQ_MAX:
            return False
        pairs = {key: value for key, value in self.enr.pairs.items() if key not in (b"id", b"secp256k1")}
        self.enr = self._last = make_enr(self._key, seq + 1, pairs)
        return True
