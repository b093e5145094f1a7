"""Seals by which a signer contradicts itself: kept and shown, never a reason to refuse a block.

(Nodes would otherwise split by the order in which the two arrive.) A signer contradicts itself by two headers of one
slot, or by base(b2) < slot(b1) < slot(b2) where b1 is no ancestor of b2: it claims not to have sealed b1.

Per signer only the tips are watched, own headers that no later own header descends from: what is below a tip that is
an ancestor is one too. Honest signers have one tip; a second costs a walk down to the slot of the declared base.
"""

from attrs import frozen

from chainp2p.chain.tree import HeaderTree, Node
from chainp2p.ledger.consensus.engine import Entry

__all__ = ["EVIDENCE_MAX", "Evidence", "SealWatch"]

#: So many pieces of evidence are kept: one is enough to act on, and a thief of a key could make any number.
EVIDENCE_MAX = 256

#: Tips watched per signer, the newest: a thief of a key could make any number of branches.
TIPS_MAX = 16


@frozen
class Evidence:
    """Two headers by *signer* that an honest signer would not both seal; *first* has the lower slot, or the same."""

    signer: bytes
    first: bytes
    first_slot: int
    second: bytes
    second_slot: int


class SealWatch:
    """Looks at headers as they join the tree."""

    def __init__(self, tree: HeaderTree[Entry]) -> None:
        self._tree = tree
        self._tips: dict[bytes, list[Node[Entry]]] = {}

    def saw(self, node: Node[Entry]) -> list[Evidence]:
        """Compare a header that just joined the tree with the others of its signer."""
        signer = node.data.signer
        if not signer:
            return []
        tips = self._tips.get(signer)
        if tips is None:
            self._tips[signer] = [node]
            return []
        found: list[Evidence] = []
        kept = []
        for tip in tips:
            declared = tip.data.slot <= node.data.base  # it says itself that this one may be no ancestor
            if not declared and self._tree.descends(node, tip):
                continue
            if tip.info.height >= self._tree.floor:
                kept.append(tip)
            if not declared:
                found += self._compare(node, tip)
        kept.append(node)
        self._tips[signer] = kept[-TIPS_MAX:]
        return found

    def _compare(self, node: Node[Entry], tip: Node[Entry]) -> list[Evidence]:
        new = node.data
        found = []
        fork = self._tree.fork(tip, node)
        step: Node[Entry] | None = tip
        while step is not None and step is not fork and step.data.slot > new.base:
            old = step.data
            if old.signer == new.signer:
                if old.slot <= new.slot:
                    found.append(Evidence(new.signer, step.info.hash, old.slot, node.info.hash, new.slot))
                elif old.base < new.slot:
                    found.append(Evidence(new.signer, node.info.hash, new.slot, step.info.hash, old.slot))
            step = step.parent
        return found[:EVIDENCE_MAX]
