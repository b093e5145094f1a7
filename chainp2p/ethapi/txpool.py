"""The ``txpool`` namespace: what waits for a block, in go-ethereum's shapes."""

from collections.abc import Iterable
from typing import Any

from chainp2p.ethapi.params import ADDRESS_PARAM
from chainp2p.ethapi.render import checksummed, transaction_object
from chainp2p.ethapi.schemas import POOL_CONTENT, POOL_LINES, POOL_OF_ONE, POOL_STATUS
from chainp2p.ledger.pool.pool import Pooled
from chainp2p.namespaces import Method, Namespace

__all__ = ["txpool_namespace"]


def _objects(entries: Iterable[Pooled]) -> dict[str, Any]:
    return {str(entry.nonce): transaction_object(entry.transaction, entry.sender) for entry in entries}


def _lines(entries: Iterable[Pooled]) -> dict[str, Any]:
    return {str(entry.nonce): _line(entry) for entry in entries}


def _line(entry: Pooled) -> str:
    transaction = entry.transaction
    to = "contract creation" if transaction.to is None else checksummed(transaction.to)
    return f"{to}: {transaction.value} wei + {transaction.gas} gas × {transaction.max_fee} wei"


def txpool_namespace(ledger: Any) -> Namespace:
    """:param ledger: a ``Ledger``; it need not be started yet."""

    def by_sender(write: Any) -> dict[str, Any]:
        pending, queued = {}, {}
        for address, (ready, waiting) in ledger.pool.content().items():
            if ready:
                pending[checksummed(address)] = write(ready)
            if waiting:
                queued[checksummed(address)] = write(waiting)
        return {"pending": pending, "queued": queued}

    def status() -> dict[str, str]:
        stats = ledger.pool.stats()
        return {"pending": hex(stats.pending), "queued": hex(stats.queued)}

    def content_from(address: bytes) -> dict[str, Any]:
        pending, queued = ledger.pool.content_from(address)
        return {"pending": _objects(pending), "queued": _objects(queued)}

    return Namespace(
        "txpool",
        (
            Method("status", status, (), POOL_STATUS, "How many transactions wait."),
            Method("content", lambda: by_sender(_objects), (), POOL_CONTENT, "All of them, by sender and nonce.", 50),
            Method("contentFrom", content_from, (ADDRESS_PARAM,), POOL_OF_ONE, "Those of one sender.", 5),
            Method("inspect", lambda: by_sender(_lines), (), POOL_LINES, "All of them, a line each.", 20),
        ),
    )
