"""Parts of a trie of accounts: all that lies below some first nibbles, whose hash tells whether two are the same.

A :class:`Subtree` is built of its rows alone, whatever trie they are from. Its *reference* is what a branch node one
nibble above holds of it, so a proof of that node proves all of its rows. Joined, subtrees are a trie again, and none of
their nodes is hashed a second time.
"""

from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from chainp2p.ledger.state.trie import Branch, HashedTrie, Leaf, TrieNode, build_node, joined, update_node

__all__ = ["Subtree", "join", "subtree_of"]


@frozen(eq=False)
class Subtree:
    """All (key, value) rows whose keys begin with the hexadecimal digits *prefix*; *node* hangs at that depth."""

    prefix: str
    node: TrieNode | None

    @classmethod
    def build(cls, prefix: str, pairs: Sequence[tuple[str, bytes]]) -> "Subtree":
        """Make it of sorted (key in hexadecimal, value) pairs."""
        return cls(prefix, build_node(list(pairs), len(prefix)))

    @property
    def reference(self) -> bytes:
        """The hash by which a branch node one nibble above names it; empty if there is nothing."""
        return b"" if self.node is None else self.node.hashed(len(self.prefix))[1:]

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) in key order."""
        return HashedTrie(self.node).rows()

    def at(self, prefix: str) -> "Subtree":
        """The part below a longer *prefix*."""
        return Subtree(prefix, _down(self.node, len(self.prefix), prefix))

    def updated(self, changes: Iterable[tuple[str, bytes | None]]) -> "Subtree":
        """This after sorted (key in hexadecimal, value or None to remove it) changes below its prefix."""
        ordered = list(changes)
        return Subtree(self.prefix, update_node(self.node, ordered, len(self.prefix))) if ordered else self

    def changes_to(self, other: "Subtree") -> Iterator[tuple[str, bytes | None]]:
        """Yield what makes *other* of this, in key order; parts that both share cost nothing."""
        return _changes(self.node, other.node)


def subtree_of(trie: HashedTrie, prefix: str) -> Subtree:
    """The part of *trie* below *prefix*."""
    return Subtree(prefix, _down(trie.node, 0, prefix))


def _down(node: TrieNode | None, depth: int, prefix: str) -> TrieNode | None:
    """What of *node*, which hangs at *depth*, lies below *prefix*."""
    end = len(prefix)
    while depth < end and isinstance(node, Branch):
        path = node.path
        stop = depth + len(path)
        if stop >= end:
            if not path.startswith(prefix[depth:]):
                return None
            return node if depth == end else Branch(path[end - depth :], node.children, node.inner)
        if prefix[depth:stop] != path:
            return None
        node = node.children[int(prefix[stop], 16)]
        depth = stop + 1
    if isinstance(node, Leaf):
        # hung at another depth it has another hash: a leaf of its own
        return (node if depth == end else Leaf(node.key, node.value)) if node.key.startswith(prefix) else None
    return node


def join(parts: Sequence[Subtree], prefix: str = "") -> TrieNode | None:
    """The node below *prefix* of *parts*, which are in key order and have all of it between them."""
    if len(parts) == 1 and parts[0].prefix == prefix:
        return parts[0].node
    children: list[TrieNode | None] = [None] * 16
    depth = len(prefix)
    start = 0
    while start < len(parts):
        below = parts[start].prefix[: depth + 1]
        stop = start + 1
        while stop < len(parts) and parts[stop].prefix.startswith(below):
            stop += 1
        children[int(below[-1], 16)] = join(parts[start:stop], below)
        start = stop
    return joined("", children)


def _changes(old: TrieNode | None, new: TrieNode | None) -> Iterator[tuple[str, bytes | None]]:
    if old is new or (old is not None and new is not None and old.item is not None and old.item == new.item):
        return
    if isinstance(old, Branch) and isinstance(new, Branch) and old.path == new.path:
        for one, other in zip(old.children, new.children, strict=True):
            yield from _changes(one, other)
        return
    before = {row.key: row.value for row in _leaves(old)}
    after = {row.key: row.value for row in _leaves(new)}
    for key in sorted(before.keys() | after.keys()):
        value = after.get(key)
        if before.get(key) != value:
            yield key, value


def _leaves(node: TrieNode | None) -> Iterator[Leaf]:
    stack = [node]
    while stack:
        node = stack.pop()
        if isinstance(node, Branch):
            stack.extend(reversed(node.children))
        elif node is not None:
            yield node
