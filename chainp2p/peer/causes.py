"""Why peers left, were refused, evicted or banned: a bounded record for people."""

from collections import deque
from collections.abc import Mapping
from enum import Enum

from attrs import Factory, frozen

__all__ = ["Cause", "CauseKind", "Causes"]

#: Causes that are kept: a day of an ordinary node.
CAUSES_LIMIT = 4_096


class CauseKind(Enum):
    """What happened."""

    ENDED = "ended"
    REFUSED = "refused"
    DIAL_FAILED = "dial_failed"
    EVICTED = "evicted"
    BANNED = "banned"
    UNBANNED = "unbanned"
    NOTED = "noted"


@frozen
class Cause:
    """One thing that happened to a peer, and by which rule.

    :param when: Unix time in seconds.
    :param code: the rule or the reason code that decided (:attr:`chainp2p.peer.ends.LinkEnd.code`).
    :param peer_id: None where nobody had proven who it is.
    :param text: plain words.
    :param evidence: the facts that the rule went by.
    """

    when: float
    kind: CauseKind
    code: str
    peer_id: bytes | None
    address: tuple[str, int]
    text: str
    evidence: Mapping[str, str | int | float] = Factory(dict)


class Causes:
    """The newest :data:`CAUSES_LIMIT` causes."""

    def __init__(self) -> None:
        self._causes: deque[Cause] = deque(maxlen=CAUSES_LIMIT)

    def note(self, cause: Cause) -> None:
        """Remember *cause*."""
        self._causes.append(cause)

    def about(self, peer_id: bytes) -> list[Cause]:
        """Return what is remembered of a peer, newest first."""
        return [cause for cause in reversed(self._causes) if cause.peer_id == peer_id]

    def newest(self) -> list[Cause]:
        """Return all that are remembered, newest first."""
        return list(reversed(self._causes))
