"""All headers of a stored chain: their checks by the rules, and the tree above the finalized block.

Works on the lane that owns the connection; the caller opens the transactions.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from chainp2p.chain.conflict import load_conflict, store_conflict
from chainp2p.chain.interfaces import FinalityConflict, HeaderInfo, HeadersRejected
from chainp2p.chain.rules import HeaderRefused, Place, ReadHeader, Summary
from chainp2p.chain.store import ChainStore
from chainp2p.chain.tree import HeaderTree, Node
from chainp2p.chain.verdicts import DESCENDS
from chainp2p.errors import Ours, StartupError

__all__ = ["KEPT_BELOW_FINALIZED", "StoredHeaders", "header_info", "stored"]

#: Headers are kept in memory down to so far below the finalized block: late side blocks find their parents there.
KEPT_BELOW_FINALIZED = 128


class StoredHeaders:
    """See the module.

    :param rules: provides ``IRules``.
    """

    def __init__(self, rules: Any, store: ChainStore) -> None:
        self._rules = rules
        self._store = store
        #: Headers that are new since the last :meth:`told`.
        self.added: list[HeaderInfo] = []
        self.conflict: FinalityConflict | None = None
        self.new_conflict: FinalityConflict | None = None

    tree: HeaderTree[Place]

    # -- start

    def create(self, header: ReadHeader, summary: Summary, raw: bytes) -> None:
        """Store the genesis header in a new database."""
        self._store.add_headers([(header_info(header, summary), _pack(summary), raw)])
        self._store.set_meta("finalized", header.hash)

    def load(self) -> None:
        """Build the tree from the database."""
        store = self._store
        final = store.info(stored(store.meta("finalized")))
        assert final is not None
        lowest = store.hash_at(max(0, final.height - KEPT_BELOW_FINALIZED))
        root = store.header(stored(lowest))
        assert root is not None
        self.tree = HeaderTree(root.info, self._place(root.raw, root.rest))
        for row in store.headers_from(root.info.height):
            if self.tree.get(row.info.hash) is None and self.tree.get(row.info.parent) is not None:
                self.tree.add(row.info, self._place(row.raw, row.rest), row.body, row.bad)
        self.tree.finalize(self.node(final.hash))
        self.conflict = load_conflict(store)
        self.told()

    def told(self) -> None:
        """Forget what is new: it has been told."""
        self.added, self.new_conflict = [], None

    def node(self, hash: bytes) -> Node[Place]:
        """The node of a hash that the database names; StartupError."""
        node = self.tree.get(hash)
        if node is None:
            raise StartupError("the chain database names a block that it does not hold")
        return node

    def _place(self, raw: bytes, rest: bytes) -> Place:
        return Place(self._rules.read_header(raw), _unpack(rest))

    # -- checks

    def check(self, raws: Sequence[bytes], now: float) -> list[HeaderInfo]:
        """Check consecutive headers and store none (but a conflict that they prove); raises HeadersRejected."""
        above: dict[bytes, Place] = {}
        live: dict[bytes, bool] = {}
        found = []
        for index, raw in enumerate(raws):
            info, place = self._check(index, raw, above, now)
            found.append(info)
            if place is not None:
                above[info.hash] = place
                live[info.hash] = live[info.parent] if info.parent in live else self._lives(info.parent)
                self._look_for_conflict(place, live[info.hash], above)
        return found

    def check_run(
        self, raws: Sequence[bytes], now: float, after: tuple[Place, ...]
    ) -> tuple[list[HeaderInfo], tuple[Place, ...]]:
        """See ``IHeaderRuns.check_run``; *after*: the last headers, as many as the rules look back."""
        back = {place.header.hash: place for place in after}
        found = []
        for index, raw in enumerate(raws):
            info, place = self._check(index, raw, back, now)
            found.append(info)
            if place is None:
                back.clear()
                continue
            back[info.hash] = place
            if len(back) > self._rules.lookback:
                del back[next(iter(back))]
        return found, tuple(back.values())

    def add(self, raw: bytes, now: float, index: int = 0) -> HeaderInfo:
        """Check and store one header; raises HeadersRejected."""
        info, place = self._check(index, raw, {}, now)
        if place is not None:
            self._store.add_headers([(info, _pack(place.summary), raw)])
            if self.tree.get(info.parent) is not None:
                self.tree.add(info, place)
            self.added.append(info)
            self._look_for_conflict(place, self._lives(info.parent), {})
        return info

    def _check(self, index: int, raw: bytes, above: dict[bytes, Place], now: float) -> tuple[HeaderInfo, Place | None]:
        """Check one header: what it is, and its place if it is new."""
        try:
            header = self._rules.read_header(raw)
        except ValueError as error:
            raise HeadersRejected(index, str(error)) from None
        node, parent = self.tree.get(header.hash), self.tree.get(header.parent)
        if (node is not None and node.bad) or (parent is not None and parent.bad):
            raise HeadersRejected(index, DESCENDS, condemned=True)
        known = self._store.info(header.hash) if node is None else node.info
        if known is not None:
            return known, None
        place = above.get(header.parent) or (parent.data if parent is not None else self._deep(header.parent))
        if place is None:
            raise HeadersRejected(index, "its parent is not known", parent_missing=True)
        if header.height != place.header.height + 1:
            raise HeadersRejected(index, f"height {header.height} on a parent at {place.header.height}")
        try:
            summary = self._rules.check_header(header, place, self._back(place, above), now)
        except HeaderRefused as refused:
            raise HeadersRejected(index, refused.reason, when=refused.when) from None
        if len(summary.rank) != 32:
            raise Ours(f"the rules answer a rank of {len(summary.rank)} bytes, not 32")
        return header_info(header, summary), Place(header, summary)

    def _deep(self, hash: bytes) -> Place | None:
        row = self._store.header(hash)
        if row is not None and row.bad:
            raise HeadersRejected(0, DESCENDS, condemned=True)
        return None if row is None else self._place(row.raw, row.rest)

    def _back(self, place: Place | None, above: dict[bytes, Place]) -> Iterator[Place]:
        while place is not None:
            yield place
            parent = place.header.parent
            node = self.tree.get(parent)
            height = place.header.height
            place = above.get(parent) or (node.data if node is not None else self._deep(parent))
            if place is None and height and above:
                raise Ours(f"the rules look back further than their lookback of {self._rules.lookback} headers")

    def _lives(self, hash: bytes) -> bool:
        """Whether a block is, or descends from, the finalized one."""
        node = self.tree.get(hash)
        return node is not None and node.live

    def _look_for_conflict(self, place: Place, live: bool, above: dict[bytes, Place]) -> None:
        """A branch beside the finalized block that has a final one as high proves that producers are faulty."""
        final = place.summary.finalized
        if live or final is None or self.conflict is not None:
            return
        beside = above.get(final)
        theirs = header_info(beside.header, beside.summary) if beside is not None else self._store.info(final)
        ours = self.tree.finalized.info
        if theirs is not None and theirs.height >= ours.height and theirs.hash != ours.hash:
            self.conflict = self.new_conflict = FinalityConflict(ours, theirs, ())
            store_conflict(self._store, self.conflict)


def header_info(header: ReadHeader, summary: Summary) -> HeaderInfo:
    """What the network knows of a header."""
    return HeaderInfo(header.hash, header.parent, header.height, summary.rank)


def stored(hash: bytes | None) -> bytes:
    """A hash that every database has; StartupError."""
    if hash is None:
        raise StartupError("the chain database is not whole")
    return hash


def _pack(summary: Summary) -> bytes:
    final = summary.finalized or b""
    return summary.rank + bytes((len(final),)) + final + summary.rest


def _unpack(raw: bytes) -> Summary:
    end = 33 + raw[32]
    return Summary(raw[:32], raw[33:end] or None, raw[end:])
