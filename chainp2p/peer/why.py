"""Why a peer is here or is not: one line that names the cause, the evidence for it, and what happened before."""

from collections.abc import Mapping, Sequence
from enum import Enum
from statistics import median

from attrs import field, frozen

from chainp2p.peer.causes import Cause, CauseKind, Evidence
from chainp2p.peer.conduct import Sentence, SentenceKind

__all__ = ["Answer", "KnownNow", "LinkNow", "PeerFacts", "State", "why_address", "why_ban", "why_peer"]

#: What happened to a peer that is here is told first for so long (seconds); later it is history.
RECENT = 3_600.0
#: A weak symptom is explained by a stronger one that is not older than this before it (seconds): one round of dials.
TOGETHER = 600.0
#: A clock that is so far off is worth a word (seconds; the same as ``chainp2p doctor``).
CLOCK_LIMIT = 5.0
#: So many peers have to tell their clocks before the median says who is wrong.
CLOCKS = 3


class State(Enum):
    """How things stand."""

    HERE = "here"
    COMING = "coming"
    BARRED = "barred"
    AWAY = "away"
    NEVER = "never"  #: known, and never dialled or met
    UNKNOWN = "unknown"
    OURSELVES = "ourselves"


@frozen
class LinkNow:
    """The link to the peer.

    :param since: Unix time of becoming ready; None: it is greeting.
    :param clock: seconds by which its clock is ahead of ours; None if it does not tell.
    """

    since: float | None
    outbound: bool
    address: tuple[str, int]
    agent: str = ""
    warning: str | None = None
    clock: float | None = None


@frozen
class KnownNow:
    """What the address book says; times are Unix seconds."""

    address: str
    held: bool
    failures: int
    dial_at: float
    reached_at: float | None


@frozen(kw_only=True)
class PeerFacts:
    """What a node knows of a peer now; times are Unix seconds.

    :param allowed: whether the allow-list, if there is one, names it.
    :param sentence: what keeps it away for its conduct.
    :param room: how many peers that are not held may be dialled more.
    :param clocks: seconds by which the clocks of all peers that are here are ahead of ours.
    :param causes: all that is remembered of it, newest first.
    """

    now: float
    peer_id: bytes
    ourselves: bool = False
    link: LinkNow | None = None
    removed: bool = False
    allowed: bool = True
    sentence: Sentence | None = None
    known: KnownNow | None = None
    room: int = 1
    clocks: Sequence[float] = ()
    causes: Sequence[Cause] = ()


@frozen
class Answer:
    """Why.

    :param code: what decided; the reason codes and the codes of rules, and a few of this module.
    :param line: plain words, the code in them.
    :param evidence: the facts behind the line.
    :param history: what else happened, newest first.
    """

    subject: str
    state: State
    code: str
    line: str
    evidence: Evidence = field(factory=dict)
    history: Sequence[Cause] = ()


#: Words for what happened, where the detail says nothing.
_WORDS: Mapping[str, str] = {
    "shutdown": "the node was stopped",
    "wrong_genesis": "it is of another network",
    "wrong_version": "it speaks another version of the protocol",
    "wrong_settings": "its chain has other settings",
    "wrong_peer_id": "another node answers at its address",
    "self": "that address is our own",
    "duplicate": "another link to the same peer stays",
    "duplicate_key": "two machines use the same key",
    "malformed_frame": "its bytes were no frame",
    "oversize": "it sent more than a message may have",
    "malformed_message": "it sent a message that cannot be read",
    "out_of_order": "it sent a message out of order",
    "unexpected_reply": "it replied to nothing that was asked",
    "handshake_timeout": "the handshake did not end in time",
    "ping_timeout": "it fell silent",
    "not_reading": "it does not read what is sent",
    "too_many_peers": "no place is free",
    "banned": "it is banned",
    "removed": "the operator sent it away",
    "not_allowed": "it is not on the allow-list",
    "misbehaved": "it broke a rule",
    "refused_after_tls": "the connection was closed before the first word",
    "bad_certificate": "its certificate proves nothing",
    "connection_lost": "the connection broke",
}
#: Tell nothing that is wrong.
_HARMLESS = {"duplicate", "feeler"}
#: What the other end of a connection sees of anything at all.
_WEAK = {"connection_lost", "refused_after_tls"}
#: Tell that nobody answers, not why.
_SYMPTOMS = {"ping_timeout", "handshake_timeout"}


