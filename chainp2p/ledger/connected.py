"""The connected chain: its head, the accounts after it, and how it moves to another branch.

A move is worked out in memory first (the state is a value) and written only when all its blocks are good, so a block
that fails leaves no trace. The caller opens the transaction.
"""

from collections.abc import Iterator, Mapping

from attrs import frozen

from chainp2p.chain.interfaces import HeadChanged
from chainp2p.chain.store import ChainStore
from chainp2p.chain.tree import HeaderTree, Node
from chainp2p.errors import Ours, StartupError
from chainp2p.ledger.consensus.engine import Entry
from chainp2p.ledger.execution import BlockContext, BlockResult, Execution, mismatch, run_block
from chainp2p.ledger.formats.block import Block, decode_block
from chainp2p.ledger.formats.header import Header
from chainp2p.ledger.formats.transaction import Transaction, TransactionError
from chainp2p.ledger.rows import LedgerRows
from chainp2p.ledger.senders import Senders
from chainp2p.ledger.state.accounts import Change, State
from chainp2p.ledger.state.overlay import Recent

__all__ = ["BlockFailed", "ConnectedChain", "Moved"]

#: Undo rows and states are kept for this many blocks below the head at least (design: "State").
RECENT_BLOCKS = 128

#: Accounts that stay as they were read and changed for the blocks that come next (500 bytes each).
_READ_MAX = 30_000

_NOTHING = BlockResult((), (), 0)


@frozen
class Moved:
    """How the head moved, with what the pool needs to know of it.

    :param included: ids of the transactions of the blocks entered.
    :param left: (transaction, sender) of the blocks left, in their order.
    """

    change: HeadChanged
    included: tuple[bytes, ...]
    left: tuple[tuple[Transaction, bytes], ...]


class BlockFailed(Exception):
    """A block breaks a rule that its header does not show: its signer is at fault."""

    def __init__(self, node: Node[Entry], reason: str) -> None:
        super().__init__(reason)
        self.node = node
        self.reason = reason


@frozen
class _Step:
    """A block connected in memory; *state* is None where nobody asked for its root."""

    node: Node[Entry]
    header: Header
    result: BlockResult
    state: State | None


class _Batch:
    """The accounts while blocks are connected: a state, and what was changed since; it is made anew only when its root
    is asked for."""

    def __init__(self, state: State, recent: Recent) -> None:
        self.state = state
        self.recent = recent
        self.changed: dict[bytes, Change] = {}

    def settle(self) -> State:
        """The state with all changes."""
        self.state = self.state.updated(self.changed.values())
        self.changed = {}
        return self.state


