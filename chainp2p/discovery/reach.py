"""Which of a node's addresses we can send to."""

from collections.abc import Iterable

from chainp2p.peer.enr import Enr

__all__ = ["Reach"]

#: How long a family rests in which the system has no route (seconds): a cable may have been unplugged.
REST = 60.0


class Reach:
    """Chooses among the IPv4 and the IPv6 address of a record.

    1. Of the families in which we have a socket, IPv4 first; all of them until it is known which these are.
    2. A family without a route rests: nodes that have an address of the other one are asked there meanwhile.
    """

    def __init__(self) -> None:
        self._sockets: tuple[int, ...] = (4, 6)
        self._rests: dict[int, float] = {}
        self._usable: tuple[int, ...] = self._sockets

    def listen(self, families: Iterable[int]) -> None:
        """There are sockets for these IP versions."""
        self._sockets = tuple(sorted(families))
        self._rests.clear()
        self._weigh()

    def no_route(self, family: int, now: float) -> None:
        """The system cannot send to this family."""
        self._rests[family] = now + REST
        self._weigh()

    def expire(self, now: float) -> None:
        """Try a family again whose rest is over."""
        late = [family for family, until in self._rests.items() if until <= now]
        for family in late:
            del self._rests[family]
        if late:
            self._weigh()

    def _weigh(self) -> None:
        self._usable = tuple(one for one in self._sockets if one not in self._rests)

    def endpoint(self, enr: Enr) -> tuple[str, int] | None:
        """Return where to send what a node shall get; None: we cannot."""
        return enr.udp_in(self._usable) or (enr.udp_in(self._sockets) if self._rests else None)
