"""All headers this node knows: their checks, the tree above what is settled, and conflicts of finality.

Works on the lane that owns the database; the caller opens the transactions. *Settled* is the finalized block, or, where
reorganisations have a greatest depth, the block so deep below the head, if that is higher: branches that part below it
are kept by their headers and not followed, until an operator allows it. In memory is the tree from 1,024 blocks below
that on (where headers finalize blocks, below the finalized one: votes may reach so far); what is older is read when a
header asks for it. Every 64th height stores its whole entry, so that a start, or a fork from far below, follows the
headers from there instead of from genesis.

One module of more than 400 lines, since its parts move one tree and mean something only together: what joins it, what
is settled in it, and what an operator takes back.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from attrs import evolve

from chainp2p.chain.interfaces import FinalityConflict, HeaderInfo, HeadersRejected, RefusedBranch
from chainp2p.chain.store import ChainStore, HeaderRow
from chainp2p.chain.tree import HeaderTree, Node
from chainp2p.chain.verdicts import DESCENDS
from chainp2p.ledger.candidate import Candidate
from chainp2p.ledger.consensus.conflicts import Conflicts
from chainp2p.ledger.consensus.engine import UNSEEN, Engine, Entry, HeaderInvalid
from chainp2p.ledger.consensus.equivocation import EVIDENCE_MAX, Evidence, SealWatch
from chainp2p.ledger.formats.genesis import Genesis
from chainp2p.ledger.formats.header import Header, HeaderError
from chainp2p.ledger.refusals import Refusals

__all__ = ["Branches"]

#: The tree goes this many blocks below the settled one: late side blocks find their parents there, and operators the
#: branches that they may allow.
KEPT_BELOW_FINALIZED = 1024
#: A whole entry is stored at each multiple of this height.
TALLY_INTERVAL = 64
#: Headers that are not kept yet are not followed when what is remembered of them is in more pieces than this. A signer
#: leaves a gap when it comes back from another branch; one whose key leaked can leave one in each block, and each
#: costs memory.
SPANS_MAX = 4_096
#: Of runs of more headers than this that are not kept, one seal in so many is looked at: recovering it takes more than
#: half of a header's time, and whoever has no key is found out within a hundred (499 times of 500).
SHORT_RUN, SEAL_SAMPLE = 64, 16
#: Where nothing becomes final, a state is handed on of blocks so deep below the tip (design: "State sync").
LASTING_DEPTH = 100
#: The memory is freed in steps of this many blocks.
_PRUNE_STEP = 64


class Branches:
    """See the module.

    :param max_depth: so many blocks may be undone without an operator; None: as many as are not final.
    :ivar tree: its finalized block is the settled one.
    :ivar final: the finalized block.
    """

    def __init__(self, genesis: Genesis, engine: Engine[Any], store: ChainStore, max_depth: int | None = None) -> None:
        self._genesis = genesis
        self._engine = engine
        self._store = store
        self._max_depth = max_depth
        self._refusals = Refusals()
        self._allowed: Node[Entry] | None = None
        self._conflicts = Conflicts(store)
        self.new_evidence: list[Evidence] = []
        self.fresh: list[Candidate] = []
        self._evidence: set[Evidence] = set()

    tree: HeaderTree[Entry]
    final: Node[Entry]

    # -- start

    def create(self) -> None:
        """Store the genesis header in a new database."""
        header = self._genesis.header
        entry = self._engine.first()
        info = HeaderInfo(header.hash, header.parent, 0, self._engine.rank(entry, 0))
        self._store.add_headers([(info, self._engine.pack(entry, True), header.raw)])
        self._store.set_meta("finalized", header.hash)

    def load(self, evidence: Iterable[Evidence]) -> None:
        """Build the tree from the database; *evidence* is what was kept of signers that contradict themselves."""
        self._evidence = set(evidence)
        store = self._store
        final = self._stored("finalized")
        assert final is not None
        chosen = self._stored("chosen")
        settled = None if self._max_depth is None or chosen is not None else self._stored("settled")
        if settled is None or settled.height < final.height or store.hash_at(settled.height) != settled.hash:
            settled = final
        floor = _floor(final if self._engine.finalizes else settled)
        lowest = store.hash_at(floor)
        row = store.header(lowest) if lowest is not None else None
        assert row is not None
        self.tree = HeaderTree(row.info, self._unpack(row))
        self._watch = SealWatch(self.tree)
        for row in store.headers_from(floor):
            if self.tree.get(row.info.hash) is None:
                parent = self.tree.get(row.info.parent)
                entry = self._unpack(row) if parent is None else self._count(row, parent.data)
                self._watch.saw(self.tree.add(row.info, entry, row.body, row.bad))
        base = self.tree.get(store.meta("base") or b"")
        if base is not None:
            self.tree.ground(base)
        node = self.tree.get(settled.hash)
        assert node is not None
        self.tree.finalize(node if chosen is None else self.tree.get(chosen.hash) or node, node)
        self.final = self.tree.get(final.hash) or self._detached(final.hash)
        allowed = self._stored("allowed")
        self._allowed = None if allowed is None else self.tree.get(allowed.hash)
        self._refuse(self.tree.nodes())
        self._conflicts.load()

    def _detached(self, hash: bytes) -> Node[Entry]:
        """A block below the tree."""
        info, entry, _ = self._deep(0, hash)
        return Node(info, entry, None, body=True)

    def _stored(self, name: str) -> HeaderInfo | None:
        hash = self._store.meta(name)
        return None if hash is None else self._store.info(hash)

    def _unpack(self, row: HeaderRow) -> Entry:
        """The entry of a header that was stored whole."""
        entry: Entry = self._engine.unpack(Header.decode(row.raw), row.rest)
        return entry

    def _count(self, row: HeaderRow, parent: Entry) -> Entry:
        entry: Entry = self._engine.follow(Header.decode(row.raw), row.rest, parent, row.info.height)
        return entry

    # -- headers

    def check(self, raws: Sequence[bytes], now: float) -> list[HeaderInfo]:
        """Check consecutive headers, storing nothing; raises HeadersRejected."""
        above: dict[bytes, Candidate] = {}
        found = []
        for index, raw in enumerate(raws):
            candidate = self._check_one(index, raw, above, now)
            if isinstance(candidate, HeaderInfo):
                found.append(candidate)
                continue
            above[candidate.info.hash] = candidate
            found.append(candidate.info)
            self._judge(candidate)
        return found

    def check_run(
        self, raws: Sequence[bytes], now: float, after: Candidate | None, key: bytes
    ) -> tuple[list[HeaderInfo], Candidate | None]:
        """See ``IHeaderRuns.check_run``; *after* has no parent, so that it holds nothing alive.

        Of long runs the seals are looked at in samples that *key*, chance of 16 bytes, chooses: what is stored in the
        end is checked whole, and who has no key of a signer does not get far.
        """
        found = []
        for index, raw in enumerate(raws):
            looked_at = len(raws) <= SHORT_RUN or not blake2b(raw, digest_size=1, key=key).digest()[0] % SEAL_SAMPLE
            above = {} if after is None else {after.info.hash: after}
            candidate = self._check_one(index, raw, above, now, None if looked_at else UNSEEN)
            found.append(candidate if isinstance(candidate, HeaderInfo) else candidate.info)
            after = None if isinstance(candidate, HeaderInfo) else candidate
        if after is None:
            return found, None
        if after.data.pieces > SPANS_MAX:
            raise HeadersRejected(len(raws) - 1, "its votes leave too many gaps", condemned=True)
        return found, evolve(after, parent=None)

    def add(self, raws: Sequence[bytes], now: float, sealers: Mapping[bytes, bytes]) -> list[HeaderInfo]:
        """Check and store consecutive headers; raises HeadersRejected, with those before the bad one stored.

        :param sealers: whose keys sealed them, by their bytes, as far as that was recovered already.
        """
        found, rows = [], []
        try:
            for index, raw in enumerate(raws):
                candidate = self._check_one(index, raw, {}, now, sealers.get(raw))
                if isinstance(candidate, HeaderInfo):
                    found.append(candidate)
                elif candidate.info.height < self.tree.floor:  # the next one finds its parent in the database only
                    found.append(self.store(candidate).info)
                else:
                    rows.append(self._row(candidate))
                    found.append(self._join(candidate).info)
        except HeadersRejected:
            self._store.add_headers(rows)
            raise
        self._store.add_headers(rows)
        return found

    def store(self, candidate: Candidate) -> Candidate:
        """Store a header that passed its checks."""
        self._store.add_headers([self._row(candidate)])
        return self._join(candidate)

    def _row(self, candidate: Candidate) -> tuple[HeaderInfo, bytes, bytes]:
        """What is stored of a header."""
        info = candidate.info
        whole = info.height % TALLY_INTERVAL == 0
        return info, self._engine.pack(candidate.data, whole), candidate.header.raw

    def _join(self, candidate: Candidate) -> Candidate:
        """Let a header that passed its checks, and is stored or about to be, join the tree."""
        info, entry = candidate.info, candidate.data
        node = None
        if info.height >= self.tree.floor:
            node = self.tree.add(info, entry)
            for evidence in self._watch.saw(node):
                if evidence not in self._evidence and len(self._evidence) < EVIDENCE_MAX:
                    self._evidence.add(evidence)
                    self.new_evidence.append(evidence)
        stored = Candidate(info, entry, candidate.header, node, candidate.live, candidate.parent)
        self.fresh.append(stored)
        if not stored.live and self._max_depth is not None:
            self._refusals.saw(info)
        self._judge(stored)
        return stored

    def candidate(self, header: Header, now: float) -> "Candidate | HeaderInfo":
        """Check one decoded header; HeaderInfo if it is known; raises HeadersRejected."""
        return self._check_decoded(0, header, {}, now)

    def _check_one(
        self, index: int, raw: bytes, above: dict[bytes, Candidate], now: float, sealer: bytes | None = None
    ) -> "Candidate | HeaderInfo":
        try:
            header = Header.decode(raw)
        except HeaderError as error:
            raise HeadersRejected(index, str(error)) from None
        return self._check_decoded(index, header, above, now, sealer)

    def _check_decoded(
        self, index: int, header: Header, above: dict[bytes, Candidate], now: float, sealer: bytes | None = None
    ) -> "Candidate | HeaderInfo":
        node = self.tree.get(header.hash)
        if node is not None:
            if node.bad:
                raise HeadersRejected(index, "the block failed before", condemned=True)
            return node.info
        below = above.get(header.parent)
        parent: Candidate | Node[Entry] | None = self.tree.get(header.parent) if below is None else below
        if isinstance(parent, Node) and parent.bad:
            raise HeadersRejected(index, DESCENDS, condemned=True)
        if parent is None:
            known = self._store.header(header.hash)
            if known is not None:
                return known.info
            info, data, live = self._deep(index, header.parent)
        else:
            info, data, live = parent.info, parent.data, parent.live
        height = info.height + 1
        try:
            entry: Entry = self._engine.check(header, data, height, sealer)
        except HeaderInvalid as error:
            raise HeadersRejected(index, str(error)) from None
        if self._engine.is_early(header, now):
            raise HeadersRejected(index, "it comes from the future", when=self._engine.not_before(header))
        own = HeaderInfo(header.hash, info.hash, height, self._engine.rank(entry, height))
        return Candidate(own, entry, header, None, live, parent)

    def _deep(self, index: int, hash: bytes) -> tuple[HeaderInfo, Entry, bool]:
        """A stored parent that is below the tree: follow from the last entry that was stored whole."""
        rows: list[HeaderRow] = []
        for row in self._store.ancestors(hash):
            if row.bad:
                raise HeadersRejected(index, DESCENDS, condemned=True)
            rows.append(row)
            if row.info.height % TALLY_INTERVAL == 0:
                break
        if not rows:
            raise HeadersRejected(index, "its parent is not known", parent_missing=True)
        row = rows.pop()
        entry = self._unpack(row)
        while rows:
            row = rows.pop()
            entry = self._count(row, entry)
        return row.info, entry, False

    # -- finality

    @property
    def conflict(self) -> FinalityConflict | None:
        """Two justified blocks that contradict each other, if nobody has decided between them."""
        return self._conflicts.standing

    @property
    def new_conflict(self) -> FinalityConflict | None:
        """The same, if it has not been told."""
        return self._conflicts.new

    def _judge(self, candidate: Candidate) -> None:
        if not candidate.live:
            self._conflicts.judge(self.tree, self.mark, candidate)

    def finalize(self, node: Node[Entry]) -> None:
        """Move finality forward to *node*."""
        self.final = node
        if node.info.height > self.tree.finalized.info.height:
            died = self.tree.advance(node)
        else:
            died = [other for other in self.tree.nodes() if not other.live and not other.children]
        self._store.set_meta("finalized", node.info.hash)
        self._store.set_meta("chosen", None)
        for dead in died:
            self._conflicts.judge(self.tree, self.mark, dead)
        self._prune()

    def choose(self, node: Node[Entry], given_up: Node[Entry] | None = None) -> None:
        """Put finality at *node* by hand, which settles the conflict: the other branches are not reported again.

        Without all bodies up to *node* the parent of *given_up* is final, and nothing but *node* and what descends from
        it is followed from there.

        :param given_up: where the branch begins that is ours no more.
        """
        final = node
        if given_up is not None and not node.ready:
            assert given_up.parent is not None
            final = given_up.parent
        if self.mark is not self.final or not self.tree.descends(self.tree.finalized, node):
            self._settle_at(node, final)
        self.final = final
        self._store.set_meta("finalized", final.info.hash)
        self._store.set_meta("chosen", None if final is node else node.info.hash)
        self._conflicts.settle(self.tree, node, given_up)

    def settle(self, head: Node[Entry]) -> None:
        """The head moved: what is too deep below it is not undone any more, unless a branch was allowed and is awaited.

        That counts until it is connected, or another one is better.
        """
        tree = self.tree
        if self._max_depth is None:
            return
        if self._allowed is not None:
            if tree.descends(tree.best, self._allowed) and not tree.descends(head, self._allowed):
                return
            self._allow(None)
        height = head.info.height - self._max_depth
        if height <= tree.anchor.info.height:
            return
        step = tree.at(height) if tree.on_path(head) else head
        while step is not None and step.info.height > height:
            step = step.parent
        assert step is not None  # it lies between the settled block and the head
        self._refuse(tree.advance(step))
        self._store.set_meta("settled", step.info.hash)
        self._prune()

    def _prune(self) -> None:
        floor = _floor((self.final if self._engine.finalizes else self.tree.finalized).info)
        if floor >= self.tree.floor + _PRUNE_STEP:
            self.tree.prune(floor)

    @property
    def mark(self) -> Node[Entry]:
        """What nothing may contradict: the finalized block, or one chosen by hand whose blocks are awaited."""
        return self.final if self.tree.anchor is self.tree.finalized else self.tree.anchor

    def lasting(self, tip: Node[Entry]) -> int:
        """Up to which height on the chain of *tip* a state is worth handing on."""
        if not self._engine.finalizes:
            return max(0, tip.info.height - LASTING_DEPTH)
        final = self.tree.get(tip.data.finalized.hash)
        return 0 if final is None else final.info.height

    @property
    def undo_floor(self) -> int:
        """Blocks up to this height are never undone, not even by hand."""
        return max(self.final.info.height, self.tree.floor)

    def condemn(self, node: Node[Entry]) -> None:
        """Mark a header and all that descend from it as bad."""
        self._store.mark_bad(bad.info.hash for bad in self.tree.condemn(node))

    # -- the operator's hand

    def allow(self, node: Node[Entry]) -> None:
        """Let the refused branch that *node* is on be followed, once."""
        self.tree.revive(node)
        self._store.set_meta("settled", self.tree.finalized.info.hash)
        self._allow(node)

    def _allow(self, node: Node[Entry] | None) -> None:
        self._allowed = node
        self._store.set_meta("allowed", None if node is None else node.info.hash)

    def withdraw(self, node: Node[Entry]) -> None:
        """Let *node*, which may be settled, be undone: whatever descends from its parent may be followed."""
        if self.tree.descends(self.tree.finalized, node):
            assert node.parent is not None
            self._settle_at(node.parent)

    def _settle_at(self, node: Node[Entry], until: Node[Entry] | None = None) -> None:
        self.tree.finalize(node, until)
        self._store.set_meta("settled", self.tree.finalized.info.hash)

    def refused(self, head: Node[Entry]) -> tuple[RefusedBranch, ...]:
        """Branches that win over the *head* and are too deep."""
        return tuple(self._refusals.standing(self.tree, head, self.final.info))

    def _refuse(self, nodes: Iterable[Node[Entry]]) -> None:
        if self._max_depth is not None:
            for node in nodes:
                if not node.live and not node.children:
                    self._refusals.saw(node.info)

    def absolve(self, node: Node[Entry]) -> None:
        """Mark a header, its ancestors and all that descend from it as not bad."""
        self._store.mark_bad((fresh.info.hash for fresh in self.tree.absolve(node)), False)

    def told(self) -> None:
        """Forget what is new: it has been told."""
        self.fresh, self.new_evidence, self._conflicts.new = [], [], None


def _floor(lowest: HeaderInfo) -> int:
    """Where the tree may begin."""
    return max(0, lowest.height - KEPT_BELOW_FINALIZED) // TALLY_INTERVAL * TALLY_INTERVAL
