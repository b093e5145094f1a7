"""The ledger as it obeys an operator (``IReorgs``)."""

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from chainp2p.chain.executor import Executor
from chainp2p.chain.interfaces import RefusedBranch
from chainp2p.ledger import decisions
from chainp2p.ledger.core import LedgerCore
from chainp2p.ledger.news import News

__all__ = ["DecisionDoor"]


class DecisionDoor:
    """What :class:`~chainp2p.ledger.chain.Ledger` is besides."""

    _lane: Executor
    _news: News
    _apply: Callable[..., Any]
    _core: Callable[[], LedgerCore]

    @property
    def refused(self) -> Sequence[RefusedBranch]:
        return self._news.refused

    def accept_reorg(self, hash: bytes) -> "Deferred[str]":
        return Deferred.fromCoroutine(self._decide(decisions.accept_reorg, hash))

    def set_finalized(self, hash: bytes) -> "Deferred[str]":
        return Deferred.fromCoroutine(self._decide(decisions.set_finalized, hash))

    def invalidate_block(self, hash: bytes) -> "Deferred[str]":
        return Deferred.fromCoroutine(self._decide(decisions.invalidate, hash))

    def reconsider_block(self, hash: bytes) -> "Deferred[str]":
        return Deferred.fromCoroutine(self._decide(decisions.reconsider, hash))

    async def _decide(self, decision: Callable[[LedgerCore, bytes], str], hash: bytes) -> str:
        reason, news = await self._lane.run(self._core().decide, decision, hash)
        self._apply(news)
        return reason
