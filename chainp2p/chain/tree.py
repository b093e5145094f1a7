"""The headers that may still matter: everything above a floor below the finalized block, as one tree in memory.

Pure: it knows hashes, heights and ranks, never what a header means; *data* is the chain's own. Rules:

- higher rank wins, then the smaller hash;
- only *live* nodes (the finalized block and what descends from it) may become the best; where a block was made final by
  hand before all bodies up to it were there, it is the ``anchor`` that the live ones descend from. A chain may count
  more than what is final as such: whatever is too deep to be left;
- headers alone choose what to download (``best``); only nodes with every body down to the root may be connected
  (``best_ready``);
- a node that is condemned takes its descendants with it.

The path to ``best`` is kept by height, so that stepping along it costs O(1) however far it runs ahead of the
connected chain. Adding costs O(1); a change of branch costs its length; condemning the best costs a scan.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

from attrs import Factory, define

from chainp2p.chain.interfaces import HeaderInfo

__all__ = ["HeaderTree", "Node", "better"]

D = TypeVar("D")


@define(eq=False)
class Node(Generic[D]):
    """A header in the tree.

    :param body: its block is stored.
    :param ready: so are those of all its ancestors.
    :param bad: it, or an ancestor, failed.
    :param live: it is the finalized block or descends from it.
    """

    info: HeaderInfo
    data: D
    parent: "Node[D] | None"
    body: bool = False
    ready: bool = False
    bad: bool = False
    live: bool = False
    children: "list[Node[D]]" = Factory(list)


def better(one: HeaderInfo, other: HeaderInfo) -> bool:
    """Whether *one* wins over *other*: higher rank, then smaller hash."""
    if one.rank != other.rank:
        return one.rank > other.rank
    return one.hash < other.hash


class HeaderTree(Generic[D]):
    """See the module. It starts with one root, whose body is stored and which counts as finalized; later roots (of
    branches that part below it) never live.
    """

    def __init__(self, info: HeaderInfo, data: D) -> None:
        root = Node(info, data, None, body=True, ready=True, live=True)
        self._nodes = {info.hash: root}
        self._levels = {info.height: [root]}
        self._path = {info.height: root}
        self.floor = info.height
        self.finalized = self.anchor = self.best = self.best_ready = root

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, hash: bytes) -> Node[D] | None:
        """The node of *hash*, if it is in memory."""
        return self._nodes.get(hash)

    def nodes(self) -> Iterator[Node[D]]:
        """All nodes, lower ones first."""
        for height in sorted(self._levels):
            yield from self._levels[height]

    def add(self, info: HeaderInfo, data: D, body: bool = False, bad: bool = False) -> Node[D]:
        """Add a header above its parent, or as a root if that is not in the tree."""
        parent = self._nodes.get(info.parent)
        node: Node[D] = Node(info, data, parent, bad=bad)
        self._nodes[info.hash] = node
        self._levels.setdefault(info.height, []).append(node)
        if parent is not None:
            parent.children.append(node)
            node.live = parent.live
            node.bad = bad or parent.bad
            if node.live and not node.bad and better(info, self.best.info):
                self._lead(node)
        if body:
            self.add_body(node)
        return node

    def add_body(self, node: Node[D]) -> None:
        """Note that the block of *node* is stored."""
        node.body = True
        if node.parent is not None and node.parent.ready:
            self.ground(node)

    def ground(self, node: Node[D]) -> None:
        """Let a *node* be ready whatever is below it: all that its children need is here."""
        node.body = True
        waiting = [node]
        while waiting:
            ready = waiting.pop()
            ready.ready = True
            if ready.live and not ready.bad and better(ready.info, self.best_ready.info):
                self.best_ready = ready
            waiting.extend(child for child in ready.children if child.body)

    def finalize(self, node: Node[D], until: Node[D] | None = None) -> list[Node[D]]:
        """Let only *node* and its descendants live, wherever it is; return the nodes that died by it.

        :param until: the ancestor that counts as finalized before the bodies up to *node* are there.
        """
        lived = self._subtree(self.finalized)
        for other in lived:
            other.live = False
        for other in self._subtree(node):
            other.live = True
        died = [other for other in lived if not other.live]
        self.finalized = node if until is None else until
        self.anchor = node
        self._choose()
        return died

    def advance(self, node: Node[D]) -> list[Node[D]]:
        """Like :meth:`finalize` for a *node* that lives, at or above the anchor: costs only what dies."""
        died: list[Node[D]] = []
        step = node
        while step is not self.finalized:
            parent = step.parent
            assert parent is not None  # a living node descends from the finalized one
            for sibling in parent.children:
                if sibling is not step and sibling.live:
                    died.extend(self._subtree(sibling))
            parent.live = False
            step = parent
        for other in died:
            other.live = False
        self.finalized = self.anchor = node
        if not (self.best.live and self.best_ready.live):
            self._choose()
        return died

    def condemn(self, node: Node[D]) -> list[Node[D]]:
        """Mark *node* and its descendants as bad; return those that were not before."""
        fresh = [below for below in self._subtree(node) if not below.bad]
        for below in fresh:
            below.bad = True
        if self.best.bad or self.best_ready.bad:
            self._choose()
        return fresh

    def absolve(self, node: Node[D]) -> list[Node[D]]:
        """Let *node*, its ancestors and its descendants be bad no longer; return those that were."""
        fresh: list[Node[D]] = []
        step = node.parent
        while step is not None and step.bad:
            fresh.append(step)
            step = step.parent
        fresh += [below for below in self._subtree(node) if below.bad]
        for other in fresh:
            other.bad = False
        self._choose()
        return fresh

    def revive(self, node: Node[D]) -> None:
        """Let the dead branch that *node* is on live again; where it parts from ours is the finalized block then.

        Other branches that part there or above stay dead.
        """
        fork = self.fork(self.finalized, node)
        assert fork is not None
        step = node
        while step.parent is not fork:
            assert step.parent is not None  # it descends from the fork
            step = step.parent
        for below in self._subtree(step):
            below.live = True
        fork.live = True
        self.finalized = self.anchor = fork
        self._choose()

    def prune(self, floor: int) -> None:
        """Forget all nodes below height *floor*."""
        for height in range(self.floor, floor):
            self._path.pop(height, None)
            for node in self._levels.pop(height, ()):
                del self._nodes[node.info.hash]
                for child in node.children:
                    child.parent = None
                node.children.clear()
                node.parent = None
        self.floor = max(self.floor, floor)

    def at(self, height: int) -> Node[D] | None:
        """The node at *height* on the branch of ``best``, if it is in memory."""
        return self._path.get(height)

    def wanted(self, node: Node[D]) -> bool:
        """Whether the body of *node* is of use: it lives, or lies below the anchor and above the finalized block."""
        return node.live or (
            self.finalized.info.height < node.info.height < self.anchor.info.height and self.descends(self.anchor, node)
        )

    def on_path(self, node: Node[D]) -> bool:
        """Whether *node* is ``best`` or an ancestor of it."""
        return self._path.get(node.info.height) is node

    def descends(self, node: Node[D], ancestor: Node[D]) -> bool:
        """Whether *node* is *ancestor* or descends from it."""
        height, path = ancestor.info.height, self._path
        step: Node[D] | None = node
        while step is not None and step.info.height > height:
            if path.get(step.info.height) is step:
                return path.get(height) is ancestor
            step = step.parent
        return step is ancestor

    def fork(self, one: Node[D], other: Node[D]) -> Node[D] | None:
        """The highest common ancestor, if it is in memory."""
        first: Node[D] | None = one
        second: Node[D] | None = other
        while first is not second:
            if first is None or second is None:
                return None
            if first.info.height >= second.info.height:
                first = first.parent
            else:
                second = second.parent
        return first

    def route(self, start: Node[D], end: Node[D]) -> tuple[list[Node[D]], list[Node[D]]]:
        """What to undo (newest first) and to connect (oldest first) to get from *start* to *end*.

        :raises LookupError: their common ancestor is not in memory.
        """
        left, entered = [], []
        one: Node[D] | None = start
        other: Node[D] | None = end
        while one is not other:
            if one is None or other is None:
                raise LookupError("the branches part below the tree")
            if one.info.height >= other.info.height:
                left.append(one)
                one = one.parent
            else:
                entered.append(other)
                other = other.parent
        entered.reverse()
        return left, entered

    def missing(self, start: Node[D], limit: int) -> list[Node[D]]:
        """Nodes without a body on the way from *start* to ``best``, oldest first, at most *limit*."""
        step: Node[D] | None = start
        while step is not None and not self.on_path(step):
            step = step.parent
        height = self.floor if step is None else step.info.height + 1
        found: list[Node[D]] = []
        while len(found) < limit and height <= self.best.info.height:
            node = self._path.get(height)
            if node is not None and not node.body:
                found.append(node)
            height += 1
        return found

    def _lead(self, node: Node[D]) -> None:
        """Make *node* the best and correct the path to it."""
        for height in range(node.info.height + 1, self.best.info.height + 1):
            self._path.pop(height, None)
        self.best = node
        step: Node[D] | None = node
        while step is not None and self._path.get(step.info.height) is not step:
            self._path[step.info.height] = step
            step = step.parent

    def _choose(self) -> None:
        """Find the best nodes by looking at all."""
        best = ready = self.finalized
        for node in self._subtree(self.finalized):
            if node.bad or not node.live:
                continue
            if better(node.info, best.info):
                best = node
            if node.ready and better(node.info, ready.info):
                ready = node
        self._lead(best)
        self.best_ready = ready

    def _subtree(self, node: Node[D]) -> list[Node[D]]:
        found = [node]
        for below in found:
            found.extend(below.children)
        return found
