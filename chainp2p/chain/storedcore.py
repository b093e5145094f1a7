"""A chain of rules on a database, without Deferreds: works on the lane that owns the connection."""

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from chainp2p.chain.interfaces import (
    AlreadyKnown,
    Fault,
    FinalityConflict,
    HeadChanged,
    HeaderInfo,
    HeadersRejected,
    Invalid,
    Stored,
    Verdict,
)
from chainp2p.chain.lookup import header_at, locate
from chainp2p.chain.rules import BlockRefused, HeaderRefused, Place, ReadBlock, Summary
from chainp2p.chain.statemap import StateLayer, StateRows
from chainp2p.chain.store import ChainStore
from chainp2p.chain.storedheaders import KEPT_BELOW_FINALIZED, StoredHeaders, stored
from chainp2p.chain.tree import HeaderTree, Node, better
from chainp2p.chain.verdicts import judged, refused
from chainp2p.errors import Ours, StartupError

__all__ = ["Changes", "StoredCore"]

#: Without finality by the rules, blocks this far below the head are final: what is undone must have an end.
REORG_LIMIT = 1_000


@frozen
class Changes:
    """What a call did.

    :param included: ids of the transactions of the blocks entered.
    :param returned: (id, raw) of those of the blocks left that are not included again.
    :param conflict: a conflict of finality that stands; *new_conflict*: it is new.
    """

    head: HeaderInfo
    best_header: HeaderInfo
    finalized: HeaderInfo
    added: tuple[HeaderInfo, ...] = ()
    change: HeadChanged | None = None
    included: tuple[bytes, ...] = ()
    returned: tuple[tuple[bytes, bytes], ...] = ()
    failed: tuple[tuple[HeaderInfo, str], ...] = ()
    conflict: FinalityConflict | None = None
    new_conflict: FinalityConflict | None = None


