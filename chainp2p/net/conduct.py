"""Carries out what :class:`~chainp2p.peer.conduct.Conduct` says: stores it, tells why, and ends it in time."""

from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from typing import Any

from attrs import evolve
from twisted.logger import Logger

from chainp2p.errors import PeerFault, Penalty, Reason
from chainp2p.net.alarm import Alarm
from chainp2p.net.store import PeerStore
from chainp2p.peer.causes import Cause, CauseKind
from chainp2p.peer.conduct import Conduct, LastChoice, Sentence, SentenceKind
from chainp2p.peer.ends import LinkEnd

__all__ = ["ConductKeeper"]

_NOWHERE = ("", 0)


def _utc(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


class ConductKeeper:
    """The conduct of all peers, over restarts.

    Times that are stored or shown are Unix seconds, those that run are the reactor's; a clock that was set back while
    the node was down makes no sentence longer than it was given.

    :param now: answers Unix time in seconds.
    :param public: whether this is a public network.
    :param note: told what happened and why.
    :param freed: called when a peer may be dialled that could not be before.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        now: Callable[[], float],
        public: bool,
        store: PeerStore,
        note: Callable[[Cause], None],
        freed: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._now = now
        self._store = store
        self._note = note
        self._freed = freed
        self._conduct = Conduct(public)
        self._alarm = Alarm(reactor, self._expire)

    @property
    def _offset(self) -> float:
        """What has to be added to the reactor's seconds for Unix time."""
        offset: float = self._now() - self._reactor.seconds()
        return offset

    # -- life

    def start(self, stored: Iterable[Sentence], held: Collection[bytes]) -> None:
        """Take the sentences of an earlier run; a key that the settings name now is freed from ours."""
        self._alarm = Alarm(self._reactor, self._expire)
        unix, now = self._now(), self._reactor.seconds()
        taken = []
        for one in stored:
            if one.peer_id in held and one.kind is not SentenceKind.OPERATOR:
                self._store.drop_sentence(one.peer_id)
                continue
            left = min(one.until - unix, one.until - one.since)
            taken.append(evolve(one, since=min(one.since - unix, 0.0) + now, until=now + left))
        self._conduct.restore(taken)
        self._expire()

    def stop(self) -> None:
        """Watch the time no more."""
        self._alarm.stop()

    def _expire(self) -> None:
        over = self._conduct.expire(self._reactor.seconds())
        for sentence in over:
            self._store.drop_sentence(sentence.peer_id)
            if sentence.bars:
                self._say(CauseKind.UNBANNED, "ban_expired", sentence, "its time is over")
        self._watch()
        if over:
            self._freed()

    def _watch(self) -> None:
        end = self._conduct.next_end()
        if end is not None:
            self._alarm.by(end)

    # -- judging

    def ended(self, end: LinkEnd, *, peers_left: int, held: bool, listed: bool) -> bool:
        """Judge the end of a link; True if its key is barred now."""
        now = self._reactor.seconds()
        found = self._conduct.judge(end, now, peers_left=peers_left, held=held, listed=listed)
        if isinstance(found, Sentence):
            kind = CauseKind.BANNED if found.kind is SentenceKind.BAN else CauseKind.NOTED
            self._enter(kind, found, end.address, peers_left=peers_left)
            return found.bars
        if isinstance(found, LastChoice):
            until = found.until + self._offset
            text = f"callers from {found.address} get a slot last until {_utc(until)}"
            evidence: dict[str, str | float] = {"until": until, "reason": end.reason.code, "detail": end.detail}
            self._note(Cause(self._now(), CauseKind.NOTED, found.rule, None, end.address, text, evidence))
        return False

    def _enter(
        self, kind: CauseKind, sentence: Sentence, address: tuple[str, int] = _NOWHERE, **facts: int | float | str
    ) -> None:
        self._store.save_sentence(self._shown(sentence))
        self._watch()
        self._say(kind, sentence.rule, sentence, self.text(sentence), address, **facts)

    def _shown(self, sentence: Sentence) -> Sentence:
        offset = self._offset
        return evolve(sentence, since=sentence.since + offset, until=sentence.until + offset)

    def _say(
        self,
        kind: CauseKind,
        rule: str,
        sentence: Sentence,
        text: str,
        address: tuple[str, int] = _NOWHERE,
        **facts: int | float | str,
    ) -> None:
        shown = self._shown(sentence)
        self._log.info(
            "peer {peer}: {rule}: {text}", peer=sentence.peer_id.hex()[:8], rule=rule, text=text, kind=kind.value
        )
        evidence = {
            "reason": shown.reason,
            "detail": shown.detail,
            "since": shown.since,
            "until": shown.until,
            "count": shown.count,
            **facts,
        }
        self._note(Cause(self._now(), kind, rule, sentence.peer_id, address, text, evidence))

    def text(self, sentence: Sentence) -> str:
        """Return plain words for what a sentence says."""
        until = _utc(sentence.until + self._offset)
        fault = f"{sentence.reason}: {sentence.detail}" if sentence.detail else sentence.reason
        match sentence.kind:
            case SentenceKind.OPERATOR:
                return f"by the operator until {until}"
            case SentenceKind.REDIAL:
                return f"not dialled until {until}, for {fault}"
            case _:
                return f"until {until}, for {fault}"

    def useless(self, peer_id: bytes) -> None:
        """A peer has done something of no use that does not end the link."""
        self._conduct.useless(peer_id, self._reactor.seconds())

    def met(self, peer_id: bytes) -> None:
        """A link to this peer became ready."""
        if self._conduct.met(peer_id):
            self._store.drop_sentence(peer_id)

    # -- asking

    def refusal(self, peer_id: bytes) -> PeerFault | None:
        """Return what to end a link with this key for, with until when; None if nothing bars it."""
        sentence = self._conduct.sentence(peer_id, self._reactor.seconds())
        if sentence is None or not sentence.bars:
            return None
        return PeerFault(Reason.BANNED, self.text(sentence), Penalty.NONE, sentence.rule)

    def away(self) -> set[bytes]:
        """Return whom not to dial now."""
        return self._conduct.away(self._reactor.seconds())

    def score(self, peer_id: bytes) -> float:
        """Return how useless a peer has been of late (:meth:`Conduct.score`)."""
        return self._conduct.score(peer_id, self._reactor.seconds())

    def is_useless(self, peer_id: bytes) -> bool:
        """Tell whether others should be asked first."""
        return self._conduct.is_useless(peer_id, self._reactor.seconds())

    def is_last_choice(self, ip: str) -> bool:
        """Tell whether links from *ip* get a slot only where nobody else wants it."""
        return self._conduct.is_last_choice(ip, self._reactor.seconds())

    def bans(self) -> list[Sentence]:
        """Return the running sentences, times in Unix seconds, the one that ends first in front."""
        return [self._shown(one) for one in self._conduct.sentences(self._reactor.seconds())]

    # -- the operator

    def ban(self, peer_id: bytes, seconds: float) -> Sentence:
        """The operator sends a key away for so long."""
        sentence = self._conduct.ban(peer_id, self._reactor.seconds(), seconds)
        self._enter(CauseKind.BANNED, sentence)
        return sentence

    def lift(self, peer_id: bytes) -> bool:
        """The operator forgives a key; False if it had no sentence."""
        sentence = self._conduct.lift(peer_id)
        if sentence is None:
            return False
        self._store.drop_sentence(peer_id)
        if sentence.bars:
            self._say(CauseKind.UNBANNED, "ban_lifted", sentence, "lifted by the operator")
        self._freed()
        return True