class ConnectedChain:
    """See the module.

    :param reward: wei that each block brings its miner.
    :ivar head: its last block.
    :ivar state: the accounts after it.
    """

    head: Node[Entry]
    state: State

    def __init__(
        self, chain_id: int, execution: Execution, store: ChainStore, rows: LedgerRows, reward: int = 0
    ) -> None:
        self._chain_id = chain_id
        self._reward = reward
        self._execution = execution
        self._store = store
        self._rows = rows
        self._states: dict[bytes, tuple[int, State]] = {}
        self._prepared: tuple[bytes, BlockResult, State] | None = None
        self._recent: Recent = {}

    def load(self, tree: HeaderTree[Entry]) -> None:
        """Find the head in the database, again where what was done since was not stored; StartupError."""
        hash = self._store.meta("head")
        head = None if hash is None else tree.get(hash)
        if head is None:
            raise StartupError("the chain database names a head that it does not hold")
        raw = self._store.raw_header(head.info.hash)
        assert raw is not None
        state = self.recent(head.info.hash)  # a state is a value: one that is known need not be read
        self.head, self.state = head, State.load(self._rows.accounts()) if state is None else state
        self._states = {head.info.hash: (head.info.height, self.state)}
        self._prepared, self._recent = None, {}
        if self.state.root != Header.decode(raw).state_root:
            raise StartupError("the accounts in the chain database do not match its head: restore a copy or sync anew")

    def begin_at(self, node: Node[Entry], state: State) -> None:
        """Go on from *node*, with *state* after it, whatever was before."""
        self.head, self.state = node, state
        self._states = {node.info.hash: (node.info.height, state)}
        self._recent = {}

    def prepare(self, hash: bytes, result: BlockResult, state: State) -> None:
        """What came out of making block *hash* on the head, so that it need not be run again."""
        self._prepared = (hash, result, state)

    def block(self, hash: bytes) -> Block:
        """A block whose body is known to be stored."""
        raw = self._store.body(hash)
        if raw is None:
            raise Ours(f"the body of block 0x{hash.hex()} is gone")
        return decode_block(raw)

    def move(
        self,
        left: list[Node[Entry]],
        entered: list[Node[Entry]],
        blocks: Mapping[bytes, Block],
        senders: Senders,
        trusted_slot: int = -1,
    ) -> Moved:
        """Undo *left* (newest first), connect *entered* (oldest first); raises :exc:`BlockFailed`, nothing done.

        :param blocks: those that are decoded already.
        :param senders: those that are recovered already, by transaction.
        :param trusted_slot: blocks up to this slot are final by their headers: of their state roots only that of the
            last one is looked at, unless something is wrong; then all are, and the first bad block is named.
        """
        written: dict[bytes, bytes | None] = {}
        state = self.state
        for node in left:
            state = self._undo(node, state, written)
        try:
            steps = self._run(entered, state, blocks, senders, trusted_slot)
        except BlockFailed:
            if trusted_slot < 0:
                raise
            steps = self._run(entered, state, blocks, senders, -1)
        for step in steps:
            written.update((change.key, change.new) for change in step.result.changes)
            state = state if step.state is None else step.state
        returned = tuple(pair for node in reversed(left) for pair in self._transactions(node))
        parent = left[-1].parent if left else None
        target = entered[-1] if entered else parent
        assert target is not None
        self._write(left, steps, written, target)
        self.head, self.state = target, state
        change = HeadChanged(target.info, tuple(node.info for node in left), tuple(node.info for node in entered))
        included = tuple(receipt.transaction_hash for step in steps for receipt in step.result.receipts)
        return Moved(change, included, returned)

    def _undo(self, node: Node[Entry], state: State, written: dict[bytes, bytes | None]) -> State:
        undo = self._rows.undo(node.info.height)
        if undo is None or undo[0] != node.info.hash:
            raise Ours(f"there is no undo row for block {node.info.height}")
        written.update((change.key, change.old) for change in undo[1])
        return state.reverted(undo[1])

    def _run(
        self,
        entered: list[Node[Entry]],
        state: State,
        blocks: Mapping[bytes, Block],
        senders: Senders,
        trusted_slot: int,
    ) -> list[_Step]:
        steps: list[_Step] = []
        # what was read for the blocks before is good for the next ones, unless one of these fails
        recent, self._recent = self._recent if state is self.state else {}, {}
        batch = _Batch(state, recent)
        for node in entered:
            check_root = node.data.slot > trusted_slot or node is entered[-1]
            steps.append(self._connect(node, batch, blocks.get(node.info.hash), senders, check_root))
        if len(batch.recent) <= _READ_MAX:
            self._recent = batch.recent
        return steps

    def _connect(
        self, node: Node[Entry], batch: "_Batch", block: Block | None, senders: Senders, check_root: bool
    ) -> _Step:
        hash = node.info.hash
        if block is None:
            block = self.block(hash)
        header = block.header
        if self._prepared is not None and self._prepared[0] == hash and node.parent is self.head:
            batch.state, batch.recent = self._prepared[2], {}
            return _Step(node, header, *self._prepared[1:])
        if block.transactions or self._reward:
            try:
                signed = [_sender(transaction, senders) for transaction in block.transactions]
                context = BlockContext.of(header, self._chain_id, self._reward)
                result = run_block(self._execution, block.transactions, signed, batch.state, context, batch.recent)
            except TransactionError as error:
                raise BlockFailed(node, error.text) from None
            batch.changed.update((change.key, change) for change in result.changes)
        else:
            result = _NOTHING
        state = batch.settle() if check_root else None
        reason = mismatch(header, result, None if state is None else state.root)
        if reason is not None:
            raise BlockFailed(node, reason)
        return _Step(node, header, result, state)

    def _transactions(self, node: Node[Entry]) -> Iterator[tuple[Transaction, bytes]]:
        receipts = self._rows.receipts(node.info.hash)
        if receipts:
            for transaction, receipt in zip(self.block(node.info.hash).transactions, receipts, strict=True):
                yield transaction, receipt.sender

    def _write(
        self,
        left: list[Node[Entry]],
        steps: list[_Step],
        written: Mapping[bytes, bytes | None],
        target: Node[Entry],
    ) -> None:
        store, rows = self._store, self._rows
        if left:
            fork = left[-1].info.height - 1
            for node in left:
                rows.drop_receipts(node.info.hash)
                self._states.pop(node.info.hash, None)
            store.cut_best(fork)
            rows.cut_undo(fork)
        store.set_best((step.node.info.height, step.node.info.hash) for step in steps)
        rows.add_undo((step.node.info.height, step.node.info.hash, step.result.changes) for step in steps)
        for step in steps:
            info = step.node.info
            if step.result.receipts:
                rows.add_receipts(info.height, info.hash, step.result.receipts)
            if step.state is not None:
                self._states[info.hash] = info.height, step.state
        rows.write_accounts(written.items())
        store.set_meta("head", target.info.hash)

    def prune(self, floor: int) -> None:
        """Forget undo rows that no reorganisation (none goes below *floor*) and no reader needs any more."""
        lowest = min(floor, self.head.info.height - RECENT_BLOCKS)
        if lowest > 0:
            self._rows.prune_undo(lowest)
        # by height, not by number: in bulk there is one state a batch, and each shares little with the one before
        oldest = self.head.info.height - RECENT_BLOCKS
        self._states = {hash: kept for hash, kept in self._states.items() if kept[0] > oldest}

    def undoable(self, height: int) -> bool:
        """Whether the block at *height* of the connected chain could be undone."""
        return self._rows.undo(height) is not None

    def recent(self, hash: bytes) -> State | None:
        """The state after a block of the connected chain if it is in memory; may be asked from any thread."""
        kept = self._states.get(hash)
        return None if kept is None else kept[1]

    def state_at(self, hash: bytes) -> State | None:
        """The state after a recent block of the connected chain; None: not kept."""
        state = self.recent(hash)
        if state is not None:
            return state
        height = self._store.height_on_best(hash)
        if height is None:
            return None
        state = self.state
        for above in range(self.head.info.height, height, -1):
            undo = self._rows.undo(above)
            if undo is None:
                return None
            state = state.reverted(undo[1])
        return state


def _sender(transaction: Transaction, senders: Senders) -> bytes:
    """The sender, recovered here if nobody did before; raises TransactionError."""
    sender = senders.get(transaction.hash)
    if sender is None:
        return transaction.sender()
    if isinstance(sender, TransactionError):
        raise sender
    return sender
