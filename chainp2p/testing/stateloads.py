"""The experiment of a state that is downloaded while it changes, over slow links, from peers of which some lie.

What fetches is the code of a node (``StateFetch``, ``StateDownload``); the chain around it is only as much as they ask
for, so that a million accounts fit, and time is virtual: checking and storing take none of it.
"""

import sqlite3
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import groupby, pairwise
from random import Random
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from zope.interface import implementer

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.chain.states import ChunkRefused, ChunkTaken, IStateTarget, StateBegun, StateGoal
from chainp2p.errors import PeerGone, Penalty, Reason, RequestTimedOut
from chainp2p.ledger.snapshots import SERVED
from chainp2p.ledger.state.accounts import Account
from chainp2p.ledger.state.chunks import Split, make_chunk, read_chunk
from chainp2p.ledger.state.download import StateDownload
from chainp2p.ledger.state.staged import StagedRows
from chainp2p.ledger.state.trie import HashedTrie
from chainp2p.ledger.statesync import begin_download, digits_of, take_chunk
from chainp2p.peer.tasks import Bell, Tasks
from chainp2p.sync.asking import Asking
from chainp2p.sync.claims import Claim, Claims
from chainp2p.sync.shared import Shared
from chainp2p.sync.state import Phase, StateProgress, SyncState
from chainp2p.sync.states.fetch import StateFetch
from chainp2p.testing.clock import HeapClock
from chainp2p.wire.messages import Blocks, GetStateChunk, NotFound, StateChunk

__all__ = ["INTERVAL", "StateLoad", "accounts", "load_state"]

#: Blocks are a second apart, and a state is kept for others at each 512th: some ten minutes.
INTERVAL = 512
#: One way there or back. Seconds.
DELAY = 0.02
#: Bytes around a chunk: frames, and the record layer.
OVERHEAD = 100
#: How often it is noted what the node says of the time left, as a share of the whole.
NOTES = 100

Rows = list[tuple[bytes, bytes]]


def accounts(count: int, seed: int, ground: int = 0) -> Rows:
    """So many accounts; *ground* of them have keys that begin with the same five nibbles, as if they were ground."""
    chance = Random(f"{seed}/accounts")
    rows = []
    for number in range(count):
        key = chance.randbytes(32)
        if number < ground:
            key = bytes.fromhex("abcde" + key.hex()[5:])
        rows.append((key, Account(chance.randrange(100), chance.randrange(1, 10**20)).encode()))
    return rows


class _Moving:
    """A state that changes with time, as those have it who serve it."""

    def __init__(self, rows: Rows, changes: int, hot: int, chance: Random, began: float) -> None:
        self._changes, self._chance = changes, chance
        self._hot = [key for key, _ in (chance.sample(rows, hot) if hot else rows)]
        trie = HashedTrie.build(rows)
        self.tries = {trie.root: trie}
        self.roots = {trie.root}
        self.height = INTERVAL
        self._next = began + INTERVAL
        self._began = began
        self.passed = 0

    def look(self, now: float) -> None:
        """Let it change until *now*."""
        while now >= self._next:
            trie = next(reversed(self.tries.values()))
            if self._changes:
                chosen = self._chance.choices(self._hot, k=self._changes * INTERVAL)
                value = Account(1, self.height).encode()
                trie = trie.updated((key, value) for key in sorted(set(chosen)))
            self.tries[trie.root] = trie
            self.roots.add(trie.root)
            while len(self.tries) > SERVED + 1:
                del self.tries[next(iter(self.tries))]
            self.height += INTERVAL
            self._next += INTERVAL
            self.passed += 1

    def head(self, now: float) -> int:
        """The height of the best block, one a second, the grid's being final at once."""
        return INTERVAL + int(now - self._began)

    def chunk(self, request: GetStateChunk) -> bytes | None:
        """The answer of an honest peer."""
        served = list(self.tries)[-SERVED:]
        if request.root not in served:
            return None
        return make_chunk(self.tries[request.root], digits_of(request.prefix), self.tries.get(request.base))


def _block(height: int) -> HeaderInfo:
    return HeaderInfo(sha256(b"%d" % height).digest(), bytes(32), height, height.to_bytes(32, "big"))


