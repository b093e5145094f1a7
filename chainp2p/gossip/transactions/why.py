"""Why a transaction is where it is: one line that names the cause, the evidence for it, and what happened before."""

from collections.abc import Mapping, Sequence
from enum import Enum

from attrs import Factory, frozen

from chainp2p.chain.interfaces import TransactionStanding
from chainp2p.gossip.transactions.provenance import Happening, Stage
from chainp2p.peer.telling import span

__all__ = ["TransactionAnswer", "TransactionFacts", "TransactionState", "why_transaction"]

#: Peers named in the evidence.
NAMED = 16

_CAME = (Stage.SUBMITTED, Stage.PUSHED, Stage.FETCHED)
_ENDED = (Stage.REFUSED, Stage.DROPPED, Stage.INCLUDED, Stage.RETURNED, Stage.ADMITTED)


class TransactionState(Enum):
    """How things stand."""

    INCLUDED = "included"
    PENDING = "pending"  #: in the pool
    REFUSED = "refused"  #: not let into the pool
    DROPPED = "dropped"  #: was in the pool
    COMING = "coming"  #: announced, and not here yet
    UNKNOWN = "unknown"


@frozen(kw_only=True)
class TransactionFacts:
    """What a node knows of a transaction; ids are those of peers.

    :param standing: what the chain says of it; None: it is in no block of the best chain, and nothing is known of why.
    :param happened: oldest first.
    :param announcers: announced it and were not all asked in vain; :param asked: is asked for it now.
    :param holders: have told us of it, or were told more than a second ago.
    :param told: were told just now.
    """

    now: float
    hash: bytes
    pooled: bool
    standing: TransactionStanding | None = None
    happened: Sequence[Happening] = ()
    announcers: Sequence[bytes] = ()
    asked: bytes | None = None
    holders: Sequence[bytes] = ()
    told: Sequence[bytes] = ()


@frozen
class TransactionAnswer:
    """Why; see :class:`chainp2p.peer.why.Answer`. :param history: newest first."""

    subject: str
    state: TransactionState
    code: str
    line: str
    evidence: Mapping[str, str | int | float] = Factory(dict)
    history: Sequence[Happening] = ()


def why_transaction(facts: TransactionFacts) -> TransactionAnswer:
    """Return where a transaction is, where it came from, and what keeps it from being included."""
    state, code, words, more = _standing(facts)
    came = next((one for one in facts.happened if one.stage in _CAME), None)
    if came is not None and state is not TransactionState.COMING:
        words += f"; {_came(came, facts.now)}"
    evidence: dict[str, str | int | float] = dict(more)
    if came is not None:
        evidence |= {"source": came.stage.value, "when": came.since}
        if came.peer_id is not None:
            evidence["source_peer"] = came.peer_id.hex()
    for name, peers in (("has_it", facts.holders), ("told", facts.told), ("announced_by", facts.announcers)):
        if peers:
            evidence |= {name: len(peers), f"{name}_peers": _named(peers)}
    line = f"transaction {facts.hash.hex()[:8]}: {words}"
    return TransactionAnswer(facts.hash.hex(), state, code, line, evidence, tuple(reversed(facts.happened)))


def _standing(facts: TransactionFacts) -> tuple[TransactionState, str, str, Mapping[str, str | int | float]]:
    """State, code, words, evidence."""
    standing = facts.standing
    if standing is not None:
        state = TransactionState.INCLUDED if standing.included else TransactionState.PENDING
        return state, standing.code, f"{standing.code}: {standing.text}", standing.evidence
    if facts.pooled:
        return TransactionState.PENDING, "waiting", "waiting: it is in the pool, and the next block can have it", {}
    last = next((one for one in reversed(facts.happened) if one.stage in _ENDED), None)
    if last is not None and last.stage is Stage.REFUSED:
        words = f"not admitted {_ago(last.when, facts.now)}: {last.code}: {last.text}"
        return TransactionState.REFUSED, last.code or "refused", words, {}
    if last is not None and last.stage is Stage.DROPPED:
        words = f"left the pool {_ago(last.when, facts.now)}: {last.code}: {last.text}"
        return TransactionState.DROPPED, last.code or "dropped", words, {}
    if last is not None:
        words = (
            f"left_by_reorg: it was in a block {_ago(last.when, facts.now)}, which is not on the best chain any more"
        )
        return TransactionState.DROPPED, "left_by_reorg", words, {}
    if facts.asked is not None:
        words = f"asked_for: announced by {len(facts.announcers)}, asked of peer {facts.asked.hex()[:8]}"
        return TransactionState.COMING, "asked_for", words, {"asked": facts.asked.hex()}
    if facts.announcers:
        words = f"announced: by {len(facts.announcers)}, and asked of nobody yet"
        return TransactionState.COMING, "announced", words, {}
    if facts.happened:
        words = f"not_delivered: announced {_ago(facts.happened[-1].when, facts.now)}, and nobody who did delivered it"
        return TransactionState.COMING, "not_delivered", words, {}
    words = "unknown: it is neither in the pool nor on the best chain, and nobody told of it that is remembered"
    return TransactionState.UNKNOWN, "unknown", words, {}


def _came(one: Happening, now: float) -> str:
    if one.stage is Stage.SUBMITTED:
        return f"handed in here {_ago(one.since, now)}"
    peer = "a peer" if one.peer_id is None else f"peer {one.peer_id.hex()[:8]}"
    return f"{one.stage.value} {'by' if one.stage is Stage.PUSHED else 'from'} {peer} {_ago(one.since, now)}"


def _ago(when: float, now: float) -> str:
    return f"{span(now - when)} ago"


def _named(peers: Sequence[bytes]) -> str:
    shown = ", ".join(peer.hex()[:8] for peer in peers[:NAMED])
    return f"{shown} and {len(peers) - NAMED} more" if len(peers) > NAMED else shown
