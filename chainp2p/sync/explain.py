"""What sync says of itself: what is awaited, of whom, since when, and what happens if it does not come."""

from collections.abc import Sequence
from math import inf
from typing import Any

from attrs import frozen

from chainp2p.chain.interfaces import HeaderInfo, IReorgs, RefusedBranch
from chainp2p.sync.blocks.sources import Ask, Source
from chainp2p.sync.blocks.window import Window
from chainp2p.sync.state import Waiting, short

__all__ = ["BlockView", "block_waits", "refusals", "refused_by", "sentence"]

#: Open requests that are told one by one.
TOLD = 64


@frozen
class BlockView:
    """What the fetching of blocks looks like now.

    :param sources: whom could be asked.
    :param hold: why nothing is asked for at present; empty: it is.
    :param hold_until: until when.
    :param submitted_at: when the chain was given what it has not judged.
    """

    window: Window[Any]
    sources: Sequence[Source[Any]]
    hold: str
    hold_until: float
    submitted_at: float


def block_waits(view: BlockView, now: float) -> list[Waiting]:
    """Return what is awaited for the next blocks, what everything waits for first; empty: no block is missing."""
    window, edge = view.window, view.window.row.edge
    waits: list[Waiting] = []
    if now < view.hold_until and edge is not None:
        left = view.hold_until - now
        return [Waiting("time", None, edge.height, edge.hash, 1, 0.0, left, f"{view.hold}; it is tried again")]
    if edge is not None:
        holders = window.holders(edge)
        first = holders or [ask for ask in window.asks() if edge in ask.run]
        waits += [_asked(ask, edge, view, now) for ask in first]
        if not first and not (window.row.submitted or window.row.waiting):
            waits.append(_nobody(edge, view, now))
        rest = [(ask, window.lacks(ask)) for ask in window.asks() if ask not in first]
        waits += [_asked(ask, block, view, now) for ask, block in rest[:TOLD] if block is not None]
    checked = window.row.first_submitted()
    if checked is not None:
        otherwise = "the next are given to it when it has checked them"
        chain = Waiting(
            "chain", None, checked.height, checked.hash, window.row.submitted, now - view.submitted_at, None, otherwise
        )
        waits.insert(0 if not waits or waits[0].what != "blocks" else 1, chain)
    return waits


def _asked(ask: Ask[Any], block: HeaderInfo, view: BlockView, now: float) -> Waiting:
    until, otherwise = ask.until, "it is asked for again"
    stalls = view.window.gives_up(ask, view.sources, now)
    if stalls < until:
        until, otherwise = stalls, "another peer is asked"
    elif ask.loose:
        otherwise = "it is asked for again; others are asked meanwhile"
    return Waiting(
        "blocks",
        ask.peer.peer_id,
        block.height,
        block.hash,
        len(ask.run),
        now - ask.since,
        max(0.0, until - now),
        otherwise,
    )


def _nobody(edge: HeaderInfo, view: BlockView, now: float) -> Waiting:
    lacking = [server.lacks_until for _, server in view.window.servers.all() if server.has_not(edge, now)]
    left = min(lacking) - now if lacking else None
    what = "peers that said so are asked again" if lacking else "it is asked of the next peer that comes"
    return Waiting("peers", None, edge.height, edge.hash, 1, max(0.0, now - view.window.row.edge_since), left, what)


def sentence(waits: Sequence[Waiting]) -> str:
    """Say the first of *waits* in words, and how much else is under way."""
    first = waits[0]
    block = f"{first.height} {short(first.hash)}"
    match first.what:
        case "time":
            return f"{first.otherwise} in {first.left:.1f} s"
        case "blocks":
            words = f"{short(first.peer)} is asked for {first.count} blocks, block {block} is awaited"
        case "chain":
            words = f"the chain checks {first.count} blocks from {block}"
        case _:
            words = f"block {block} is awaited, no peer has it now"
    words += f", since {first.age:.1f} s"
    if first.left not in (None, inf):
        words += f"; in {first.left:.1f} s: {first.otherwise}"
    asked = [one for one in waits[1:] if one.what == "blocks"]
    if asked:
        peers = len({one.peer for one in asked})
        words += f"; {sum(one.count for one in asked)} more blocks are asked of {peers} peers"
    return words


def refused_by(chain: Any) -> tuple[RefusedBranch, ...]:
    """The branches that win over the head of *chain* and are not followed."""
    return tuple(chain.refused) if IReorgs.providedBy(chain) else ()


def refusals(refused: Sequence[RefusedBranch]) -> str:
    """Say which of them ranks highest, and what an operator can do; empty: there is none."""
    if not refused:
        return ""
    worst = max(refused, key=lambda branch: branch.tip.rank)
    tip = f"{worst.tip.height} {short(worst.tip.hash)}"
    if worst.ancestor is None:
        return f"; the better branch of block {tip} is refused: it parts from ours too far down to be followed"
    return (
        f"; the better branch of block {tip} is refused: {worst.depth} blocks would be undone, down to block "
        f"{worst.ancestor.height} {short(worst.ancestor.hash)}; admin_acceptReorg allows it"
    )
