"""A state that is downloaded, adopted, and gone on from by blocks, in lives that end anywhere."""

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

from chainp2p.chain.states import ChunkTaken
from chainp2p.ledger.chain import Ledger
from chainp2p.ledger.state import chunks
from chainp2p.testing.databases import MemoryDisk
from tests.integration.crash.death import Plan, Watch
from tests.integration.crash.inspection import Found, fresh_import
from tests.integration.crash.workloads import LATER, Workload, closed, made, opened, pay, people, result
from tests.ledger.forge import Forge
from tests.ledger.network import AtOnce, genesis_of

__all__ = ["StateDownload"]

#: 64 of these are ten minutes: a state is served at each 64th height. Milliseconds.
PERIOD, GRID = 10_000, 64
#: Chunks that come at a time, and their size in bytes: small, so that there are many.
CHUNKS, CHUNK_BYTES = 4, 1_000


class StateDownload(Workload):
    """The ledger that serves it is in memory, and goes along into each child."""

    name = "state sync"

    def __init__(self, accounts: int, after: int = 12) -> None:
        self.genesis = genesis_of(1, PERIOD)
        forge, to = Forge(self.genesis), people(accounts)
        parent, blocks, headers = forge.root, [], []
        share = -(-accounts // GRID)
        for height in range(1, GRID + after + 1):
            first = (height - 1) * share
            payments = [pay(at % 10, at // 10, to[at % accounts]) for at in range(first, first + share)]
            parent = forge.grow(parent, height, transactions=payments)
            blocks.append(parent.raw)
            headers.append(parent.header.raw)
        self.blocks, self.headers = blocks, headers
        self.truth = fresh_import(self.genesis, blocks, LATER)
        self.source = Ledger(
            self.genesis, executor=AtOnce(), now=lambda: LATER, random=Random(1), open_database=MemoryDisk().open
        )
        result(self.source.start())
        result(self.source.submit_blocks(blocks, self.source.genesis_hash))
        hash = result(self.source.hash_at(GRID))
        self.state = dict(result(self.source.reader.state(hash)).rows())

    def life(self, folder: Path, watch: Watch, plan: Plan | None) -> None:
        chunks.make_chunk.__defaults__ = (None, CHUNK_BYTES)  # type: ignore[attr-defined]
        ledger = opened(self.genesis, folder, watch, plan)
        for at in range(ledger.best_header.height, len(self.headers), 32):
            result(ledger.add_headers(self.headers[at : at + 32]))
        if ledger.head.height == 0:
            self._download(ledger, watch)
        watch.noted = -1
        for at in range(ledger.head.height, len(self.blocks), 5):
            result(ledger.submit_blocks(self.blocks[at : at + 5], ledger.best_header.hash))
        assert ledger.head.height == len(self.blocks)
        closed(ledger)

    def _download(self, ledger: Ledger, watch: Watch) -> None:
        goal = result(ledger.state_goal(None))
        assert goal is not None and goal.block.height == GRID, goal
        taken = result(ledger.begin_state(goal))
        assert taken.entries >= watch.noted, "accounts that were stored are gone"
        todo = list(taken.open)
        while todo:
            parts, todo = todo[:CHUNKS], todo[CHUNKS:]
            came = [(part.prefix, result(self.source.state_chunk(goal.root, part.base, part.prefix))) for part in parts]
            for one in result(ledger.take_chunks(came)):
                assert isinstance(one, ChunkTaken), one
                todo += one.open
                watch.noted = one.entries
        body = result(self.source.block(goal.block.hash))
        watch.noted = -1  # they become the accounts of the chain
        assert result(ledger.adopt_state(goal, body)) == ""

    def check(self, folder: Path, watch: Watch) -> Found | None:
        database = folder / "chain.sqlite"
        if made(database):
            self._staged(database, watch.noted)
        return super().check(folder, watch)

    def check_lost(self, folder: Path) -> Found | None:
        if made(folder / "chain.sqlite"):
            self._staged(folder / "chain.sqlite", -1)
        return super().check_lost(folder)

    def _staged(self, database: Path, noted: int) -> None:
        """What is kept of a download is right, and all of it below the prefixes that it says."""
        with closing(sqlite3.connect(database)) as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
            if "staged" not in tables:
                assert "staged_parts" not in tables, "half a table of a download"
                assert noted <= 0, "accounts that were stored are gone"
                return
            staged = dict(connection.execute("SELECT key, value FROM staged"))
            parts = [row[0] for row in connection.execute("SELECT prefix FROM staged_parts")]
        assert len(staged) >= noted, "accounts that were stored are gone"
        assert all(self.state.get(key) == value for key, value in staged.items()), "a staged account is wrong"
        for key in self.state:
            if any(key.hex().startswith(prefix) for prefix in parts):
                assert key in staged, f"an account below a part is missing: {key.hex()}"
