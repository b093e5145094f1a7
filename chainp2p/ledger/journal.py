"""The pool on disk: what changes is gathered and stored by one job at a time, so a restart finds the pool again.

Own transactions are stored at once, others when :data:`GATHERED` have changed or the head has: storing few at a time
takes a third of what one costs. A crash may lose those; the peers that sent them have them, and nothing depends on it.
"""

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

from twisted.logger import Logger

from chainp2p.chain.executor import Executor
from chainp2p.chain.interfaces import Admission
from chainp2p.errors import StorageError
from chainp2p.ledger.core import LedgerCore
from chainp2p.ledger.formats.transaction import Transaction, recover_senders
from chainp2p.ledger.pool.pool import Journaled, Pool, PoolChange

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

__all__ = ["PoolJournal"]

#: So many changes of what peers sent are worth a job.
GATHERED = 64
#: So many hashes of what left the pool are kept while the disk takes none: the rest shows at the next start.
DROPPED_MAX = 100_000


class PoolJournal:
    """See the module.

    :param lane: the one that owns the database.
    """

    log = Logger()

    def __init__(self, lane: Executor, core: LedgerCore) -> None:
        self._lane = lane
        self._core = core
        self._added: dict[bytes, Journaled] = {}
        self._dropped: set[bytes] = set()
        self._busy = False
        self._due = False

    async def restore(self, pool: Pool, pooled: Iterable[Journaled]) -> None:
        """Fill *pool* with what it held before; what does not fit any more is forgotten."""
        checked = [(one, pool.precheck(one.raw)) for one in pooled]
        signed = [result for _, result in checked if isinstance(result, Transaction)]
        senders = iter(await self._lane.run(recover_senders, signed))
        for one, result in checked:
            if isinstance(result, Transaction):
                result, change = pool.add(result, next(senders), one.added, one.local)
                self.forget(dropped.hash for dropped in change.dropped)
            if result.outcome is not Admission.ADMITTED:
                self.forget([result.hash])

    def note(self, change: PoolChange) -> None:
        """Store a change of the pool, now or with others."""
        self.forget(dropped.hash for dropped in change.dropped)
        for entry in change.added:
            self._dropped.discard(entry.hash)
            self._added[entry.hash] = Journaled(entry.transaction.raw, entry.added, entry.local)
            self._due = self._due or entry.local
        if self._due or len(self._added) + len(self._dropped) >= GATHERED:
            self.store()

    def forget(self, hashes: Iterable[bytes]) -> None:
        """These are not in the pool (any more)."""
        for hash in hashes:
            self._added.pop(hash, None)
            if len(self._dropped) < DROPPED_MAX:
                self._dropped.add(hash)

    def flush(self) -> "Deferred[None]":
        """Store what is left, for there will be no more; fires when everything is stored, or cannot be."""
        return self._lane.run(self._write, *self._taken()).addErrback(
            lambda failure: self.log.error("the pool could not be stored: {why}", why=failure.getErrorMessage())
        )

    def store(self) -> None:
        """Store what has gathered, what could not be stored before included."""
        self._due = bool(self._added or self._dropped)
        if self._busy or not self._due:
            return
        self._busy, self._due = True, False
        taken = self._taken()
        self._lane.run(self._write, *taken).addCallbacks(self._stored, self._failed, errbackArgs=taken)

    def _stored(self, _: None) -> None:
        self._busy = False
        if self._due:
            self.store()

    def _failed(self, failure: "Failure", added: dict[bytes, Journaled], dropped: set[bytes]) -> None:
        """Keep what could not be stored; it is tried again with the next change, or when there is room."""
        self._busy = False
        for hash, one in added.items():
            if hash not in self._dropped:
                self._added.setdefault(hash, one)
        self._dropped.update(hash for hash in islice(dropped, DROPPED_MAX) if hash not in self._added)
        if not isinstance(failure.value, StorageError):
            self.log.failure("the pool could not be stored", failure)

    def _taken(self) -> tuple[dict[bytes, Journaled], set[bytes]]:
        taken = self._added, self._dropped
        self._added, self._dropped = {}, set()
        return taken

    def _write(self, added: dict[bytes, Journaled], dropped: set[bytes]) -> None:
        with self._core.store.transaction():
            self._core.rows.drop_pooled(dropped)
            self._core.rows.add_pooled(added.items())
