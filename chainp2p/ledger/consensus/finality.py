"""Votes of a proof-of-authority chain: which block is justified, which is final (design: "Finality").

A header b of signer v carries ``base``: v's highest sealed slot that is not an ancestor of b. It votes for itself and
for its ancestors with slot > base. A block B is *justified* on a chain when voters v there satisfy 3v > 2n, and
*final* when they do so counting only voting blocks b with slot(J(b)) >= slot(B), J(b) being the highest justified
block on b's chain. Counting plain depth instead would be unsafe without any faulty signer, because an honest one that
switches branches would count on both.

On one chain the slots that v votes for are a union of spans (base, slot]. So a :class:`Tally` keeps, for each header,
a few spans per signer instead of votes per block; what has a quorum is found by one sweep over their ends, and its
top is always the top of a span, whose hash travels with it. Cost per header: O(n log n) for n signers, however long
the chain has been without finality. Spans at or below what is justified (or final) are dropped.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import TypeAlias

from attrs import frozen

from chainp2p.primitives import rlp

__all__ = ["Mark", "Tally", "Vote", "count_vote", "decode_tally", "encode_tally", "first_tally", "quorum", "span_count"]

#: (low, high, hash): the slots above *low* up to *high*, which is the slot of block *hash* on this chain.
Span: TypeAlias = tuple[int, int, bytes]

#: Disjoint spans per signer, lowest first.
Spans: TypeAlias = Mapping[bytes, tuple[Span, ...]]

_TOP = itemgetter(1)


@frozen
class Mark:
    """A block named by its slot and hash."""

    slot: int
    hash: bytes


@frozen
class Era:
    """Signers that were in turn up to and including block *last*, where the next list took over."""

    last: Mark
    signers: tuple[bytes, ...]


@frozen(slots=False)  # is gone at once, and made in a third of the time
class Vote:
    """What a header says: *signers* is the list in force at its height, *signer* one of them."""

    slot: int
    hash: bytes
    signer: bytes
    base: int
    signers: tuple[bytes, ...]


@frozen(eq=False)
class Tally:
    """The count of votes on the chain that ends in one header, that header's own vote included.

    :param block: that header.
    :param signers: the list at its height.
    :param votes: spans above ``justified``.
    :param commits: the spans that count for finality, above ``finalized``.
    :param eras: earlier lists that blocks above ``finalized`` still belong to, oldest first.
    """

    block: Mark
    signers: tuple[bytes, ...]
    justified: Mark
    finalized: Mark
    votes: Spans
    commits: Spans
    eras: tuple[Era, ...]


def quorum(n: int) -> int:
    """The least v with 3v > 2n."""
    return 2 * n // 3 + 1


def first_tally(genesis_hash: bytes, signers: tuple[bytes, ...]) -> Tally:
    """The tally of the genesis block, which is justified and final and votes for nothing."""
    mark = Mark(0, genesis_hash)
    return Tally(mark, signers, mark, mark, {}, {}, ())


def count_vote(parent: Tally, vote: Vote) -> Tally:
    """Return the tally of the chain that *vote*'s header adds to *parent*."""
    block = Mark(vote.slot, vote.hash)
    eras = parent.eras
    if vote.signers != parent.signers:
        eras = (*eras, Era(parent.block, parent.signers))

    justified, finalized = parent.justified, parent.finalized
    votes = _add(parent.votes, vote.signer, (vote.base, block.slot, block.hash), justified.slot)
    top = _highest(votes, vote.signers, eras, justified.slot)
    if top is not None:
        justified = top
        votes = _above(votes, top.slot)

    commits = parent.commits
    if justified.slot > max(vote.base, finalized.slot):
        commits = _add(commits, vote.signer, (vote.base, justified.slot, justified.hash), finalized.slot)
        top = _highest(commits, vote.signers, eras, finalized.slot)
        if top is not None:
            finalized = top
            commits = _above(commits, top.slot)
    if eras:
        eras = tuple(era for era in eras if era.last.slot > finalized.slot)
    return Tally(block, vote.signers, justified, finalized, votes, commits, eras)


def span_count(tally: Tally) -> int:
    """How many spans a tally holds: what it costs to keep, and to count one more vote."""
    return sum(map(len, tally.votes.values())) + sum(map(len, tally.commits.values()))


