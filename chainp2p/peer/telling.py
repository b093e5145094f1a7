"""Which of the things that happened to a peer explains that it is not here, and in which words."""

from collections.abc import Mapping, Sequence

from chainp2p.peer.causes import Cause, CauseKind

__all__ = ["WORDS", "broken", "happened", "leading", "said", "span", "strength"]

#: A weak symptom is explained by a stronger one that is not older than this before it (seconds): one round of dials.
TOGETHER = 600.0

#: Words for what happened, where the detail says nothing.
WORDS: Mapping[str, str] = {
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


def strength(cause: Cause) -> int:
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


def said(cause: Cause) -> str:
    """Return the code and the words of a cause."""
    return f"{cause.code}: {cause.text or WORDS.get(cause.code, 'nothing more is known')}"


_PASSIVE = {
    CauseKind.ENDED: "left",
    CauseKind.EVICTED: "evicted",
    CauseKind.REFUSED: "refused",
    CauseKind.DIAL_FAILED: "not reached",
    CauseKind.BANNED: "banned",
    CauseKind.UNBANNED: "free again",
    CauseKind.NOTED: "noted",
}


def happened(cause: Cause, now: float) -> str:
    """Return what happened, how often, when, who decided, and why."""
    what, theirs = _PASSIVE[cause.kind], cause.evidence.get("by") == "peer"
    if cause.kind is CauseKind.ENDED:
        if strength(cause) == 3 and not (theirs and cause.code == "shutdown"):
            what = "it sent us away" if theirs else "sent away"
        elif not strength(cause):
            what = "a link closed"
    elif cause.kind is CauseKind.REFUSED and theirs:
        what = "it refused us"
    times = f" {cause.count} times" if cause.count > 1 else ""
    since = f", first {span(now - cause.since)} ago" if cause.count > 1 else ""
    return f"{what}{times} {span(now - cause.when)} ago{since}: {said(cause)}"


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
        if _ready_end(cause) and strength(cause):
            return found
    return found


def broken(causes: Sequence[Cause]) -> Cause | None:
    """Return the last link's end, if it says nothing but that the connection broke."""
    return next((one for one in _absence(causes) if _ready_end(one) and one.code in _WEAK), None)


def leading(causes: Sequence[Cause]) -> Cause | None:
    """Return what explains best why a peer is not here; None if nothing does.

    1. The newest thing that happened, if somebody decided it.
    2. Otherwise the end of the last link, unless that is weaker still: who has said that it stops, or has fallen
       silent, is not reached afterwards for that reason.
    3. Otherwise the strongest of what happened at about the same time.
    """
    found = _absence(causes)
    telling = [cause for cause in found if strength(cause)] or found
    if not telling:
        return None
    newest, last = telling[0], telling[-1]
    if strength(newest) == 3:
        return newest
    if _ready_end(last) and strength(last) >= strength(newest):
        return last
    near = [cause for cause in telling if newest.when - cause.when <= TOGETHER]
    return max(near, key=lambda cause: (strength(cause), cause.when))
