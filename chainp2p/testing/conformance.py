"""A kit by which a chain proves that it keeps its side of the contract: what the network relies on and cannot check.

    conformance = RulesConformance(lambda: CounterRules(Random(7)), transaction=lambda n: b"apples 1 %d" % n)
    conformance.check()

Each check raises :exc:`Nonconforming`, which says what was promised, what happened, and with which seed.
"""

import sqlite3
from collections.abc import Callable, Sequence
from random import Random
from time import perf_counter
from typing import Any

from chainp2p.chain.interfaces import Connected, HeadersRejected, Invalid
from chainp2p.chain.rules import BlockRefused, HeaderRefused, IPoolRules, IProducerRules, IRules, ReadBlock, Summary
from chainp2p.chain.statemap import STATE_TABLES, StateLayer
from chainp2p.chain.store import ChainStore
from chainp2p.chain.storedcore import StoredCore
from chainp2p.errors import Ours

__all__ = ["Nonconforming", "RulesConformance"]

#: Seconds between the blocks that are made, by the clock that the rules are told.
_PERIOD = 10.0
#: Times that a producer is asked for one block before it is taken for one that never makes any.
_ASKED = 10_000


class Nonconforming(AssertionError):
    """The chain breaks a promise."""


class _Chain:
    """One instance of the rules on a database of its own."""

    def __init__(self, rules: Any) -> None:
        self.rules = rules
        self.core = StoredCore(rules, ChainStore(sqlite3.connect(":memory:"), STATE_TABLES))
        self.core.load()

    @property
    def state(self) -> dict[bytes, bytes]:
        return self.core.state.rows()

    def submit(self, raw: bytes, now: float) -> Any:
        (verdict,), _ = self.core.submit([raw], now)
        return verdict

    def propose(self, transactions: Sequence[bytes], now: float) -> bytes:
        for attempt in range(_ASKED):
            layer = StateLayer(self.core.state)
            raw: bytes | None = self.rules.propose(self.core.head.data, layer, transactions, now + attempt * 0.01)
            if raw is not None:
                return raw
        raise Nonconforming(f"propose: asked {_ASKED} times, it made no block")


