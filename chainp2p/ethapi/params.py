"""Reads the parameters of Ethereum's methods: blocks, calls, filters. Pure; texts are go-ethereum's."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from attrs import frozen

from chainp2p.ledger.execution import Message
from chainp2p.namespaces import Param
from chainp2p.rpc.values import ADDRESS, HASH, QUANTITY, address, boolean, data, hash32, quantity

__all__ = [
    "ADDRESS_PARAM",
    "BLOCK_PARAM",
    "CALL_PARAM",
    "FULL_PARAM",
    "HASH_PARAM",
    "INDEX_PARAM",
    "NUMBER_PARAM",
    "OPTIONAL_BLOCK_PARAM",
    "BlockHash",
    "BlockRef",
    "LogFilter",
    "block_number",
    "block_ref",
    "call_object",
    "log_filter",
]

TAGS = frozenset({"earliest", "latest", "pending", "safe", "finalized"})

#: Blocks are numbered below 2^63 (geth: ``rpc.BlockNumber`` is an int64).
MAX_NUMBER = (1 << 63) - 1

#: Addresses, and topics per position, of one filter (geth limits the query; this bounds the answer's work).
MAX_FILTER_ITEMS = 1_000


@frozen
class BlockHash:
    """A block by hash (EIP-1898)."""

    hash: bytes
    canonical: bool = False  #: it has to be on the best chain


#: A tag, a height or a hash.
BlockRef: TypeAlias = str | int | BlockHash


def block_number(value: Any) -> str | int:
    """Read a tag or a height."""
    if isinstance(value, str) and value in TAGS:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER:
        return value  # not in the specification; hardhat and others take it
    height = quantity(value)
    if height > MAX_NUMBER:
        raise ValueError("block number larger than int64")
    return height


def block_ref(value: Any) -> BlockRef:
    """Read a tag, a height, a hash, or the object of EIP-1898."""
    if isinstance(value, Mapping):
        number, hash = value.get("blockNumber"), value.get("blockHash")
        if number is not None and hash is not None:
            raise ValueError("cannot specify both BlockHash and BlockNumber, choose one or the other")
        if number is not None:
            return block_number(number)
        if hash is None:
            raise ValueError("invalid arguments; neither block nor hash specified")
        return BlockHash(hash32(hash), boolean(value.get("requireCanonical") or False))
    if isinstance(value, str) and len(value) == 66:
        return BlockHash(hash32(value))
    return block_number(value)


def _optional(read: Any, value: Any) -> Any:
    return None if value is None else read(value)


def call_object(value: Any) -> Message:
    """Read what is called or estimated; members that this chain does not know are ignored."""
    if not isinstance(value, Mapping):
        raise ValueError("json: cannot unmarshal non-object into Go value of type ethapi.TransactionArgs")
    old, new = _optional(data(), value.get("data")), _optional(data(), value.get("input"))
    if old is not None and new is not None and old != new:
        raise ValueError(
            'both "data" and "input" are set and not equal. Please use "input" to pass transaction call data'
        )
    gas_price, max_fee = (_optional(quantity, value.get(name)) for name in ("gasPrice", "maxFeePerGas"))
    tip = _optional(quantity, value.get("maxPriorityFeePerGas"))
    if gas_price is not None and (max_fee is not None or tip is not None):
        raise ValueError("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified")
    if max_fee is not None and tip is not None and max_fee < tip:
        raise ValueError(f"maxFeePerGas ({hex(max_fee)}) < maxPriorityFeePerGas ({hex(tip)})")
    return Message(
        sender=_optional(address, value.get("from")) or bytes(20),
        to=_optional(address, value.get("to")),
        value=_optional(quantity, value.get("value")) or 0,
        data=new or old or b"",
        access_list=_access_list(value.get("accessList")),
        gas=_optional(quantity, value.get("gas")),
        gas_price=gas_price or max_fee or 0,
    )


def _access_list(value: Any) -> tuple[tuple[bytes, tuple[bytes, ...]], ...]:
    return tuple(
        (address(entry["address"]), tuple(map(hash32, entry.get("storageKeys") or ()))) for entry in value or ()
    )


@frozen
class LogFilter:
    """Which logs are wanted; there are none on this chain, but what is asked must make sense."""

    start: str | int | None = None
    end: str | int | None = None
    block: bytes | None = None
    addresses: tuple[bytes, ...] = ()
    topics: tuple[tuple[bytes, ...], ...] = ()


def log_filter(value: Any) -> LogFilter:
    """Read a filter object."""
    if not isinstance(value, Mapping):
        raise ValueError("json: cannot unmarshal non-object into Go value of type filters.input")
    start, end = (_optional(block_number, value.get(name)) for name in ("fromBlock", "toBlock"))
    block = _optional(hash32, value.get("blockHash"))
    if block is not None and (start is not None or end is not None):
        raise ValueError("cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other")
    addresses = _several(value.get("address"), address, "addresses")
    topics = value.get("topics") or ()
    if not isinstance(topics, Sequence) or isinstance(topics, str) or len(topics) > 4:
        raise ValueError("invalid topics: at most 4 positions are expected")
    return LogFilter(start, end, block, addresses, tuple(_several(topic, hash32, "topics") for topic in topics))


def _several(value: Any, read: Any, name: str) -> tuple[bytes, ...]:
    if value is None:
        return ()
    values = value if isinstance(value, list) else [value]
    if len(values) > MAX_FILTER_ITEMS:
        raise ValueError(f"too many {name}: {len(values)}")
    return tuple(read(one) for one in values if one is not None)


_TAG_OR_NUMBER = {"anyOf": [{"enum": sorted(TAGS)}, QUANTITY, {"type": "integer", "minimum": 0}]}
_BLOCK = {"anyOf": [*_TAG_OR_NUMBER["anyOf"], HASH, {"type": "object"}]}

NUMBER_PARAM = Param("blockNumber", block_number, schema=_TAG_OR_NUMBER)
BLOCK_PARAM = Param("block", block_ref, schema=_BLOCK)
OPTIONAL_BLOCK_PARAM = Param("block", block_ref, required=False, default="latest", schema=_BLOCK)
HASH_PARAM = Param("hash", hash32, schema=HASH)
ADDRESS_PARAM = Param("address", address, schema=ADDRESS)
INDEX_PARAM = Param("index", quantity, schema=QUANTITY)
FULL_PARAM = Param("full", boolean, required=False, default=False, schema={"type": "boolean"})
CALL_PARAM = Param("call", call_object, schema={"type": "object"})
