"""Which new connections may begin a handshake: decided before a byte is read or any cryptography is spent on them."""

from collections import Counter
from typing import TYPE_CHECKING

from attrs import frozen

from chainp2p.peer.netgroup import netgroup, source_address, subnet
from chainp2p.peer.rate import Rate
from chainp2p.peer.votes import is_loopback

if TYPE_CHECKING:
    import random

__all__ = ["Caller", "Intake", "Taken", "Turned"]

#: Handshakes in flight: with at most 64 KiB each they hold 8 MiB, whoever calls (security notes of the design).
IN_FLIGHT = 128
#: Of these so many stay free for addresses of the book and of peers that the operator named.
KEPT_FREE = 16
#: One handshake an address in so much of the profile's shortest redial pause: 10 s in a public network. Who is honest
#: dials again later, so he always hears why he was refused.
REDIAL_SHARE = 1 / 3
#: The same for an address of the book (seconds): a peer that was restarted comes back at once.
KNOWN_INTERVAL = 1.0
#: Handshakes a second of one subnet, and at once: a NAT with a whole company behind it stays far below.
SUBNET = Rate(64.0, 64.0)
#: Addresses and subnets that are remembered, some 200 bytes each; the oldest is forgotten first, which costs the
#: attacker 400 addresses a second to gain anything.
REMEMBERED = 4_096


@frozen(eq=False)
class Caller:
    """A connection whose handshake is in flight.

    :param known: its address is in the book, or the operator named it.
    """

    ip: str
    group: str
    known: bool


@frozen
class Taken:
    """The handshake may begin; that of *instead* ends."""

    caller: Caller
    instead: Caller | None = None


@frozen
class Turned:
    """It may not; *rule* is the code of the rule that decided."""

    rule: str
    text: str


class Intake:
    """Rations handshakes, so that a crowd of callers can spend neither memory nor CPU of a node, nor keep others out.

    1. One in a third of *redial* an address, :data:`SUBNET` a second a subnet (an address is a /64 and a subnet a
       /48 in IPv6). Nobody's wait grows by calling again. Loopback is exempt where the settings say so, and an address
       that the operator named always.
    2. :data:`IN_FLIGHT` at once. When they are taken, a newcomer replaces a random one of the netgroup that has most
       in flight: whoever sends a crowd replaces himself, and one honest caller is hit once in a hundred times.
    3. :data:`KEPT_FREE` of them only callers of known addresses may take, and no stranger replaces one of those.

    Cost: O(:data:`IN_FLIGHT`) a caller: 3 us for one that is turned away, 30 us for one that is taken when
    all places are. Times are seconds on any one clock.

    :param redial: the shortest pause between two dials of one peer (seconds).
    :param loopback_exempt: whether callers of this machine are not rationed.
    """

    def __init__(self, chance: "random.Random", redial: float, loopback_exempt: bool = True) -> None:
        self._random = chance
        self._interval = redial * REDIAL_SHARE
        self._loopback_exempt = loopback_exempt
        self._in_flight: dict[Caller, None] = {}
        self._called: dict[str, float] = {}
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._in_flight)

    def offer(self, ip: str, now: float, *, known: bool = False, named: bool = False) -> Taken | Turned:
        """Judge a connection that has just come.

        :param known: its address is one of the book's.
        :param named: it is one that the operator named.
        """
        known = known or named
        if not named and not (self._loopback_exempt and is_loopback(ip)):
            turned = self._rationed(ip, now, min(KNOWN_INTERVAL, self._interval) if known else self._interval)
            if turned is not None:
                return turned
        strangers = [caller for caller in self._in_flight if not caller.known]
        instead: Caller | None = None
        if len(self._in_flight) >= IN_FLIGHT or (not known and len(strangers) >= IN_FLIGHT - KEPT_FREE):
            # known ones alone can fill all places only among themselves
            instead = self._pick(strangers or list(self._in_flight))
            del self._in_flight[instead]
        caller = Caller(ip, netgroup(ip), known)
        self._in_flight[caller] = None
        return Taken(caller, instead)

    def done(self, caller: Caller) -> None:
        """The handshake of *caller* is over, well or not."""
        self._in_flight.pop(caller, None)

    def _pick(self, callers: list[Caller]) -> Caller:
        counts = Counter(caller.group for caller in callers)
        most = max(counts.values())
        return self._random.choice([caller for caller in callers if counts[caller.group] == most])

    def _rationed(self, ip: str, now: float, interval: float) -> Turned | None:
        address, net = source_address(ip), subnet(ip)
        called = self._called.get(address)
        if called is not None and now < called + interval:
            return Turned("address_rate", f"{address} calls more than once in {interval:.3g} s")
        before = self._full_at.pop(net, now)
        full_at = SUBNET.spent(before, 1.0, now)
        over = SUBNET.over(full_at, now)
        self._full_at[net] = before if over else full_at
        if len(self._full_at) > REMEMBERED:
            del self._full_at[next(iter(self._full_at))]
        if over:
            return Turned("subnet_rate", f"{net} calls more than {SUBNET.rate:g} times a second")
        self._called.pop(address, None)
        self._called[address] = now
        if len(self._called) > REMEMBERED:
            del self._called[next(iter(self._called))]
        return None