def _strength(cause: Cause) -> int:
    """Return how much a cause explains: 3 somebody decided, 2 nobody answers, 1 a connection broke, 0 nothing."""
    if cause.code in _HARMLESS:
        return 0
    if cause.code in _WEAK:
        return 1
    return 2 if cause.kind is CauseKind.DIAL_FAILED or cause.code in _SYMPTOMS else 3


def span(seconds: float) -> str:
    """Write a time span for people."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 7_200:
        return f"{whole // 60} min"
    if whole < 172_800:
        return f"{whole // 3_600} h {whole % 3_600 // 60} min"
    return f"{whole // 86_400} d"


def _name(peer_id: bytes) -> str:
    return f"peer {peer_id.hex()[:8]}"


def _said(cause: Cause) -> str:
    """Return the code and the words of a cause."""
    return f"{cause.code}: {cause.text or _WORDS.get(cause.code, 'nothing more is known')}"


_PASSIVE = {
    CauseKind.ENDED: "left",
    CauseKind.EVICTED: "evicted",
    CauseKind.REFUSED: "refused",
    CauseKind.DIAL_FAILED: "not reached",
    CauseKind.BANNED: "banned",
    CauseKind.UNBANNED: "free again",
    CauseKind.NOTED: "noted",
}


def _happened(cause: Cause, now: float) -> str:
    """Return what happened, how often, when, who decided, and why."""
    what, theirs = _PASSIVE[cause.kind], cause.evidence.get("by") == "peer"
    if cause.kind is CauseKind.ENDED:
        if _strength(cause) == 3 and not (theirs and cause.code == "shutdown"):
            what = "it sent us away" if theirs else "sent away"
        elif not _strength(cause):
            what = "a link closed"
    elif cause.kind is CauseKind.REFUSED and theirs:
        what = "it refused us"
    times = f" {cause.count} times" if cause.count > 1 else ""
    since = f", first {span(now - cause.since)} ago" if cause.count > 1 else ""
    return f"{what}{times} {span(now - cause.when)} ago{since}: {_said(cause)}"


def _ready_end(cause: Cause) -> bool:
    return cause.kind in (CauseKind.ENDED, CauseKind.EVICTED)


def _absence(causes: Sequence[Cause]) -> list[Cause]:
    """Return what has happened since the peer was here or free to come the last time, newest first."""
    found: list[Cause] = []
    for cause in causes:
        if cause.kind in (CauseKind.BANNED, CauseKind.UNBANNED):
            return found or [cause]
        if cause.kind is CauseKind.NOTED:
            continue
        found.append(cause)
        if _ready_end(cause) and _strength(cause):
            return found
    return found


def leading(causes: Sequence[Cause]) -> Cause | None:
    """Return what explains best why a peer is not here; None if nothing does.

    1. The newest thing that happened, if somebody decided it.
    2. Otherwise the end of the last link, unless that is weaker still: who has said that it stops, or has fallen
       silent, is not reached afterwards for that reason.
    3. Otherwise the strongest of what happened at about the same time.
    """
    found = _absence(causes)
    telling = [cause for cause in found if _strength(cause)] or found
    if not telling:
        return None
    newest, last = telling[0], telling[-1]
    if _strength(newest) == 3:
        return newest
    if _ready_end(last) and _strength(last) >= _strength(newest):
        return last
    near = [cause for cause in telling if newest.when - cause.when <= TOGETHER]
    return max(near, key=lambda cause: (_strength(cause), cause.when))


def _answer(facts: PeerFacts, state: State, code: str, words: str, cause: Cause | None, **more: str | float) -> Answer:
    evidence: dict[str, str | int | float] = {}
    if cause is not None:
        evidence |= {"when": cause.when, "kind": cause.kind.value, **cause.evidence}
        if cause.count > 1:
            evidence |= {"count": cause.count, "first": cause.since}
        host, port = cause.address
        if host:
            evidence["address"] = f"{host}:{port}"
    if facts.known is not None:
        known = facts.known
        evidence |= {"book": known.address, "held": known.held, "failures": known.failures}
        if known.dial_at > facts.now and facts.link is None:
            evidence["next_dial"] = known.dial_at
        if known.reached_at is not None:
            evidence["reached"] = known.reached_at
    evidence |= more
    return Answer(facts.peer_id.hex(), state, code, f"{_name(facts.peer_id)}: {words}", evidence, tuple(facts.causes))


def why_peer(facts: PeerFacts) -> Answer:
    """Return why this peer is here, or why it is not."""
    if facts.ourselves:
        return _answer(facts, State.OURSELVES, "self", "self: this is our own key", None)
    if facts.link is not None:
        return _here(facts, facts.link)
    return _barred(facts) or _away(facts)


def _here(facts: PeerFacts, link: LinkNow) -> Answer:
    way = "outbound" if link.outbound else "inbound"
    more: dict[str, str | float] = {"way": way, "remote": f"{link.address[0]}:{link.address[1]}", "agent": link.agent}
    if link.since is None:
        return _answer(facts, State.COMING, "greeting", f"greeting: {way}, the handshake is under way", None, **more)
    here = f"connected: here for {span(facts.now - link.since)}, {way}"
    recent = [cause for cause in facts.causes if facts.now - cause.when <= RECENT and cause.kind is not CauseKind.NOTED]
    trouble = [cause for cause in recent if _strength(cause)] or recent
    if link.warning:
        words = f"{here}; its chain will differ (wrong_settings): {link.warning}"
        return _answer(facts, State.HERE, "wrong_settings", words, None, since=link.since, **more)
    if link.clock is not None and abs(link.clock) > CLOCK_LIMIT:
        code, words = _clock(link.clock, facts.clocks)
        more["clock_offset"] = round(link.clock, 1)
        return _answer(facts, State.HERE, code, f"{here}; {code}: {words}", None, since=link.since, **more)
    if not trouble:
        return _answer(facts, State.HERE, "connected", here, None, since=link.since, **more)
    cause = trouble[0]
    words = f"{here}; before that: {_happened(cause, facts.now)}"
    return _answer(facts, State.HERE, cause.code, words, cause, here_since=link.since, **more)


def _clock(offset: float, others: Sequence[float]) -> tuple[str, str]:
    """Say whose clock is wrong where two differ: the one that is far from the median of all."""
    way = f"{span(abs(offset))} {'ahead of' if offset > 0 else 'behind'} ours"
    if len(others) < CLOCKS:
        return "clocks_differ", f"its clock is {way}, and too few peers are here to say who is wrong"
    middle = median(others)
    if abs(offset - middle) > CLOCK_LIMIT:
        return "peer_clock", f"its clock is {way}, and far from that of the {len(others)} peers that are here"
    return "wrong_clock", f"its clock is {way}, and so are those of most peers: ours is wrong"


def _barred(facts: PeerFacts) -> Answer | None:
    if facts.removed:
        words = "removed: the operator sent it away; add it, or lift it with unban"
        return _answer(facts, State.BARRED, "removed", words, None)
    if not facts.allowed:
        return _answer(facts, State.BARRED, "not_allowed", "not_allowed: it is not on the allow-list", None)
    if facts.sentence is None:
        return None
    one = facts.sentence
    code = one.reason or one.rule
    state = State.BARRED if one.bars else State.AWAY
    return _answer(facts, state, code, _sentenced(one, facts.now), None, **_sentence_facts(one))


def _sentence_facts(one: Sentence) -> dict[str, str | float]:
    return {
        "sentence": one.kind.value,
        "rule": one.rule,
        "reason": one.reason,
        "detail": one.detail,
        "since": one.since,
        "until": one.until,
        "in_a_row": one.count,
    }


def _sentenced(one: Sentence, now: float) -> str:
    left = span(one.until - now)
    fault = f"{one.reason}: {one.detail or _WORDS.get(one.reason, '')}"
    match one.kind:
        case SentenceKind.OPERATOR:
            return f"banned for {left} more: {one.rule}: by the operator, {span(now - one.since)} ago"
        case SentenceKind.BAN:
            return f"banned for {left} more, since {span(now - one.since)} ago: {fault} ({one.rule})"
        case SentenceKind.WAIT:
            return f"kept away for {left} more in place of a ban: {fault} ({one.rule})"
        case SentenceKind.REDIAL:
            return f"not dialled for {left} more: {fault} ({one.rule})"


def _away(facts: PeerFacts) -> Answer:
    cause = leading(facts.causes)
    known = facts.known
    if cause is not None:
        words = _happened(cause, facts.now)
        newest = next((one for one in facts.causes if one.kind is CauseKind.DIAL_FAILED), None)
        if newest is not None and newest is not cause and newest.when > cause.when:
            dials = f"{newest.count} dials since" if newest.count > 1 else "dialled once since"
            words += f"; {dials}: {_said(newest)}"
        elif known is not None and known.dial_at > facts.now:
            words += f"; dialled again in {span(known.dial_at - facts.now)}"
        return _answer(facts, State.AWAY, cause.code, words, cause)
    if known is None:
        words = "unknown: it is not in the address book, and no link with it and no dial to it is remembered"
        return _answer(facts, State.UNKNOWN, "unknown", words, None)
    if known.dial_at > facts.now:
        words = f"never_dialled: known at {known.address}; the first dial is due in {span(known.dial_at - facts.now)}"
        return _answer(facts, State.NEVER, "never_dialled", words, None)
    if facts.room <= 0 and not known.held:
        words = f"no_slot: known at {known.address}, not dialled: all outbound slots are taken"
        return _answer(facts, State.NEVER, "no_slot", words, None)
    words = f"never_dialled: known at {known.address}, and its turn has not come"
    return _answer(facts, State.NEVER, "never_dialled", words, None)


def why_ban(facts: PeerFacts) -> Answer:
    """Return by which rule this peer is, or was, kept away."""
    barred = _barred(facts)
    one = facts.sentence
    if barred is not None and one is not None and not facts.removed and facts.allowed:
        return _answer(facts, barred.state, one.rule, _sentenced(one, facts.now), None, **_sentence_facts(one))
    if barred is not None:
        return barred
    kinds = (CauseKind.BANNED, CauseKind.UNBANNED)
    cause = next((cause for cause in facts.causes if cause.kind in kinds), None)
    state = State.AWAY if facts.link is None else State.HERE
    if cause is not None:
        fault = cause.evidence.get("reason") or "the operator"
        detail = cause.evidence.get("detail")
        was = f"it was for {fault}: {detail}" if detail else f"it was for {fault}"
        words = f"not banned: {cause.code} {span(facts.now - cause.when)} ago: {cause.text}; {was}"
        return _answer(facts, state, cause.code, words, cause)
    theirs = next((one for one in facts.causes if one.code == "banned" or one.evidence.get("reason") == "banned"), None)
    if theirs is not None and theirs.evidence.get("by") == "peer":
        words = f"not banned by us; it has banned us: {_happened(theirs, facts.now)}"
        return _answer(facts, state, "banned", words, theirs)
    return _answer(facts, state, "not_banned", "not_banned: nothing keeps it away, and no ban is remembered", None)


def why_address(subject: str, causes: Sequence[Cause], now: float) -> Answer:
    """Return what happened at an address, whoever it was."""
    if not causes:
        words = f"{subject}: unknown: nothing that happened at this address is remembered"
        return Answer(subject, State.UNKNOWN, "unknown", words)
    cause = leading(causes) or causes[0]
    evidence = {"when": cause.when, "kind": cause.kind.value, "count": cause.count, **cause.evidence}
    return Answer(subject, State.AWAY, cause.code, f"{subject}: {_happened(cause, now)}", evidence, tuple(causes))
