"""Opening a ledger's databases, on the lane that will own them."""

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing

from attrs import frozen

from chainp2p.chain.database import is_private
from chainp2p.chain.store import ChainStore
from chainp2p.ledger.core import LedgerCore
from chainp2p.ledger.equivocation import Evidence
from chainp2p.ledger.execution import Execution
from chainp2p.ledger.genesis import Genesis
from chainp2p.ledger.making import BlockMaker
from chainp2p.ledger.news import News
from chainp2p.ledger.poa import Slots, address_of
from chainp2p.ledger.pooled import Journaled
from chainp2p.ledger.rows import TABLES, LedgerRows
from chainp2p.ledger.sealing import SealRecord
from chainp2p.primitives.secp256k1 import public_key

__all__ = ["CHAIN_FILE", "SEAL_FILE", "Opened", "open_ledger"]

CHAIN_FILE, SEAL_FILE = "chain.sqlite", "seal.sqlite"


@frozen
class Opened:
    """An open ledger.

    :param private: no second connection would see its database.
    :param pooled: what the pool held.
    :param evidence: what is known of signers that contradict themselves.
    """

    core: LedgerCore
    maker: BlockMaker | None
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
    slots: Slots,
    execution: Execution,
    signer: bytes | None,
    verify_all: bool,
    open_database: Callable[[str], sqlite3.Connection],
    now: float,
) -> Opened:
    """Open the chain, and the record of a *signer* (private key); StartupError."""
    with ExitStack() as stack:
        connection = stack.enter_context(closing(open_database(CHAIN_FILE)))
        record = None
        if signer is not None:
            seals = stack.enter_context(closing(open_database(SEAL_FILE)))
            record = SealRecord(seals, address_of(public_key(signer)), genesis.hash, slots.slot_at(now))
            if slots.on_demand:
                connection.execute("PRAGMA synchronous=FULL")  # see SealRecord
        store, rows = ChainStore(connection, TABLES), LedgerRows(connection)
        core = LedgerCore(genesis, slots, execution, store, rows, record, verify_all)
        news = core.load()
        pooled, evidence = rows.pooled(), rows.evidence()
        maker = None if signer is None else BlockMaker(core, signer)
        stack.pop_all()
    return Opened(core, maker, is_private(connection), news, pooled, evidence)
