"""What happened to each transaction of late."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

__all__ = ["Happening", "Provenance", "Stage", "reason_code"]

#: Transactions remembered: handed in here, in the pool or lately in it (as many as a pool holds, and some), others.
OWN, POOLED, OTHERS = 1_000, 6_000, 1_000
#: Of each transaction, the first and the last so many things.
FIRST, LAST = 4, 8


class Stage(Enum):
    """What happened."""

    HEARD = "heard"  #: a peer announced it
    PUSHED = "pushed"  #: a peer sent it unasked
    FETCHED = "fetched"  #: a peer sent it on request
    SUBMITTED = "submitted"  #: it was handed in here
    ADMITTED = "admitted"
    REFUSED = "refused"
    DROPPED = "dropped"
    INCLUDED = "included"
    RETURNED = "returned"  #: a reorg gave it back


#: Asked for with each: an attribute of an enum class costs twice one of a module.
_SUBMITTED, _ADMITTED, _INCLUDED = Stage.SUBMITTED, Stage.ADMITTED, Stage.INCLUDED


class Happening(NamedTuple):
    """Something that happened to a transaction, as many *times* from *since* to *when* (Unix seconds).

    :param code: why, in a word; :param text: in words.

    (A named tuple: three are made for every transaction, at a third of attrs' price.)
    """

    when: float
    stage: Stage
    code: str
    peer_id: bytes | None
    text: str
    times: int
    since: float


def reason_code(reason: str) -> str:
    """Make a code of the first words of a reason, up to a colon."""
    words = "".join(char if char.isalnum() else " " for char in reason.partition(":")[0].lower()).split()
    return "_".join(words)


class Provenance:
    """Remembers where transactions came from and what became of them.

    1. Those handed in here, those that were in the pool, and all others have room of their own: a flood of what is
       refused, or only announced, makes us forget nothing that somebody here wants to know. In each the oldest go.
    2. What is admitted after a block had it was given back by a reorg.
    3. The same thing that happens again is counted, not noted again. Of many things the first tell where it came from,
       the last what became of it.

    Cost: a dictionary entry and a few values for each transaction. (Ordered dictionaries: the oldest of a plain one is
    looked for among the places of all that went before it.)

    :param now: answers Unix time in seconds.
    :param code: makes the code of a reason.
    """

    def __init__(self, now: Callable[[], float], code: Callable[[str], str] = reason_code) -> None:
        self._now = now
        self._code = code
        self._own: OrderedDict[bytes, list[Happening]] = OrderedDict()
        self._pooled: OrderedDict[bytes, list[Happening]] = OrderedDict()
        self._others: OrderedDict[bytes, list[Happening]] = OrderedDict()

    def about(self, hash: bytes) -> Sequence[Happening]:
        """All that is remembered of a transaction, oldest first."""
        for shelf in (self._own, self._pooled, self._others):
            if hash in shelf:
                return tuple(shelf[hash])
        return ()

    def note(self, hash: bytes, stage: Stage, peer_id: bytes | None = None, reason: str = "") -> None:
        """It happened now."""
        known = self._room(hash, stage)
        now, code = self._now(), self._code(reason) if reason else ""
        if known and stage is _ADMITTED and known[-1].stage is _INCLUDED:
            stage = Stage.RETURNED
        for one in known:
            if one.stage is stage and one.peer_id == peer_id and one.code == code:
                # what happened last stands last
                known.remove(one)
                known.append(one._replace(when=now, times=one.times + 1, text=reason))
                return
        known.append(Happening(now, stage, code, peer_id, reason, 1, now))
        if len(known) > FIRST + LAST:
            del known[FIRST]

    def _room(self, hash: bytes, stage: Stage) -> list[Happening]:
        """What is known of it, on the shelf where it belongs now."""
        known = self._own.get(hash)
        if known is None and stage is not _SUBMITTED:
            known = self._pooled.get(hash)
        if known is not None:
            return known
        known = self._others.pop(hash, None)
        if stage is _SUBMITTED:
            known, shelf, room = self._pooled.pop(hash, known), self._own, OWN
        elif stage is _ADMITTED:
            shelf, room = self._pooled, POOLED
        else:
            shelf, room = self._others, OTHERS
        if len(shelf) >= room:
            shelf.popitem(last=False)
        shelf[hash] = known = known or []
        return known
