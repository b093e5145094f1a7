"""What to pay: gas price, tip, and the history from which wallets work it out themselves.

The suggested tip is what go-ethereum's oracle does in spirit: the 60th percentile of what recent transactions paid, a
fixed small tip on a chain without traffic, never above a cap.
"""

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from chainp2p.chain.store import ChainStore
from chainp2p.ledger.formats.block import decode_block
from chainp2p.ledger.formats.header import Header
from chainp2p.ledger.rows import LedgerRows
from chainp2p.namespaces import SERVER_ERROR, RpcError

__all__ = ["FeePoint", "fee_points", "percentiles", "rewards_of", "suggested_tip"]

#: Wei per gas where nothing recent says more (what development chains answer).
DEFAULT_TIP = 10**9
#: Never suggest more (geth ``gpo.maxprice``).
MAX_TIP = 500 * 10**9
#: Percentile of recent tips (geth ``gpo.percentile``), and blocks that are looked at.
TIP_PERCENTILE, TIP_BLOCKS = 60, 8

#: Blocks of one history (geth ``gasprice.maxHeaderHistory``), and with rewards, which need bodies.
MAX_HISTORY, MAX_REWARD_HISTORY = 1_024, 256
#: Percentiles of one request (geth ``gasprice.maxQueryLimit``).
MAX_PERCENTILES = 100


@frozen
class FeePoint:
    """One block of a history; *paid*: (tip, gas used) of its transactions, lowest tip first."""

    header: Header
    paid: tuple[tuple[int, int], ...]


def fee_points(store: ChainStore, newest: int, count: int, bodies: bool) -> list[FeePoint]:
    """Read the blocks ``newest - count + 1`` to *newest*, oldest first, in one go."""
    rows = LedgerRows(store.connection)
    points = []
    for height in range(max(newest - count + 1, 0), newest + 1):
        hash = store.hash_at(height)
        raw = None if hash is None else store.raw_header(hash)
        if hash is None or raw is None:
            break
        header = Header.decode(raw)
        points.append(FeePoint(header, _paid(store, rows, header) if bodies and header.gas_used else ()))
    return points


def _paid(store: ChainStore, rows: LedgerRows, header: Header) -> tuple[tuple[int, int], ...]:
    raw = store.body(header.hash)
    if raw is None:
        return ()
    receipts = rows.receipts(header.hash)
    pairs = zip(decode_block(raw).transactions, receipts, strict=False)
    return tuple(
        sorted((transaction.effective_tip(header.base_fee), receipt.gas_used) for transaction, receipt in pairs)
    )


def suggested_tip(points: Sequence[FeePoint]) -> int:
    """Return the tip to suggest (wei per gas)."""
    tips = sorted(tip for point in points for tip, _ in point.paid)
    if not tips:
        return DEFAULT_TIP
    return min(max(tips[(len(tips) - 1) * TIP_PERCENTILE // 100], 1), MAX_TIP)


def percentiles(value: Any) -> tuple[float, ...]:
    """Read reward percentiles."""
    if not isinstance(value, list):
        raise ValueError("json: cannot unmarshal non-array into Go value of type []float64")
    if any(isinstance(one, bool) or not isinstance(one, int | float) for one in value):
        raise ValueError("json: cannot unmarshal non-number into Go value of type float64")
    if len(value) > MAX_PERCENTILES:
        raise RpcError(SERVER_ERROR, f"invalid reward percentile: over the query limit {MAX_PERCENTILES}")
    last = 0.0
    for one in value:
        if not 0 <= one <= 100:
            raise RpcError(SERVER_ERROR, f"invalid reward percentile: {float(one):f}")
        if one < last:
            raise RpcError(SERVER_ERROR, f"invalid reward percentile: #{last:f} >= #{float(one):f}")
        last = one
    return tuple(value)


def rewards_of(point: FeePoint, wanted: Sequence[float]) -> list[str]:
    """Return the tip at each percentile of the block's gas, as geth weighs it."""
    if not point.paid:
        return ["0x0"] * len(wanted)
    rewards, index, gas = [], 0, point.paid[0][1]
    for percentile in wanted:
        threshold = point.header.gas_used * percentile / 100
        while gas < threshold and index < len(point.paid) - 1:
            index += 1
            gas += point.paid[index][1]
        rewards.append(hex(max(point.paid[index][0], 0)))
    return rewards
