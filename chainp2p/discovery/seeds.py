"""Whom to begin with: records of several sources in turn, none of which decides alone."""

from collections.abc import Iterable, Sequence
from heapq import nlargest
from itertools import chain, zip_longest

from chainp2p.peer.enr import Enr, EnrError
from chainp2p.peer.known import Known

__all__ = ["BOOK_MAX", "SEEDS_MAX", "mixed", "newest_records"]

#: Records to begin with: all are asked within a minute, five a second.
SEEDS_MAX = 256
#: Records of the address book among them: reading one costs 0.2 ms.
BOOK_MAX = 64


def mixed(*sources: Iterable[Enr], limit: int = SEEDS_MAX) -> list[Enr]:
    """Return the records of *sources* in turn, the first of each in front: none decides alone with whom we begin.

    Of one node the newest record of all.
    """
    lists: list[Sequence[Enr]] = [list(source) for source in sources]
    newest: dict[bytes, Enr] = {}
    for enr in chain.from_iterable(lists):
        known = newest.get(enr.peer_id)
        if known is None or enr.seq > known.seq:
            newest[enr.peer_id] = enr
    order = dict.fromkeys(enr.peer_id for row in zip_longest(*lists) for enr in row if enr is not None)
    return [newest[node_id] for node_id in order][:limit]


def newest_records(book: Iterable[Known], limit: int = BOOK_MAX) -> list[Enr]:
    """Return records of the address book that name a UDP endpoint, of whom something was heard last in front."""
    recorded = (known for known in book if known.record)
    newest = nlargest(limit, recorded, key=lambda known: max(known.seen_at, known.reached_at or known.seen_at))
    found: list[Enr] = []
    for known in newest:
        try:
            enr = Enr.decode(known.record)
        except EnrError:
            continue
        if enr.udp_endpoint is not None:
            found.append(enr)
    return found
