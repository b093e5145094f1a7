"""What calls cost, so that one client cannot take what all others need. Pure.

1. A call costs what its method costs (``Method.cost``, a trivial read is 1) and a unit for every 4 KiB of request and
   answer; each entry of a batch is a call. A unit is about 100 us of the node, which has 10,000 of them a second.
2. Two pay for it: the connection, and the /24 (in IPv6 the /48) that it comes from; else who wants more would take
   more connections, and each HTTP request may be one of its own. What was spent decays at a steady rate.
3. Above the *soft* limit each message waits, for a second at most: so who asks steadily for too much is slowed, not
   broken, and its answers tell it to slow down by themselves. The wait is short because it holds a connection.
4. Above the *hard* limit calls are refused with the time after which they are answered at once again. Refusals wait as
   well (3), so asking again and again brings a few a second and costs nobody anything.
5. What an answer costs is known when it is made: one may overshoot the hard limit, and is paid for afterwards.
6. Debts are one number each; subnets without any are forgotten, and of very many the smallest debts.
"""

from attrs import define, field, frozen

from chainp2p.peer.netgroup import subnet
from chainp2p.peer.rate import Rate
from chainp2p.rpc.limits import Limits

__all__ = ["BYTES_PER_UNIT", "LONGEST_PAUSE", "Allowance", "FairUse", "Refusal"]

#: Bytes of a request or an answer that cost one unit: reading or writing them as JSON takes as long as a trivial read.
BYTES_PER_UNIT = 4_096
#: Seconds that a message waits at most: far below the deadline of a call.
LONGEST_PAUSE = 1.0
#: Subnets that are remembered (some 200 bytes each); past it the half with the smaller debts is forgotten.
SUBNETS = 4_096


@frozen
class Refusal:
    """Who has spent too much (``connection`` or ``subnet``), and the seconds after which it is answered at once."""

    payer: str
    seconds: float


@frozen
class _Bounds:
    """The two limits of one kind of payer; both look at the same number."""

    payer: str
    soft: Rate
    hard: Rate

    @classmethod
    def of(cls, payer: str, rate: float, soft: float, hard: float) -> "_Bounds":
        return cls(payer, Rate(rate, soft), Rate(rate, hard))

    def refusal(self, full_at: float, now: float) -> Refusal | None:
        if not self.hard.over(full_at, now):
            return None
        return Refusal(self.payer, self.soft.over(full_at, now))


class FairUse:
    """The debts of all clients of a port."""

    def __init__(self, limits: Limits) -> None:
        self._connection = _Bounds.of("connection", limits.cost_rate, limits.cost_soft, limits.cost_hard)
        self._subnet = _Bounds.of("subnet", limits.subnet_cost_rate, limits.subnet_cost_soft, limits.subnet_cost_hard)
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def allowance(self, address: str) -> "Allowance":
        """What a new connection from *address* may spend."""
        return Allowance(self, subnet(address))

    def _spend(self, subnet: str, units: float, now: float) -> None:
        if subnet not in self._full_at and len(self._full_at) >= SUBNETS:
            self._forget(now)
        self._full_at[subnet] = self._subnet.soft.spent(self._full_at.get(subnet, now), units, now)

    def _forget(self, now: float) -> None:
        debts = sorted(((full_at, name) for name, full_at in self._full_at.items() if full_at > now), reverse=True)
        self._full_at = {name: full_at for full_at, name in debts[: SUBNETS // 2]}


@define(eq=False)
class Allowance:
    """What one connection may still spend, its subnet's share of it included."""

    _all: FairUse
    _group: str
    _full_at: float = field(default=0.0, init=False)

    def spend(self, units: float, now: float) -> None:
        """Pay for something."""
        self._full_at = self._all._connection.soft.spent(self._full_at, units, now)
        self._all._spend(self._group, units, now)

    def pause(self, now: float) -> float:
        """Seconds that the next message has to wait."""
        over = max(
            self._all._connection.soft.over(self._full_at, now),
            self._all._subnet.soft.over(self._all._full_at.get(self._group, now), now),
        )
        return min(over, LONGEST_PAUSE)

    def refusal(self, now: float) -> Refusal | None:
        """Why the next call is refused; None: it is not."""
        refusals = (
            self._all._connection.refusal(self._full_at, now),
            self._all._subnet.refusal(self._all._full_at.get(self._group, now), now),
        )
        return max((one for one in refusals if one is not None), key=lambda one: one.seconds, default=None)