def _add(spans: Spans, signer: bytes, span: Span, floor: int) -> Spans:
    """Join *span*, whose top is not below any other of this signer, to the signer's spans above *floor*."""
    low, high, top = span
    kept = spans.get(signer, ())
    while kept and kept[-1][1] >= low:
        low = min(low, kept[-1][0])
        kept = kept[:-1]
    return {**spans, signer: (*kept, (max(low, floor), high, top))}


def _above(spans: Spans, floor: int) -> Spans:
    """Drop what lies at or below *floor*."""
    kept = {}
    for signer, own in spans.items():
        if own[0][1] > floor:
            kept[signer] = own
        elif own[-1][1] > floor:
            kept[signer] = tuple(span for span in own if span[1] > floor)
    return kept


def _highest(spans: Spans, signers: Sequence[bytes], eras: tuple[Era, ...], floor: int) -> Mark | None:
    """The highest block above *floor* for which a quorum of the list at its own height stands."""
    if not eras:
        return _sweep(spans, signers, floor, None)
    found = _sweep(spans, signers, max(floor, eras[-1].last.slot), None)
    for index in range(len(eras) - 1, -1, -1):
        if found is not None or eras[index].last.slot <= floor:
            break
        bottom = eras[index - 1].last.slot if index else floor
        found = _sweep(spans, eras[index].signers, max(floor, bottom), eras[index].last)
    return found


def _sweep(spans: Spans, signers: Sequence[bytes], floor: int, ceiling: Mark | None) -> Mark | None:
    """The highest slot in (floor, ceiling] that lies in spans of a quorum of *signers*."""
    needed = quorum(len(signers))
    if ceiling is None:
        highest = [own[-1] for signer in signers if (own := spans.get(signer))]
        if len(highest) < needed:
            return None
        highest.sort(key=_TOP, reverse=True)
        _, high, top = highest[needed - 1]
        if high <= floor:
            return None
        # fewer than a quorum reach above this, and if all of these reach down to it, a quorum stands at it
        if max(highest[:needed])[0] < high:
            return Mark(high, top)
    tops: list[tuple[int, bytes]] = []
    lows: list[int] = []
    for signer in signers:
        for low, high, top in spans.get(signer, ()):
            if ceiling is not None and high > ceiling.slot:
                high, top = ceiling.slot, ceiling.hash
            if low < floor:
                low = floor
            if high > low:
                tops.append((high, top))
                lows.append(low)
    if len(tops) < needed:
        return None
    tops.sort(reverse=True)
    lows.sort(reverse=True)
    count = ended = 0
    for high, top in tops:
        while lows[ended] >= high:
            ended += 1
            count -= 1
        count += 1
        if count >= needed:
            return Mark(high, top)
    return None


def _uint(item: rlp.Item) -> int:
    return rlp.decode_uint(item, 8)


def _pack(mark: Mark) -> list[rlp.Item]:
    return [rlp.encode_uint(mark.slot), mark.hash]


def _unpack(item: rlp.Item) -> Mark:
    slot, hash = item
    return Mark(_uint(slot), bytes(hash))  # type: ignore[arg-type]


def _pack_spans(spans: Spans) -> list[rlp.Item]:
    uint = rlp.encode_uint
    return [[signer, [[uint(low), uint(high), top] for low, high, top in own]] for signer, own in spans.items()]


def _unpack_spans(items: Iterable[rlp.Item]) -> Spans:
    return {
        bytes(signer): tuple((_uint(low), _uint(high), bytes(top)) for low, high, top in own)  # type: ignore
        for signer, own in items
    }


def encode_tally(tally: Tally) -> bytes:
    """Return the bytes (RLP) from which :func:`decode_tally` makes the same tally: a restart begins at one."""
    return rlp.encode(
        [
            _pack(tally.block),
            list(tally.signers),
            _pack(tally.justified),
            _pack(tally.finalized),
            _pack_spans(tally.votes),
            _pack_spans(tally.commits),
            [[_pack(era.last), list(era.signers)] for era in tally.eras],
        ]
    )


def decode_tally(data: bytes) -> Tally:
    """The inverse of :func:`encode_tally`, for bytes of our own database."""
    block, signers, justified, finalized, votes, commits, eras = rlp.decode_list(data)
    return Tally(
        _unpack(block),
        tuple(signers),  # type: ignore[arg-type]
        _unpack(justified),
        _unpack(finalized),
        _unpack_spans(votes),  # type: ignore[arg-type]
        _unpack_spans(commits),  # type: ignore[arg-type]
        tuple(Era(_unpack(last), tuple(own)) for last, own in eras),  # type: ignore
    )
