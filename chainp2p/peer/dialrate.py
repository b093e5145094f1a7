"""How often one IP is dialled, whatever keys are said to be there: who tells records must not aim us at a stranger."""

from collections import deque

from chainp2p.peer.known import Known
from chainp2p.peer.netgroup import source_address

__all__ = ["DIALS_LIMIT", "PERIOD", "DialRate"]

#: Dials to one IP (a /64 in IPv6) in so many seconds (wire design, "Identity").
DIALS, PERIOD = 2, 60.0
#: IPs of which recent dials are remembered; older ones are let go when there are more.
DIALS_LIMIT = 2_000


class DialRate:
    """Recent dials by IP; loopback and private ranges are exempt."""

    def __init__(self) -> None:
        self._dials: dict[str, deque[float]] = {}

    def __len__(self) -> int:
        return len(self._dials)

    def allows(self, known: Known, now: float) -> bool:
        """Tell whether this address may be dialled."""
        if known.private:
            return True
        dials = self._dials.get(source_address(known.address.host), ())
        return sum(now - at < PERIOD for at in dials) < DIALS

    def count(self, known: Known, now: float) -> None:
        """This address is being dialled."""
        if known.private:
            return
        self._dials.setdefault(source_address(known.address.host), deque(maxlen=DIALS)).append(now)
        if len(self._dials) > DIALS_LIMIT:
            self._dials = {ip: dials for ip, dials in self._dials.items() if now - dials[-1] < PERIOD}
