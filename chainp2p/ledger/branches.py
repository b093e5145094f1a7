"""All headers this node knows: their checks, the tree above the finalized block, and conflicts of finality.

Works on the lane that owns the database; the caller opens the transactions. In memory is the tree from 1,024 blocks
below the finalized block on; what is older is read when a header asks for it. Every 64th height stores its count of
votes, so that a start, or a fork from far below, recounts from there instead of from genesis.
"""

from collections.abc import Iterable, Iterator, Sequence

from attrs import evolve, frozen

from chainp2p.chain.conflict import load_conflict, store_conflict
from chainp2p.chain.interfaces import FinalityConflict, HeaderInfo, HeadersRejected
from chainp2p.chain.store import ChainStore, HeaderRow
from chainp2p.chain.tree import HeaderTree, Node
from chainp2p.chain.verdicts import DESCENDS
from chainp2p.ledger.equivocation import EVIDENCE_MAX, Evidence, SealWatch
from chainp2p.ledger.finality import decode_tally, encode_tally, span_count
from chainp2p.ledger.genesis import Genesis
from chainp2p.ledger.header import Header, HeaderError
from chainp2p.ledger.poa import Entry, HeaderInvalid, Slots, rank_of
from chainp2p.primitives import rlp

__all__ = ["Branches", "Candidate"]

#: The tree goes this many blocks below the finalized one: late side blocks find their parents there.
KEPT_BELOW_FINALIZED = 1024
#: A count of votes is stored at each multiple of this height.
TALLY_INTERVAL = 64
#: Headers that are not kept yet are not followed when their votes are in more pieces than this. A signer leaves a gap
#: when it comes back from another branch; one whose key leaked can leave one in each block, and each costs memory.
SPANS_MAX = 4_096
#: The memory is freed in steps of this many blocks.
_PRUNE_STEP = 64


@frozen(eq=False)
class Candidate:
    """A header that passed its checks.

    :param node: set once it is in the tree; a header far below the finalized block never is.
    :param live: it descends from the finalized block.
    """

    info: HeaderInfo
    entry: Entry
    header: Header
    node: Node[Entry] | None
    live: bool
    parent: "Candidate | Node[Entry] | None"


