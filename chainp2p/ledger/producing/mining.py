"""Producing by work: a template of the next block goes to a process of its own, and a nonce comes back.

- The search runs beside the node, never on the reactor's thread or a lane of it; the template is filled on the lane.
- A new head ends it at once: what is searched for then is worth nothing.
- After :data:`REFRESH` seconds without success there is a new template: its timestamp says when it was made, from which
  the difficulty of later blocks follows, and it takes what joined the pool meanwhile.
- Each search starts at a nonce of chance, so that two miners for one address do not do the same work twice.
"""

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import frozen

from chainp2p.chain.executor import Executor, Process
from chainp2p.ledger.consensus.asert import target_of
from chainp2p.ledger.consensus.pow import EARLY_SECONDS, Work, WorkEntry
from chainp2p.ledger.core import LedgerCore
from chainp2p.ledger.formats.header import Header
from chainp2p.ledger.news import News
from chainp2p.ledger.producing.making import Candidates, Draft, Made, connect, draft, header_of
from chainp2p.ledger.producing.sealing import SealRecord
from chainp2p.ledger.producing.search import Task, search

if TYPE_CHECKING:
    from random import Random

__all__ = ["REFRESH", "Miner"]

#: Seconds that one template is searched for.
REFRESH = 4.0
#: How long a miner without ready peers waits after a start, in seconds: what it mines alone may be lost.
WARM_UP_SECONDS = 10.0


@frozen(eq=False)
class Template:
    """A block that lacks its nonce."""

    draft: Draft
    header: Header


class TemplateMaker:
    """Fills templates and connects what was found, on the lane of the core."""

    def __init__(self, core: LedgerCore, work: Work, address: bytes) -> None:
        self._core = core
        self._work = work
        self._address = address

    def prepare(self, now: float, candidates: Candidates) -> Template | str:
        """A template on the head; the text says why there is none."""
        parent: WorkEntry = self._core.chain.head.data  # type: ignore[assignment]
        timestamp = max(int(now), parent.median + 1)
        if timestamp > now + EARLY_SECONDS:
            return "the clock is too far behind those of other miners"
        made = draft(self._core, candidates, timestamp, self._address)
        return Template(made, header_of(made, difficulty=self._work.difficulty_after(parent)))

    def finish(self, template: Template, nonce: int, now: float) -> Made | str:
        """Connect the block, unless another one came first; the text says so."""
        header = template.header.with_nonce(nonce)
        if self._core.chain.head.info.hash != header.parent:
            return "the head has changed"
        return connect(self._core, template.draft, header, now)


class Miner:
    """The producer of a network with proof of work.

    :param address: where rewards and tips go.
    :param now: answers Unix time in seconds.
    :param sole_start: there is nobody to ask.
    """

    def __init__(
        self, work: Work, address: bytes, random: "Random", now: Callable[[], float], sole_start: bool
    ) -> None:
        self.address = address
        self._work = work
        self._random = random
        self._now = now
        self._sole_start = sole_start
        self._process: Process | None = None

    def record(
        self, open_database: Callable[[str], sqlite3.Connection], genesis_hash: bytes, now: float
    ) -> SealRecord | None:
        return None

    def maker(self, core: LedgerCore) -> TemplateMaker:
        return TemplateMaker(core, self._work, self.address)

    def start(self, executor: Executor) -> None:
        self._process = executor.process("miner", search)

    def able(self, height: int) -> bool:
        return True

    def sole(self, height: int) -> bool:
        return self._sole_start

    def next_time(self, now: float, news: News, executable: bool) -> float | None:
        return now

    def warm_up_seconds(self, height: int) -> float:
        return 0.0 if self._sole_start else WARM_UP_SECONDS

    async def make(self, lane: Executor, maker: TemplateMaker, now: float, candidates: Candidates) -> Made | str:
        template = await lane.run(maker.prepare, now, candidates)
        if isinstance(template, str):
            return template
        header = template.header
        assert self._process is not None
        start = self._random.getrandbits(64)
        task = Task(*header.around_nonce, target_of(header.difficulty), start)
        nonce = await self._process.ask(task.encode(), REFRESH)
        if nonce is None:
            return "no nonce was found for this template"
        return await lane.run(maker.finish, template, int.from_bytes(nonce, "big"), self._now())

    def changed(self, head: bool) -> None:
        if head:
            self.abandon()

    def abandon(self) -> None:
        if self._process is not None:
            self._process.drop()
