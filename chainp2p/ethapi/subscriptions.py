"""What ``eth_subscribe`` offers: new heads, pending transactions, logs, syncing."""

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chainp2p.chain.interfaces import HeadChanged, HeaderAdded, TransactionAdded
from chainp2p.ethapi.blocks import Blocks
from chainp2p.ethapi.logs import FOLLOWING_PARAM, LogFilter
from chainp2p.ethapi.params import BlockHash
from chainp2p.ethapi.render import header_object, transaction_object
from chainp2p.namespaces import Param, Subscription
from chainp2p.rpc.values import boolean, hex_bytes

__all__ = ["eth_subscriptions", "sync_status"]

#: Blocks behind the best known header from which on wallets are told to wait (the same as in sync's own words).
BEHIND = 8

log = Logger()


def sync_status(ledger: Any) -> dict[str, str] | None:
    """Return how far behind the node is, None if it is not."""
    head, best = ledger.head.height, ledger.best_header.height
    if best - head <= BEHIND:
        return None
    return {"startingBlock": "0x0", "currentBlock": hex(head), "highestBlock": hex(best)}


class _Heads:
    """Turns head changes into headers, in order: reading one may take a while, the next waits."""

    def __init__(self, blocks: Blocks, emit: Callable[[Any], None]) -> None:
        self._blocks = blocks
        self._emit = emit
        self._waiting: deque[bytes] = deque()
        self._running = False
        self._closed = False

    def changed(self, event: HeadChanged) -> None:
        self._waiting.extend(info.hash for info in event.entered)
        if not self._running:
            self._running = True
            Deferred.fromCoroutine(self._run()).addErrback(lambda failure: log.failure("newHeads failed", failure))

    async def _run(self) -> None:
        try:
            while self._waiting and not self._closed:
                header = await self._blocks.header(BlockHash(self._waiting.popleft()))
                if header is not None and not self._closed:
                    self._emit(header_object(header))
        finally:
            self._running = False

    def close(self) -> None:
        self._closed = True


def eth_subscriptions(ledger: Any, blocks: Blocks) -> tuple[Subscription, ...]:
    """Return the subscriptions over a ledger."""

    def new_heads(emit: Callable[[Any], None]) -> Callable[[], None]:
        heads = _Heads(blocks, emit)
        unsubscribe = ledger.events.subscribe(HeadChanged, heads.changed)

        def close() -> None:
            unsubscribe()
            heads.close()

        return close

    def new_pending(emit: Callable[[Any], None], full: bool) -> Callable[[], None]:
        def added(event: TransactionAdded) -> None:
            if not full:
                emit(hex_bytes(event.hash))
                return
            entry = ledger.pool.entry(event.hash)
            if entry is not None:
                emit(transaction_object(entry.transaction, entry.sender))

        unsubscribe: Callable[[], None] = ledger.events.subscribe(TransactionAdded, added)
        return unsubscribe

    def logs(emit: Callable[[Any], None], query: LogFilter) -> Callable[[], None]:
        """There are no contracts: nothing logs."""
        return lambda: None

    def syncing(emit: Callable[[Any], None]) -> Callable[[], None]:
        told = sync_status(ledger) is not None

        def look(_: object) -> None:
            nonlocal told
            status = sync_status(ledger)
            if (status is not None) is not told:
                told = status is not None
                emit({"syncing": True, "status": status} if told else False)

        closers = [ledger.events.subscribe(kind, look) for kind in (HeadChanged, HeaderAdded)]

        def close() -> None:
            for closer in closers:
                closer()

        return close

    return (
        Subscription("newHeads", new_heads, (), "The header of each block that joins the best chain."),
        Subscription(
            "newPendingTransactions",
            new_pending,
            (Param("full", boolean, required=False, default=False, schema={"type": "boolean"}),),
            "The hash of each transaction that enters the pool; with true the whole transaction.",
        ),
        Subscription(
            "logs",
            logs,
            (FOLLOWING_PARAM,),
            "Logs of contracts; there are none on this chain.",
        ),
        Subscription("syncing", syncing, (), "When the node falls behind, and when it has caught up."),
    )
