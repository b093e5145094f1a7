"""The ledger as a producer of blocks (``IBlockProducer``): asks its :class:`Producer` and tells what it made."""

from collections.abc import Callable
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chainp2p.chain.executor import Executor
from chainp2p.chain.interfaces import FinalityConflict, HeaderInfo
from chainp2p.ledger.news import News
from chainp2p.ledger.opening import Opened
from chainp2p.ledger.pool.pool import Pool
from chainp2p.ledger.producing.producers import Producer

__all__ = ["ProducingDoor"]

#: Gas of the cheapest transaction: no block holds more than its gas limit divided by this.
_CHEAPEST_GAS = 21_000


class ProducingDoor:
    """What :class:`~chainp2p.ledger.chain.Ledger` is besides, where it was given a key or an address to mine for."""

    log: Logger
    conflict: FinalityConflict | None
    head: HeaderInfo
    pool: Pool
    _lane: Executor
    _news: News
    _opened: Opened | None
    _producer: Producer | None
    _apply: Callable[..., Any]

    @property
    def producer_address(self) -> bytes | None:
        """Where the rewards of this node's blocks go; None: it makes none."""
        return None if self._producer is None else self._producer.address

    def _changed(self, head: bool) -> None:
        if self._producer is not None:
            self._producer.changed(head)

    def can_produce(self) -> bool:
        if self._opened is None or self._producer is None or self.conflict is not None:
            return False
        return self._producer.able(self.head.height + 1)

    def sole_producer(self) -> bool:
        return self._producer is not None and self._producer.sole(self.head.height + 1)

    def next_time(self, now: float) -> float | None:
        if self._producer is None or not self.can_produce():
            return None
        return self._producer.next_time(now, self._news, self.pool.has_executable())

    def warm_up_seconds(self) -> float:
        return 0.0 if self._producer is None else self._producer.warm_up_seconds(self.head.height + 1)

    def abandon(self) -> None:
        if self._producer is not None:
            self._producer.abandon()

    def produce(self, now: float) -> "Deferred[bytes | None]":
        return Deferred.fromCoroutine(self._produce(now))

    async def _produce(self, now: float) -> bytes | None:
        when, opened, producer = self.next_time(now), self._opened, self._producer
        if producer is None or opened is None or when is None or when > now:
            return None
        candidates = list(islice(self.pool.best(), self.pool.gas_limit // _CHEAPEST_GAS))
        made = await producer.make(self._lane, opened.maker, now, candidates)
        if isinstance(made, str):
            self.log.debug("no block made: {reason}", reason=made)
            return None
        self._apply(made.news, made.raw)
        return made.raw
