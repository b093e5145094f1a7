"""The ledger behind its door: takes headers and blocks, follows the best branch, keeps finality.

Everything here is synchronous and runs on the one lane that owns the database. Each public call is one transaction, so
that kill -9 at any point leaves a chain at some height; a call that raises leaves nothing, memory is then read anew.

Rules (design: "Fork choice"): when all bodies up to a header that ranks above the head are stored, the old branch is
undone and the new one connected. If a block fails, it and its descendants are bad and the best branch that remains is
tried. ``finalized`` moves with its block, and stands still while a conflict of finality is unsettled.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from attrs import define, field

from chainp2p.chain.interfaces import (
    AlreadyKnown,
    FailedBlock,
    Fault,
    HeadChanged,
    HeaderInfo,
    HeadersRejected,
    Invalid,
    Stored,
    Verdict,
)
from chainp2p.chain.lookup import header_at, locate
from chainp2p.chain.store import ChainStore
from chainp2p.chain.tree import Node, better
from chainp2p.chain.verdicts import judged, refused
from chainp2p.errors import StartupError
from chainp2p.ledger.branches import Branches
from chainp2p.ledger.connected import BlockFailed, ConnectedChain, Moved
from chainp2p.ledger.consensus.engine import Engine, Entry
from chainp2p.ledger.execution import BlockResult, Execution
from chainp2p.ledger.formats.block import Block, BlockError, assemble, block_hash, decode_block, split
from chainp2p.ledger.formats.genesis import Genesis
from chainp2p.ledger.formats.header import Header, HeaderError
from chainp2p.ledger.news import News
from chainp2p.ledger.policy import Policy
from chainp2p.ledger.producing.sealing import SealRecord
from chainp2p.ledger.rows import LedgerRows
from chainp2p.ledger.senders import Prepared, Senders
from chainp2p.ledger.snapshots import Snapshots, snapshot_interval
from chainp2p.ledger.state.accounts import State
from chainp2p.primitives.rlp import decode_list, decode_uint, encode, encode_uint

__all__ = ["LedgerCore"]


@define(eq=False)
class LedgerCore:
    """See the module.

    :param record: what this node sealed, if it is a signer.
    """

    genesis: Genesis
    engine: Engine[Any]
    execution: Execution
    store: ChainStore
    rows: LedgerRows
    record: SealRecord | None
    policy: Policy
    branches: Branches = field(init=False)
    chain: ConnectedChain = field(init=False)
    snapshots: Snapshots = field(init=False)
    _failed: list[FailedBlock] = field(factory=list, init=False)
    _reasons: dict[bytes, str] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        reward = self.engine.reward
        self.chain = ConnectedChain(self.genesis.chain_id, self.execution, self.store, self.rows, reward)
        self.snapshots = Snapshots(snapshot_interval(self.engine.period_ms))

    # -- start

    def load(self) -> News:
        """Open the chain where it was; StartupError."""
        self.store.open(self.genesis.hash, self._create)
        self._check_schedule()
        self._read()
        if self.record is not None:
            self._join_seals(self.branches.tree.nodes())
        with self._transaction():
            self.store.set_meta("schedule", _pack_changes(self.genesis))
            moved = self._follow({}, {})
        self.snapshots.note(self._lasting(), self.chain, self.store)
        return self._news(moved)

    def begin_at(self, hash: bytes, state: State, write: Callable[[], None]) -> News:
        """Let the chain begin anew at block *hash*, with *state* after it; *write* puts both into the database."""
        with self._transaction():
            write()
            self.branches = self._make_branches()
            self.branches.load(self.rows.evidence())
            node = self.branches.tree.get(hash)
            assert node is not None
            self.chain.begin_at(node, state)
        self.snapshots.note(node.info.height, self.chain, self.store)
        return self._news(Moved(HeadChanged(node.info, (), (node.info,)), (), ()))

    def _create(self) -> None:
        header = self.genesis.header
        Branches(self.genesis, self.engine, self.store).create()
        self.store.add_bodies([(header.hash, assemble(header.raw, ()))])
        self.store.set_best([(0, header.hash)])
        self.store.set_meta("head", header.hash)
        self.rows.write_accounts(self.genesis.state.rows())

    def _check_schedule(self) -> None:
        """The headers in the database were checked by the signer lists of its time: those may not change below them."""
        stored = self.store.meta("schedule")
        if stored is None:
            return
        height = self.store.highest()
        then, now = (
            [change for change in decode_list(packed) if decode_uint(change[0], 8) <= height]  # type: ignore[arg-type]
            for packed in (stored, _pack_changes(self.genesis))
        )
        if then != now:
            raise StartupError(f"the chain database was made with other signer lists for heights up to {height}")

    def _read(self) -> None:
        """Take all that is kept in memory from the database."""
        self.branches = self._make_branches()
        self.branches.load(self.rows.evidence())
        self.chain.load(self.branches.tree)
        self._failed.clear()
        self._fold()

    def _make_branches(self) -> Branches:
        return Branches(self.genesis, self.engine, self.store, self.policy.max_reorg_depth)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """What happens inside is stored, or has not happened; only what is stored may be folded in the record."""
        with self.store.transaction(self._read):
            yield
        self._fold()

    # -- headers and blocks

    def check_headers(self, raws: Sequence[bytes], now: float) -> tuple[list[HeaderInfo] | HeadersRejected, News]:
        """Check consecutive headers and store nothing (but a conflict of finality that they prove)."""
        with self._transaction():
            try:
                outcome: list[HeaderInfo] | HeadersRejected = self.branches.check(raws, now)
            except HeadersRejected as error:
                outcome = error
        return outcome, self._news(None)

    def add_headers(
        self, raws: Sequence[bytes], now: float, sealers: Mapping[bytes, bytes]
    ) -> tuple[list[HeaderInfo] | HeadersRejected, News]:
        """Check and store consecutive headers; *sealers*: see :meth:`Branches.add`."""
        with self._transaction():
            try:
                outcome: list[HeaderInfo] | HeadersRejected = self.branches.add(raws, now, sealers)
            except HeadersRejected as error:
                outcome = error
            self._keep_evidence()
            self._join_fresh()
        return outcome, self._news(None)

    def known(self, hash: bytes) -> bool:
        """Whether a header of the tree is good as far as we know; may be asked from any thread."""
        node = self.branches.tree.get(hash)
        return node is not None and not node.bad

    def acceptable(self, raws: Sequence[bytes], now: float) -> list[bool]:
        """Which of these raw headers are known or good: work on the blocks of others would be wasted."""
        return [self._acceptable(raw, now) for raw in raws]

    def _acceptable(self, raw: bytes, now: float) -> bool:
        try:
            self.branches.candidate(Header.decode(raw), now)
        except (HeaderError, HeadersRejected):
            return False
        return True

    def submit(self, raws: Sequence[bytes], now: float, prepared: Prepared) -> tuple[list[Verdict], News]:
        """Check and store blocks, then follow the best branch.

        :param prepared: their transactions, as far as they are decoded and their senders recovered already.
        """
        blocks: dict[bytes, Block] = {}
        with self._transaction():
            outcomes = [self._take(raw, now, blocks, prepared) for raw in raws]
            self.store.add_bodies((hash, block.raw) for hash, block in blocks.items())
            moved = self._follow(blocks, prepared.senders)
            self._keep_evidence()
            self._join_fresh()
        change = None if moved is None else moved.change
        return judged(outcomes, change, self._reasons), self._news(moved)

    def submit_own(
        self, raw: bytes, hash: bytes, result: BlockResult, state: State, now: float
    ) -> tuple[Verdict, News]:
        """Connect a block of our own making, whose outcome is known."""
        self.chain.prepare(hash, result, state)
        verdicts, news = self.submit([raw], now, Prepared())
        return verdicts[0], news

    def _take(self, raw: bytes, now: float, blocks: dict[bytes, Block], prepared: Prepared) -> "Verdict | Node[Entry]":
        """Put one block among the *blocks* to store; a node where the verdict depends on what follows."""
        block: Block | None = None
        broken = ""
        try:
            block = decode_block(raw, decoded=prepared.decoded, parts=prepared.splits.get(raw))
            header = block.header
        except BlockError as error:
            if not error.committed:
                return Invalid(_hash_of(raw), error.text, Fault.SENDER)
            broken = error.text
            header = Header.decode(split(raw)[0])
        branches = self.branches
        try:
            found = branches.candidate(header, now)
        except HeadersRejected as error:
            return refused(header.hash, header.parent, error)
        info = found if isinstance(found, HeaderInfo) else branches.store(found).info
        node = branches.tree.get(info.hash)
        if node is not None and node.body:
            return AlreadyKnown(info)
        if node is None or not branches.tree.wanted(node):
            return Stored(info)  # forks from below the finalized block are never connected: bodies are not kept
        if block is None:
            self._condemn(node, broken)
            return node
        blocks[info.hash] = block
        branches.tree.add_body(node)
        return node

    def _condemn(self, node: Node[Entry], reason: str) -> None:
        self._reasons[node.info.hash] = reason
        self.branches.condemn(node)
        self._failed.append(FailedBlock(node.info, node.data.producer, reason))

    # -- fork choice

    def _follow(self, blocks: dict[bytes, Block], senders: Senders) -> Moved | None:
        """Go to the best branch whose bodies are all stored."""
        tree, chain = self.branches.tree, self.chain
        while True:
            target = tree.best_ready
            if target is chain.head:
                return None
            stands = not chain.head.bad and tree.descends(chain.head, tree.finalized)
            if stands and not better(target.info, chain.head.info):
                return None
            left, entered = tree.route(chain.head, target)
            try:
                moved = chain.move(left, entered, blocks, senders, self._trusted(target))
            except BlockFailed as failure:
                self._condemn(failure.node, failure.reason)
                continue
            self._finalize()
            return moved

    def _trusted(self, target: Node[Entry]) -> int:
        """The slot up to which headers, or the settings, say that the blocks on the way to *target* are good."""
        tree, policy = self.branches.tree, self.policy
        if policy.verify_all or not tree.on_path(target):
            return -1
        assumed = None if policy.assume_valid is None else tree.get(policy.assume_valid)
        slot: int = tree.best.data.finalized.slot
        return slot if assumed is None or not tree.on_path(assumed) else max(slot, assumed.data.slot)

    def _finalize(self) -> None:
        """Let finality follow the head; not while it is disputed, for then the votes prove nothing."""
        branches, head = self.branches, self.chain.head
        final, mark = head.data.finalized, branches.mark
        node: Node[Entry] | None = None
        if final.slot > mark.data.slot and branches.conflict is None:
            node = branches.tree.get(final.hash)
            assert node is not None  # it lies between the finalized block and the head
        elif mark is not branches.final and branches.tree.descends(head, mark):
            node = mark
        if node is not None:
            branches.finalize(node)
        branches.settle(head)
        height = self._lasting()
        self.snapshots.note(height, self.chain, self.store)
        self.chain.prune(min(branches.undo_floor, self.snapshots.lowest(height)))

    def _lasting(self) -> int:
        """The height up to which states are handed on."""
        branches = self.branches
        return branches.final.info.height if self.engine.finalizes else branches.lasting(self.chain.head)

    def decide(self, decision: "Callable[[LedgerCore, bytes], str]", hash: bytes) -> tuple[str, News]:
        """Do what an operator decided about block *hash* (``decisions.py``); the text says why not, if not."""
        with self._transaction():
            reason = decision(self, hash)
            moved = None if reason else self._follow({}, {})
        return reason, self._news(moved)

    # -- own seals

    def _join_fresh(self) -> None:
        if self.record is not None and self.branches.fresh and not self.engine.on_demand:
            self._join_seals(one.node for one in self.branches.fresh if one.node is not None)

    def _join_seals(self, nodes: Iterable[Node[Entry]]) -> None:
        record = self.record
        assert record is not None
        record.join([(n.data.slot, n.info.hash, n.data.base) for n in nodes if n.data.signer == record.signer])

    def _fold(self) -> None:
        if self.record is not None:
            final = self.branches.final
            self.record.fold(final.data.slot, lambda hash: self.is_ancestor(hash, final))

    def is_ancestor(self, hash: bytes, node: Node[Entry]) -> bool:
        """Whether block *hash* is *node*, which is on the connected chain, or below it."""
        known = self.branches.tree.get(hash)
        if known is not None:
            return self.branches.tree.descends(node, known)
        height = self.store.height_on_best(hash)
        return height is not None and height <= node.info.height

    # -- reading

    def missing(self, limit: int) -> list[HeaderInfo]:
        """See ``IChain.missing``."""
        return [node.info for node in self.branches.tree.missing(self.chain.head, limit)]

    def header_at(self, height: int) -> HeaderInfo | None:
        """See ``IChain.header_at``."""
        return header_at(self.branches.tree, self.store, height)

    def locate(self, hash: bytes) -> HeaderInfo | None:
        """See ``IChain.locate``."""
        return locate(self.branches.tree, self.store, hash)

    # -- the disk

    @property
    def storage_error(self) -> str:
        """Why the last write failed; empty since one succeeded."""
        return self.store.failure or ("" if self.record is None else self.record.failure)

    def try_disk(self) -> None:
        """Find out whether the disk takes something now; StorageError."""
        self.store.try_disk()
        if self.record is not None:
            self.record.try_disk()

    # -- what happened

    def _keep_evidence(self) -> None:
        if self.branches.new_evidence:
            self.rows.add_evidence(self.branches.new_evidence)

    def _news(self, moved: Moved | None) -> News:
        branches, head = self.branches, self.chain.head
        final = branches.final
        justified = branches.tree.get(head.data.justified.hash)
        safe = final if justified is None or justified.data.slot < final.data.slot else justified
        news = News(
            head=head.info,
            head_slot=head.data.slot,
            best_header=branches.tree.best.info,
            finalized=final.info,
            safe=safe.info,
            state=self.chain.state,
            next_base_fee=self.engine.base_fee_after(head.data),
            gas_limit=head.data.gas_limit,
            conflict=branches.conflict,
            new_conflict=branches.new_conflict,
            refused=branches.refused(head),
            added=tuple(one.info for one in branches.fresh),
            moved=moved,
            failed=tuple(self._failed),
            evidence=tuple(branches.new_evidence),
            highest_slot=0 if self.record is None else self.record.highest,
        )
        branches.told()
        self._failed.clear()
        return news


def _pack_changes(genesis: Genesis) -> bytes:
    return encode([[encode_uint(change.height), *change.signers] for change in genesis.consensus.changes])


def _hash_of(raw: bytes) -> bytes:
    """The hash that broken bytes claim, if they claim any."""
    try:
        return block_hash(raw)
    except BlockError:
        return b""
