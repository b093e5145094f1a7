"""What to pay: gas price, tip, and the history from which wallets work it out themselves. Pure.

The suggested tip is what go-ethereum's oracle does in spirit: the 60th percentile of what recent transactions paid, a
fixed small tip on a chain without traffic, never above a cap.
"""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from attrs import frozen

from chainp2p.ledger.formats.header import Header
from chainp2p.namespaces import SERVER_ERROR, RpcError

__all__ = ["FeePoint", "percentiles", "rewards_of", "suggested_tip"]

#: Wei per gas where nothing recent says more (what development chains answer).
DEFAULT_TIP = 10**9
#: Never suggest more (geth ``gpo.maxprice``).
MAX_TIP = 500 * 10**9
#: Percentile of recent tips (geth ``gpo.percentile``), and blocks that are looked at.
TIP_PERCENTILE, TIP_BLOCKS = 60, 8

#: Blocks of one history (geth ``gasprice.maxHeaderHistory``), and with rewards, which need receipts.
MAX_HISTORY, MAX_REWARD_HISTORY = 1_024, 256
#: Percentiles of one request (geth ``gasprice.maxQueryLimit``).
MAX_PERCENTILES = 100


def _packed(numbers: Sequence[int]) -> Sequence[int]:
    """Return *numbers* in 8 bytes each, where they have room."""
    try:
        return array("Q", numbers)
    except OverflowError:
        return tuple(numbers)


@frozen
class FeePoint:
    """One block of a history; *tips* of its transactions, lowest first, and the *gas* used by those up to each."""

    hash: bytes
    parent: bytes
    height: int
    base_fee: int
    gas_used: int
    gas_limit: int
    tips: Sequence[int]
    gas: Sequence[int]

    @classmethod
    def of(cls, header: Header, paid: Sequence[tuple[int, int]] | None = None) -> "FeePoint":
        """:param paid: (tip, gas used) of its transactions, None: not read."""
        ordered = sorted(paid or ())
        return cls(
            header.hash,
            header.parent,
            header.number,
            header.base_fee,
            header.gas_used,
            header.gas_limit,
            _packed([tip for tip, _ in ordered]),
            _packed(list(accumulate(gas for _, gas in ordered))),
        )

    @property
    def known(self) -> bool:
        """Whether the tips are all there."""
        return bool(self.tips) or not self.gas_used

    @property
    def ratio(self) -> float:
        """How full the block is."""
        return self.gas_used / self.gas_limit


def suggested_tip(points: Sequence[FeePoint]) -> int:
    """Return the tip to suggest (wei per gas)."""
    tips = sorted(tip for point in points for tip in point.tips)
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
    for index, one in enumerate(value):
        if not 0 <= one <= 100:
            raise RpcError(SERVER_ERROR, f"invalid reward percentile: {float(one):f}")
        if index and one <= value[index - 1]:
            below = float(value[index - 1])
            raise RpcError(
                SERVER_ERROR, f"invalid reward percentile: #{index - 1}:{below:f} >= #{index}:{float(one):f}"
            )
    return tuple(value)


def rewards_of(point: FeePoint, wanted: Sequence[float]) -> list[str]:
    """Return the tip at each percentile of the block's gas, as geth weighs it."""
    if not point.tips:
        return ["0x0"] * len(wanted)
    last = len(point.tips) - 1
    return [
        hex(point.tips[min(bisect_left(point.gas, int(point.gas_used * percentile / 100)), last)])
        for percentile in wanted
    ]
