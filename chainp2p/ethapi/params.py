"""Reads the parameters of Ethereum's methods: blocks and calls. Pure; texts are go-ethereum's."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

from attrs import frozen

from chainp2p.ledger.execution import Message
from chainp2p.namespaces import SERVER_ERROR, Param, RpcError
from chainp2p.rpc.values import (
    ADDRESS,
    HASH,
    QUANTITY,
    address,
    boolean,
    data,
    hash32,
    hex_number,
    quantity,
    quantity64,
)

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
    "block_number",
    "block_ref",
    "call_object",
    "optional",
]

T = TypeVar("T")

TAGS = frozenset({"earliest", "latest", "pending", "safe", "finalized"})

#: Blocks are numbered below 2^63 (geth: ``rpc.BlockNumber`` is an int64).
MAX_NUMBER = (1 << 63) - 1


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
    if not isinstance(value, str):
        raise ValueError("hex string without 0x prefix")
    height = hex_number(value, 64)
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
            raise ValueError("must specify either BlockHash or BlockNumber")
        return BlockHash(hash32(hash), boolean(value.get("requireCanonical") or False))
    if isinstance(value, str) and len(value) == 66:
        return BlockHash(hash32(value))
    return block_number(value)


def optional(read: Callable[[Any], T], value: Any) -> T | None:
    """Read a member that may be missing or null."""
    return None if value is None else read(value)


def call_object(value: Any) -> Message:
    """Read what is called or estimated; members that this chain does not know are ignored."""
    if not isinstance(value, Mapping):
        raise ValueError("json: cannot unmarshal non-object into Go value of type ethapi.TransactionArgs")
    old, new = optional(data, value.get("data")), optional(data, value.get("input"))
    if old is not None and new is not None and old != new:
        raise ValueError(
            'both "data" and "input" are set and not equal. Please use "input" to pass transaction call data'
        )
    gas_price, max_fee = (optional(quantity, value.get(name)) for name in ("gasPrice", "maxFeePerGas"))
    tip = optional(quantity, value.get("maxPriorityFeePerGas"))
    if gas_price is not None and (max_fee is not None or tip is not None):
        raise RpcError(SERVER_ERROR, "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified")
    if max_fee is not None and tip is not None and max_fee < tip:
        raise RpcError(SERVER_ERROR, f"maxFeePerGas ({hex(max_fee)}) < maxPriorityFeePerGas ({hex(tip)})")
    return Message(
        sender=optional(address, value.get("from")) or bytes(20),
        to=optional(address, value.get("to")),
        value=optional(quantity, value.get("value")) or 0,
        data=new or old or b"",
        access_list=_access_list(value.get("accessList")),
        gas=optional(quantity64, value.get("gas")),
        gas_price=gas_price or max_fee or 0,
        chain_id=optional(quantity, value.get("chainId")),
    )


def _list(value: Any, kind: str) -> list[Any]:
    """Read a list that may be missing or null."""
    if value is not None and not isinstance(value, list):
        raise ValueError(f"json: cannot unmarshal non-array into Go value of type {kind}")
    return value or []


def _access_list(value: Any) -> tuple[tuple[bytes, tuple[bytes, ...]], ...]:
    return tuple(map(_access_tuple, _list(value, "types.AccessList")))


def _access_tuple(value: Any) -> tuple[bytes, tuple[bytes, ...]]:
    if not isinstance(value, Mapping):
        raise ValueError("json: cannot unmarshal non-object into Go value of type types.AccessTuple")
    keys = _list(value.get("storageKeys"), "[]common.Hash")
    return optional(address, value.get("address")) or bytes(20), tuple(map(hash32, keys))


_TAG_OR_NUMBER = {"anyOf": [{"enum": sorted(TAGS)}, QUANTITY, {"type": "integer", "minimum": 0}]}
_BLOCK = {"anyOf": [*_TAG_OR_NUMBER["anyOf"], HASH, {"type": "object"}]}

NUMBER_PARAM = Param("blockNumber", block_number, schema=_TAG_OR_NUMBER)
BLOCK_PARAM = Param("block", block_ref, schema=_BLOCK)
OPTIONAL_BLOCK_PARAM = Param("block", block_ref, required=False, default="latest", schema=_BLOCK)
HASH_PARAM = Param("hash", hash32, schema=HASH)
ADDRESS_PARAM = Param("address", address, schema=ADDRESS)
INDEX_PARAM = Param("index", quantity64, schema=QUANTITY)
FULL_PARAM = Param("full", boolean, required=False, default=False, schema={"type": "boolean"})
CALL_PARAM = Param("call", call_object, schema={"type": "object"})
