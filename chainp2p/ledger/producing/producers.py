"""What a node needs to add blocks of its own: one interface for those who seal and those who mine.

A :class:`Producer` lives on the reactor's side; its ``maker`` on the lane of the core.
"""

import sqlite3
from collections.abc import Callable
from typing import Any, Protocol

from chainp2p.chain.executor import Executor
from chainp2p.ledger.core import LedgerCore
from chainp2p.ledger.news import News
from chainp2p.ledger.producing.making import Candidates, Made
from chainp2p.ledger.producing.sealing import SealRecord

__all__ = ["Producer"]


class Producer(Protocol):
    """Adds blocks of this node's own.

    :ivar address: where its rewards go.
    """

    address: bytes

    def record(
        self, open_database: Callable[[str], sqlite3.Connection], genesis_hash: bytes, now: float
    ) -> SealRecord | None:
        """Open what must never be forgotten of its blocks; None: nothing."""
        ...

    def maker(self, core: LedgerCore) -> Any:
        """What works for it on the lane."""
        ...

    def start(self, executor: Executor) -> None:
        """The chain starts."""
        ...

    def able(self, height: int) -> bool:
        """Whether it may produce a block of that height."""
        ...

    def sole(self, height: int) -> bool:
        """Whether nobody else may."""
        ...

    def next_time(self, now: float, news: News, executable: bool) -> float | None:
        """See ``IBlockProducer``; *news*: where the chain stands, *executable*: there are transactions to include."""
        ...

    def warm_up_seconds(self, height: int) -> float:
        """See ``IBlockProducer``."""
        ...

    async def make(self, lane: Executor, maker: Any, now: float, candidates: Candidates) -> Made | str:
        """Produce a block on the head; the text says why there is none."""
        ...

    def changed(self, head: bool) -> None:
        """The chain's *head* moved, or transactions joined the pool."""
        ...

    def abandon(self) -> None:
        """Let a :meth:`make` that searches end soon."""
        ...
