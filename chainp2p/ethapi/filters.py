"""Filters that are polled: what happened since the last question. Pure.

All filters of a kind see the same, so the newest of it is kept once, and each knows how far it was told: an event costs
with a thousand filters what it costs with one. A filter that nobody asks for five minutes is gone, as with go-ethereum;
past a thousand the one that was asked longest ago goes.
"""

from collections import OrderedDict, deque
from enum import Enum
from itertools import islice
from typing import Any

from attrs import define, field

from chainp2p.ethapi.logs import LogFilter
from chainp2p.namespaces import SERVER_ERROR, RpcError
from chainp2p.primitives.keccak import keccak256

__all__ = ["FilterKind", "Filters"]

MAX_FILTERS = 1_000
#: Items of one kind, and their bytes: whole transactions may have 128 KiB each.
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
class _Seen:
    """The newest of what filters of one kind see; nothing while there is none."""

    filters: int = 0
    items: deque[tuple[Any, int]] = field(factory=deque)
    size: int = 0
    before: int = 0  #: items that are not kept any more

    @property
    def end(self) -> int:
        return self.before + len(self.items)

    def add(self, item: Any, size: int) -> None:
        self.items.append((item, size))
        self.size += size
        while len(self.items) > MAX_ITEMS or self.size > MAX_SIZE:
            self._drop()

    def left(self) -> None:
        """A filter has gone."""
        self.filters -= 1
        while self.items and not self.filters:
            self._drop()

    def _drop(self) -> None:
        self.size -= self.items.popleft()[1]
        self.before += 1

    def since(self, place: int) -> list[Any]:
        return [item for item, _ in islice(self.items, max(0, place - self.before), None)]


@define(eq=False)
class _Filter:
    seen: _Seen
    asked: float
    place: int  #: how much of what is seen it was told
    query: LogFilter | None = None


class Filters:
    """All filters of a node, *now* in seconds; ids are guessable only by who knows *seed*."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._count = 0
        self._filters: OrderedDict[str, _Filter] = OrderedDict()
        self._seen = {kind: _Seen() for kind in FilterKind}

    def add(self, now: float, kind: FilterKind, query: LogFilter | None = None) -> str:
        """Make a filter and return its id, which is a quantity as well: web3.js reads it as a number and back."""
        self._expire(now)
        self._count += 1
        digest = keccak256(self._seed + self._count.to_bytes(8, "big"))
        id = f"0x{int.from_bytes(digest[:16]) | _FIRST_BIT:x}"
        seen = self._seen[kind]
        seen.filters += 1
        self._filters[id] = _Filter(seen, now, seen.end, query)
        if len(self._filters) > MAX_FILTERS:
            self._forget(next(iter(self._filters)))
        return id

    def _forget(self, id: str) -> None:
        self._filters.pop(id).seen.left()

    def _expire(self, now: float) -> None:
        while self._filters:
            id, oldest = next(iter(self._filters.items()))
            if now - oldest.asked <= LIFETIME:
                break
            self._forget(id)

    def happened(self, now: float, kind: FilterKind, item: Any, size: int = 0) -> None:
        """Note an event, of *size* bytes, for all filters of its kind."""
        self._expire(now)
        seen = self._seen[kind]
        if seen.filters:
            seen.add(item, size)

    def changes(self, now: float, id: str) -> list[Any]:
        """Return what happened since the last call; :exc:`RpcError` if there is no such filter."""
        found = self._get(now, id)
        items = found.seen.since(found.place)
        found.place = found.seen.end
        return items

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
        known = id in self._filters
        if known:
            self._forget(id)
        return known

    def __len__(self) -> int:
        return len(self._filters)


def text_id(value: Any) -> str:
    """Read the id of a filter."""
    if not isinstance(value, str):
        raise ValueError("json: cannot unmarshal non-string into Go value of type rpc.ID")
    return value
