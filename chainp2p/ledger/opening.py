"""Opening a ledger's databases, on the lane that will own them."""

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any

from attrs import frozen

from chainp2p.chain.database import is_private
from chainp2p.chain.store import ChainStore
from chainp2p.ledger.consensus.engine import Engine
from chainp2p.ledger.consensus.equivocation import Evidence
from chainp2p.ledger.core import LedgerCore
from chainp2p.ledger.execution import Execution
from chainp2p.ledger.formats.genesis import Genesis
from chainp2p.ledger.news import News
from chainp2p.ledger.policy import Policy
from chainp2p.ledger.pool.pooled import Journaled
from chainp2p.ledger.producing.producers import Producer
from chainp2p.ledger.rows import STEPS, TABLES, LedgerRows

__all__ = ["CHAIN_FILE", "Opened", "open_ledger"]

CHAIN_FILE = "chain.sqlite"


@frozen
class Opened:
    """An open ledger.

    :param maker: what works for the producer on the lane.
    :param private: no second connection would see its database.
    :param pooled: what the pool held.
    :param evidence: what is known of signers that contradict themselves.
    """

    core: LedgerCore
    maker: Any
    private: bool
    news: News
    pooled: list[Journaled]
    evidence: list[Evidence]

    def close(self) -> None:
        """Close the databases."""
        self.core.store.connection.close()
        if self.core.record is not None:
            self.core.record.close()


def open_ledger(
    genesis: Genesis,
    engine: Engine[Any],
    execution: Execution,
    producer: Producer | None,
    policy: Policy,
    open_database: Callable[[str], sqlite3.Connection],
    now: float,
) -> Opened:
    """Open the chain, and what a *producer* must never forget; StartupError."""
    with ExitStack() as stack:
        connection = stack.enter_context(closing(open_database(CHAIN_FILE)))
        record = None if producer is None else producer.record(open_database, genesis.hash, now)
        if record is not None:
            stack.callback(record.close)
            if engine.on_demand:
                connection.execute("PRAGMA synchronous=FULL")  # see SealRecord
        store, rows = ChainStore(connection, TABLES, STEPS), LedgerRows(connection)
        core = LedgerCore(genesis, engine, execution, store, rows, record, policy)
        news = core.load()
        pooled, evidence = rows.pooled(), rows.evidence()
        maker = None if producer is None else producer.maker(core)
        stack.pop_all()
    return Opened(core, maker, is_private(connection), news, pooled, evidence)
