"""What each peer's headers have shown so far, and what they have to show."""

from typing import Generic, TypeVar

from attrs import Factory, define

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.sync.headers.sieve import HELD_BYTES, Sieve, Stage

__all__ = ["FRESH", "Quest", "Quests", "parse_rank"]

#: A chain below this height says nothing about what other chains are worth (chain design, "Sync").
FRESH = 144
#: Coming a second time may take twice as long as the first time and so much more, while others wait. Seconds.
REPEAT_SLACK = 30.0
#: Bytes of headers that are held of peers whose turn it is not.
HELD_BESIDE = HELD_BYTES // 4

K = TypeVar("K")


def parse_rank(text: str) -> bytes:
    """A rank that was written in hex, with leading zeros or without; ValueError."""
    return int(text, 16).to_bytes(32, "big")


@define
class Quest:
    """One peer.

    :param stated: the rank in its ``Status``.
    :param best: our best header when it was last asked for headers.
    :param sieve: its headers, as far as they were looked at.
    :param judged: the end of its chain, if that was not stored.
    :param short: that ranks below what was stated.
    :param pardoned: when it may claim less than it stated.
    """

    stated: bytes
    best: bytes = b""
    sieve: Sieve | None = None
    judged: HeaderInfo | None = None
    short: bool = False
    pardoned: float = float("inf")


@define
class Quests(Generic[K]):
    """The peers whose headers are looked at.

    1. On a fresh node a peer's headers have to reach the rank that the peer stated; ours are no measure yet. One that
       delivered less may do so again when it has been asked last for long enough: it may have lost blocks.
    2. Each is looked at a little first, beside the others. Those that are longer are looked at further in slices, so
       that no peer holds the others up for long. First comes one that is good enough and on its way to be stored; then
       the one whose headers showed the highest rank, of equals the one that is nearest. Low rank is all that bad ones
       can show, so a good chain goes on when it was looked at, and nobody keeps it waiting by coming again and again.
    3. Only the one whose turn it is, or was last, holds HELD_BYTES of headers in memory, the others HELD_BESIDE in all.

    :param minimum: a rank that every chain has to reach.
    """

    minimum: bytes = b""
    _quests: dict[K, Quest] = Factory(dict)
    _turn: K | None = None

    def joined(self, key: K, stated: bytes) -> None:
        """A peer arrived."""
        self._quests[key] = Quest(stated)

    def left(self, key: K) -> None:
        """It is gone."""
        self._quests.pop(key, None)
        if self._turn == key:
            self._turn = None

    def get(self, key: K) -> Quest:
        """What is known of a peer."""
        return self._quests.get(key) or Quest(b"")

    def bar(self, key: K, best: HeaderInfo, now: float) -> bytes:
        """The rank that its headers have to reach, beside winning over *best*."""
        quest = self.get(key)
        if best.height >= FRESH:
            return self.minimum
        if quest.judged is not None and now >= quest.pardoned:
            return max(self.minimum, min(quest.stated, quest.judged.rank))
        return max(self.minimum, quest.stated)

    def begun(self, key: K, sieve: Sieve) -> Sieve:
        """Its headers are going to be looked at."""
        self.get(key).sieve = sieve
        return sieve

    def resume(self, key: K, look: bool = False) -> Sieve | None:
        """Its turn, or a *look* beside that: where to go on; of the others, those that showed least, and of equals
        those that took longest, let go what they hold, if it is much.
        """
        if not look and key in self._quests:
            self._turn = key
        others = [quest.sieve for other, quest in self._quests.items() if other not in (key, self._turn)]
        sieves = [sieve for sieve in others if sieve is not None]
        total = sum(sieve.held for sieve in sieves)
        for sieve in sorted(sieves, key=lambda sieve: (sieve.shown, -sieve.looking)):
            if total > HELD_BESIDE:
                total -= sieve.held
                sieve.let_go()
        return self.get(key).sieve

    def spent(self, key: K, seconds: float, again: bool) -> None:
        """It was asked for so long, *again* for what had come before or not."""
        sieve = self.get(key).sieve
        if sieve is not None and again:
            sieve.repeating += seconds
        elif sieve is not None:
            sieve.looking += seconds

    def took(self, key: K) -> float:
        """How long looking at its headers has taken. Seconds."""
        sieve = self.get(key).sieve
        return 0.0 if sieve is None else sieve.looking + sieve.repeating

    def ended(self, key: K) -> None:
        """Nothing more is expected of its headers."""
        self.get(key).sieve = None

    def judge(self, key: K, tip: HeaderInfo, stored: bool, pardoned: float) -> bool:
        """Its chain ends at *tip*: answer whether that is less than it stated; it may be so from *pardoned* on."""
        quest = self.get(key)
        quest.sieve = None
        quest.judged = None if stored else tip
        quest.short = tip.rank < quest.stated
        if not quest.short:
            quest.pardoned = float("inf")
        elif quest.pardoned == float("inf"):
            quest.pardoned = pardoned
        return quest.short

    def dawdles(self, key: K) -> bool:
        """Whether it takes too long to send again what it sent before."""
        sieve = self.get(key).sieve
        if sieve is None or sieve.stage is not Stage.AGAIN:
            return False
        return sieve.repeating > 2 * sieve.looking + REPEAT_SLACK

    def order(self, key: K) -> tuple[float, ...]:
        """Sort key among claims of equal standing."""
        sieve = self.get(key).sieve
        if sieve is None:
            return (2,)
        if sieve.stage in (Stage.AGAIN, Stage.OPEN):
            return (0,)
        return (1, -int.from_bytes(sieve.shown, "big"), sieve.stage is Stage.COUNTED, sieve.looking)

    @property
    def height(self) -> int:
        """How far the headers are of the one whose turn it is, or was last; 0: there is none."""
        quest = None if self._turn is None else self._quests.get(self._turn)
        return 0 if quest is None or quest.sieve is None else quest.sieve.reached

    @property
    def short(self) -> int:
        """How many delivered less than they stated."""
        return sum(quest.short for quest in self._quests.values())
