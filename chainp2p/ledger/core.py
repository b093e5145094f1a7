"""The ledger behind its door: takes headers and blocks, follows the best branch, seals. Everything here is synchronous
and runs on the one lane that owns the database; each public call is one transaction, so that kill -9 at any point
leaves a chain at some height.

Rules (design: "Fork choice"): when all bodies up to a header that ranks above the head are stored, the blocks of the
old branch are undone and those of the new one connected, in memory first. If a block fails, it and its descendants are
bad and the best branch that remains is tried; nothing of the attempt was written. ``finalized`` moves with its block.
"""

from collections.abc import Iterable, Mapping, Sequence

from attrs import define, field, frozen

from chainp2p.chain.interfaces import (
    AlreadyKnown,
    Connected,
    Fault,
    FinalityConflict,
    HeadChanged,
    HeaderInfo,
    HeadersRejected,
    Invalid,
    NotYet,
    ParentMissing,
    Stored,
    Verdict,
)
from chainp2p.chain.store import ChainStore
from chainp2p.chain.tree import Node, better
from chainp2p.errors import Ours, StartupError
from chainp2p.ledger.block import Block, BlockError, assemble, block_hash, decode_block
from chainp2p.ledger.branches import Branches
from chainp2p.ledger.equivocation import Evidence
from chainp2p.ledger.execution import BlockContext, BlockResult, Execution, mismatch, run_block
from chainp2p.ledger.genesis import Genesis
from chainp2p.ledger.header import Header, HeaderError
from chainp2p.ledger.poa import Entry, Slots
from chainp2p.ledger.rows import LedgerRows
from chainp2p.ledger.sealing import SealRecord
from chainp2p.ledger.state import State
from chainp2p.ledger.transaction import Transaction, TransactionError
from chainp2p.primitives.rlp import split_list

__all__ = ["LedgerCore", "Moved", "News"]

#: Undo rows and states are kept for this many blocks below the head at least (design: "State").
RECENT_BLOCKS = 128


@frozen
class Moved:
    """How the head moved, with what the pool needs to know of it.

    :param included: ids of the transactions of the blocks entered.
    :param left: (transaction, sender) of the blocks left, in their order.
    """

    change: HeadChanged
    included: tuple[bytes, ...]
    left: tuple[tuple[Transaction, bytes], ...]


@frozen
class News:
    """What a call did, as values for the other side of the door."""

    head: HeaderInfo
    head_slot: int
    best_header: HeaderInfo
    finalized: HeaderInfo
    safe: HeaderInfo
    state: State
    next_base_fee: int
    gas_limit: int
    conflict: FinalityConflict | None
    new_conflict: FinalityConflict | None
    added: tuple[HeaderInfo, ...]
    moved: Moved | None
    failed: tuple[Invalid, ...]
    evidence: tuple[Evidence, ...]
    highest_slot: int  #: of any own seal


@frozen
class _Step:
    """A block connected in memory."""

    node: Node[Entry]
    block: Block
    result: BlockResult
    state: State


class _Failed(Exception):
    def __init__(self, node: Node[Entry], reason: str) -> None:
        super().__init__(reason)
        self.node = node
        self.reason = reason


