"""What sync is doing, for people and programs, and the limits it works by."""

from enum import StrEnum

from attrs import field, frozen

from chainp2p.chain.interfaces import FailedBlock, HeaderInfo, RefusedBranch

__all__ = ["Activity", "Phase", "SyncChanged", "SyncState", "Waiting", "short", "wins"]

#: Further behind than this many blocks a node says that it is syncing: less is the ordinary life of a live chain.
BEHIND = 8


class Phase(StrEnum):
    """What it is doing now.

    Nobody sets it: it follows from what is under way, each time that somebody asks (:meth:`of`), so there is no
    transition that could be forgotten, nor a phase that it could be left in.
    """

    IDLE = "idle"  #: no peer, nothing to follow
    HEADERS = "headers"  #: asking a peer for headers
    STATE = "state"  #: fetching the state of a final block, in place of the blocks below
    BLOCKS = "blocks"  #: fetching the blocks of known headers
    FOLLOWING = "following"  #: in step with every peer, as far as they say

    @classmethod
    def of(cls, *, state: bool, blocks: bool, headers: bool, peers: bool) -> "Phase":
        """Tell it from whether a *state*, *blocks* or *headers* are missing or being checked, and there are *peers*."""
        if state:
            return cls.STATE
        if blocks:
            return cls.BLOCKS
        if headers:
            return cls.HEADERS
        return cls.FOLLOWING if peers else cls.IDLE


@frozen
class Waiting:
    """One thing that is awaited.

    :param what: ``headers``, ``blocks``, ``chain`` (to check blocks that are here), ``peers`` (that have a block) or
        ``time`` (the block is from the future, or something of ours failed).
    :param peer: who is asked; None: nobody is.
    :param height: of the first block that is awaited (of headers: the one that they should follow).
    :param hash: its hash.
    :param count: how many are asked for at once.
    :param age: for how long it has been awaited. Seconds.
    :param left: when *otherwise* happens if it does not come. Seconds from now; None: whenever it can.
    """

    what: str
    peer: bytes | None
    height: int
    hash: bytes
    count: int
    age: float
    left: float | None
    otherwise: str


@frozen
class StateProgress:
    """A state that is being downloaded.

    :param share: of all keys, for how many everything is here; it never goes back.
    :param entries: accounts that are here.
    :param bytes: of the chunks that were good.
    :param eta: seconds that are left at the rate of late; None: unknown.
    """

    height: int
    hash: bytes
    share: float
    chunks: int
    entries: int
    bytes: int
    eta: float | None


@frozen
class SyncState:
    """The answer to "what does it do, and what does it wait for?".

    :param starting: height at which this stretch of catching up began.
    :param highest: best height that is known or claimed.
    :param headers: how far the headers are that were looked at, kept or not.
    :param target: id of the peer that is asked for what everything waits for.
    :param rate: blocks per second of late; None: none came.
    :param eta: seconds until *highest* at that rate; None: unknown.
    :param waits: all that is awaited, what everything waits for first.
    :param state: how far the state is that is downloaded in place of blocks; *eta* is that of it then.
    :param failed: the last blocks that failed when they were connected, and whose fault that is.
    :param refused: branches that win over the head and are too deep to be followed, unless an operator allows it.
    """

    phase: Phase
    starting: int
    current: int
    highest: int
    target: bytes | None
    text: str
    rate: float | None = None
    eta: float | None = None
    headers: int = 0
    waits: tuple[Waiting, ...] = field(default=())
    state: StateProgress | None = None
    failed: tuple[FailedBlock, ...] = field(default=())
    refused: tuple[RefusedBranch, ...] = field(default=())

    @property
    def behind(self) -> bool:
        """Whether wallets should be told that this node is not up to date."""
        return self.phase in (Phase.HEADERS, Phase.STATE, Phase.BLOCKS) and self.highest - self.current > BEHIND


@frozen
class SyncChanged:
    """Event: this node fell behind, or caught up (``state.behind`` tells which)."""

    state: SyncState


@frozen
class Activity:
    """One thing that sync waits for.

    :param since: when it began to wait, in the reactor's seconds.
    :param until: when it gives up and does *otherwise*.
    :param after: the block that the answer should follow.
    """

    what: str
    since: float
    until: float | None = None
    otherwise: str = ""
    peer: bytes | None = None
    after: bytes = b""

    def text(self, now: float) -> str:
        """Say it in words, with times relative to *now*."""
        words = f"{self.what}, since {now - self.since:.1f} s"
        if self.until is not None:
            words += f"; in {max(0.0, self.until - now):.1f} s: {self.otherwise}"
        return words

    def waiting(self, now: float) -> Waiting | None:
        """The question that is open; None: there is none."""
        if self.peer is None:
            return None
        left = None if self.until is None else max(0.0, self.until - now)
        return Waiting("headers", self.peer, 0, self.after, 0, now - self.since, left, self.otherwise)


def short(id: bytes | None) -> str:
    """The first eight digits of a peer id or a hash."""
    return "nobody" if id is None else id.hex()[:8]


def wins(rank: bytes, hash: bytes, other: HeaderInfo) -> bool:
    """Whether a block of *rank* is better than *other*: higher rank, then smaller hash."""
    return rank > other.rank or (rank == other.rank and hash < other.hash)