@implementer(IStateTarget)
class _Target:
    """As much of a chain as state sync asks for."""

    def __init__(self, moving: _Moving, clock: HeapClock, rows: StagedRows) -> None:
        self._moving, self._clock, self._rows = moving, clock, rows
        self._download: StateDownload | None = None
        self.root = b""

    @property
    def best_header(self) -> HeaderInfo:
        return _block(self._moving.head(self._clock.seconds()) + 1)

    def state_goal(self, current: StateGoal | None) -> "Deferred[StateGoal | None]":
        moving = self._moving
        moving.look(self._clock.seconds())
        if current is not None and moving.height - current.block.height < SERVED * INTERVAL:
            return succeed(current)
        return succeed(StateGoal(_block(moving.height), next(reversed(moving.tries))))

    def begin_state(self, goal: StateGoal) -> "Deferred[StateBegun]":
        if self._download is None:
            self._download = StateDownload(self._rows, goal.root)
        return succeed(begin_download(self._download, goal.root))

    def take_chunks(self, chunks: Sequence[tuple[bytes, bytes]]) -> "Deferred[list[ChunkTaken | ChunkRefused]]":
        assert self._download is not None
        return succeed([take_chunk(self._download, prefix, raw) for prefix, raw in chunks])

    def adopt_state(self, goal: StateGoal, block: bytes) -> "Deferred[str]":
        assert self._download is not None
        state = self._download.state()
        if state is None:
            return succeed("the parts are not the whole")
        self.root = state.root
        return succeed("")

    def drop_state(self) -> "Deferred[None]":
        return succeed(None)

    def missing_bodies(self, limit: int) -> "Deferred[list[HeaderInfo]]":
        return succeed([])

    def add_bodies(self, raws: Sequence[bytes]) -> "Deferred[list[bool]]":
        return succeed([])

    def block_hash(self, raw: bytes) -> bytes:
        return raw


@define(eq=False)
class _Line:
    """A link whose answers come one after the other at its rate."""

    clock: HeapClock
    peer_id: bytes
    bandwidth: float
    answer: Callable[[GetStateChunk], bytes | None]
    free_at: float = 0.0
    sent: int = 0
    useless: bool = False
    faults: list[str] = field(factory=list)

    def request(self, message: Any, timeout: float = 10.0) -> "Deferred[Any]":
        if self.faults:
            return fail(PeerGone(Reason.CONNECTION_LOST))
        deferred: Deferred[Any] = Deferred(lambda _: None)
        now = self.clock.seconds()
        if isinstance(message, GetStateChunk):
            chunk = self.answer(message)
            reply: Any = NotFound((message.root,)) if chunk is None else StateChunk(chunk)
            size = OVERHEAD + len(chunk or b"")
        else:
            reply, size = Blocks((message.from_,)), OVERHEAD
        self.free_at = max(self.free_at, now + DELAY) + size / self.bandwidth
        self.sent += size
        late = self.free_at + DELAY > now + timeout
        arrives = now + timeout if late else self.free_at + DELAY

        def arrive() -> None:
            if deferred.called:
                return
            if late:
                deferred.errback(RequestTimedOut())
            else:
                deferred.callback(reply)

        self.clock.callLater(arrives - now, arrive)
        return deferred

    def fault(self, reason: Reason, detail: str, penalty: Penalty = Penalty.MALICIOUS) -> None:
        self.faults.append(detail)


class _Client:
    """One life of who downloads: what it knows is what *staged* has, and what the peers say."""

    def __init__(
        self, moving: _Moving, clock: HeapClock, staged: StagedRows, lines: Sequence[_Line], chance: Random
    ) -> None:
        log, claims = Logger(), Claims[Any](lambda link: link.useless)
        self.target, self._clock = _Target(moving, clock, staged), clock
        self._tasks, self._bell = Tasks(log), Bell(clock)
        asking = Asking(self.target, clock, claims, chance)
        shared = Shared(self.target, clock, clock.seconds, claims, asking, log, self._tasks.spawn)
        self.fetch = StateFetch(shared, self._bell.ring, True)
        #: When it had all; 0: not yet.
        self.ended = 0.0
        best = self.target.best_header
        for line in lines:
            if line.faults:  # banned
                continue
            claims.joined(line, line.peer_id, Claim(best.hash, best.height, best.rank))
        self._tasks.start()
        self._tasks.spawn(self._run())

    async def _run(self) -> None:
        while (wait := await self.fetch.step()) is not None:
            await self._bell.sleep(wait)
        self.ended = self._clock.seconds()

    def stop(self) -> None:
        self._tasks.stop()
        self.fetch.stop()


