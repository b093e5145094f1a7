"""What sync is doing, for people and programs, and the limits it works by."""

from enum import StrEnum

from attrs import frozen

from chainp2p.chain.interfaces import HeaderInfo

__all__ = ["Activity", "Phase", "SyncChanged", "SyncState", "short", "wins"]

#: Further behind than this many blocks a node says that it is syncing: less is the ordinary life of a live chain.
BEHIND = 8


class Phase(StrEnum):
    """What it is doing now."""

    IDLE = "idle"  #: no peer, nothing to follow
    HEADERS = "headers"  #: asking a peer for headers
    BLOCKS = "blocks"  #: fetching the blocks of known headers
    FOLLOWING = "following"  #: in step with every peer, as far as they say


@frozen
class SyncState:
    """The answer to "what does it do, and what does it wait for?".

    :param starting: height at which this stretch of catching up began.
    :param highest: best height that is known or claimed.
    :param target: id of the peer that is asked now.
    """

    phase: Phase
    starting: int
    current: int
    highest: int
    target: bytes | None
    text: str

    @property
    def behind(self) -> bool:
        """Whether wallets should be told that this node is not up to date."""
        return self.phase in (Phase.HEADERS, Phase.BLOCKS) and self.highest - self.current > BEHIND


@frozen
class SyncChanged:
    """Event: this node fell behind, or caught up (``state.behind`` tells which)."""

    state: SyncState


@frozen
class Activity:
    """One thing that sync waits for.

    :param since: when it began to wait, in the reactor's seconds.
    :param until: when it gives up and does *otherwise*.
    """

    phase: Phase
    what: str
    since: float
    until: float | None = None
    otherwise: str = ""
    peer: bytes | None = None

    def text(self, now: float) -> str:
        """Say it in words, with times relative to *now*."""
        words = f"{self.what}, since {now - self.since:.1f} s"
        if self.until is not None:
            words += f"; in {max(0.0, self.until - now):.1f} s: {self.otherwise}"
        return words


def short(id: bytes | None) -> str:
    """The first eight digits of a peer id or a hash."""
    return "nobody" if id is None else id.hex()[:8]


def wins(rank: bytes, hash: bytes, other: HeaderInfo) -> bool:
    """Whether a block of *rank* is better than *other*: higher rank, then smaller hash."""
    return rank > other.rank or (rank == other.rank and hash < other.hash)
