"""Our own address, by the votes of peers who see us."""

from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address

from attrs import Factory, define

__all__ = ["EndpointVotes", "is_loopback", "is_private", "packed_endpoint"]

#: Votes that are kept, the newest: those of discovery do not end with a link.
VOTES_MAX = 256


def is_private(ip: str) -> bool:
    """Tell whether an address means something only in its own network (loopback included); False for a name."""
    try:
        return not ip_address(ip.partition("%")[0]).is_global
    except ValueError:
        return False


def is_loopback(ip: str) -> bool:
    """Tell whether an address can be reached from this machine only; False for what is no address."""
    try:
        return ip_address(ip.partition("%")[0]).is_loopback
    except ValueError:
        return False


def packed_endpoint(host: str, port: int) -> tuple[bytes, int]:
    """Return the form of ``Status.observed``; nothing and 0 for a host that is no address."""
    try:
        return ip_address(host.partition("%")[0]).packed, port
    except ValueError:
        return b"", 0


@define
class EndpointVotes:
    """One vote a peer and address family; a winner stays until another address wins.

    :param needed: how many equal votes decide, given the number of live peers.
    """

    needed: Callable[[int], int]
    _votes: dict[tuple[bytes, int], str] = Factory(dict)

    def vote(self, peer_id: bytes, ip: str) -> None:
        """*peer_id* sees us at *ip*."""
        ballot = peer_id, ip_address(ip).version
        self._votes.pop(ballot, None)
        self._votes[ballot] = ip
        if len(self._votes) > VOTES_MAX:
            del self._votes[next(iter(self._votes))]

    def forget(self, peer_id: bytes) -> None:
        """*peer_id* is gone."""
        for version in (4, 6):
            self._votes.pop((peer_id, version), None)

    def winner(self, live: int, version: int = 4, current: str | None = None) -> str | None:
        """Return the address of that IP version that has won; *current* stays on a tie or without enough votes."""
        counts = Counter(ip for (_, family), ip in self._votes.items() if family == version)
        best = max(counts.values(), default=0)
        if best < self.needed(live) or counts.get(current or "") == best:
            return current
        return min(ip for ip, count in counts.items() if count == best)
