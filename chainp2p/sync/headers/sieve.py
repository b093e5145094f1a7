"""A chain of headers of which nothing is kept until it has shown what it is worth (chain design, "Sync", Headers).

After the idea of Bitcoin Core's ``headerssync.h``: look at a peer's headers once without keeping them, and only when
their rank is high enough download them again, to be kept. One random bit in a while, kept of the first time, shows
that the second time brings the same ones.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from hashlib import blake2b
from typing import Any

from attrs import define, field

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.sync.state import wins

__all__ = ["HELD_BYTES", "LOOKAHEAD", "OtherHeaders", "PERIOD", "Sieve", "Stage"]

#: So many bytes of headers are held to see what they are worth: a chain that shows it within them is downloaded once.
HELD_BYTES = 4 << 20
#: A header in memory costs so much more than its bytes.
_OVERHEAD = 64
#: One bit is kept of so many headers: 20 KB for 10,000,000.
PERIOD = 64
#: A header counts as seen before when so many bits after it were right: the others are guessed once in 2^40 times.
#: 2,560 headers of at most 1 KiB wait for that.
LOOKAHEAD = 40


class OtherHeaders(Exception):
    """The second time the peer gave other headers than the first."""


class Stage(Enum):
    """How far it is."""

    HELD = "held"  #: looked at, and all of them held
    COUNTED = "counted"  #: looked at, too many to hold: bits are kept of them
    AGAIN = "again"  #: good enough; they come a second time
    OPEN = "open"  #: whatever follows is stored


@define(eq=False)
class Sieve:
    """One peer's chain of headers, from the last one that is ours.

    1. Headers are *good enough* at one that ranks no lower than *bar* and wins over our best; then all are stored, and
       what follows them is.
    2. Until then they are held, up to HELD_BYTES; beyond that, only a bit of each PERIOD-th is kept, of a keyed hash,
       so that nobody can know which headers would do as well.
    3. If they were not held, they come again from the start. What comes has to have the same bits and to end in the
       same header; it is given on when LOOKAHEAD bits after it were right.
    4. Constant memory: HELD_BYTES, and a PERIOD-th of a bit a header. It can be told to hold nothing (:meth:`let_go`),
       which costs a download and nothing else.

    :param start: the last header of the peer's chain that we have.
    :param key: chance, new for each sieve.
    :param open: keep nothing back.
    """

    start: HeaderInfo
    bar: bytes
    key: bytes
    open: bool = False
    #: What the chain's ``check_run`` is given to go on.
    after: Any = field(init=False, default=None)
    stage: Stage = field(init=False)
    #: The last header that was looked at.
    last: HeaderInfo = field(init=False)
    #: Headers are asked for after this one.
    asked: bytes = field(init=False)
    #: The last one that was stored.
    kept: bytes = field(init=False)
    #: The greatest height that was looked at.
    reached: int = field(init=False)
    #: Headers looked at, and those that came again.
    count: int = field(init=False, default=0)
    came: int = field(init=False, default=0)
    #: Seconds that looking took, and that the second time did so far; kept by whoever asks.
    looking: float = field(init=False, default=0.0)
    repeating: float = field(init=False, default=0.0)
    _held: list[bytes] = field(init=False, factory=list)
    _bytes: int = field(init=False, default=0)
    _bits: bytearray = field(init=False, factory=bytearray)

    def __attrs_post_init__(self) -> None:
        self.stage = Stage.OPEN if self.open else Stage.HELD
        self.last, self.reached = self.start, self.start.height
        self.asked = self.kept = self.start.hash

    @property
    def shown(self) -> bytes:
        """The highest rank that its headers reached."""
        return self.last.rank

    @property
    def held(self) -> int:
        """Bytes of memory that the headers take which it holds."""
        return self._bytes

    @property
    def stored_all(self) -> bool:
        """Whether all that came has been given on to be stored."""
        return self.stage is Stage.OPEN

    def looked(self, raws: Sequence[bytes], infos: Sequence[HeaderInfo], after: Any, over: HeaderInfo) -> list[bytes]:
        """These good headers follow; return those that are to be stored. *over*: what they have to win over."""
        for info in infos:
            self._note(info.hash)
        self.after, self.last, self.asked = after, infos[-1], infos[-1].hash
        self.reached = self.last.height
        enough = self.last.rank >= self.bar and wins(self.last.rank, self.last.hash, over)
        if self.stage is Stage.COUNTED:
            if enough:
                self._repeat()
            return []
        self._hold(raws)
        if enough:
            return self._open()
        if self._bytes > HELD_BYTES:
            self.let_go()
        return []

    def again(self, raws: Sequence[bytes], hash_of: Callable[[bytes], bytes]) -> list[bytes]:
        """These come a second time; return those that are to be stored. OtherHeaders if they are not the same.

        :param hash_of: the hash of a raw header; not asked for those of which no bit was kept.
        """
        for raw in raws[: self.count - self.came]:
            self.came += 1
            if self.came % PERIOD == 0 and self._bit(hash_of(raw)) != self._kept(self.came // PERIOD - 1):
                raise OtherHeaders(f"other headers than before, up to block {self.start.height + self.came}")
            if self.came == self.count and hash_of(raw) != self.last.hash:
                raise OtherHeaders(f"another block {self.last.height} than before")
        self.asked = hash_of(raws[-1])
        self._hold(raws)
        if self.came == self.count:
            return self._open()
        sure = max(0, self.came // PERIOD - LOOKAHEAD) * PERIOD
        waiting = self.came - sure
        given, self._held = self._held[:-waiting], self._held[-waiting:]
        self._bytes -= _size(given)
        return given

    def stored(self, tip: HeaderInfo) -> None:
        """Headers up to *tip*, of those that were given on, are stored."""
        self.kept, self.reached = tip.hash, max(self.reached, tip.height)
        if self.stage is Stage.OPEN:
            self.last, self.asked = tip, tip.hash

    def let_go(self) -> None:
        """Hold nothing any more; what was held will be downloaded again."""
        if self.stage is Stage.HELD:
            self.stage = Stage.COUNTED
            self._clear()
        elif self.stage is Stage.AGAIN:
            self._repeat()

    def words(self) -> str:
        """Say how far it is, for people."""
        if self.stage is Stage.COUNTED:
            return f" (headers of unknown worth: {self.count} looked at and not kept)"
        if self.stage is Stage.AGAIN:
            return f" (its headers a second time, to keep them: {self.came} of {self.count})"
        return ""

    def _note(self, hash: bytes) -> None:
        self.count += 1
        if self.count % PERIOD == 0:
            place = self.count // PERIOD - 1
            if place % 8 == 0:
                self._bits.append(0)
            self._bits[-1] |= self._bit(hash) << place % 8

    def _bit(self, hash: bytes) -> int:
        return blake2b(hash, digest_size=1, key=self.key).digest()[0] & 1

    def _kept(self, place: int) -> int:
        return self._bits[place // 8] >> place % 8 & 1

    def _hold(self, raws: Sequence[bytes]) -> None:
        self._held.extend(raws)
        self._bytes += _size(raws)

    def _clear(self) -> None:
        self._held, self._bytes = [], 0

    def _repeat(self) -> None:
        self._clear()
        self.stage, self.came, self.after = Stage.AGAIN, 0, None
        self.asked = self.kept = self.start.hash

    def _open(self) -> list[bytes]:
        given = self._held
        self._clear()
        self.stage, self.after = Stage.OPEN, None
        self._bits = bytearray()
        return given


def _size(raws: Sequence[bytes]) -> int:
    return sum(map(len, raws)) + _OVERHEAD * len(raws)
