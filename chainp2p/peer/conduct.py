"""How peers have behaved, and what follows from it: the two ledgers of the design, bans and waits."""

from collections.abc import Iterable
from enum import Enum
from typing import TypeAlias

from attrs import frozen

from chainp2p.errors import Penalty, Reason
from chainp2p.peer.ends import LinkEnd
from chainp2p.peer.netgroup import source_address
from chainp2p.peer.votes import is_private

__all__ = ["Conduct", "Consequence", "LastChoice", "Sentence", "SentenceKind", "Useless"]

#: A score of uselessness halves in so many seconds (chain design, "Two ledgers about peers").
USELESS_HALF_LIFE = 600.0
#: Below this a score is forgotten: one small fault of 40 minutes ago.
USELESS_LEAST = 1 / 16
#: From this score on others are asked first: two small faults within ten minutes, one may be bad luck.
CHOSEN_LAST = 1.5
#: Peers whose scores are kept; the lowest goes first.
SCORES_LIMIT = 4_096
#: A malicious key is banned for so long (seconds; chain design).
BAN_TIME = 86_400.0
#: Waits in place of a ban, and between dials of an incompatible peer: 1 minute doubling to 1 hour (chain design).
WAIT_MIN, WAIT_MAX = 60.0, 3_600.0
#: A wait begins at the minimum again when the last one is over for so long (seconds): as long as a ban.
FORGIVEN_AFTER = BAN_TIME
#: Sentences that are kept, each some 300 bytes; a new key costs its owner nothing, so the list cannot be long enough.
SENTENCES_LIMIT = 1_024
#: An address with a fault before authentication is last choice for slots for so long (seconds; chain design).
LAST_CHOICE_TIME = 3_600.0
#: Addresses of last choice that are kept; the oldest goes first.
LAST_CHOICE_LIMIT = 4_096
#: No ban of ours leaves a node with fewer ready peers than these (chain design).
PEERS_KEPT = 3

_INCOMPATIBLE = {Reason.WRONG_GENESIS, Reason.WRONG_VERSION, Reason.WRONG_SETTINGS}


class SentenceKind(Enum):
    """What a key was given."""

    BAN = "ban"  #: no link either way
    WAIT = "wait"  #: the same for a short time, where a ban would harm ourselves or the operator's word
    REDIAL = "redial"  #: it is not dialled; it may come
    OPERATOR = "operator"  #: a ban by the operator, whatever the rules say


@frozen
class Sentence:
    """A key stays away for a time.

    :param rule: code of the rule that decided.
    :param reason: code of the fault that it answers; empty for the operator's.
    :param since: seconds on the caller's clock, as is *until*.
    :param count: the how many-th in a row: waits double with it.
    """

    peer_id: bytes
    kind: SentenceKind
    rule: str
    reason: str
    detail: str
    since: float
    until: float
    count: int = 1

    @property
    def bars(self) -> bool:
        """Whether its links are refused, too."""
        return self.kind is not SentenceKind.REDIAL


@frozen
class Useless:
    """The peer's score after a small fault."""

    score: float


@frozen
class LastChoice:
    """Links from this address get a slot only where nobody else wants it."""

    address: str
    until: float
    rule: str = "address_last_choice"


Consequence: TypeAlias = Useless | Sentence | LastChoice | None


