"""Branches that would win but for their depth, and what an operator is told of them (design: "Fork choice").

Pure. A dead tip is refused as long as it wins over the head. Where it parts from the head's chain is looked for in the
tree; further down nothing is known, nor could it be undone. At most :data:`REFUSED_MAX` tips are remembered, those of
the highest rank: an operator needs one, and whoever can make one can make many.
"""

from collections.abc import Iterator

from attrs import Factory, define

from chainp2p.chain.interfaces import HeaderInfo, RefusedBranch
from chainp2p.chain.tree import HeaderTree, Node, better
from chainp2p.ledger.consensus.engine import Entry

__all__ = ["REFUSED_MAX", "Refusals"]

#: Refused branches that are remembered.
REFUSED_MAX = 16


@define(eq=False)
class Refusals:
    """See the module."""

    _tips: dict[bytes, HeaderInfo] = Factory(dict)

    def saw(self, info: HeaderInfo) -> None:
        """A header of a branch that is not followed."""
        self._tips.pop(info.parent, None)
        self._tips[info.hash] = info
        if len(self._tips) > REFUSED_MAX:
            del self._tips[min(self._tips.values(), key=lambda tip: tip.rank).hash]

    def standing(self, tree: HeaderTree[Entry], head: Node[Entry], final: HeaderInfo) -> Iterator[RefusedBranch]:
        """What is refused now; what an operator could not allow either, since it parts below *final*, is left out."""
        for hash, tip in list(self._tips.items()):
            node = tree.get(hash)
            if not better(tip, head.info) or (node is not None and (node.live or node.bad)):
                del self._tips[hash]
                continue
            fork = None if node is None else tree.fork(head, node)
            if fork is None:
                if not final.height:
                    yield RefusedBranch(tip, head.info, None, None)
            elif fork.info.height >= final.height:
                yield RefusedBranch(tip, head.info, fork.info, head.info.height - fork.info.height)
