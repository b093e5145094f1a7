"""Gossip: the relay of transactions and of blocks, as one user of links."""

import random as random_module
from collections.abc import Callable, Mapping
from typing import Any

from attrs import asdict
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chainp2p.chain.interfaces import (
    BlockProduced,
    HeadChanged,
    TransactionAdded,
    TransactionDropped,
    TransactionRefused,
)
from chainp2p.errors import Reason
from chainp2p.gossip.blocks.rebuilding import Counts
from chainp2p.gossip.blocks.relay import BlockRelay
from chainp2p.gossip.redundancy import Redundancy
from chainp2p.gossip.transactions.relay import TransactionRelay
from chainp2p.gossip.transactions.why import TransactionAnswer
from chainp2p.peer.link import Handler, Link
from chainp2p.peer.tasks import Tasks
from chainp2p.wire.messages import (
    COMPACT_BLOCKS,
    MESH,
    AnnounceTransactions,
    GetMempool,
    GetTransactions,
    Mempool,
    NewTransaction,
    NotFound,
)

__all__ = ["GossipService"]


class GossipService:
    """A :class:`~chainp2p.peer.link.LinkUser` that spreads what is new.

    :param pool: an ``ITransactionPool``, or None for a chain without one: then no transaction is taken or given.
    :param now: Unix time in seconds.
    :param interval: paces announcements of transactions (seconds): see :mod:`chainp2p.gossip.transactions.announcing`.
    :param heard: told of (link, hash, height) of a block whose ancestors may be missing.
    """

    log = Logger()

    def __init__(
        self,
        *,
        chain: Any,
        pool: Any,
        reactor: IReactorTime,
        now: Callable[[], float],
        random: random_module.Random,
        interval: float,
        heard: Callable[[Link, bytes, int], None],
    ) -> None:
        self._events = chain.events
        self._tasks = Tasks(self.log)
        self._transactions: TransactionRelay | None = None
        more: dict[str, Any] = {}
        if pool is not None:
            self._transactions = TransactionRelay(
                pool=pool, reactor=reactor, now=now, random=random, interval=interval, tasks=self._tasks
            )
            more = {"pool": pool, "lacks": self._transactions.lacks}
        self._blocks = BlockRelay(
            chain=chain,
            reactor=reactor,
            now=now,
            random=random,
            interval=interval,
            heard=heard,
            tasks=self._tasks,
            log=self.log,
            **more,
        )
        #: What goes into ``Status.features``.
        self.features = MESH | (COMPACT_BLOCKS if pool is not None else 0)
        self._unsubscribe: list[Callable[[], None]] = []

    @property
    def compact(self) -> Counts | None:
        """What became of blocks in compact form; None: there are none, for there is no pool."""
        return None if self._blocks.rebuilding is None else self._blocks.rebuilding.counts

    @property
    def transactions(self) -> Redundancy | None:
        """How often transactions came, by which way and how soon; None: there is no pool."""
        return None if self._transactions is None else self._transactions.counts

    @property
    def blocks(self) -> Redundancy:
        """The same of blocks; a compact form is a copy."""
        return self._blocks.counts

    def figures(self) -> dict[str, Any]:
        """All that is counted, for people and programs."""
        return {
            "transactions": None if self.transactions is None else self.transactions.figures(),
            "blocks": self.blocks.figures(),
            "compact": None if self.compact is None else asdict(self.compact),
        }

    def metrics(self) -> list[tuple[str, Mapping[str, str], float]]:
        """The same as name, labels and value."""
        compact = {} if self.compact is None else asdict(self.compact)
        results = ("free", "asked", "fetched", "mismatched", "given_up", "again")
        return [
            *([] if self.transactions is None else self.transactions.metrics("transaction")),
            *self.blocks.metrics("block"),
            *(
                ("chainp2p_compact_blocks_total", {"result": name}, float(compact[name]))
                for name in results
                if name in compact
            ),
            *(
                (f"chainp2p_compact_{name}_total", {}, float(compact[name]))
                for name in ("transactions", "lacked")
                if name in compact
            ),
        ]

    def bringing(self, hash: bytes) -> bool:
        """Whether a block is being fetched, rebuilt or checked."""
        return self._blocks.bringing(hash)

    async def why_transaction(self, hash: bytes) -> TransactionAnswer | None:
        """Where a transaction came from, who has it, and why it is in no block; None: there is no pool."""
        return None if self._transactions is None else await self._transactions.why(hash)

    def start(self) -> None:
        """Begin; the chain has been started."""
        self._tasks.start()
        events, blocks, transactions = self._events, self._blocks, self._transactions
        self._unsubscribe = [
            events.subscribe(BlockProduced, blocks.on_produced),
            events.subscribe(HeadChanged, blocks.on_head),
        ]
        if transactions is not None:
            self._unsubscribe += [
                events.subscribe(TransactionAdded, transactions.on_added),
                events.subscribe(TransactionDropped, transactions.on_dropped),
                events.subscribe(TransactionRefused, transactions.on_refused),
                events.subscribe(HeadChanged, transactions.on_head),
            ]

    def stop(self) -> None:
        """Cancel every timer, fetch and check."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe = []
        self._blocks.stop()
        if self._transactions is not None:
            self._transactions.stop()
        self._tasks.stop()

    def handlers(self) -> Mapping[type[Any], Handler]:
        if self._transactions is not None:
            return {**self._blocks.handlers(), **self._transactions.handlers()}
        return {
            **self._blocks.handlers(),
            NewTransaction: lambda link, message: None,
            AnnounceTransactions: lambda link, message: None,
            GetMempool: lambda link, message: Mempool(()),
            GetTransactions: lambda link, message: NotFound(message.hashes),
        }

    def joined(self, link: Link) -> None:
        self._blocks.joined(link)
        if self._transactions is not None:
            self._transactions.joined(link)

    def left(self, link: Link, reason: Reason) -> None:
        self._blocks.left(link)
        if self._transactions is not None:
            self._transactions.left(link)
