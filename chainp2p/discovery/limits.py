"""How many packets an address may send, and how many challenges leave in all."""

from chainp2p.peer.netgroup import source_address
from chainp2p.peer.rate import Rate
from chainp2p.peer.votes import is_loopback

__all__ = ["Limits"]

#: Packets a second of one address (IPv6: one /64), and how many at once (wire design, "UDP").
PACKETS = Rate(50.0, 200.0)
#: WHOAREYOU a second to everybody together.
CHALLENGES = Rate(1_000.0, 1_000.0)
#: Addresses that are remembered; the one heard longest ago goes first.
ADDRESSES_MAX = 16_384


class Limits:
    """A token bucket for each address, and one for all challenges.

    A flood is turned away before anything is decrypted; what it costs is one look-up a packet.

    :param loopback_exempt: whether this machine's own addresses have no limit.
    """

    def __init__(self, loopback_exempt: bool = True) -> None:
        self._exempt = loopback_exempt
        self._full_at: dict[str, float] = {}
        self._challenges_full_at = 0.0
        self.refused = 0

    def may_arrive(self, ip: str, now: float) -> bool:
        """Whether a packet of *ip* is looked at."""
        if ":" in ip:
            ip = source_address(ip)
        before = self._full_at.pop(ip, now)
        full_at = PACKETS.spent(before, 1.0, now)
        over = PACKETS.over(full_at, now)
        self._full_at[ip] = before if over else full_at
        if len(self._full_at) > ADDRESSES_MAX:
            del self._full_at[next(iter(self._full_at))]
        if over and not (self._exempt and is_loopback(ip.partition("/")[0])):
            self.refused += 1
            return False
        return True

    def may_challenge(self, now: float) -> bool:
        """Whether one more challenge may leave."""
        full_at = CHALLENGES.spent(self._challenges_full_at, 1.0, now)
        if CHALLENGES.over(full_at, now):
            return False
        self._challenges_full_at = full_at
        return True
