"""Filters that are polled: what happened since the last question. Pure.

Memory is bounded without a clock: past a thousand filters the one that was asked longest ago goes, and a filter that
nobody asks keeps its newest 4,096 items.
"""

from collections import OrderedDict, deque
from enum import Enum
from typing import Any

from attrs import define, field

from chainp2p.ethapi.logs import LogFilter
from chainp2p.namespaces import SERVER_ERROR, RpcError
from chainp2p.primitives.keccak import keccak256

__all__ = ["FilterKind", "Filters"]

MAX_FILTERS = 1_000
MAX_ITEMS = 4_096
#: Set in every id (16 bytes): no digit before the first that counts.
_FIRST_BIT = 1 << 127


class FilterKind(Enum):
    BLOCKS = "blocks"
    TRANSACTIONS = "transactions"
    LOGS = "logs"


@define(eq=False)
class _Filter:
    kind: FilterKind
    query: LogFilter | None = None
    items: deque[str] = field(factory=lambda: deque(maxlen=MAX_ITEMS))


class Filters:
    """All filters of a node; ids are guessable only by who knows *seed*."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._count = 0
        self._filters: OrderedDict[str, _Filter] = OrderedDict()

    def add(self, kind: FilterKind, query: LogFilter | None = None) -> str:
        """Make a filter and return its id, which is a quantity as well: web3.js reads it as a number and back."""
        self._count += 1
        digest = keccak256(self._seed + self._count.to_bytes(8, "big"))
        id = f"0x{int.from_bytes(digest[:16]) | _FIRST_BIT:x}"
        self._filters[id] = _Filter(kind, query)
        if len(self._filters) > MAX_FILTERS:
            self._filters.popitem(last=False)
        return id

    def happened(self, kind: FilterKind, item: str) -> None:
        """Note an event for all filters of its kind."""
        for one in self._filters.values():
            if one.kind is kind:
                one.items.append(item)

    def changes(self, id: str) -> list[str]:
        """Return what happened since the last call; :exc:`RpcError` if there is no such filter."""
        found = self._get(id)
        items = list(found.items)
        found.items.clear()
        return items

    def query(self, id: str) -> LogFilter:
        """Return the query of a filter of logs; :exc:`RpcError` for any other."""
        found = self._get(id)
        if found.query is None:
            raise RpcError(SERVER_ERROR, "filter not found")
        return found.query

    def _get(self, id: str) -> _Filter:
        found = self._filters.get(id)
        if found is None:
            raise RpcError(SERVER_ERROR, "filter not found")
        self._filters.move_to_end(id)
        return found

    def remove(self, id: str) -> bool:
        """Forget a filter; False if it is unknown."""
        return self._filters.pop(id, None) is not None

    def __len__(self) -> int:
        return len(self._filters)


def text_id(value: Any) -> str:
    """Read the id of a filter."""
    if not isinstance(value, str):
        raise ValueError("json: cannot unmarshal non-string into Go value of type rpc.ID")
    return value
