"""Why peers left, were refused, evicted or banned: a bounded record for people."""

from collections.abc import Iterable, Mapping
from enum import Enum

from attrs import Factory, evolve, frozen

from chainp2p.peer.ends import LinkEnd
from chainp2p.peer.netgroup import netgroup
from chainp2p.peer.votes import is_private

__all__ = ["Cause", "CauseKind", "Causes", "Evidence", "cause_of_end"]

#: Causes that are kept, 1 KB each: days of an ordinary node, for what repeats is one cause.
CAUSES_LIMIT = 4_096

Evidence = Mapping[str, str | int | float]
_Subject = tuple[bytes | None, bytes | None, str]


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

    :param when: Unix time in seconds; the last time, where it happened again and again.
    :param code: the rule or the reason code that decided (:attr:`chainp2p.peer.ends.LinkEnd.code`).
    :param peer_id: None where nobody had proven who it is.
    :param text: plain words.
    :param evidence: the facts that the rule went by.
    :param meant: whom we had meant to reach, where that is somebody else or nobody answered.
    :param count: how often it happened in a row.
    :param first: Unix time of the first of them; None: it happened once.
    """

    when: float
    kind: CauseKind
    code: str
    peer_id: bytes | None
    address: tuple[str, int]
    text: str
    evidence: Evidence = Factory(dict)
    meant: bytes | None = None
    count: int = 1
    first: float | None = None

    @property
    def since(self) -> float:
        """When it happened first."""
        return self.when if self.first is None else self.first

    def concerns(self, peer_id: bytes) -> bool:
        """Whether it is about this peer."""
        return peer_id in (self.peer_id, self.meant)


def cause_of_end(end: LinkEnd, meant: bytes | None, facts: Evidence, dialled: bool = False) -> Cause:
    """Return what the end of a link means.

    :param meant: whom the dial was for; None: the other side called.
    :param dialled: no connection ever stood.
    """
    if dialled:
        kind = CauseKind.DIAL_FAILED
    elif end.rule.startswith("evicted"):
        kind = CauseKind.EVICTED
    else:
        kind = CauseKind.ENDED if end.ready else CauseKind.REFUSED
    evidence = {
        "reason": end.reason.code,
        "by": "us" if end.by_us else "peer",
        "direction": "outbound" if end.outbound else "inbound",
        "penalty": end.penalty.value,
        **facts,
    }
    aimed = meant if meant != end.peer_id else None
    return Cause(end.when, kind, end.code, end.peer_id, end.address, end.detail, evidence, aimed)


class Causes:
    """The newest :data:`CAUSES_LIMIT` causes, each with a number that stays with it.

    1. What happens to the same peer for the same reason again and again is one cause with a count.
    2. When it is full, the group of addresses that has the most causes loses its oldest one, so that whoever makes
       noise pushes out what he did himself (group: /16, in IPv6 /32; a private address and a bare key stand alone).

    Cost: O(1) a cause, O(sizes of groups that there are, so at most 90) for one that needs room, O(causes) for a
    question.
    """

    def __init__(self, limit: int = CAUSES_LIMIT) -> None:
        self._limit = limit
        self._number = 0
        self._size = 0
        self._groups: dict[str, dict[int, Cause]] = {}
        self._by_size: dict[int, dict[str, None]] = {}
        self._latest: dict[_Subject, int] = {}
        self._changed: dict[int, Cause | None] = {}

    def __len__(self) -> int:
        return self._size

    def note(self, cause: Cause) -> None:
        """Remember *cause*."""
        name, subject = _group(cause), _subject(cause)
        number = self._latest.get(subject, 0)
        last = self._groups.get(name, {}).get(number)
        if last is not None and (last.kind, last.code) == (cause.kind, cause.code):
            del self._groups[name][number]  # its place is at the end now
            self._groups[name][number] = cause = evolve(cause, count=last.count + cause.count, first=last.since)
        else:
            self._number = number = self._number + 1
            self._add(name, number, cause)
        self._changed[number] = cause
        self._latest[subject] = number
        self._make_room()

    def _add(self, name: str, number: int, cause: Cause) -> None:
        group = self._groups.setdefault(name, {})
        group[number] = cause
        self._size += 1
        self._resized(name, len(group) - 1, len(group))

    def _resized(self, name: str, before: int, after: int) -> None:
        if before:
            del self._by_size[before][name]
            if not self._by_size[before]:
                del self._by_size[before]
        if after:
            self._by_size.setdefault(after, {})[name] = None
        else:
            del self._groups[name]

    def _make_room(self) -> None:
        if self._size <= self._limit:
            return
        most = max(self._by_size)
        name = next(iter(self._by_size[most]))
        oldest = next(iter(self._groups[name]))
        subject = _subject(self._groups[name].pop(oldest))
        if self._latest.get(subject) == oldest:
            del self._latest[subject]
        self._changed[oldest] = None
        self._size -= 1
        self._resized(name, most, most - 1)

    def changed(self) -> dict[int, Cause | None]:
        """Return what has changed since the last call, by number; None: it was dropped."""
        changed, self._changed = self._changed, {}
        return changed

    def restore(self, stored: Iterable[tuple[int, Cause]]) -> None:
        """Take the causes of an earlier run, the oldest first."""
        for number, cause in stored:
            self._add(_group(cause), number, cause)
            self._latest[_subject(cause)] = number
            self._number = max(self._number, number)
            self._make_room()

    def about(self, peer_id: bytes) -> list[Cause]:
        """Return what is remembered of a peer, newest first."""
        return [cause for cause in self.newest() if cause.concerns(peer_id)]

    def at(self, host: str, port: int | None = None) -> list[Cause]:
        """Return what is remembered of an address, newest first."""
        return [
            cause for cause in self.newest() if cause.address[0] == host and (port is None or cause.address[1] == port)
        ]

    def newest(self) -> list[Cause]:
        """Return all that are remembered, newest first."""
        numbered = [pair for group in self._groups.values() for pair in group.items()]
        numbered.sort(key=lambda pair: (pair[1].when, pair[0]), reverse=True)
        return [cause for _, cause in numbered]


def _subject(cause: Cause) -> _Subject:
    known = cause.peer_id is not None or cause.meant is not None
    return cause.peer_id, cause.meant, "" if known else cause.address[0]


def _group(cause: Cause) -> str:
    host = cause.address[0]
    if host and not is_private(host):
        return netgroup(host)
    subject = cause.meant or cause.peer_id
    return subject.hex() if subject is not None else host
