"""JSON Schemas of what the ``eth`` methods answer, for ``rpc_discover``; a test holds every answer against them."""

from collections.abc import Mapping
from typing import Any

from chainp2p.rpc.values import ADDRESS, DATA, HASH, QUANTITY, nullable

__all__ = [
    "BLOCK",
    "FEE_HISTORY",
    "FILTER_CHANGES",
    "HEADER",
    "LOGS",
    "POOL_CONTENT",
    "POOL_LINES",
    "POOL_OF_ONE",
    "POOL_STATUS",
    "PROOF",
    "RECEIPT",
    "SYNCING",
    "TRANSACTION",
]

Schema = dict[str, Any]


def _object(members: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object with these members and no others: libraries stumble over what they do not know."""
    return {
        "type": "object",
        "properties": {**members, **(optional or {})},
        "required": list(members),
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_BYTES8 = {"type": "string", "pattern": "^0x[0-9a-f]{16}$"}
_BLOOM = {"type": "string", "pattern": "^0x[0-9a-f]{512}$"}

#: Of a block that is not sealed yet geth leaves these three null.
_HEADER = {
    "baseFeePerGas": QUANTITY,
    "difficulty": QUANTITY,
    "extraData": {"type": "string", "pattern": "^0x([0-9a-f]{2}){0,32}$"},
    "gasLimit": QUANTITY,
    "gasUsed": QUANTITY,
    "hash": nullable(HASH),
    "logsBloom": _BLOOM,
    "miner": nullable(ADDRESS),
    "mixHash": HASH,
    "nonce": nullable(_BYTES8),
    "number": QUANTITY,
    "parentHash": HASH,
    "receiptsRoot": HASH,
    "seal": DATA,
    "sha3Uncles": HASH,
    "stateRoot": HASH,
    "timestamp": QUANTITY,
    "transactionsRoot": HASH,
}
HEADER = _object(_HEADER)

_ACCESS_LIST = _list(_object({"address": ADDRESS, "storageKeys": _list(HASH)}))
TRANSACTION = _object(
    {
        "blockHash": nullable(HASH),
        "blockNumber": nullable(QUANTITY),
        "blockTimestamp": nullable(QUANTITY),
        "from": ADDRESS,
        "gas": QUANTITY,
        "gasPrice": QUANTITY,
        "hash": HASH,
        "input": DATA,
        "nonce": QUANTITY,
        "to": nullable(ADDRESS),
        "transactionIndex": nullable(QUANTITY),
        "value": QUANTITY,
        "type": {"enum": ["0x0", "0x1", "0x2"]},
        "r": QUANTITY,
        "s": QUANTITY,
        "v": QUANTITY,
    },
    {
        "accessList": _ACCESS_LIST,
        "chainId": QUANTITY,
        "maxFeePerGas": QUANTITY,
        "maxPriorityFeePerGas": QUANTITY,
        "yParity": {"enum": ["0x0", "0x1"]},
    },
)
BLOCK = _object(
    {
        **_HEADER,
        "size": QUANTITY,
        "transactions": _list({"anyOf": [HASH, TRANSACTION]}),
        "uncles": {"type": "array", "maxItems": 0},
    }
)
RECEIPT = _object(
    {
        "blockHash": HASH,
        "blockNumber": QUANTITY,
        "contractAddress": {"type": "null"},
        "cumulativeGasUsed": QUANTITY,
        "effectiveGasPrice": QUANTITY,
        "from": ADDRESS,
        "gasUsed": QUANTITY,
        "logs": {"type": "array", "maxItems": 0},
        "logsBloom": _BLOOM,
        "status": {"enum": ["0x0", "0x1"]},
        "to": nullable(ADDRESS),
        "transactionHash": HASH,
        "transactionIndex": QUANTITY,
        "type": {"enum": ["0x0", "0x1", "0x2"]},
    }
)
PROOF = _object(
    {
        "address": ADDRESS,
        "accountProof": _list(DATA),
        "balance": QUANTITY,
        "codeHash": HASH,
        "nonce": QUANTITY,
        "storageHash": HASH,
        "storageProof": _list(
            _object({"key": DATA | {"pattern": "^0x[0-9a-f]+$"}, "value": QUANTITY, "proof": _list(DATA)})
        ),
    }
)
FEE_HISTORY = _object(
    {"oldestBlock": QUANTITY, "gasUsedRatio": _list({"type": "number", "minimum": 0, "maximum": 1})},
    {"baseFeePerGas": _list(QUANTITY), "reward": _list(_list(QUANTITY))},
)
SYNCING = {
    "anyOf": [
        {"const": False},
        _object({"startingBlock": QUANTITY, "currentBlock": QUANTITY, "highestBlock": QUANTITY}),
    ]
}
#: There are no logs on this chain.
LOGS = {"type": "array", "maxItems": 0}
FILTER_CHANGES = _list({"anyOf": [HASH, TRANSACTION]})

POOL_STATUS = _object({"pending": QUANTITY, "queued": QUANTITY})


def _by_nonce(entry: Schema) -> Schema:
    return {"type": "object", "patternProperties": {"^[0-9]+$": entry}, "additionalProperties": False}


def _pool(entry: Schema) -> Schema:
    senders = {
        "type": "object",
        "patternProperties": {ADDRESS["pattern"]: _by_nonce(entry)},
        "additionalProperties": False,
    }
    return _object({"pending": senders, "queued": senders})


POOL_CONTENT, POOL_LINES = _pool(TRANSACTION), _pool({"type": "string"})
POOL_OF_ONE = _object({"pending": _by_nonce(TRANSACTION), "queued": _by_nonce(TRANSACTION)})
