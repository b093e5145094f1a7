"""Our own address, by the votes of peers who see us."""

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address

from attrs import Factory, define

from chainp2p.peer.netgroup import subnet

__all__ = ["EndpointVotes", "is_loopback", "is_private", "packed_endpoint", "plain_address"]

#: Votes that are kept, the newest.
VOTES_MAX = 256
#: How long a vote by datagram stands (seconds): a table of 256 live nodes is looked through in nine minutes.
VOTE_TIME = 600.0
#: Voices that a port needs at least.
PORT_VOTES = 2
#: Addresses whose kind is remembered, some 200 bytes each: to read one costs 20 us, and each record is asked about.
_CACHED = 8_192


@lru_cache(_CACHED)
def is_private(ip: str) -> bool:
    """Tell whether an address means something only in its own network (loopback included); False for a name."""
    try:
        return not ip_address(ip.partition("%")[0]).is_global
    except ValueError:
        return False


@lru_cache(_CACHED)
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


def plain_address(packed: bytes) -> str | None:
    """Return the address of 4 or 16 bytes as text, an IPv4 address in IPv6 clothes without them; else None."""
    try:
        address = ip_address(packed)
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


@define
class _Ballot:
    ip: str
    port: int | None
    voice: str | bytes
    at: float
    linked: bool


@define
class EndpointVotes:
    """How peers see us: one vote a peer and address family, the newest.

    1. A vote that came over a link stands as long as the link, one by datagram for :data:`VOTE_TIME`.
    2. Where votes are *grouped*, all voters of one subnet have one voice: ids cost nothing, subnets do. Voters at
       private addresses speak for themselves.
    3. An address wins with the voices that are needed, if no other has more; the one in force stays on a tie.
    4. The address in force falls when no voice is left for it and as many as decide say otherwise.
    5. A port wins among the voices for its address in the same way, but never by one voice alone. Behind a router that
       gives each of our conversations a port of its own none ever does.

    :param needed: how many voices decide, given the number of voters of that family.
    """

    needed: Callable[[int], int]
    grouped: bool = False
    _ballots: dict[tuple[bytes, int], _Ballot] = Factory(dict)

    def vote(self, peer_id: bytes, source: str, ip: str, now: float, port: int | None = None) -> None:
        """*peer_id* at *source* sees us at *ip*; and at *port*, if that was by datagram."""
        ballot = peer_id, ip_address(ip).version
        before = self._ballots.pop(ballot, None)
        voice = subnet(source) if self.grouped and not is_private(source) else peer_id
        linked = port is None or (before is not None and before.linked)
        if port is None and before is not None and before.ip == ip:
            port, now = before.port, before.at
        self._ballots[ballot] = _Ballot(ip, port, voice, now, linked)
        if len(self._ballots) > VOTES_MAX:
            del self._ballots[next(iter(self._ballots))]

    def forget(self, peer_id: bytes) -> None:
        """The link with *peer_id* has ended; what it says by datagram stands."""
        for version in (4, 6):
            ballot = self._ballots.get((peer_id, version))
            if ballot is not None:
                ballot.linked = False
                if ballot.port is None:
                    del self._ballots[peer_id, version]

    def expire(self, now: float) -> None:
        """Drop the votes whose time is over."""
        late = [key for key, one in self._ballots.items() if not one.linked and now - one.at >= VOTE_TIME]
        for key in late:
            del self._ballots[key]

    def _voices(self, version: int) -> dict[str, int]:
        heard = {(one.ip, one.voice) for (_, family), one in self._ballots.items() if family == version}
        return Counter(ip for ip, _ in heard)

    def _enough(self, version: int) -> int:
        return self.needed(sum(family == version for _, family in self._ballots))

    def winner(self, version: int = 4, current: str | None = None) -> str | None:
        """Return the address of that IP version that is in force now, *current* having been until now."""
        counts, needed = self._voices(version), self._enough(version)
        best, here = max(counts.values(), default=0), counts.get(current or "", 0)
        if best >= needed and best > here:
            return min(ip for ip, count in counts.items() if count == best)
        against = {one.voice for (_, family), one in self._ballots.items() if family == version}
        return None if not here and len(against) >= needed else current

    def port(self, ip: str, current: int | None = None) -> int | None:
        """Return the UDP port at which we are seen at *ip*, *current* having been in force until now."""
        heard = {(one.port, one.voice) for one in self._ballots.values() if one.ip == ip and one.port is not None}
        counts: Counter[int | None] = Counter(port for port, _ in heard)
        needed = max(PORT_VOTES, self._enough(ip_address(ip).version))
        best, here = max(counts.values(), default=0), counts[current]
        if best >= needed and best > here:
            return min(port for port, count in counts.items() if count == best and port is not None)
        return None if not here and len({voice for _, voice in heard}) >= needed else current

    def tally(self) -> dict[int, list[tuple[str, int]]]:
        """Return IP version -> (address, voices), most voices first."""
        return {version: sorted(self._voices(version).items(), key=lambda one: (-one[1], one[0])) for version in (4, 6)}
