"""What the processes do that are killed: real ledgers on real files, and what must be found when they are dead.

A life goes on where the one before it ended, until the work is done; then the folder is emptied.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chainp2p.ledger.chain import Ledger
from chainp2p.ledger.formats.block import decode_block
from chainp2p.ledger.formats.genesis import Genesis
from chainp2p.ledger.formats.transaction import Transaction, sign_transaction
from chainp2p.node.home import DirectoryHome
from chainp2p.primitives.keccak import keccak256
from tests.integration.crash.death import Plan, Probe, Watch
from tests.integration.crash.inspection import Found, Row, fresh_import, inspect
from tests.ledger.forge import Forge, Made
from tests.ledger.network import ADDRESSES, KEYS, TIME, AtOnce, Clock, genesis_of

__all__ = ["Birth", "Import", "PoolWrites", "Reorg", "Workload", "opened", "result"]

#: Long after all blocks here.
LATER = TIME + 10**7
#: Blocks that a node under sync gives to the chain at a time.
BATCH = 64


def result(deferred: "Deferred[Any]") -> Any:
    """What a Deferred of an executor that works at once has fired with."""
    found: list[Any] = []
    deferred.addBoth(found.append)
    if isinstance(found[0], Failure):
        found[0].raiseException()
    return found[0]


def opened(
    genesis: Genesis,
    folder: Path,
    watch: Watch | None = None,
    plan: Plan | None = None,
    signer: int | None = None,
    clock: Any = lambda: LATER,
) -> Ledger:
    """A started ledger on the files in *folder*, as production opens them, locked against any other."""
    home = DirectoryHome(folder)

    def open_database(name: str) -> Any:
        connection = home.open_database(name)
        return connection if watch is None else Probe(connection, watch, plan)

    ledger = Ledger(
        genesis,
        executor=AtOnce(),
        now=clock,
        random=Random(1),
        open_database=open_database,
        signer=None if signer is None else KEYS[signer],
    )
    ledger.home = home  # type: ignore[attr-defined]
    try:
        result(ledger.start())
    except BaseException:
        home.close()
        raise
    return ledger


def closed(ledger: Ledger) -> None:
    """End it in order."""
    result(ledger.stop())
    ledger.home.close()  # type: ignore[attr-defined]


class Workload:
    """What is done to a ledger of one network, over and over."""

    name = ""
    genesis: Genesis
    truth: dict[bytes, Row]

    def life(self, folder: Path, watch: Watch, plan: Plan | None) -> None:
        """Open the ledger and work to the end; runs in the child."""
        raise NotImplementedError

    def begin(self, folder: Path) -> None:
        """Prepare an empty folder."""

    def known(self, database: Path) -> dict[bytes, Row]:
        """What a fresh import makes of each block that may be there."""
        return self.truth

    def check(self, folder: Path, watch: Watch) -> Found | None:
        """Look at the database as it was left, then open it as production does; AssertionError.

        None: nothing had been stored yet; production makes it then.
        """
        database = folder / "chain.sqlite"
        if not made(database):
            closed(opened(self.genesis, folder))
            return None
        truth = self.known(database)
        found = inspect(database, truth, root=True)
        ledger = opened(self.genesis, folder)
        try:
            head = ledger.head
            assert (head.hash, head.height) == (found.head, found.height), "production finds another head"
            state = result(ledger.reader.state(head.hash))
            assert state.root == truth[head.hash].state_root, "production finds another state"
        finally:
            closed(ledger)
        assert inspect(database, truth).head == found.head, "opening moved the head"
        return found

    def check_lost(self, folder: Path) -> Found | None:
        """The same for what a loss of power left, which may be less than was stored."""
        return Workload.check(self, folder, Watch())


def made(database: Path) -> bool:
    """Whether there is anything in it."""
    connection = sqlite3.connect(database)
    try:
        return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None
    finally:
        connection.close()


def pay(key: int, nonce: int, to: bytes, value: int = 1) -> bytes:
    """A transfer of a dev account."""
    return sign_transaction(
        KEYS[key], chain_id=7, nonce=nonce, to=to, value=value, max_fee=2 * 10**9, max_priority_fee=10**9
    )


def people(count: int) -> list[bytes]:
    """Addresses that receive."""
    return [keccak256(b"receiver %d" % index)[12:] for index in range(count)]


class Import(Workload):
    """Blocks as sync gives them to the chain: headers ahead, then batches."""

    name = "import"

    def __init__(self, blocks: int, transfers: int) -> None:
        self.genesis = genesis_of(4, 1000)
        forge, made, to = Forge(self.genesis), [], people(300)
        parent = forge.root
        for height in range(1, blocks + 1):
            first = (height - 1) * transfers
            payments = [pay(at % 10, at // 10, to[(at * 7) % len(to)]) for at in range(first, first + transfers)]
            parent = forge.grow(parent, height, transactions=payments)
            made.append(parent)
        self.blocks = [one.raw for one in made]
        self.headers = [one.header.raw for one in made]
        self.truth = fresh_import(self.genesis, self.blocks, LATER)

    def life(self, folder: Path, watch: Watch, plan: Plan | None) -> None:
        ledger = opened(self.genesis, folder, watch, plan)
        for at in range(ledger.head.height, len(self.blocks), BATCH):
            result(ledger.add_headers(self.headers[at : at + BATCH]))
            result(ledger.submit_blocks(self.blocks[at : at + BATCH], ledger.best_header.hash))
        assert ledger.head.height == len(self.blocks)
        closed(ledger)


class Birth(Import):
    """A data directory that has just been made, and the first blocks."""

    name = "first start"

    def __init__(self) -> None:
        super().__init__(3, 2)


class Reorg(Workload):
    """Two branches of half the signers each, that win over each other in turn, each time by all their blocks."""

    name = "reorg"

    def __init__(self, common: int, turns: Sequence[int], transfers: int) -> None:
        self.genesis = genesis_of(4, 1000)
        forge, to = Forge(self.genesis), people(300)
        trunk = forge.line(forge.root, range(1, common + 1))
        slots = range(common + 1, common + 4 * max(turns) + 8)
        sides = [
            self._branch(
                forge, trunk[-1], [slot for slot in slots if slot % 4 in group], max(turns), transfers, start, to
            )
            for start, group in ((0, (0, 1)), (4, (2, 3)))
        ]
        self.steps: list[list[bytes]] = [[one.raw for one in trunk]]
        reached = [0, 0]
        for turn, length in enumerate(turns):
            side = turn % 2
            fresh = [one.raw for one in sides[side][reached[side] : length]]
            reached[side] = length
            self.steps += [fresh[at : at + 16] for at in range(0, len(fresh), 16)]
        self.goal = sides[(len(turns) - 1) % 2][turns[-1] - 1].hash
        self.truth = {}
        for side in sides:
            self.truth.update(fresh_import(self.genesis, [one.raw for one in (*trunk, *side)], LATER))

    @staticmethod
    def _branch(
        forge: Forge, parent: Made, slots: Sequence[int], length: int, transfers: int, start: int, to: Sequence[bytes]
    ) -> list[Made]:
        """Six senders, two of whom pay on both branches, the others on one.

        Each block has a base that lets it vote for none below it, so that only length decides.
        """
        made, sent = [], 0
        for slot in slots[:length]:
            payments = []
            for _ in range(transfers):
                payments.append(pay(start + sent % 6, sent // 6, to[(sent * 11 + start) % len(to)], 1 + start))
                sent += 1
            parent = forge.grow(parent, slot, slot - 1, transactions=payments)
            made.append(parent)
        return made

    def life(self, folder: Path, watch: Watch, plan: Plan | None) -> None:
        ledger = opened(self.genesis, folder, watch, plan)
        for step in self.steps:
            if result(ledger.block(ledger.block_hash(step[-1]))) is None:
                result(ledger.submit_blocks(step, ledger.best_header.hash))
        assert ledger.head.hash == self.goal
        closed(ledger)


class PoolWrites(Workload):
    """Transactions that come one by one, are journaled, and leave with blocks that the ledger seals itself."""

    name = "pool writes"
    #: Transactions between two blocks, and senders.
    EVERY, SENDERS = 25, 8

    def __init__(self, transactions: int) -> None:
        self.genesis = genesis_of(1, 1000)
        self._to = people(50)
        count, senders = transactions, self.SENDERS
        self._raws = [pay(at % senders, at // senders, self._to[at % 50]) for at in range(count)]

    def begin(self, folder: Path) -> None:
        self._now = LATER

    def life(self, folder: Path, watch: Watch, plan: Plan | None) -> None:
        clock = Clock(LATER)
        ledger = opened(self.genesis, folder, watch, plan, signer=0, clock=clock)
        first = sum(ledger.pool.pending_nonce(ADDRESSES[sender]) for sender in range(self.SENDERS))
        assert first >= watch.noted, "transactions that were stored are gone"
        for at in range(first, len(self._raws)):
            admitted = result(ledger.admit(self._raws[at], True))
            assert admitted.outcome.value == "admitted", admitted
            watch.noted = at + 1
            if at % self.EVERY == self.EVERY - 1:
                # slots go on from life to life: no second block for one is asked for here
                slot = max(ledger._news.highest_slot, ledger._news.head_slot, ledger.engine.slot_at(LATER)) + 1
                clock.now = ledger.engine.start_of(slot)
                assert result(ledger.produce(clock.now)) is not None
        closed(ledger)

    def known(self, database: Path) -> dict[bytes, Row]:
        """The blocks are made on the way: a fresh import of what is there says what should be there."""
        connection = sqlite3.connect(database)
        raws = connection.execute(
            "SELECT d.raw FROM best b JOIN bodies d ON d.hash=b.hash WHERE height>0 ORDER BY height"
        )
        truth = fresh_import(self.genesis, [row[0] for row in raws], LATER + 10**6)
        connection.close()
        return truth

    def check(self, folder: Path, watch: Watch) -> Found | None:
        found = super().check(folder, watch)
        if found is None:
            assert not watch.noted, "transactions that were stored are gone"
            return None
        chain = [
            raw for row in self.known(folder / "chain.sqlite").values() for raw in decode_block(row.raw).transactions
        ]
        kept = [*chain, *map(Transaction.decode, found.pool)]
        nonces: dict[bytes, set[int]] = {}
        for one in kept:
            nonces.setdefault(one.sender(), set()).add(one.nonce)
        for sender, numbers in nonces.items():
            assert numbers == set(range(len(numbers))), f"0x{sender.hex()} has a gap: {sorted(numbers)}"
        assert sum(map(len, nonces.values())) >= watch.noted, "transactions that were stored are gone"
        return found
