"""Conflicts of finality: two justified blocks that contradict each other prove that signers are faulty.

A conflict stays, through restarts, until an operator decides; the branch that was not chosen is never reported again.
Works on the lane that owns the database; the caller opens the transactions.
"""

from collections.abc import Iterator
from typing import Protocol

from chainp2p.chain.conflict import load_conflict, store_conflict
from chainp2p.chain.interfaces import FinalityConflict, HeaderInfo
from chainp2p.chain.store import ChainStore
from chainp2p.chain.tree import HeaderTree, Node
from chainp2p.ledger.consensus.engine import Entry

__all__ = ["Conflicts"]


class Tip(Protocol):
    """A header with its ancestors, in the tree or not."""

    @property
    def info(self) -> HeaderInfo: ...

    @property
    def data(self) -> Entry: ...

    @property
    def parent(self) -> "Tip | None": ...


class Conflicts:
    """See the module.

    :ivar standing: the conflict that nobody has settled yet.
    :ivar new: the same, until it has been told.
    """

    def __init__(self, store: ChainStore) -> None:
        self._store = store
        self.standing: FinalityConflict | None = None
        self.new: FinalityConflict | None = None
        self._dismissed: set[bytes] = set()

    def load(self) -> None:
        """Read what was stored."""
        self.standing = load_conflict(self._store)
        dismissed = self._store.meta("dismissed") or b""
        self._dismissed = {dismissed[at : at + 32] for at in range(0, len(dismissed), 32)}

    def judge(self, tree: HeaderTree[Entry], final: Node[Entry], tip: Tip) -> None:
        """Look at a *tip* that is not followed: is something justified there as high as the *final* block?

        Unless that lies on our own chain it contradicts the final block: signers are faulty. They are those who voted
        for it up to *tip*, the first header that justifies so much there, and whose votes made our block final: below
        *tip* nothing is justified that high, so no honest signer whose branch had our block justified was led there by
        the fork choice. (A mere vote for our block proves nothing: from there it may well have been.)
        """
        mark = tip.data.justified
        if self.standing is not None or mark.slot < final.data.slot or not final.info.height:
            return
        own = tree.get(mark.hash)
        if own is not None and tree.descends(tree.finalized, own):
            return  # a branch that is merely too deep
        theirs = self._store.info(mark.hash)
        voters: set[bytes] = set()
        for step in _walk(tip):
            if step.info.hash in self._dismissed or step.info.hash == final.info.hash:
                return
            if step.info.hash == mark.hash:
                theirs = step.info
            if step.data.base < mark.slot <= step.data.slot:
                voters.add(step.data.signer)
        ours = {
            node.data.signer
            for node in tree.nodes()
            if node.live and node.data.base < final.data.slot <= node.data.justified.slot
        }
        assert theirs is not None
        self.standing = self.new = FinalityConflict(final.info, theirs, tuple(sorted(voters & ours)))
        store_conflict(self._store, self.standing)

    def settle(self, tree: HeaderTree[Entry], node: Node[Entry], given_up: Node[Entry] | None) -> None:
        """An operator decided for *node*: the other branches, *given_up* among them, are not reported again."""
        if self.standing is not None and tree.get(self.standing.theirs.hash) is None:
            self._dismissed.add(self.standing.theirs.hash)
        if given_up is not None:
            self._dismissed.add(given_up.info.hash)
        for other in tree.nodes():
            root = other.parent is None or tree.on_path(other.parent)
            if root and not other.live and not tree.on_path(other):
                self._dismissed.add(other.info.hash)
        self._dismissed.difference_update(step.info.hash for step in _walk(node))
        self._store.set_meta("dismissed", b"".join(sorted(self._dismissed)))
        self.standing = None
        store_conflict(self._store, None)


def _walk(tip: Tip | None) -> Iterator[Tip]:
    """A header and its ancestors, as far as they are in memory."""
    while tip is not None:
        yield tip
        tip = tip.parent
