"""How many nodes of one address, subnet or netgroup may stand together."""

from collections import Counter
from functools import lru_cache

from attrs import frozen

from chainp2p.peer.netgroup import netgroup, source_address, subnet
from chainp2p.peer.votes import is_private

__all__ = ["IN_BUCKET", "IN_TABLE", "Bounds", "Crowding"]


@frozen
class Bounds:
    """How many of one address (IPv6: /64), of one /24 (/48) and of one /16 (/32)."""

    address: int
    subnet: int
    group: int


#: In a bucket, and in all: the /24 as the wire design has it (go-ethereum, ``p2p/discover/table.go``). Ids cost
#: nothing: an address has two at most, and a /16, which is one cloud, a quarter of a bucket.
IN_BUCKET, IN_TABLE = Bounds(2, 2, 4), Bounds(2, 10, 20)


@lru_cache(8_192)
def _kin(ip: str) -> tuple[str, str, str] | None:
    """Return what an address belongs to; None if no bound holds for it: loopback, private ranges, nothing."""
    return None if not ip or is_private(ip) else (source_address(ip), subnet(ip), netgroup(ip))


class Crowding:
    """Counts nodes by what their addresses belong to; loopback and private ranges are exempt.

    Cost: O(1); memory: in proportion to those that are counted.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._counts: Counter[str] = Counter()

    def fits(self, ip: str) -> bool:
        """Whether there is room for one more."""
        kin = _kin(ip)
        if kin is None:
            return True
        address, net, group = kin
        counts, bounds = self._counts, self._bounds
        return counts[address] < bounds.address and counts[net] < bounds.subnet and counts[group] < bounds.group

    def add(self, ip: str) -> None:
        """Count one."""
        self._counts.update(_kin(ip) or ())

    def remove(self, ip: str) -> None:
        """Take one back that was counted."""
        for name in _kin(ip) or ():
            self._counts[name] -= 1
            if not self._counts[name]:
                del self._counts[name]