@frozen(kw_only=True)
class StateLoad:
    """How it went.

    :param seconds: virtual time until the state was adopted.
    :param line: the time in which the links together carry the whole state once.
    :param passed: heights of the grid that became final meanwhile.
    :param bytes: that came, in so many *chunks*.
    :param whole: bytes of the chunks of a state that does not change.
    :param moved: how often another state was aimed at than before.
    :param eta: the worst factor between the time that was said to be left and that which was, after the first fifth,
        of the keys; and, if it was stopped, of the time since.
    :param silent: how long nothing was said of it at a stretch, after the first fifth. Seconds.
    :param backwards: how often the share that was here went back.
    :param caught: liars whose link has ended; *blamed*: honest peers whose has.
    :param outrun: how often of so many notes it said that changes outrun the lines; *words*: the last thing it said.
    :param good: the state that was adopted is one that was aimed at.
    """

    seconds: float
    line: float
    passed: int
    chunks: int
    bytes: int
    whole: int
    moved: int
    eta: float
    silent: float
    backwards: int
    caught: int
    blamed: int
    outrun: int
    words: str
    good: bool


def load_state(
    rows: Rows,
    *,
    seed: int,
    peers: int = 10,
    liars: int = 0,
    bandwidth: float = 1_000_000.0,
    changes: int = 0,
    hot: int = 0,
    limit: float = 100.0,
    stop: float = 2.0,
) -> StateLoad:
    """Download the state of *rows* while so many *changes* a second are made to it.

    :param bandwidth: of each link, bytes a second.
    :param hot: so many accounts are all that change; 0: any.
    :param limit: it fails after so many times the time in which the links carry the state.
    :param stop: at this share of the keys who downloads is stopped, and begins anew with what is stored.
    """
    chance, clock = Random(f"{seed}/load"), HeapClock()
    moving = _Moving(rows, changes, hot, chance, -INTERVAL / 2)
    moving.look(0.0)
    first = next(iter(moving.tries.values()))
    whole = _whole(first)
    lying = set(chance.sample(range(peers), liars))

    def lie(request: GetStateChunk) -> bytes | None:
        chunk = moving.chunk(request)
        return None if chunk is None else chunk[:-1] + bytes((chunk[-1] ^ 1,))

    lines = [
        _Line(clock, sha256(b"peer %d" % number).digest(), bandwidth, lie if number in lying else moving.chunk)
        for number in range(peers)
    ]
    line = whole / bandwidth / (peers - liars)
    staged = StagedRows(sqlite3.connect(":memory:"))
    client = _Client(moving, clock, staged, lines, chance)
    notes: list[tuple[float, StateProgress]] = []
    words, began, chunks, bytes_ = [""], 0.0, 0, 0
    while not client.fetch.over and clock.seconds() < limit * line:
        clock.run_for(line / NOTES)
        moving.look(clock.seconds())
        progress = client.fetch.progress()
        if progress is not None:
            notes.append((clock.seconds(), progress))
            words.append(client.fetch.explained(SyncState(Phase.STATE, 0, 0, 0, None, "")).text)
            if not began and progress.share >= stop:
                client.stop()
                chunks, bytes_, began = progress.chunks, progress.bytes, clock.seconds()
                client = _Client(moving, clock, staged, lines, chance)
    end = client.ended or clock.seconds()
    client.stop()
    shares = [note.share for at, note in notes if at > began]
    fifth, twentieth = began + (end - began) / 5 if began else 0.0, end - line / 20
    late = [(end - at, note.eta) for at, note in notes if note.share >= 0.2 and fifth <= at < twentieth]
    told = [(left, eta) for left, eta in late if eta is not None]
    silence = max((len(list(run)) for quiet, run in groupby(eta is None for _, eta in late) if quiet), default=0)
    return StateLoad(
        seconds=end,
        line=line,
        passed=moving.passed,
        chunks=chunks + client.fetch.plan.chunks,
        bytes=bytes_ + client.fetch.plan.bytes,
        whole=whole,
        moved=sum(one.height != other.height for (_, one), (_, other) in pairwise(notes)),
        silent=silence * line / NOTES,
        eta=max((max(left / eta, eta / left) for left, eta in told if eta), default=0.0),
        backwards=sum(one > other for one, other in pairwise(shares)),
        caught=sum(bool(lines[number].faults) for number in lying),
        blamed=sum(bool(one.faults) for number, one in enumerate(lines) if number not in lying),
        outrun=sum("outrun" in text for text in words),
        words=words[-1],
        good=client.target.root in moving.roots,
    )


def _whole(trie: HashedTrie) -> int:
    """Bytes of all chunks."""
    todo, size = [""], 0
    while todo:
        prefix = todo.pop()
        raw = make_chunk(trie, prefix)
        size += len(raw)
        found = read_chunk(trie.root, prefix, raw)
        if isinstance(found, Split):
            todo += [child for child, _ in found.children]
    return size
