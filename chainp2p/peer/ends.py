"""How links ended: one reason each, the newest kept for people."""

from collections import deque

from attrs import frozen

from chainp2p.errors import Penalty, Reason

__all__ = ["EndLedger", "LinkEnd"]

#: Ends that are remembered: some hours of an ordinary node, and 100 KB at most.
LEDGER_LIMIT = 512
#: Characters of a detail that are kept; some of them come from strangers.
DETAIL_LIMIT = 256


@frozen
class LinkEnd:
    """The end of one link or of one attempt to make one.

    :param when: Unix time in seconds.
    :param peer_id: None when the other side never proved who it is.
    :param by_us: whether this side decided.
    :param ready: whether the link had been ready.
    :param rule: which rule of the deciding side it was, where one reason has several; empty: the reason says it all.
    """

    when: float
    peer_id: bytes | None
    address: tuple[str, int]
    reason: Reason
    detail: str
    by_us: bool
    outbound: bool
    ready: bool
    penalty: Penalty = Penalty.NONE
    rule: str = ""

    @property
    def code(self) -> str:
        """What decided, as precisely as it is known: the rule, else the reason's code."""
        return self.rule or self.reason.code


class EndLedger:
    """The newest :data:`LEDGER_LIMIT` ends, and how often each reason has come up since the start."""

    def __init__(self) -> None:
        self._ends: deque[LinkEnd] = deque(maxlen=LEDGER_LIMIT)
        self.counts: dict[Reason, int] = {}

    def add(self, end: LinkEnd) -> None:
        """Remember *end*."""
        self._ends.append(end)
        self.counts[end.reason] = self.counts.get(end.reason, 0) + 1

    def newest(self) -> list[LinkEnd]:
        """All that are remembered, newest first."""
        return list(reversed(self._ends))