class Branches:
    """See the module."""

    def __init__(self, genesis: Genesis, slots: Slots, store: ChainStore) -> None:
        self._genesis = genesis
        self._slots = slots
        self._store = store
        self.conflict: FinalityConflict | None = None
        self.new_conflict: FinalityConflict | None = None
        self.new_evidence: list[Evidence] = []
        self.fresh: list[Candidate] = []
        self._evidence: set[Evidence] = set()
        self._dismissed: set[bytes] = set()

    tree: HeaderTree[Entry]

    # -- start

    def create(self) -> None:
        """Store the genesis header in a new database."""
        header = self._genesis.header
        entry = self._slots.first()
        info = HeaderInfo(header.hash, header.parent, 0, rank_of(entry, 0))
        self._store.add_header(info, _pack(entry, 0), header.raw)
        self._store.set_meta("finalized", header.hash)

    def load(self, evidence: Iterable[Evidence]) -> None:
        """Build the tree from the database; *evidence* is what was kept of signers that contradict themselves."""
        self._evidence = set(evidence)
        store = self._store
        hash = store.meta("finalized")
        assert hash is not None
        final = store.info(hash)
        assert final is not None
        floor = max(0, final.height - KEPT_BELOW_FINALIZED) // TALLY_INTERVAL * TALLY_INTERVAL
        lowest = store.hash_at(floor)
        row = store.header(lowest) if lowest is not None else None
        assert row is not None
        self.tree = HeaderTree(row.info, self._counted(row))
        self._watch = SealWatch(self.tree)
        for row in store.headers_from(floor):
            if self.tree.get(row.info.hash) is None:
                parent = self.tree.get(row.info.parent)
                entry = self._counted(row) if parent is None else self._recount(row, parent.data)
                self._watch.saw(self.tree.add(row.info, entry, row.body, row.bad))
        base = self.tree.get(store.meta("base") or b"")
        if base is not None:
            self.tree.ground(base)
        node = self.tree.get(hash)
        assert node is not None
        chosen = self.tree.get(store.meta("chosen") or b"")
        self.tree.finalize(chosen or node, node)
        self.conflict = load_conflict(store)
        dismissed = store.meta("dismissed") or b""
        self._dismissed = {dismissed[at : at + 32] for at in range(0, len(dismissed), 32)}

    def _counted(self, row: HeaderRow) -> Entry:
        """The entry of a header that has its count stored."""
        header = Header.decode(row.raw)
        signer, tally = rlp.decode_list(row.rest)
        assert isinstance(signer, bytes) and isinstance(tally, bytes)
        base = int.from_bytes(header.mix_hash, "big") if header.number else 0
        fees = header.gas_limit, header.gas_used, header.base_fee
        return Entry(header.nonce, base, signer, header.timestamp, *fees, decode_tally(tally))

    def _recount(self, row: HeaderRow, parent: Entry) -> Entry:
        signer = rlp.decode_list(row.rest)[0]
        assert isinstance(signer, bytes)
        return self._slots.entry(Header.decode(row.raw), parent, row.info.height, signer)

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
            self._look_for_conflict(candidate)
        return found

    def check_run(
        self, raws: Sequence[bytes], now: float, after: Candidate | None
    ) -> tuple[list[HeaderInfo], Candidate | None]:
        """See ``IHeaderRuns.check_run``; *after* has no parent, so that it holds nothing alive."""
        found = []
        for index, raw in enumerate(raws):
            candidate = self._check_one(index, raw, {} if after is None else {after.info.hash: after}, now)
            found.append(candidate if isinstance(candidate, HeaderInfo) else candidate.info)
            after = None if isinstance(candidate, HeaderInfo) else evolve(candidate, parent=None)
        if after is not None and span_count(after.entry.tally) > SPANS_MAX:
            raise HeadersRejected(len(raws) - 1, "its votes leave too many gaps", condemned=True)
        return found, after

    def add(self, raws: Sequence[bytes], now: float) -> list[HeaderInfo]:
        """Check and store consecutive headers; raises HeadersRejected, with those before the bad one stored."""
        found = []
        for index, raw in enumerate(raws):
            found.append(self.add_one(raw, now, index))
        return found

    def add_one(self, raw: bytes, now: float, index: int = 0) -> HeaderInfo:
        """Check and store one header; raises HeadersRejected."""
        candidate = self._check_one(index, raw, {}, now)
        if isinstance(candidate, HeaderInfo):
            return candidate
        return self.store(candidate).info

    def store(self, candidate: Candidate) -> Candidate:
        """Store a header that passed its checks."""
        info, entry = candidate.info, candidate.entry
        self._store.add_header(info, _pack(entry, info.height), candidate.header.raw)
        node = None
        if info.height >= self.tree.floor:
            node = self.tree.add(info, entry)
            for evidence in self._watch.saw(node):
                if evidence not in self._evidence and len(self._evidence) < EVIDENCE_MAX:
                    self._evidence.add(evidence)
                    self.new_evidence.append(evidence)
        stored = Candidate(info, entry, candidate.header, node, candidate.live, candidate.parent)
        self.fresh.append(stored)
        self._look_for_conflict(stored)
        return stored

    def candidate(self, header: Header, now: float) -> "Candidate | HeaderInfo":
        """Check one decoded header; HeaderInfo if it is known; raises HeadersRejected."""
        return self._check_decoded(0, header, {}, now)

    def _check_one(self, index: int, raw: bytes, above: dict[bytes, Candidate], now: float) -> "Candidate | HeaderInfo":
        try:
            header = Header.decode(raw)
        except HeaderError as error:
            raise HeadersRejected(index, str(error)) from None
        return self._check_decoded(index, header, above, now)

    def _check_decoded(
        self, index: int, header: Header, above: dict[bytes, Candidate], now: float
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
        elif isinstance(parent, Candidate):
            info, data, live = parent.info, parent.entry, parent.live
        else:
            info, data, live = parent.info, parent.data, parent.live
        height = info.height + 1
        try:
            entry = self._slots.check(header, data, height)
        except HeaderInvalid as error:
            raise HeadersRejected(index, str(error)) from None
        if self._slots.is_early(header, now):
            raise HeadersRejected(index, "it comes from the future", when=self._slots.not_before(header))
        own = HeaderInfo(header.hash, info.hash, height, rank_of(entry, height))
        return Candidate(own, entry, header, None, live, parent)

    def _deep(self, index: int, hash: bytes) -> tuple[HeaderInfo, Entry, bool]:
        """A stored parent that is below the tree: recount from the last stored count on."""
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
        entry = self._counted(row)
        while rows:
            row = rows.pop()
            entry = self._recount(row, entry)
        return row.info, entry, False

    # -- finality

    def finalize(self, node: Node[Entry]) -> None:
        """Move finality forward to *node*."""
        died = self.tree.advance(node)
        self._store.set_meta("finalized", node.info.hash)
        self._store.set_meta("chosen", None)
        for dead in died:
            self._judge(dead)
        floor = max(0, node.info.height - KEPT_BELOW_FINALIZED) // TALLY_INTERVAL * TALLY_INTERVAL
        if floor >= self.tree.floor + _PRUNE_STEP:
            self.tree.prune(floor)

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
        self.tree.finalize(node, final)
        self._store.set_meta("finalized", final.info.hash)
        self._store.set_meta("chosen", None if final is node else node.info.hash)
        if self.conflict is not None and self.tree.get(self.conflict.theirs.hash) is None:
            self._dismissed.add(self.conflict.theirs.hash)
        if given_up is not None:
            self._dismissed.add(given_up.info.hash)
        for other in self.tree.nodes():
            root = other.parent is None or self.tree.on_path(other.parent)
            if root and not other.live and not self.tree.on_path(other):
                self._dismissed.add(other.info.hash)
        self._dismissed.difference_update(info.hash for info, _ in _walk(node))
        self._store.set_meta("dismissed", b"".join(sorted(self._dismissed)))
        self.conflict = None
        store_conflict(self._store, None)

    def condemn(self, node: Node[Entry]) -> None:
        """Mark a header and all that descend from it as bad."""
        self._store.mark_bad(bad.info.hash for bad in self.tree.condemn(node))

    def told(self) -> None:
        """Forget what is new: it has been told."""
        self.fresh, self.new_evidence, self.new_conflict = [], [], None

    def _look_for_conflict(self, candidate: Candidate) -> None:
        if not candidate.live:
            self._judge(candidate)

    def _judge(self, tip: "Candidate | Node[Entry]") -> None:
        """Look at a *tip* that does not descend from the finalized block: is something justified there as high as it?

        That cannot be an ancestor of the finalized block, so it contradicts it: signers are faulty. They are those who
        voted for it up to *tip*, the first header that justifies so much there, and whose votes made our block final:
        below *tip* nothing is justified that high, so no honest signer whose branch had our block justified was led
        there by the fork choice. (A mere vote for our block proves nothing: from there it may well have been.)
        """
        mark = _entry(tip).tally.justified
        final = self.tree.anchor
        if self.conflict is not None or mark.slot < final.data.slot:
            return
        theirs = self._store.info(mark.hash)
        voters: set[bytes] = set()
        for info, entry in _walk(tip):
            if info.hash in self._dismissed:
                return
            if info.hash == mark.hash:
                theirs = info
            if entry.base < mark.slot <= entry.slot:
                voters.add(entry.signer)
        ours = {
            node.data.signer
            for node in self.tree.nodes()
            if node.live and node.data.base < final.data.slot <= node.data.tally.justified.slot
        }
        assert theirs is not None
        self.conflict = self.new_conflict = FinalityConflict(final.info, theirs, tuple(sorted(voters & ours)))
        store_conflict(self._store, self.conflict)


def _pack(entry: Entry, height: int) -> bytes:
    tally = encode_tally(entry.tally) if height % TALLY_INTERVAL == 0 else b""
    return rlp.encode([entry.signer, tally])


def _entry(place: "Candidate | Node[Entry]") -> Entry:
    return place.entry if isinstance(place, Candidate) else place.data


def _walk(place: "Candidate | Node[Entry] | None") -> Iterator[tuple[HeaderInfo, Entry]]:
    """A header and its ancestors, as far as they are in memory."""
    while place is not None:
        yield place.info, _entry(place)
        place = place.parent