@define(eq=False)
class LedgerCore:
    """See the module.

    :param record: what this node sealed, if it is a signer.
    """

    genesis: Genesis
    slots: Slots
    execution: Execution
    store: ChainStore
    rows: LedgerRows
    record: SealRecord | None
    branches: Branches = field(init=False)
    head: Node[Entry] = field(init=False)
    state: State = field(init=False)
    states: dict[bytes, State] = field(factory=dict, init=False)
    _header: Header = field(init=False)
    _sealed: dict[bytes, tuple[BlockResult, State]] = field(factory=dict, init=False)
    _failed: list[Invalid] = field(factory=list, init=False)
    _reasons: dict[bytes, str] = field(factory=dict, init=False)
    _evidence_kept: int = field(default=0, init=False)

    # -- start

    def load(self) -> News:
        """Open the chain where it was; StartupError."""
        store, genesis = self.store, self.genesis
        self.branches = Branches(genesis, self.slots, store)
        if store.open(genesis.hash):
            with store.transaction():
                self._create()
        self.branches.load()
        self.branches.evidence.extend(self.rows.evidence())
        self._evidence_kept = len(self.branches.evidence)
        hash = store.meta("head")
        head = self.branches.tree.get(hash) if hash is not None else None
        if head is None:
            raise StartupError("the chain database names a head that it does not hold")
        self._stand_on(head, State.load(self.rows.accounts()))
        if self.state.root != self._header.state_root:
            raise StartupError("the accounts in the chain database do not match its head: restore a copy, or sync anew")
        if self.record is not None:
            self._join_seals(self.branches.tree.nodes())
            self._fold()
        with store.transaction():
            moved = self._follow({}, {})
        return self._news(moved)

    def _create(self) -> None:
        genesis = self.genesis
        self.branches.create()
        self.store.add_body(genesis.hash, genesis_block(genesis))
        self.store.set_best(0, genesis.hash)
        self.store.set_meta("head", genesis.hash)
        self.rows.write_accounts(genesis.state.rows())

    def _stand_on(self, node: Node[Entry], state: State) -> None:
        raw = self.store.raw_header(node.info.hash)
        assert raw is not None
        self.head, self.state, self._header = node, state, Header.decode(raw)
        self.states[node.info.hash] = state

    # -- headers and blocks

    def check_headers(self, raws: Sequence[bytes], now: float) -> tuple[list[HeaderInfo] | HeadersRejected, News]:
        """Check consecutive headers and store nothing (but a conflict they prove)."""
        with self.store.transaction():
            try:
                outcome: list[HeaderInfo] | HeadersRejected = self.branches.check(raws, now)
            except HeadersRejected as error:
                outcome = error
        return outcome, self._news(None)

    def add_headers(self, raws: Sequence[bytes], now: float) -> tuple[list[HeaderInfo] | HeadersRejected, News]:
        """Check and store consecutive headers."""
        with self.store.transaction():
            try:
                outcome: list[HeaderInfo] | HeadersRejected = self.branches.add(raws, now)
            except HeadersRejected as error:
                outcome = error
            self._keep_evidence()
        self._join_fresh()
        return outcome, self._news(None)

    def acceptable(self, raws: Sequence[bytes], now: float) -> list[bool]:
        """Which of these raw headers are known or good: work on other blocks would be wasted."""
        return [self._acceptable(raw, now) for raw in raws]

    def _acceptable(self, raw: bytes, now: float) -> bool:
        try:
            self.branches.candidate(Header.decode(raw), now)
        except (HeaderError, HeadersRejected):
            return False
        return True

    def submit(
        self, raws: Sequence[bytes], now: float, senders: Mapping[bytes, bytes | TransactionError]
    ) -> tuple[list[Verdict], News]:
        """Check and store blocks and follow the best branch once, at the end.

        :param senders: of their transactions, by id, as far as they are recovered already.
        """
        blocks: dict[bytes, Block] = {}
        with self.store.transaction():
            outcomes = [self._take(raw, now, blocks) for raw in raws]
            moved = self._follow(blocks, senders)
            self._keep_evidence()
        self._join_fresh()
        change = None if moved is None else moved.change
        entered = set() if change is None else {info.hash for info in change.entered}
        verdicts: list[Verdict] = []
        for outcome in outcomes:
            if isinstance(outcome, Node):
                info = outcome.info
                if outcome.bad:
                    verdicts.append(Invalid(info.hash, self._why(outcome), Fault.SIGNER))
                elif change is not None and info.hash in entered:
                    verdicts.append(Connected(info, change))
                else:
                    verdicts.append(Stored(info))
            else:
                verdicts.append(outcome)
        return verdicts, self._news(moved)

    def _take(self, raw: bytes, now: float, blocks: dict[bytes, Block]) -> "Verdict | Node[Entry]":
        """Store one block; a node where the verdict depends on what follows."""
        block: Block | None = None
        committed: str | None = None
        try:
            block = decode_block(raw)
            header = block.header
        except BlockError as error:
            try:
                hash = block_hash(raw)
            except BlockError:
                return Invalid(b"", error.text, Fault.SENDER)
            if not error.committed:
                return Invalid(hash, error.text, Fault.SENDER)
            committed = error.text
            header = Header.decode(_raw_header(raw))
        branches = self.branches
        try:
            found = branches.candidate(header, now)
        except HeadersRejected as error:
            if error.parent_missing:
                return ParentMissing(header.hash, header.parent)
            if error.when is not None:
                return NotYet(header.hash, error.when)
            return Invalid(header.hash, error.reason, Fault.SIGNER if error.condemned else Fault.SENDER)
        info = found if isinstance(found, HeaderInfo) else branches.store(found).info
        node = branches.tree.get(info.hash)
        if node is None or (not node.live and not node.body):
            return Stored(info)  # forks below the finalized block are never connected: the body is not kept
        if node.body:
            return AlreadyKnown(info)
        if block is None:
            self._condemn(node, f"transaction: {committed}")
            return node
        blocks[info.hash] = block
        self.store.add_body(info.hash, raw)
        branches.tree.add_body(node)
        return node

    def _condemn(self, node: Node[Entry], reason: str) -> None:
        self._reasons[node.info.hash] = reason
        self.store.mark_bad(bad.info.hash for bad in self.branches.tree.condemn(node))
        self._failed.append(Invalid(node.info.hash, reason, Fault.SIGNER))

    def _why(self, node: Node[Entry]) -> str:
        return self._reasons.get(node.info.hash, "it descends from a block that failed")

    # -- fork choice

    def _follow(self, blocks: Mapping[bytes, Block], senders: Mapping[bytes, bytes | TransactionError]) -> Moved | None:
        """Go to the best branch whose bodies are all stored."""
        tree = self.branches.tree
        while True:
            target = tree.best_ready
            if not (better(target.info, self.head.info) or not tree.descends(self.head, tree.finalized)):
                return None
            if target is self.head:
                return None
            try:
                return self._switch(target, blocks, senders)
            except _Failed as failure:
                self._condemn(failure.node, failure.reason)

    def _switch(
        self, target: Node[Entry], blocks: Mapping[bytes, Block], senders: Mapping[bytes, bytes | TransactionError]
    ) -> Moved:
        left, entered = self.branches.tree.route(self.head, target)
        written: dict[bytes, bytes | None] = {}
        state = self.state
        for node in left:
            state = self._undone(node, state, written)
        steps: list[_Step] = []
        parent = self._header if not left else None
        for node in entered:
            step = self._connect(node, state, blocks.get(node.info.hash), senders, parent)
            written.update((one.key, one.new) for one in step.result.changes)
            steps.append(step)
            state, parent = step.state, step.block.header
        fork = left[-1].info.height - 1 if left else self.head.info.height
        returned = [pair for node in reversed(left) for pair in self._leave(node)]
        self._write(fork, bool(left), steps, written)
        self._stand_on(target, state)
        self._finalize()
        change = HeadChanged(target.info, tuple(n.info for n in left), tuple(n.info for n in entered))
        included = tuple(one.transaction_hash for step in steps for one in step.result.receipts)
        return Moved(change, included, tuple(returned))

    def _undone(self, node: Node[Entry], state: State, written: dict[bytes, bytes | None]) -> State:
        undo = self.rows.undo(node.info.height)
        if undo is None or undo[0] != node.info.hash:
            raise Ours(f"no undo row for block {node.info.height}")
        for change in undo[1]:
            written[change.key] = change.old
        return state.reverted(undo[1])

    def _connect(
        self,
        node: Node[Entry],
        state: State,
        block: Block | None,
        senders: Mapping[bytes, bytes | TransactionError],
        parent: Header | None,
    ) -> _Step:
        if block is None:
            block = self.block(node.info.hash)
            assert block is not None
        known = self._sealed.pop(node.info.hash, None)
        if known is not None:
            return _Step(node, block, *known)
        header = block.header
        if not block.transactions and header.state_root == state.root:
            result = _NOTHING
            reason = mismatch(header, result, None)
        else:
            try:
                signed = [_sender(transaction, senders) for transaction in block.transactions]
                context = BlockContext.of(header, self.genesis.chain_id)
                result = run_block(self.execution, block.transactions, signed, state, context)
            except TransactionError as error:
                raise _Failed(node, error.text) from None
            state = state.updated(result.changes)
            reason = mismatch(header, result, state.root)
        if reason is not None:
            raise _Failed(node, reason)
        return _Step(node, block, result, state)

    def _leave(self, node: Node[Entry]) -> Iterable[tuple[Transaction, bytes]]:
        receipts = self.rows.receipts(node.info.hash)
        if receipts:
            block = self.block(node.info.hash)
            assert block is not None
            for transaction, receipt in zip(block.transactions, receipts, strict=True):
                yield transaction, receipt.sender

    def _write(self, fork: int, cut: bool, steps: list[_Step], written: Mapping[bytes, bytes | None]) -> None:
        store, rows = self.store, self.rows
        if cut:
            for height in range(fork + 1, self.head.info.height + 1):
                hash = store.hash_at(height)
                assert hash is not None
                rows.drop_receipts(hash)
                self.states.pop(hash, None)
            store.cut_best(fork)
            rows.cut_undo(fork)
        for step in steps:
            info = step.node.info
            store.set_best(info.height, info.hash)
            rows.add_undo(info.height, info.hash, step.result.changes)
            if step.result.receipts:
                rows.add_receipts(info.hash, step.result.receipts)
            self.states[info.hash] = step.state
        rows.write_accounts(written.items())
        head = steps[-1].node.info.hash if steps else store.hash_at(fork)
        assert head is not None
        store.set_meta("head", head)

    def _finalize(self) -> None:
        branches = self.branches
        final = branches.tree.finalized
        if self.head.data.tally.finalized.slot > final.data.slot:
            node = branches.tree.get(self.head.data.tally.finalized.hash)
            assert node is not None
            branches.finalize(node)
            self._fold()
        lowest = min(branches.tree.finalized.info.height, self.head.info.height - RECENT_BLOCKS)
        if lowest > 0:
            self.rows.prune_undo(lowest)
        if len(self.states) > 2 * RECENT_BLOCKS:
            for hash in list(self.states)[:-RECENT_BLOCKS]:
                del self.states[hash]

    # -- finality by hand

    def set_finalized(self, hash: bytes) -> tuple[str, News]:
        """Put finality at a block by hand; the text says why not, if not."""
        with self.store.transaction():
            reason, moved = self._set_finalized(hash)
        return reason, self._news(moved)

    def _set_finalized(self, hash: bytes) -> tuple[str, Moved | None]:
        tree = self.branches.tree
        node = tree.get(hash)
        if node is None:
            return "the block is not known, or too far below the finalized one", None
        if node.bad:
            return "the block failed", None
        if tree.descends(self.head, node):
            if node.info.height < tree.finalized.info.height and self.branches.conflict is None:
                return "it is below the finalized block already", None
            lowest_dead = self._other_branch(node)
            self.branches.choose(node, lowest_dead)
            return "", None
        left, entered = tree.route(self.head, node)
        fork = left[-1].info.height - 1 if left else self.head.info.height
        if left and self.rows.undo(fork + 1) is None:
            return f"the branches part at height {fork}, below what can be undone: sync a new data directory", None
        common = tree.get(left[-1].info.parent) if left else self.head
        assert common is not None
        ready = node.ready
        self.branches.choose(node if ready else common, left[-1].info.hash if left else None)
        if left:
            tree.condemn(left[-1])
            self.store.mark_bad(below.info.hash for below in tree.nodes() if below.bad)
        if self.record is not None:
            self.record.fold_all()
        return "", self._follow({}, {})

    def _other_branch(self, node: Node[Entry]) -> bytes | None:
        """Lowest block of the branch that contradicts ours, so that it is not reported again."""
        conflict = self.branches.conflict
        step = None if conflict is None else self.branches.tree.get(conflict.theirs.hash)
        lowest = None
        while step is not None and not self.branches.tree.descends(self.head, step):
            lowest = step.info.hash
            step = step.parent
        return lowest

    # -- sealing

    def _join_fresh(self) -> None:
        if self.record is not None:
            self._join_seals(one.node for one in self.branches.fresh if one.node is not None)

    def _join_seals(self, nodes: Iterable[Node[Entry]]) -> None:
        record = self.record
        assert record is not None
        record.join((n.data.slot, n.info.hash, n.data.base) for n in nodes if n.data.signer == record.signer)

    def _fold(self) -> None:
        if self.record is not None:
            final = self.branches.tree.finalized
            self.record.fold(final.data.slot, lambda hash: self.is_ancestor(hash, final))

    def is_ancestor(self, hash: bytes, node: Node[Entry]) -> bool:
        """Whether block *hash* is *node*, which is on the best chain, or below it."""
        known = self.branches.tree.get(hash)
        if known is not None:
            return self.branches.tree.descends(node, known)
        height = self.store.height_on_best(hash)
        return height is not None and height <= node.info.height

    @property
    def head_header(self) -> Header:
        """The header of the head."""
        return self._header

    def sealed(self, raw: bytes, hash: bytes, result: BlockResult, state: State, now: float) -> tuple[Verdict, News]:
        """Connect a block of our own making, whose outcome is known already."""
        self._sealed[hash] = (result, state)
        verdicts, news = self.submit([raw], now, {})
        return verdicts[0], news

    # -- reading

    def block(self, hash: bytes) -> Block | None:
        """A stored block."""
        raw = self.store.body(hash)
        return None if raw is None else decode_block(raw)

    def state_at(self, hash: bytes) -> State | None:
        """The state after a recent block of the best chain; None: not kept."""
        state = self.states.get(hash)
        if state is not None:
            return state
        height = self.store.height_on_best(hash)
        if height is None:
            return None
        state = self.state
        for above in range(self.head.info.height, height, -1):
            undo = self.rows.undo(above)
            if undo is None:
                return None
            state = state.reverted(undo[1])
        return state

    def missing(self, limit: int) -> list[HeaderInfo]:
        """See ``IChain.missing``."""
        return [node.info for node in self.branches.tree.missing(self.head, limit)]

    def header_at(self, height: int) -> HeaderInfo | None:
        """See ``IChain.header_at``."""
        node = self.branches.tree.at(height)
        if node is not None:
            return node.info
        if height >= self.branches.tree.floor:
            return None
        hash = self.store.hash_at(height)
        return None if hash is None else self.store.info(hash)

    def locate(self, hash: bytes) -> HeaderInfo | None:
        """What is known of a hash."""
        node = self.branches.tree.get(hash)
        return self.store.info(hash) if node is None else node.info

    # -- what happened

    def _keep_evidence(self) -> None:
        new = self.branches.evidence[self._evidence_kept :]
        if new:
            self.rows.add_evidence(new)

    def _news(self, moved: Moved | None) -> News:
        branches, head = self.branches, self.head
        tree = branches.tree
        final = tree.finalized
        justified = tree.get(head.data.tally.justified.hash)
        safe = final if justified is None or justified.data.slot < final.data.slot else justified
        news = News(
            head=head.info,
            head_slot=head.data.slot,
            best_header=tree.best.info,
            finalized=final.info,
            safe=safe.info,
            state=self.state,
            next_base_fee=self.slots.base_fee_after(head.data),
            gas_limit=head.data.gas_limit,
            conflict=branches.conflict,
            new_conflict=branches.found_conflict,
            added=tuple(one.info for one in branches.fresh),
            moved=moved,
            failed=tuple(self._failed),
            evidence=tuple(branches.evidence[self._evidence_kept :]),
            highest_slot=0 if self.record is None else self.record.highest,
        )
        self._evidence_kept = len(branches.evidence)
        branches.fresh.clear()
        branches.found_conflict = None
        self._failed.clear()
        return news


_NOTHING = BlockResult((), (), 0)


def genesis_block(genesis: Genesis) -> bytes:
    """The raw genesis block: its header and no transactions."""
    return assemble(genesis.header.raw, ())


def _raw_header(raw: bytes) -> bytes:
    return split_list(raw)[0]


def _sender(transaction: Transaction, senders: Mapping[bytes, bytes | TransactionError]) -> bytes:
    """The recovered sender; raises TransactionError."""
    sender = senders.get(transaction.hash)
    if sender is None:
        return transaction.sender()
    if isinstance(sender, TransactionError):
        raise sender
    return sender
