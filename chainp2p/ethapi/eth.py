"""The ``eth`` namespace: which handler, which parameters."""

from collections.abc import Sequence
from typing import Any

from chainp2p.chain.interfaces import HeadChanged, TransactionAdded
from chainp2p.ethapi.blocks import Blocks
from chainp2p.ethapi.calling import Calling, slot, slots
from chainp2p.ethapi.fees import MAX_HISTORY, MAX_REWARD_HISTORY, percentiles
from chainp2p.ethapi.filters import FilterKind, Filters, text_id
from chainp2p.ethapi.logs import FOLLOWING_PARAM, LOG_FILTER_PARAM, LogFilter, Logs
from chainp2p.ethapi.params import (
    ADDRESS_PARAM,
    BLOCK_PARAM,
    CALL_PARAM,
    FULL_PARAM,
    HASH_PARAM,
    INDEX_PARAM,
    NUMBER_PARAM,
    OPTIONAL_BLOCK_PARAM,
)
from chainp2p.ethapi.reading import Reading
from chainp2p.ethapi.render import transaction_object
from chainp2p.ethapi.schemas import (
    BLOCK,
    FEE_HISTORY,
    FILTER_CHANGES,
    HEADER,
    LOGS,
    PROOF,
    RECEIPT,
    SYNCING,
    TRANSACTION,
)
from chainp2p.ethapi.subscriptions import eth_subscriptions, sync_status
from chainp2p.namespaces import Method, Namespace, Param
from chainp2p.rpc.values import BOOLEAN, DATA, HASH, QUANTITY, data, hex_bytes, nullable, quantity64

__all__ = ["eth_namespace", "history_cost"]

_OBJECT = {"type": "object"}
_BLOCK, _HEADER, _TRANSACTION = nullable(BLOCK), nullable(HEADER), nullable(TRANSACTION)
_NULLABLE_QUANTITY = nullable(QUANTITY)
_LIST = {"type": "array"}

_FILTER_KEY = {"type": "string", "pattern": "^0x[1-9a-f][0-9a-f]{31}$"}
_FILTER_ID = Param("id", text_id, schema=_FILTER_KEY)
#: State and block overrides of geth: taken so that clients that always send them work; nothing here depends on them.
_OVERRIDES = (
    Param("stateOverrides", required=False, schema=_OBJECT),
    Param("blockOverrides", required=False, schema=_OBJECT),
)


#: Digits of 2^64.
MAX_COUNT_DIGITS = 20


def _count(value: Any) -> int:
    """Read a number of blocks, which clients send as quantity, as integer or as its digits."""
    if isinstance(value, str):
        if value[:2] in ("0x", "0X"):
            return quantity64(value)
        digits = value or "0"
    else:
        digits = str(value) if isinstance(value, int) and not isinstance(value, bool) else "-"
    if not digits.isascii() or not digits.isdigit() or len(digits) > MAX_COUNT_DIGITS or int(digits) >= 1 << 64:
        raise ValueError(f'invalid hex or decimal integer "{value!s:.80}"')
    return int(digits)


def history_cost(count: int, newest: str | int, wanted: Sequence[float]) -> int:
    """Tips are read from receipts, base fees from headers, of blocks that nobody asked for lately."""
    return min(count, MAX_REWARD_HISTORY) * 10 if wanted else min(count, MAX_HISTORY) // 4


def eth_namespace(ledger: Any, seed: bytes) -> Namespace:
    """:param ledger: a ``Ledger``; it need not be started yet. *seed*: makes filter ids unguessable."""
    blocks = Blocks(ledger)
    reading, calling, logs = Reading(ledger, blocks), Calling(ledger, blocks), Logs(ledger)
    methods = (
        *_reading_methods(reading),
        *_calling_methods(calling),
        *_filter_methods(ledger, logs, Filters(seed)),
        Method("getLogs", logs.of, (LOG_FILTER_PARAM,), LOGS, "Logs of contracts; there are none."),
        Method(
            "accounts",
            list,
            (),
            {"type": "array", "maxItems": 0},
            "No keys live in the node: always empty.",
            reads=True,
        ),
        Method(
            "syncing",
            lambda: sync_status(ledger) or False,
            (),
            SYNCING,
            "How far behind the node is, or false.",
            reads=True,
        ),
    )
    return Namespace("eth", methods, eth_subscriptions(ledger, blocks))


