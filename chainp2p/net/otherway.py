"""Where else to dial a node when there is no route to its address."""

from chainp2p.peer.address import NodeAddress
from chainp2p.peer.book import AddressBook
from chainp2p.peer.dialrate import DialRate
from chainp2p.peer.enr import Enr
from chainp2p.peer.known import known_at

__all__ = ["OtherWay"]


class OtherWay:
    """Finds the address of the other family in the record that named the first one.

    1. A record that names another address than the one that is dialled says nothing of this node's whereabouts.
    2. It gives no way to private addresses from a public one, nor to one that has been dialled often: whoever makes
       records must not aim us at a stranger.
    """

    def __init__(self, book: AddressBook) -> None:
        self._book = book
        self._rate = DialRate()

    def find(self, address: NodeAddress, now: float) -> tuple[str, int] | None:
        """Return host and port, None if there are no others."""
        enr = address.enr
        if enr is None:
            known = self._book.get(address.peer_id)
            enr = Enr.decode(known.record) if known is not None and known.record else None
        if enr is None:
            return None
        ways = [way for family in (4, 6) if (way := enr.tcp_in((family,))) is not None]
        here = address.host, address.port
        if here not in ways or len(ways) < 2:
            return None
        other = ways[1 - ways.index(here)]
        there = known_at(NodeAddress(address.peer_id, *other))
        if (there.private and not known_at(address).private) or not self._rate.allows(there, now):
            return None
        self._rate.count(there, now)
        return other
