"""Filters that are polled: what happened since the last question. Pure.

A filter that nobody asks for five minutes is gone, as with go-ethereum; until then it keeps its newest items. Past a
thousand filters the one that was asked longest ago goes.
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
#: Items of one filter, and their bytes: whole transactions may have 128 KiB each, but all filters hold the same ones.
MAX_ITEMS, MAX_SIZE = 4_096, 8 * 1024 * 1024
#: Seconds without a question (geth ``eth/filters``: 5 minutes).
LIFETIME = 300.0
#: Set in every id (16 bytes): no digit before the first that counts.
_FIRST_BIT = 1 << 127


class FilterKind(Enum):
    BLOCKS = "blocks"
    TRANSACTIONS = "transactions"
    WHOLE_TRANSACTIONS = "whole transactions"
    LOGS = "logs"


@define(eq=False)
class _Filter:
    kind: FilterKind
    asked: float
    query: LogFilter | None = None
    items: deque[tuple[Any, int]] = field(factory=deque)
    size: int = 0

    def add(self, item: Any, size: int) -> None:
        self.items.append((item, size))
        self.size += size
        while len(self.items) > MAX_ITEMS or self.size > MAX_SIZE:
            self.size -= self.items.popleft()[1]

    def take(self) -> list[Any]:
        items = [item for item, _ in self.items]
        self.items.clear()
        self.size = 0
        return items


class Filters:
    """All filters of a node, *now* in seconds; ids are guessable only by who knows *seed*."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._count = 0
        self._filters: OrderedDict[str, _Filter] = OrderedDict()

    def add(self, now: float, kind: FilterKind, query: LogFilter | None = None) -> str:
        """Make a filter and return its id, which is a quantity as well: web3.js reads it as a number and back."""
        self._expire(now)
        self._count += 1
        digest = keccak256(self._seed + self._count.to_bytes(8, "big"))
        id = f"0x{int.from_bytes(digest[:16]) | _FIRST_BIT:x}"
        self._filters[id] = _Filter(kind, now, query)
        if len(self._filters) > MAX_FILTERS:
            self._filters.popitem(last=False)
        return id

    def _expire(self, now: float) -> None:
        while self._filters:
            id, oldest = next(iter(self._filters.items()))
            if now - oldest.asked <= LIFETIME:
                break
            del self._filters[id]

    def happened(self, now: float, kind: FilterKind, item: Any, size: int = 0) -> None:
        """Note an event, of *size* bytes, for all filters of its kind."""
        self._expire(now)
        for one in self._filters.values():
            if one.kind is kind:
                one.add(item, size)

    def changes(self, now: float, id: str) -> list[Any]:
        """Return what happened since the last call; :exc:`RpcError` if there is no such filter."""
        return self._get(now, id).take()

    def query(self, now: float, id: str) -> LogFilter:
        """Return the query of a filter of logs; :exc:`RpcError` for any other."""
        found = self._get(now, id)
        if found.query is None:
            raise RpcError(SERVER_ERROR, "filter not found")
        return found.query

    def _get(self, now: float, id: str) -> _Filter:
        self._expire(now)
        found = self._filters.get(id)
        if found is None:
            raise RpcError(SERVER_ERROR, "filter not found")
        found.asked = now
        self._filters.move_to_end(id)
        return found

    def remove(self, now: float, id: str) -> bool:
        """Forget a filter; False if it is unknown."""
        self._expire(now)
        return self._filters.pop(id, None) is not None

    def __len__(self) -> int:
        return len(self._filters)


def text_id(value: Any) -> str:
    """Read the id of a filter."""
    if not isinstance(value, str):
        raise ValueError("json: cannot unmarshal non-string into Go value of type rpc.ID")
    return value