def _reading_methods(reading: Reading) -> tuple[Method, ...]:
    return (
        Method("blockNumber", reading.block_number, (), QUANTITY, "Height of the best block.", reads=True),
        Method("getBlockByNumber", reading.block_by_number, (NUMBER_PARAM, FULL_PARAM), _BLOCK, "A block.", 12),
        Method("getBlockByHash", reading.block_by_hash, (HASH_PARAM, FULL_PARAM), _BLOCK, "A block.", 12),
        Method(
            "getHeaderByNumber",
            reading.header_by_number,
            (NUMBER_PARAM,),
            _HEADER,
            "A header.",
            2,
            lambda number: 10 if number == "pending" else 0,  # it has to be made, with the root of its transactions
        ),
        Method("getHeaderByHash", reading.header_by_hash, (HASH_PARAM,), _HEADER, "A header.", 2),
        Method(
            "getBlockTransactionCountByNumber",
            reading.count_by_number,
            (NUMBER_PARAM,),
            _NULLABLE_QUANTITY,
            "How many transactions a block has.",
            10,
        ),
        Method(
            "getBlockTransactionCountByHash",
            reading.count_by_hash,
            (HASH_PARAM,),
            _NULLABLE_QUANTITY,
            "How many transactions a block has.",
            10,
        ),
        Method(
            "getUncleCountByBlockNumber", reading.uncles_by_number, (NUMBER_PARAM,), _NULLABLE_QUANTITY, "Always 0.", 2
        ),
        Method("getUncleCountByBlockHash", reading.uncles_by_hash, (HASH_PARAM,), _NULLABLE_QUANTITY, "Always 0.", 2),
        Method("getTransactionByHash", reading.transaction, (HASH_PARAM,), _TRANSACTION, "A transaction.", 15),
        Method("getRawTransactionByHash", reading.raw_transaction, (HASH_PARAM,), DATA, "Its bytes.", 8),
        Method(
            "getTransactionByBlockNumberAndIndex",
            reading.transaction_by_number,
            (NUMBER_PARAM, INDEX_PARAM),
            _TRANSACTION,
            "A transaction by its place.",
            10,
        ),
        Method(
            "getTransactionByBlockHashAndIndex",
            reading.transaction_by_hash,
            (HASH_PARAM, INDEX_PARAM),
            _TRANSACTION,
            "A transaction by its place.",
            10,
        ),
        Method(
            "getTransactionReceipt", reading.receipt, (HASH_PARAM,), nullable(RECEIPT), "What a transaction did.", 15
        ),
        Method(
            "getBlockReceipts",
            reading.receipts,
            (BLOCK_PARAM,),
            nullable({"type": "array", "items": RECEIPT}),
            "What all transactions of a block did.",
            10,
        ),
    )