class RulesConformance:
    """Checks rules that can propose blocks (``IProducerRules``).

    1. Purity: the same question has the same answer, from another instance too, and in another order.
    2. Deterministic bytes: a block that is read and written again is the same.
    3. Exact undo: what is connected and undone leaves no trace; the state depends on the branch alone.
    4. Consistent rank: a child ranks above its parent, whenever and through whomever it is heard of.
    5. Looking back: with as many ancestors as the rules say that they need, headers mean the same.
    6. Bad bytes are refused by the exceptions that are meant for it, whatever they are.
    7. Bounded time: no call takes longer than *seconds*.

    :param make: makes a new instance of the rules.
    :param transaction: answers the n-th of any number of different, valid transactions.
    :param blocks: length of the branches that are made.
    :param epoch: Unix time of the first block.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        transaction: Callable[[int], bytes] | None = None,
        *,
        blocks: int = 12,
        seed: int = 0,
        seconds: float = 0.5,
        epoch: float = 1_700_000_000.0,
    ) -> None:
        self._make = make
        self._transaction = transaction
        self._blocks = blocks
        self._seed = seed
        self._seconds = seconds
        self._epoch = epoch
        self._number = 0

    def check(self) -> None:
        """All checks, in an order in which the first failure says most."""
        self.check_interfaces()
        first, second = self.branch(self._blocks), self.branch(self._blocks + 3)
        for raw in first:
            self.check_bytes(raw)
        self.check_purity(first)
        self.check_rank(first)
        self.check_lookback(first)
        self.check_undo(first, second)
        self.check_hostile(first)

    # -- what is checked with

    def branch(self, length: int) -> list[bytes]:
        """So many blocks from genesis on, with transactions that no other branch has."""
        chain = _Chain(self._make())
        raws = []
        for height in range(1, length + 1):
            now = self._epoch + height * _PERIOD
            transactions = self._transactions(chain, height % 3)
            raw = chain.propose(transactions, now)
            verdict = chain.submit(raw, now + _PERIOD)
            if not isinstance(verdict, Connected):
                raise self._broken("propose", f"its own block {height} is not connected: {verdict}")
            raws.append(raw)
        return raws

    def _transactions(self, chain: _Chain, count: int) -> list[bytes]:
        if self._transaction is None or not IPoolRules.providedBy(chain.rules):
            return []
        found = []
        for _ in range(count):
            raw = self._transaction(self._number)
            self._number += 1
            reason = chain.rules.check_transaction(raw, StateLayer(chain.core.state))
            if reason:
                raise self._broken("check_transaction", f"transaction {self._number - 1} is refused: {reason}")
            found.append(raw)
        return found

    def _now(self) -> float:
        return self._epoch + (self._blocks + 100) * _PERIOD

    def _broken(self, call: str, text: str) -> Nonconforming:
        return Nonconforming(f"{call}: {text} (seed {self._seed})")

    def _timed(self, call: str, f: Callable[..., Any], *args: Any) -> Any:
        begun = perf_counter()
        try:
            return f(*args)
        finally:
            took = perf_counter() - begun
            if took > self._seconds:
                raise self._broken(call, f"took {took:.3f} s, {self._seconds} s are allowed")

    # -- the checks

    def check_interfaces(self) -> None:
        """The rules say what they provide, and are asked nothing that they do not."""
        rules = self._make()
        for interface in (IRules, IProducerRules):
            if not interface.providedBy(rules):
                raise self._broken("interfaces", f"{rules!r} does not provide {interface.__name__}")
        if rules.genesis() != self._make().genesis():
            raise self._broken("genesis", "two instances have two genesis blocks")

    def check_bytes(self, raw: bytes) -> None:
        """A block that is read and written again is the same, and its header is read alone as with it."""
        rules = self._make()
        block: ReadBlock = self._timed("read_block", rules.read_block, raw)
        again = rules.write_block(block.raw_header, [one for _, one in block.transactions])
        if again != raw:
            raise self._broken("write_block", f"makes {len(again)} other bytes of the block of {len(raw)} bytes")
        header = self._timed("read_header", rules.read_header, block.raw_header)
        if header != block.header:
            raise self._broken("read_header", "reads another header than read_block")
        if len(header.hash) != 32 or len(header.parent) != 32:
            raise self._broken("read_header", "hashes have 32 bytes")

    def check_purity(self, raws: Sequence[bytes]) -> None:
        """Two instances, one of which is asked everything twice, come to the same head, rank and state."""
        once, twice = _Chain(self._make()), _Chain(self._make())
        now = self._now()
        for raw in raws:
            once.submit(raw, now)
            block = twice.rules.read_block(raw)
            parent = twice.core.head.data
            layers = StateLayer(twice.core.state), StateLayer(twice.core.state)
            answers = [
                twice.rules.check_header(block.header, parent, iter([parent]), later) for later in (now, now + 1e6)
            ]
            if answers[0] != answers[1]:
                raise self._broken("check_header", "the answer depends on the time")
            for layer in layers:
                self._timed("connect", twice.rules.connect, block, layer)
            if layers[0].written != layers[1].written:
                raise self._broken("connect", "the same block on the same state writes something else")
            twice.submit(raw, now)
        if once.core.head.data != twice.core.head.data or once.state != twice.state:
            raise self._broken("purity", "two instances that were fed the same blocks differ")

    def check_rank(self, raws: Sequence[bytes]) -> None:
        """A child ranks above its parent, with its headers known before as well as block by block."""
        headers, chain = _Chain(self._make()), _Chain(self._make())
        now = self._now()
        rank = headers.core.head.info.rank
        raw_headers = [chain.rules.read_block(raw).raw_header for raw in raws]
        infos, _ = headers.core.add_headers(raw_headers, now)
        if isinstance(infos, HeadersRejected):
            raise self._broken("check_header", f"header {infos.index + 1} of a good branch: {infos.reason}")
        for raw, info in zip(raws, infos, strict=True):
            if info.rank <= rank:
                raise self._broken("check_header", f"block {info.height} does not rank above its parent")
            rank = info.rank
            chain.submit(raw, now)
            if chain.core.head.info != info:
                raise self._broken("check_header", f"block {info.height} ranks otherwise when it comes with its body")

    def check_lookback(self, raws: Sequence[bytes]) -> None:
        """Where the rules say how far they look back, no more than that makes a difference."""
        chain = _Chain(self._make())
        if getattr(chain.rules, "lookback", None) is None:
            return
        now, headers = self._now(), chain.core.headers
        raw_headers = [chain.rules.read_block(raw).raw_header for raw in raws]
        whole = headers.check(raw_headers, now)
        after: tuple[Any, ...] = ()
        for raw, info in zip(raw_headers, whole, strict=True):
            try:
                alone, after = headers.check_run([raw], now, after)
            except Ours as error:
                raise self._broken("lookback", str(error)) from None
            if alone != [info]:
                raise self._broken("lookback", f"header {info.height} means something else with fewer ancestors")

    def check_undo(self, first: Sequence[bytes], second: Sequence[bytes]) -> None:
        """Whoever goes over to the other branch holds what those hold who never saw the first."""
        now = self._now()
        straight, crooked = _Chain(self._make()), _Chain(self._make())
        before = crooked.state
        for raw in second:
            straight.submit(raw, now)
        for raw in first:
            crooked.submit(raw, now)
        middle = crooked.state
        for raw in reversed(second):  # late bodies connect all at once
            crooked.core.add_headers([crooked.rules.read_block(one).raw_header for one in second], now)
            crooked.submit(raw, now)
        if crooked.core.head.info != straight.core.head.info:
            raise self._broken("rank", "the longer branch did not win over the shorter one")
        if crooked.state != straight.state:
            raise self._broken("connect", "the state depends on more than the branch")
        core = crooked.core
        for height in range(core.head.info.height, 0, -1):
            core.state.undo(height)
        if crooked.state != before:
            raise self._broken("connect", "undoing all blocks does not lead back to genesis")
        if first and self._transaction is not None and middle == before:
            raise self._broken("connect", "blocks with transactions changed nothing")

    def check_hostile(self, raws: Sequence[bytes]) -> None:
        """Truncated, changed and random bytes are refused as such; no other exception, no time lost."""
        random = Random(self._seed)
        chain = _Chain(self._make())
        now = self._now()
        for raw in raws:
            for _ in range(20):
                bad = self._mutated(raw, random)
                try:
                    block = self._timed("read_block", chain.rules.read_block, bad)
                    parent = chain.core.head.data
                    summary = chain.rules.check_header(block.header, parent, iter([parent]), now)
                    if not isinstance(summary, Summary):
                        raise self._broken("check_header", f"answers {summary!r}, not a Summary")
                    chain.rules.connect(block, StateLayer(chain.core.state))
                except (ValueError, HeaderRefused, BlockRefused):
                    continue
                except Nonconforming:
                    raise
                except Exception as error:
                    raise self._broken("hostile bytes", f"{type(error).__name__}: {error}, for {bad.hex()}") from error
            verdict = chain.submit(raw, now)
            if isinstance(verdict, Invalid):
                raise self._broken("submit", f"a good block is invalid after bad ones: {verdict.reason}")

    def _mutated(self, raw: bytes, random: Random) -> bytes:
        match random.randrange(4):
            case 0:
                return raw[: random.randrange(len(raw))]
            case 1:
                at = random.randrange(len(raw))
                return raw[:at] + bytes((raw[at] ^ 1 << random.randrange(8),)) + raw[at + 1 :]
            case 2:
                return raw + random.randbytes(random.randrange(1, 40))
            case _:
                return random.randbytes(random.randrange(200))
