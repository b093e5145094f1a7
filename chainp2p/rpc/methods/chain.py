"""``chain``: what every chain answers, whatever its blocks mean. Hashes and raw bytes are 0x-hex, heights integers."""

from collections.abc import Callable, Mapping
from typing import Any

from chainp2p.chain.interfaces import Admission, AdmissionResult, HeaderInfo, ITransactionPool
from chainp2p.namespaces import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    PRUNED,
    SERVER_ERROR,
    Method,
    Namespace,
    Param,
    RpcError,
    Stream,
)
from chainp2p.rpc.subscriptions.cursor import LENGTH, Cursor
from chainp2p.rpc.subscriptions.stream import Streams
from chainp2p.rpc.subscriptions.subscriber import HEADS, PEERS, TRANSACTIONS
from chainp2p.rpc.subscriptions.text import block_members
from chainp2p.rpc.values import DATA, HASH, QUANTITY, data, hash32, hex_bytes, hex_number, nullable
from chainp2p.rpc.values import text as read_text

__all__ = ["chain_namespace", "hash_or_height", "point"]

_HEIGHT = {"type": "integer", "minimum": 0}
_HASH_OR_HEIGHT = {"anyOf": [HASH, QUANTITY, _HEIGHT]}


def _object(**members: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}


_POINT = _object(hash=HASH, height=_HEIGHT)
_NUMBERS = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}
_COUNT = {"type": "integer", "minimum": 0}
_NUMBER = {"type": "number", "minimum": 0}
_SPREAD = _object(
    came=_COUNT,
    first=_NUMBERS,
    fromDialled=_COUNT,
    copies=_NUMBERS,
    refused=_COUNT,
    redundancy=nullable(_NUMBER),
    announcementsHeard=_COUNT,
    announcementsRepeated=_COUNT,
    announcementsTold=_COUNT,
    announcementMessages=_COUNT,
    sent=_NUMBERS,
    delayMean=nullable(_NUMBER),
    delay50=nullable(_NUMBER),
    delay95=nullable(_NUMBER),
)
_GOSSIP = _object(transactions=nullable(_SPREAD), blocks=_SPREAD, compact=nullable(_NUMBERS))
_INFO = _object(
    genesis=HASH,
    head=_POINT,
    bestHeader=_POINT,
    finalized=_POINT,
    safe=nullable(_POINT),
    gossip=nullable(_GOSSIP),
)
_HEAD = _object(hash=HASH, height=_HEIGHT, parent=HASH, rank=DATA)
_HEADER = _object(hash=HASH, height=_HEIGHT, parent=HASH, header=DATA)
_BLOCK = _object(hash=HASH, height=_HEIGHT, parent=HASH, header=DATA, transactions={"type": "array", "items": HASH})
_PENDING = _object(id=HASH, raw=DATA, pending={"const": True})
_INCLUDED = _object(id=HASH, raw=DATA, pending={"const": False}, block=HASH, height=_HEIGHT)
_TRANSACTION = {"anyOf": [_PENDING, _INCLUDED, {"type": "null"}]}

#: Blocks below 2^63: what SQLite can ask for.
MAX_HEIGHT = (1 << 63) - 1


def point(info: HeaderInfo) -> dict[str, Any]:
    """Write where a chain is."""
    return {"hash": hex_bytes(info.hash), "height": info.height}


