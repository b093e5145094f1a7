"""What became of submitted blocks, in the words that every chain has for it."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from chainp2p.chain.interfaces import (
    Connected,
    Fault,
    HeadChanged,
    HeadersRejected,
    Invalid,
    NotYet,
    ParentMissing,
    Stored,
    Verdict,
)
from chainp2p.chain.tree import Node

__all__ = ["DESCENDS", "judged", "refused"]

D = TypeVar("D")

#: Why a block is refused with which nothing else is wrong.
DESCENDS = "it descends from a block that failed"


def judged(
    outcomes: "Sequence[Verdict | Node[D]]", change: HeadChanged | None, reasons: Mapping[bytes, str]
) -> list[Verdict]:
    """Return the verdicts on blocks that were submitted together.

    :param outcomes: for each, its verdict, or its node where that depends on what the fork choice made of it.
    :param change: what the fork choice did.
    :param reasons: why blocks failed, by hash.
    """
    entered = frozenset[bytes]() if change is None else {info.hash for info in change.entered}
    verdicts: list[Verdict] = []
    for outcome in outcomes:
        if not isinstance(outcome, Node):
            verdicts.append(outcome)
        elif outcome.bad:
            reason = reasons.get(outcome.info.hash, DESCENDS)
            verdicts.append(Invalid(outcome.info.hash, reason, Fault.SIGNER))
        elif change is not None and outcome.info.hash in entered:
            verdicts.append(Connected(outcome.info, change))
        else:
            verdicts.append(Stored(outcome.info))
    return verdicts


def refused(hash: bytes, parent: bytes, error: HeadersRejected) -> Verdict:
    """Return the verdict on a block whose header was refused."""
    if error.parent_missing:
        return ParentMissing(hash, parent)
    if error.when is not None:
        return NotYet(hash, error.when)
    return Invalid(hash, error.reason, Fault.SIGNER if error.condemned else Fault.SENDER)
