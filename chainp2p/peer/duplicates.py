"""Two links to one peer: which one stays, decided alike on both sides without asking."""

from enum import Enum

from attrs import Factory, define, frozen

__all__ = ["ASK_TIMEOUT", "GRACE", "LinkFacts", "Replacements", "Survivor", "survivor"]

#: Links younger than this were opened at the same time, each without knowing of the other (seconds).
YOUNG = 30.0
#: How long the older link may take to answer a ``Ping`` (seconds).
ASK_TIMEOUT = 5.0
#: How long the higher id waits for the lower one to close the other link (seconds).
GRACE = 5.0
#: More replacements than this in the window, from more than one address, mean two machines with one key.
REPLACEMENT_LIMIT = 3
REPLACEMENT_WINDOW = 600.0


@frozen
class LinkFacts:
    """What the rule needs of a link; *opened_at* in seconds on the clock of *now*."""

    opener: bytes
    opened_at: float


class Survivor(Enum):
    """Which of two links stays."""

    OLDER = "older"
    NEWER = "newer"
    ASK = "ask"  #: the older one, if it answers a ``Ping``; else the newer


def survivor(older: LinkFacts, newer: LinkFacts, now: float) -> Survivor:
    """Decide between two links of the same two nodes.

    1. Same opener: it has opened the newer because the older is dead to it, so the newer stays.
    2. Different openers, both links young: they crossed. The one opened by the lower id stays: both sides know the ids.
    3. Otherwise one side may have lost the older link unnoticed: ask it.
    """
    if older.opener == newer.opener:
        return Survivor.NEWER
    if now - older.opened_at < YOUNG and now - newer.opened_at < YOUNG:
        return Survivor.OLDER if older.opener < newer.opener else Survivor.NEWER
    return Survivor.ASK


@define
class Replacements:
    """Notices two machines that run with the same key: they replace each other's links in turn."""

    _seen: dict[bytes, list[tuple[float, str]]] = Factory(dict)

    def replaced(self, peer_id: bytes, ip: str, now: float) -> bool:
        """A newer link from *ip* has replaced another; True if this looks like a key used twice."""
        recent = [entry for entry in self._seen.get(peer_id, ()) if now - entry[0] < REPLACEMENT_WINDOW]
        recent.append((now, ip))
        self._seen[peer_id] = recent
        self._seen = {key: value for key, value in self._seen.items() if now - value[-1][0] < REPLACEMENT_WINDOW}
        return len(recent) > REPLACEMENT_LIMIT and len({address for _, address in recent}) > 1
