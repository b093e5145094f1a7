"""Why a peer is here or is not: one line that names the cause, the evidence for it, and what happened before."""

from collections.abc import Sequence
from enum import Enum
from statistics import median_high, median_low

from attrs import field, frozen

from chainp2p.peer.causes import Cause, CauseKind, Evidence
from chainp2p.peer.conduct import Sentence, SentenceKind
from chainp2p.peer.telling import WORDS, broken, happened, leading, said, span, strength

__all__ = ["Answer", "KnownNow", "LinkNow", "PeerFacts", "State", "why_address", "why_ban", "why_peer"]

#: What happened to a peer that is here is told first for so long (seconds); later it is history.
RECENT = 3_600.0
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
    """What the address book says; times are Unix seconds.

    :param group_taken: whether another outbound link goes to its group of addresses.
    """

    address: str
    held: bool
    failures: int
    dial_at: float
    reached_at: float | None
    group_taken: bool = False


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


def _name(peer_id: bytes) -> str:
    return f"peer {peer_id.hex()[:8]}"


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
    trouble = [cause for cause in recent if strength(cause)] or recent
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
    words = f"{here}; before that: {happened(cause, facts.now)}"
    return _answer(facts, State.HERE, cause.code, words, cause, here_since=link.since, **more)


def _clock(offset: float, others: Sequence[float]) -> tuple[str, str]:
    """Say whose clock is wrong where two differ: the one that is far from the median of all."""
    way = f"{span(abs(offset))} {'ahead of' if offset > 0 else 'behind'} ours"
    if len(others) < CLOCKS:
        return "clocks_differ", f"its clock is {way}, and too few peers are here to say who is wrong"
    # of an even number the one nearer to 0: half of the peers never outvote our clock
    middle = min(median_low(others), median_high(others), key=abs)
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
    fault = f"{one.reason}: {one.detail or WORDS.get(one.reason, '')}"
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
        words = happened(cause, facts.now)
        newest = next((one for one in facts.causes if one.kind is CauseKind.DIAL_FAILED), None)
        if newest is not None and newest is not cause and newest.when > cause.when:
            dials = f"{newest.count} dials since" if newest.count > 1 else "dialled once since"
            words += f"; {dials}: {said(newest)}"
        elif (left := broken(facts.causes)) is not None and left is not cause:
            words += f"; it {happened(left, facts.now)}"
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
    if known.group_taken and not known.held:
        words = (
            f"group_taken: known at {known.address}, not dialled: an outbound link to its group of addresses is here"
        )
        return _answer(facts, State.NEVER, "group_taken", words, None)
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
        fault, detail = cause.evidence.get("reason"), cause.evidence.get("detail")
        was = f"it was for {fault}: {detail}" if detail else f"it was for {fault}" if fault else "it was the operator's"
        words = f"not banned: {cause.code} {span(facts.now - cause.when)} ago: {cause.text}; {was}"
        return _answer(facts, state, cause.code, words, cause)
    theirs = next((one for one in facts.causes if one.code == "banned" or one.evidence.get("reason") == "banned"), None)
    if theirs is not None and theirs.evidence.get("by") == "peer":
        words = f"not banned by us; it has banned us: {happened(theirs, facts.now)}"
        return _answer(facts, state, "banned", words, theirs)
    return _answer(facts, state, "not_banned", "not_banned: nothing keeps it away, and no ban is remembered", None)


def why_address(subject: str, causes: Sequence[Cause], now: float) -> Answer:
    """Return what happened at an address, whoever it was."""
    if not causes:
        words = f"{subject}: unknown: nothing that happened at this address is remembered"
        return Answer(subject, State.UNKNOWN, "unknown", words)
    cause = leading(causes) or causes[0]
    evidence = {"when": cause.when, "kind": cause.kind.value, "count": cause.count, **cause.evidence}
    return Answer(subject, State.AWAY, cause.code, f"{subject}: {happened(cause, now)}", evidence, tuple(causes))
