"""Logs: this chain has none, but a question that is of a wrong form, or about blocks that cannot be, is a mistake.

What is one, and its text, is go-ethereum's (``eth/filters/api.go``).
"""

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from chainp2p.ethapi.params import block_number, optional
from chainp2p.namespaces import INVALID_PARAMS, SERVER_ERROR, Param, RpcError
from chainp2p.rpc.values import address, hash32

__all__ = ["FOLLOWING_PARAM", "LOG_FILTER_PARAM", "LogFilter", "Logs", "log_filter"]

#: Positions of topics in a log, and addresses or topics of one position in a filter.
MAX_TOPICS, MAX_CHOICES = 4, 1_000

#: Heads that a filter may begin or end at; it hears of no block before it was made.
_LATEST = (None, "latest")


@frozen
class LogFilter:
    """Which logs are wanted."""

    start: str | int | None = None
    end: str | int | None = None
    block: bytes | None = None
    addresses: tuple[bytes, ...] = ()
    topics: tuple[tuple[bytes, ...], ...] = ()

    def check(self) -> None:
        """Raise :exc:`RpcError` for what makes no sense at any block."""
        if len(self.addresses) > MAX_CHOICES:
            raise RpcError(SERVER_ERROR, "exceed max addresses or topics per search position")
        if "pending" in (self.start, self.end):
            raise RpcError(INVALID_PARAMS, "pending logs are not supported")

    def check_following(self) -> None:
        """The same for logs that are yet to come."""
        self.check()
        start = 0 if self.start == "earliest" else self.start
        follows = start in _LATEST or isinstance(start, int)
        if isinstance(start, int) and isinstance(self.end, int):
            follows = start <= self.end
        elif self.end not in _LATEST:
            follows = False
        if not follows:
            raise RpcError(INVALID_PARAMS, "invalid block range params")


class Logs:
    """See the module."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger

    async def of(self, query: LogFilter) -> list[Any]:
        """``eth_getLogs``."""
        query.check()
        if query.block is not None:
            if await self._ledger.reader.header(query.block) is None:
                raise RpcError(SERVER_ERROR, "unknown block")
            return []
        start, end = self._height(query.start), self._height(query.end)
        if start > end:
            raise RpcError(INVALID_PARAMS, "invalid block range params")
        if end > self._ledger.head.height:
            raise RpcError(INVALID_PARAMS, "block range extends beyond current head block")
        return []

    def _height(self, number: str | int | None) -> int:
        if isinstance(number, int):
            return number
        if number == "earliest":
            return 0
        height: int = getattr(self._ledger, number if number in ("safe", "finalized") else "head").height
        return height


def log_filter(value: Any) -> LogFilter:
    """Read a filter object."""
    if not isinstance(value, Mapping):
        raise ValueError("json: cannot unmarshal non-object into Go value of type filters.input")
    start, end = (optional(block_number, value.get(name)) for name in ("fromBlock", "toBlock"))
    block = optional(hash32, value.get("blockHash"))
    if block is not None and (start is not None or end is not None):
        raise ValueError("cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other")
    return LogFilter(start, end, block, _addresses(value.get("address")), _topics(value.get("topics")))


def _addresses(value: Any) -> tuple[bytes, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (_named("invalid address", address, value),)
    if not isinstance(value, list):
        raise ValueError("invalid addresses in query")
    return tuple(_named(f"invalid address at index {index}", address, one) for index, one in enumerate(value))


def _named(name: str, read: Callable[[Any], bytes], value: Any) -> bytes:
    try:
        return read(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _topics(value: Any) -> tuple[tuple[bytes, ...], ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError("json: cannot unmarshal non-array into Go struct field input.topics of type []interface {}")
    if len(value) > MAX_TOPICS:
        raise ValueError("exceed max topics")
    return tuple(map(_choices, value))


def _choices(value: Any) -> tuple[bytes, ...]:
    """Read the topics that one position may have; none: any."""
    if value is None:
        return ()
    choices = [value] if isinstance(value, str) else value
    if not isinstance(choices, list) or not all(one is None or isinstance(one, str) for one in choices):
        raise ValueError("invalid topic(s)")
    if len(choices) > MAX_CHOICES:
        raise ValueError("exceed max topics")
    return () if None in choices else tuple(_named("invalid topic", hash32, one) for one in choices)


def _following(value: Any) -> LogFilter:
    """Read a filter object for logs that are yet to come."""
    query = log_filter(value)
    query.check_following()
    return query


LOG_FILTER_PARAM = Param("filter", log_filter, required=False, default=LogFilter(), schema={"type": "object"})
FOLLOWING_PARAM = Param("filter", _following, required=False, default=LogFilter(), schema={"type": "object"})