def hash_or_height(value: Any) -> bytes | int:
    """Read a hash, or a height as an integer or as a quantity."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_HEIGHT:
        return value
    if isinstance(value, str) and len(value) == 66:
        return hash32(value)
    if isinstance(value, str):
        height = hex_number(value, 64)
        if height <= MAX_HEIGHT:
            return height
    raise ValueError("a hash or a height is expected")


class _ChainMethods:
    """The handlers, over any ``IChain``."""

    def __init__(self, chain: Any, gossip: Callable[[], Mapping[str, Any]] | None) -> None:
        self._chain = chain
        self._gossip = gossip

    def info(self) -> dict[str, Any]:
        chain = self._chain
        safe = getattr(chain, "safe", None)
        return {
            "genesis": hex_bytes(chain.genesis_hash),
            "head": point(chain.head),
            "bestHeader": point(chain.best_header),
            "finalized": point(chain.finalized),
            "safe": None if safe is None else point(safe),
            "gossip": None if self._gossip is None else self._gossip(),
        }

    def head(self) -> dict[str, Any]:
        head = self._chain.head
        return {**point(head), "parent": hex_bytes(head.parent), "rank": hex_bytes(head.rank)}

    async def _find(self, where: bytes | int) -> HeaderInfo | None:
        hash = await self._chain.hash_at(where) if isinstance(where, int) else where
        found: HeaderInfo | None = None if hash is None else await self._chain.locate(hash)
        return found

    async def get_header(self, where: bytes | int) -> dict[str, Any] | None:
        info = await self._find(where)
        raw = None if info is None else await self._chain.header(info.hash)
        return None if info is None or raw is None else _header(info, raw)

    async def get_block(self, where: bytes | int) -> dict[str, Any] | None:
        info = await self._find(where)
        raw = None if info is None else await self._chain.block(info.hash)
        if info is not None and raw is None and await self._chain.hash_at(info.height) == info.hash:
            raise RpcError(PRUNED, "pruned history unavailable")
        if info is None or raw is None:
            return None
        header, transactions = self._chain.split(raw)
        return block_members(info.height, info.hash, info.parent, header, transactions)

    def _pool(self) -> Any:
        if not ITransactionPool.providedBy(self._chain):
            raise RpcError(METHOD_NOT_FOUND, "this chain has no pool of transactions")
        return self._chain

    async def get_transaction(self, id: bytes) -> dict[str, Any] | None:
        raw = self._pool().transaction(id)
        if raw is not None:
            return {"id": hex_bytes(id), "raw": hex_bytes(raw), "pending": True}
        reader = getattr(self._chain, "reader", None)
        included = None if reader is None else await reader.transaction(id)
        if included is None:
            return None
        return {
            "id": hex_bytes(id),
            "raw": hex_bytes(included.transaction.raw),
            "pending": False,
            "block": hex_bytes(included.block_hash),
            "height": included.height,
        }

    async def submit_transaction(self, raw: bytes) -> str:
        result: AdmissionResult = await self._pool().admit(raw, True)
        if result.outcome is Admission.REJECTED:
            raise RpcError(INVALID_PARAMS, result.reason or "the transaction is malformed")
        if result.outcome is Admission.IGNORED:
            raise RpcError(SERVER_ERROR, result.reason or "the pool does not take this transaction")
        return hex_bytes(result.hash)


def _header(info: HeaderInfo, raw: bytes) -> dict[str, Any]:
    return {**point(info), "parent": hex_bytes(info.parent), "header": hex_bytes(raw)}


def _topics(offered: dict[str, str]) -> Callable[[Any], tuple[str, ...]]:
    """:param offered: topic -> why it cannot be had here, empty if it can."""

    def read(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            raise ValueError(f"a list of topics is expected, of {', '.join(offered)}")
        for topic in value:
            why = offered.get(topic, f"there are {', '.join(offered)}") if isinstance(topic, str) else "it is no string"
            if why:
                raise ValueError(f"topic {topic!r:.40}: {why}")
        return tuple(value)

    return read


def _cursor(value: Any) -> str:
    text = read_text(value)
    Cursor.decode(text)
    return text


def _stream(streams: Streams, admin: bool) -> Stream:
    has_pool = ITransactionPool.providedBy(streams.chain)
    offered = {
        HEADS: "",
        TRANSACTIONS: "" if has_pool else "this chain has no pool of transactions",
        PEERS: "" if admin else "it is served on the admin port only",
    }
    topics = {"type": "array", "items": {"type": "string", "enum": list(offered)}, "minItems": 1}
    cursor = {"type": "string", "pattern": f"^[0-9A-Za-z_-]{{{LENGTH}}}$"}
    return Stream(
        streams.prepare,
        (
            Param("topics", _topics(offered), schema=topics),
            Param("cursor", _cursor, required=False, schema=cursor),
        ),
        "The loss-free stream: heads, transactions, peers (admin port only), from a cursor on.",
    )


def chain_namespace(
    chain: Any,
    streams: Streams | None = None,
    admin: bool = False,
    gossip: Callable[[], Mapping[str, Any]] | None = None,
) -> Namespace:
    """:param chain: any ``IChain``; where it has a ``reader`` as the ledger does, included transactions are found.
    *streams*: those who follow it, on another port too. *admin*: for the admin port. *gossip*: answers how often, by
    which way and how soon blocks and transactions came."""
    methods = _ChainMethods(chain, gossip)
    streams = Streams(chain) if streams is None else streams
    where = Param("hashOrHeight", hash_or_height, schema=_HASH_OR_HEIGHT)
    id = Param("id", hash32, schema=HASH)
    return Namespace(
        "chain",
        (
            Method(
                "info",
                methods.info,
                result=_INFO,
                doc="Genesis, head, best header, finalized and safe block; what gossip counts.",
            ),
            Method("head", methods.head, result=_HEAD, doc="The best connected block."),
            Method(
                "getHeader", methods.get_header, (where,), nullable(_HEADER), "A raw header and where it is.", cost=2
            ),
            Method(
                "getBlock", methods.get_block, (where,), nullable(_BLOCK), "The same, with transaction ids.", cost=5
            ),
            Method("getTransaction", methods.get_transaction, (id,), _TRANSACTION, "A raw transaction.", cost=2),
            Method(
                "submitTransaction",
                methods.submit_transaction,
                (Param("raw", data, schema=DATA),),
                HASH,
                "Check a raw transaction, keep and announce it; answers its id.",
                cost=10,
            ),
        ),
        stream=_stream(streams, admin),
    )
