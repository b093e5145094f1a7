"""What recent blocks charged, read once: wallets ask for the same blocks again with every head.

Blocks are kept by their hashes and found by walking down from the newest, so a reorg needs no care, and a new head
costs one block's receipts. These say all that is asked: what was paid above the base fee is the tip.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from chainp2p.chain.store import ChainStore
from chainp2p.ethapi.fees import MAX_HISTORY, FeePoint
from chainp2p.ledger.formats.header import Header
from chainp2p.ledger.rows import LedgerRows

__all__ = ["FeeHistory"]

#: Blocks that are kept: the longest history. Each takes 0.4 KB, and 16 bytes a transaction if its tips were asked for.
KEPT = MAX_HISTORY


class FeeHistory:
    """Reads through a ``Ledger``."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger
        self._kept: OrderedDict[bytes, FeePoint] = OrderedDict()

    async def until(self, newest: bytes, count: int, tips: bool) -> list[FeePoint]:
        """Return the block *newest* and those below, *count* at most, oldest first; with their *tips* or not."""
        found: list[FeePoint] = []
        hash = newest
        while len(found) < count:
            point = self._kept.get(hash)
            if point is not None and (point.known or not tips):
                self._kept.move_to_end(hash)
                read = [point]
            else:
                wanted = count - len(found)
                read = await self._ledger.reader.run(_read, hash, wanted, tips, self._hashes(tips))
                self._keep(read, tips)
            found += read
            if not read or not found[-1].height:
                break
            hash = found[-1].parent
        return found[::-1]

    def _hashes(self, tips: bool) -> frozenset[bytes]:
        return frozenset(hash for hash, point in self._kept.items() if point.known or not tips)

    def _keep(self, points: Iterable[FeePoint], tips: bool) -> None:
        for point in points:
            # tips that are not there yet, or not any more, may come with another reorg
            if point.known or not tips:
                self._kept[point.hash] = point
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)


def _read(store: ChainStore, newest: bytes, count: int, tips: bool, known: frozenset[bytes]) -> list[FeePoint]:
    """Read the block *newest* and those below, in that order, down to one that is *known*."""
    rows = LedgerRows(store.connection)
    points: list[FeePoint] = []
    hash = newest
    while len(points) < count and (not points or hash not in known):
        raw = store.raw_header(hash)
        if raw is None:
            break
        header = Header.decode(raw)
        paid = None
        if tips and header.gas_used:
            receipts = rows.receipts(hash)
            paid = [(one.effective_gas_price - header.base_fee, one.gas_used) for one in receipts] or None
        points.append(FeePoint.of(header, paid))
        hash = header.parent
        if not header.number:
            break
    return points
