"""How many packets an address may send, and how many challenges leave in all."""

from chainp2p.peer.netgroup import source_address
from chainp2p.peer.votes import is_loopback

__all__ = ["Limits"]

#: Packets a second of one address (IPv6: one /64), and how many at once (wire design, "UDP").
ADDRESS_RATE, ADDRESS_BURST = 50.0, 200.0
#: WHOAREYOU a second to everybody together.
CHALLENGE_RATE, CHALLENGE_BURST = 1_000.0, 1_000.0
#: Seconds that sums of floating point times may be off by.
_ROUNDING = 1e-6
#: Addresses that are remembered; the one heard longest ago goes first.
ADDRESSES_MAX = 16_384


class Limits:
    """Token buckets, each one number: the time at which it will be full again.

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
        full_at = self._full_at.pop(ip, now)
        full_at = max(full_at, now) + 1.0 / ADDRESS_RATE
        over = full_at - now > ADDRESS_BURST / ADDRESS_RATE + _ROUNDING
        self._full_at[ip] = full_at - 1.0 / ADDRESS_RATE if over else full_at
        if len(self._full_at) > ADDRESSES_MAX:
            del self._full_at[next(iter(self._full_at))]
        if over and not (self._exempt and is_loopback(ip.partition("/")[0])):
            self.refused += 1
            return False
        return True

    def may_challenge(self, now: float) -> bool:
        """Whether one more challenge may leave."""
        full_at = max(self._challenges_full_at, now) + 1.0 / CHALLENGE_RATE
        if full_at - now > CHALLENGE_BURST / CHALLENGE_RATE + _ROUNDING:
            return False
        self._challenges_full_at = full_at
        return True