class Conduct:
    """What each fault costs, who stays away until when, and how useless each peer has been of late.

    1. *Useless* (slow, empty, duplicate): the score rises by one and halves every 10 minutes; it changes choice and
       eviction only. A peer that answers where we looked for another one has done nothing: the record was wrong.
    2. *Incompatible* (genesis, version, settings), whoever of the two found it: not dialled for 1 minute, doubling to
       1 hour; a link that becomes ready starts this anew. It may dial us: one handshake tells it what is wrong.
    3. *Malicious* (bad signature, invalid proof, oversize, broken order): the key is banned for 24 hours. Where that
       would leave fewer than 3 ready peers, and for keys that the operator named (held or on the allow-list): it stays
       away for 1 minute, doubling to 1 hour. A node that bans its last peers has cut itself off, which is what an
       attacker wants, and in a small network a fault is more often a bug than an attack.
    4. Only what a link has proven to ourselves counts, never what others say.
    5. An address is never refused: behind it there may be a whole company or city. After a fault of a caller that has
       not proven its key it is last choice for slots for an hour; public profile only, never a private address.
    6. The operator's word comes first, both ways: an operator's ban spares nobody, lifting ends any sentence.

    Cost: O(1) a fault while the tables have room, a pass over one when it is full. All times are seconds on one clock
    of the caller.

    :param public: whether this is a public network.
    """

    def __init__(self, public: bool) -> None:
        self._public = public
        self._scores: dict[bytes, tuple[float, float]] = {}
        self._sentences: dict[bytes, Sentence] = {}
        self._counts: dict[tuple[bytes, SentenceKind], tuple[int, float]] = {}
        self._last_choice: dict[str, float] = {}

    # -- judging

    def judge(self, end: LinkEnd, now: float, *, peers_left: int, held: bool, listed: bool) -> Consequence:
        """A link has ended: return what follows; None if nothing new does.

        :param peers_left: ready peers without this one.
        :param held: whether the operator named this peer to be dialled.
        :param listed: whether it is on the operator's allow-list.
        """
        peer_id = end.peer_id
        if peer_id is None:
            return self._stranger(end, now)
        if end.penalty is Penalty.INCOMPATIBLE or end.reason in _INCOMPATIBLE:
            if not (end.outbound or end.ready):
                return None  # a caller that we may never want to dial
            return self._wait(peer_id, SentenceKind.REDIAL, "redial_incompatible", end, now)
        if not end.by_us:
            return None
        if end.penalty is Penalty.USELESS and end.reason is not Reason.WRONG_PEER_ID:
            return self.useless(peer_id, now)
        if end.penalty is not Penalty.MALICIOUS:
            return None
        if listed or held or peers_left < PEERS_KEPT:
            rule = "ban_spared_listed" if listed else "ban_spared_held" if held else "ban_spared_few_peers"
            return self._wait(peer_id, SentenceKind.WAIT, rule, end, now)
        return self._unless_worse(
            Sentence(peer_id, SentenceKind.BAN, "ban_for_fault", end.reason.code, end.detail, now, now + BAN_TIME)
        )

    def _stranger(self, end: LinkEnd, now: float) -> LastChoice | None:
        ip = end.address[0]
        harmless = end.outbound or not end.by_us or end.penalty is Penalty.NONE
        if harmless or not self._public or is_private(ip):
            return None
        address, until = source_address(ip), now + LAST_CHOICE_TIME
        before = self._last_choice.pop(address, now)  # out and in, so that the dictionary is ordered by time
        self._last_choice[address] = until
        if len(self._last_choice) > LAST_CHOICE_LIMIT:
            del self._last_choice[next(iter(self._last_choice))]
        return LastChoice(address, until) if before <= now else None

    def _wait(self, peer_id: bytes, kind: SentenceKind, rule: str, end: LinkEnd, now: float) -> Sentence | None:
        before, forgiven_at = self._counts.get((peer_id, kind), (0, 0.0))
        count = before + 1 if now < forgiven_at else 1
        until = now + min(WAIT_MIN * 2.0 ** min(count - 1, 30), WAIT_MAX)
        return self._unless_worse(Sentence(peer_id, kind, rule, end.reason.code, end.detail, now, until, count))

    def _unless_worse(self, sentence: Sentence) -> Sentence | None:
        standing = self._sentences.get(sentence.peer_id)
        if standing is not None and (standing.until >= sentence.until or standing.bars > sentence.bars):
            return None
        return self._give(sentence)

    def _give(self, sentence: Sentence) -> Sentence:
        key = sentence.peer_id, sentence.kind
        self._counts.pop(key, None)
        self._counts[key] = sentence.count, sentence.until + FORGIVEN_AFTER
        if len(self._counts) > 2 * SENTENCES_LIMIT:
            del self._counts[next(iter(self._counts))]
        self._sentences[sentence.peer_id] = sentence
        if len(self._sentences) > SENTENCES_LIMIT:
            soonest = min(self._sentences.values(), key=lambda one: (one.kind is SentenceKind.OPERATOR, one.until))
            del self._sentences[soonest.peer_id]
        return sentence

    def useless(self, peer_id: bytes, now: float) -> Useless:
        """The peer has done something of no use."""
        score = self.score(peer_id, now) + 1.0
        self._scores.pop(peer_id, None)
        if len(self._scores) >= SCORES_LIMIT:
            del self._scores[min(self._scores, key=lambda other: self.score(other, now))]
        self._scores[peer_id] = score, now
        return Useless(score)

    def score(self, peer_id: bytes, now: float) -> float:
        """Return how useless a peer has been of late; 0 for one with no fault."""
        score, since = self._scores.get(peer_id, (0.0, now))
        left: float = score * 0.5 ** (max(0.0, now - since) / USELESS_HALF_LIFE)
        return left if left >= USELESS_LEAST else 0.0

    def is_useless(self, peer_id: bytes, now: float) -> bool:
        """Tell whether others should be asked first."""
        return bool(self._scores) and self.score(peer_id, now) >= CHOSEN_LAST

    def met(self, peer_id: bytes) -> bool:
        """A link to *peer_id* became ready, so it is compatible; True if that ended a sentence."""
        self._counts.pop((peer_id, SentenceKind.REDIAL), None)
        standing = self._sentences.get(peer_id)
        if standing is None or standing.bars:
            return False
        del self._sentences[peer_id]
        return True

    # -- the operator

    def ban(self, peer_id: bytes, now: float, seconds: float = BAN_TIME) -> Sentence:
        """The operator sends a key away."""
        return self._give(Sentence(peer_id, SentenceKind.OPERATOR, "ban_by_operator", "", "", now, now + seconds))

    def lift(self, peer_id: bytes) -> Sentence | None:
        """End a peer's sentence and forget its earlier ones; None if it had none."""
        for kind in SentenceKind:
            self._counts.pop((peer_id, kind), None)
        return self._sentences.pop(peer_id, None)

    # -- asking

    def sentence(self, peer_id: bytes, now: float) -> Sentence | None:
        """Return the sentence that keeps *peer_id* away now."""
        sentence = self._sentences.get(peer_id)
        return sentence if sentence is not None and now < sentence.until else None

    def sentences(self, now: float) -> list[Sentence]:
        """Return all that are running, the one that ends first in front."""
        return sorted(
            (one for one in self._sentences.values() if now < one.until), key=lambda one: (one.until, one.peer_id)
        )

    def away(self, now: float) -> set[bytes]:
        """Return whom not to dial now."""
        return {one.peer_id for one in self._sentences.values() if now < one.until}

    def is_last_choice(self, ip: str, now: float) -> bool:
        """Tell whether links from *ip* get a slot only where nobody else wants it."""
        return now < self._last_choice.get(source_address(ip), now)

    # -- time

    def next_end(self) -> float | None:
        """Return when :meth:`expire` has something to do next."""
        return min((one.until for one in self._sentences.values()), default=None)

    def expire(self, now: float) -> list[Sentence]:
        """Drop and return the sentences that are over."""
        over = [one for one in self._sentences.values() if one.until <= now]
        for one in over:
            del self._sentences[one.peer_id]
        return over

    def restore(self, sentences: Iterable[Sentence]) -> None:
        """Take the sentences of an earlier run."""
        for sentence in sentences:
            self._give(sentence)