def _calling_methods(calling: Calling) -> tuple[Method, ...]:
    account = (ADDRESS_PARAM, OPTIONAL_BLOCK_PARAM)
    call = (CALL_PARAM, OPTIONAL_BLOCK_PARAM, *_OVERRIDES)
    return (
        Method("chainId", calling.chain_id, (), QUANTITY, "Chain id (EIP-155).", reads=True),
        Method("getBalance", calling.balance, account, QUANTITY, "Balance in wei.", reads=True),
        Method(
            "getTransactionCount",
            calling.transaction_count,
            account,
            QUANTITY,
            "Nonce of the next transaction.",
            reads=True,
        ),
        Method("getCode", calling.code, account, DATA, "Code at an address.", reads=True),
        Method(
            "getStorageAt",
            calling.storage,
            (
                ADDRESS_PARAM,
                Param("slot", slot, schema={"type": "string", "pattern": "^(0[xX])?[0-9a-fA-F]{0,64}$"}),
                OPTIONAL_BLOCK_PARAM,
            ),
            DATA,
            "A storage slot.",
            reads=True,
        ),
        Method(
            "getProof",
            calling.proof,
            (ADDRESS_PARAM, Param("slots", slots, schema=_LIST), OPTIONAL_BLOCK_PARAM),
            PROOF,
            "An account with the proof that the state root holds it.",
            3,
        ),
        Method("call", calling.call, call, DATA, "What a call would answer.", 5),
        Method("estimateGas", calling.estimate_gas, call, QUANTITY, "The gas that a transaction needs.", 5),
        Method("gasPrice", calling.gas_price, (), QUANTITY, "Base fee of the next block plus a fair tip.", reads=True),
        Method("maxPriorityFeePerGas", calling.max_priority_fee, (), QUANTITY, "A fair tip.", reads=True),
        Method(
            "feeHistory",
            calling.fee_history,
            (
                Param("blockCount", _count, schema={"anyOf": [QUANTITY, {"type": "integer", "minimum": 0}]}),
                NUMBER_PARAM,
                Param("rewardPercentiles", percentiles, required=False, default=(), schema=_LIST),
            ),
            FEE_HISTORY,
            "Base fees, fullness and tips of recent blocks; each block with tips costs 10 more.",
            10,
            history_cost,
        ),
        Method(
            "sendRawTransaction",
            calling.send_raw,
            (Param("raw", data, schema=DATA),),
            HASH,
            "Check a signed transaction, keep and announce it; answers its hash.",
            10,
        ),
    )


def _filter_methods(ledger: Any, logs: Logs, filters: Filters) -> tuple[Method, ...]:
    now = ledger.now

    def head_changed(event: HeadChanged) -> None:
        for info in event.entered:
            filters.happened(now(), FilterKind.BLOCKS, hex_bytes(info.hash))

    def transaction_added(event: TransactionAdded) -> None:
        if not filters:
            return
        filters.happened(now(), FilterKind.TRANSACTIONS, hex_bytes(event.hash))
        entry = ledger.pool.entry(event.hash)
        if entry is not None:
            size = len(entry.transaction.raw)
            filters.happened(now(), FilterKind.WHOLE_TRANSACTIONS, entry, size)

    ledger.events.subscribe(HeadChanged, head_changed)
    ledger.events.subscribe(TransactionAdded, transaction_added)

    async def filter_logs(id: str) -> list[Any]:
        return await logs.of(filters.query(now(), id))

    def changes(id: str) -> list[Any]:
        return [
            one if isinstance(one, str) else transaction_object(one.transaction, one.sender)
            for one in filters.changes(now(), id)
        ]

    def new(kind: FilterKind, query: LogFilter | None = None) -> str:
        return filters.add(now(), kind, query)

    return (
        Method("newBlockFilter", lambda: new(FilterKind.BLOCKS), (), _FILTER_KEY, "Start to collect block hashes."),
        Method(
            "newPendingTransactionFilter",
            lambda full: new(FilterKind.WHOLE_TRANSACTIONS if full else FilterKind.TRANSACTIONS),
            (FULL_PARAM,),
            _FILTER_KEY,
            "Start to collect hashes of pooled transactions, or them as a whole.",
        ),
        Method(
            "newFilter",
            lambda query: new(FilterKind.LOGS, query),
            (FOLLOWING_PARAM,),
            _FILTER_KEY,
            "Start to collect logs.",
        ),
        Method(
            "getFilterChanges",
            changes,
            (_FILTER_ID,),
            FILTER_CHANGES,
            "What was collected since the last call.",
        ),
        Method("getFilterLogs", filter_logs, (_FILTER_ID,), LOGS, "All logs that a filter is about."),
        Method("uninstallFilter", lambda id: filters.remove(now(), id), (_FILTER_ID,), BOOLEAN, "Stop to collect."),
    )