class StoredCore:
    """Header tree, fork choice and state.

    1. The branch of the highest rank whose bodies are all stored is connected; at equal rank that of the smaller hash.
    2. A move to another branch is one commit: blocks undone, blocks connected, the head. If a block fails, it and what
       descends from it are bad, and the best of the rest is tried.
    3. Nothing below the finalized block is ever undone.

    :param rules: provides ``IRules``.
    """

    def __init__(self, rules: Any, store: ChainStore) -> None:
        self._rules = rules
        self.store = store
        self.state = StateRows(store)
        self.headers = StoredHeaders(rules, store)
        self._reasons: dict[bytes, str] = {}
        self._failed: list[tuple[HeaderInfo, str]] = []
        #: Blocks that this call has read, which it needs more than once.
        self._blocks: dict[bytes, ReadBlock] = {}

    head: Node[Place]

    @property
    def tree(self) -> HeaderTree[Place]:
        return self.headers.tree

    # -- start

    def load(self) -> Changes:
        """Open the chain where it was, a new one at genesis; StartupError."""
        try:
            block = self._rules.read_block(self._rules.genesis())
            summary = self._rules.check_header(block.header, None, iter(()), 0.0)
        except (ValueError, HeaderRefused) as error:
            raise StartupError(f"the rules refuse their own genesis block: {error}") from None
        self.store.open(block.header.hash, lambda: self._create(block, summary))
        self._read()
        with self.store.transaction(self._read):
            change = self._follow()
        return self._changes(change)

    def _create(self, block: ReadBlock, summary: Summary) -> None:
        hash = block.header.hash
        layer = StateLayer(self.state)
        try:
            self._rules.connect(block, layer)
        except BlockRefused as error:
            raise StartupError(f"the rules refuse their own genesis block: {error}") from None
        self.headers.create(block.header, summary, block.raw_header)
        self.store.add_bodies([(hash, self._rules.genesis())])
        self.store.set_best([(0, hash)])
        for key, value in layer.written.items():
            self.state.set(key, value)
        self.store.set_meta("head", hash)

    def _read(self) -> None:
        """Take all that is kept in memory from the database."""
        self.headers.load()
        self.head = self.headers.node(stored(self.store.meta("head")))
        self._failed.clear()
        self._blocks.clear()

    # -- headers

    def check_headers(self, raws: Sequence[bytes], now: float) -> tuple[list[HeaderInfo] | HeadersRejected, Changes]:
        """Check consecutive headers and store none (but a conflict of finality that they prove)."""
        outcome: list[HeaderInfo] | HeadersRejected
        with self.store.transaction(self._read):
            try:
                outcome = self.headers.check(raws, now)
            except HeadersRejected as error:
                outcome = error
        return outcome, self._changes(None)

    def add_headers(self, raws: Sequence[bytes], now: float) -> tuple[list[HeaderInfo] | HeadersRejected, Changes]:
        """Check and store consecutive headers; those before a bad one are stored."""
        outcome: list[HeaderInfo] | HeadersRejected
        with self.store.transaction(self._read):
            try:
                outcome = [self.headers.add(raw, now, index) for index, raw in enumerate(raws)]
            except HeadersRejected as error:
                outcome = error
        return outcome, self._changes(None)

    # -- blocks

    def submit(self, raws: Sequence[bytes], now: float) -> tuple[list[Verdict], Changes]:
        """Check and store blocks, then follow the best branch."""
        with self.store.transaction(self._read):
            outcomes = [self._take(raw, now) for raw in raws]
            change = self._follow()
        return judged(outcomes, change, self._reasons), self._changes(change)

    def _take(self, raw: bytes, now: float) -> "Verdict | Node[Place]":
        try:
            block = self._rules.read_block(raw)
        except ValueError as error:
            return Invalid(b"", str(error), Fault.SENDER)
        header = block.header
        try:
            info = self.headers.add(block.raw_header, now)
        except HeadersRejected as error:
            return refused(header.hash, header.parent, error)
        node = self.tree.get(info.hash)
        if node is not None and node.body:
            return AlreadyKnown(info)
        if node is None or not node.live:
            return Stored(info)  # nothing below the finalized block is ever connected: bodies are not kept
        self.store.add_bodies([(info.hash, raw)])
        self.tree.add_body(node)
        self._blocks[info.hash] = block
        return node

    # -- fork choice

    def _follow(self) -> HeadChanged | None:
        while True:
            target = self.tree.best_ready
            if target is self.head:
                return None
            if not self.head.bad and self.head.live and not better(target.info, self.head.info):
                return None
            left, entered = self.tree.route(self.head, target)
            failed = self._move(left, entered)
            if failed is None:
                break
            self._reasons[failed[0].info.hash] = failed[1]
            bad = self.tree.condemn(failed[0])
            self.store.mark_bad(one.info.hash for one in bad)
            self._failed.append((failed[0].info, failed[1]))
        self.head = target
        self.store.set_meta("head", target.info.hash)
        self._finalize()
        return HeadChanged(target.info, tuple(node.info for node in left), tuple(node.info for node in entered))

    def _move(self, left: list[Node[Place]], entered: list[Node[Place]]) -> tuple[Node[Place], str] | None:
        """Undo and connect; a block that fails is answered with its reason, and nothing has happened."""
        self.store.execute("SAVEPOINT move")
        for node in left:
            self.state.undo(node.info.height)
        if left:
            self.store.cut_best(left[-1].info.height - 1)
        for node in entered:
            layer = StateLayer(self.state)
            try:
                self._rules.connect(self.block(node.info.hash), layer)
            except BlockRefused as refused:
                self.store.execute("ROLLBACK TO move")
                self.store.execute("RELEASE move")
                return node, str(refused)
            self.state.apply(node.info.height, layer.written)
            self.store.set_best([(node.info.height, node.info.hash)])
        self.store.execute("RELEASE move")
        return None

    def _finalize(self) -> None:
        """Take finality from the head's summary, and from depth."""
        tree, head = self.tree, self.head
        final = tree.get(head.data.summary.finalized or b"")
        deep = tree.get(self.store.hash_at(head.info.height - REORG_LIMIT) or b"")
        for node in (final, deep):
            if node is not None and node.live and tree.descends(head, node) and node is not tree.finalized:
                tree.advance(node)
        height = tree.finalized.info.height
        self.store.set_meta("finalized", tree.finalized.info.hash)
        self.state.prune(height + 1)
        tree.prune(max(0, height - KEPT_BELOW_FINALIZED))

    # -- reading

    def block(self, hash: bytes) -> ReadBlock:
        """A block whose body is stored."""
        if hash in self._blocks:
            return self._blocks[hash]
        raw = self.store.body(hash)
        if raw is None:
            raise Ours(f"the body of block {hash.hex()} is gone")
        block: ReadBlock = self._rules.read_block(raw)
        self._blocks[hash] = block
        return block

    def locate(self, hash: bytes) -> HeaderInfo | None:
        """See ``IChain.locate``."""
        return locate(self.tree, self.store, hash)

    def header_at(self, height: int) -> HeaderInfo | None:
        """See ``IChain.header_at``."""
        return header_at(self.tree, self.store, height)

    def missing(self, limit: int) -> list[HeaderInfo]:
        """See ``IChain.missing``."""
        return [node.info for node in self.tree.missing(self.head, limit)]

    # -- what happened

    def _changes(self, change: HeadChanged | None) -> Changes:
        included: dict[bytes, bytes] = {}
        returned: dict[bytes, bytes] = {}
        if change is not None:
            for info in change.entered:
                included.update(self.block(info.hash).transactions)
            for info in reversed(change.left):
                returned.update(self.block(info.hash).transactions)
        changes = Changes(
            self.head.info,
            self.tree.best.info,
            self.tree.finalized.info,
            tuple(self.headers.added),
            change,
            tuple(included),
            tuple(pair for pair in returned.items() if pair[0] not in included),
            tuple(self._failed),
            self.headers.conflict,
            self.headers.new_conflict,
        )
        self._failed.clear()
        self._blocks.clear()
        self.headers.told()
        return changes
