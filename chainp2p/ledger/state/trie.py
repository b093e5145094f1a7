"""The Merkle-Patricia trie of the state (Ethereum yellow paper, appendix D).

:class:`HashedTrie` is a *value*: an update answers a new trie that shares every untouched node with the old one. A
proposal that is not sealed, a block that fails and the state some blocks ago are then just other values; nothing is
undone. Nodes are hashed when somebody asks for the root: many updates with one root at the end hash each node once.

Keys and paths are strings of hexadecimal digits, one per nibble: slicing, comparing and converting them is C code.
Cost: about 4 us per node that changes, which is one leaf and log16(n) branches per account, most of it for the hash;
memory: about 500 bytes per account.
"""

from collections.abc import Iterable, Iterator
from os.path import commonprefix

from chainp2p.primitives import rlp
from chainp2p.primitives.keccak import keccak256

__all__ = [
    "EMPTY_ROOT",
    "Branch",
    "HashedTrie",
    "Leaf",
    "TrieNode",
    "build_node",
    "joined",
    "path_item",
    "update_node",
]

#: keccak256(RLP of the empty string): the root of nothing.
EMPTY_ROOT = bytes.fromhex("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421")

_EMPTY_ITEM = b"\x80"
_DIGITS = "0123456789abcdef"


def path_item(path: str, leaf: bool) -> bytes:
    """Return the RLP item of a hex-prefix encoded path (yellow paper, appendix C)."""
    flag = 2 if leaf else 0
    packed = bytes.fromhex(f"{flag + 1}{path}" if len(path) & 1 else f"{flag}0{path}")
    return packed if len(packed) == 1 else bytes((0x80 + len(packed),)) + packed


class Leaf:
    """One key and its value; *item* is its parent's reference to it, once somebody asked."""

    __slots__ = ("item", "key", "value")

    def __init__(self, key: str, value: bytes) -> None:
        self.key = key
        self.value = value
        self.item: bytes | None = None

    def hashed(self, depth: int) -> bytes:
        """Return the reference to it from a parent whose children start at nibble *depth*."""
        item = self.item
        if item is None:
            self.item = item = b"\xa0" + keccak256(self.encoded(depth))
        return item

    def encoded(self, depth: int) -> bytes:
        """Return the RLP of the node, whose parent's children start at nibble *depth*."""
        value = self.value
        size = len(value)
        prefix = b"\xb8" + bytes((size,)) if 56 <= size < 256 else rlp.encode(value)[:-size]
        return rlp.wrap_list(path_item(self.key[depth:], leaf=True) + prefix + value)


class Branch:
    """Sixteen children below *path*, the nibbles that all of them share (an extension node when not empty).

    *inner* is the reference to the branch node itself, *item* that of the parent to the whole, once somebody asked.
    """

    __slots__ = ("children", "inner", "item", "path")

    def __init__(self, path: str, children: "list[TrieNode | None]", inner: bytes | None = None) -> None:
        self.path = path
        self.children = children
        self.inner = inner
        self.item: bytes | None = None

    def hashed(self, depth: int) -> bytes:
        """Return the reference to it from a parent whose children start at nibble *depth*."""
        item = self.item
        if item is None:
            path, inner = self.path, self.inner
            if inner is None:
                self.inner = inner = b"\xa0" + keccak256(self.encoded(depth))
            if path:
                inner = b"\xa0" + keccak256(self.extension(depth))
            self.item = item = inner
        return item

    def encoded(self, depth: int) -> bytes:
        """Return the RLP of the branch node itself."""
        below = depth + len(self.path) + 1
        body = b"".join([_EMPTY_ITEM if child is None else child.hashed(below) for child in self.children])
        return rlp.wrap_list(body + _EMPTY_ITEM)

    def extension(self, depth: int) -> bytes:
        """Return the RLP of the extension node above it."""
        inner = self.inner
        if inner is None:
            self.inner = inner = b"\xa0" + keccak256(self.encoded(depth))
        return rlp.wrap_list(path_item(self.path, leaf=False) + inner)


TrieNode = Leaf | Branch
_Changes = list[tuple[str, bytes | None]]


def _group(changes: _Changes, depth: int) -> Iterator[tuple[int, _Changes]]:
    """Split sorted *changes* by their nibble at *depth*."""
    start, end = 0, len(changes)
    while start < end:
        nibble = changes[start][0][depth]
        stop = start + 1
        while stop < end and changes[stop][0][depth] == nibble:
            stop += 1
        yield int(nibble, 16), changes[start:stop]
        start = stop


def build_node(pairs: "list[tuple[str, bytes]]", depth: int) -> TrieNode | None:
    """Return the node of sorted *pairs*, which agree on their first *depth* nibbles."""
    if not pairs:
        return None
    first, value = pairs[0]
    if len(pairs) == 1:
        return Leaf(first, value)
    shared = len(commonprefix((first, pairs[-1][0])))
    children: list[TrieNode | None] = [None] * 16
    start, end = 0, len(pairs)
    while start < end:
        nibble = pairs[start][0][shared]
        stop = start + 1
        while stop < end and pairs[stop][0][shared] == nibble:
            stop += 1
        children[int(nibble, 16)] = build_node(pairs[start:stop], shared + 1)
        start = stop
    return Branch(first[depth:shared], children)


def joined(path: str, children: list[TrieNode | None]) -> TrieNode | None:
    """Return the node for changed *children* below *path*: a branch needs two of them."""
    present = [index for index, child in enumerate(children) if child is not None]
    if len(present) > 1:
        return Branch(path, children)
    if not present:
        return None
    index = present[0]
    child = children[index]
    if isinstance(child, Branch):
        return Branch(path + _DIGITS[index] + child.path, child.children, child.inner)
    assert isinstance(child, Leaf)
    return Leaf(child.key, child.value)


def update_node(node: TrieNode | None, changes: _Changes, depth: int) -> TrieNode | None:
    """Return *node* with the sorted *changes* made; ``None`` as a value removes its key."""
    if isinstance(node, Branch):
        return _update_branch(node, changes, depth)
    if isinstance(node, Leaf):
        if len(changes) == 1 and changes[0][0] == node.key:
            value = changes[0][1]
            return None if value is None else Leaf(node.key, value)
        if all(key != node.key for key, _ in changes):
            changes = sorted([*changes, (node.key, node.value)])
    return build_node([(key, value) for key, value in changes if value is not None], depth)


def _update_branch(node: Branch, changes: _Changes, depth: int) -> TrieNode | None:
    path = node.path
    if path:
        end = depth + len(path)
        shared = len(commonprefix((path, changes[0][0][depth:end], changes[-1][0][depth:end])))
        if shared < len(path):
            # A changed key leaves the shared path: fork it there, the old branch becomes one child of the fork.
            children: list[TrieNode | None] = [None] * 16
            children[int(path[shared], 16)] = Branch(path[shared + 1 :], node.children, node.inner)
            path = path[:shared]
        else:
            children = node.children.copy()
    else:
        children = node.children.copy()
    fork = depth + len(path)
    for nibble, group in _group(changes, fork):
        children[nibble] = update_node(children[nibble], group, fork + 1)
    return joined(path, children)


class HashedTrie:
    """An immutable trie of 32-byte keys (hashes) to values of at least 32 bytes, with the root Ethereum gives it.

    Values that long make every node at least 32 bytes long, so that no node is ever embedded in its parent.
    """

    __slots__ = ("node",)

    def __init__(self, node: TrieNode | None = None) -> None:
        self.node = node

    @property
    def root(self) -> bytes:
        """The root; the first who asks pays for hashing what changed."""
        return EMPTY_ROOT if self.node is None else self.node.hashed(0)[1:]

    @classmethod
    def build(cls, rows: Iterable[tuple[bytes, bytes]]) -> "HashedTrie":
        """Return the trie of (key, value) *rows* in any order (about 2 us a row, and 4 us for its first root)."""
        return cls(build_node(sorted((key.hex(), value) for key, value in rows), 0))

    def get(self, key: bytes) -> bytes | None:
        """Return the value of *key*, if any (about 1 us)."""
        digits = key.hex()
        node, depth = self.node, 0
        while isinstance(node, Branch):
            depth += len(node.path)
            # A wrong turn inside the path ends at a leaf with another key, which the last comparison sees.
            node = node.children[int(digits[depth], 16)]
            depth += 1
        return node.value if node is not None and node.key == digits else None

    def proof(self, key: bytes) -> list[bytes]:
        """Return the nodes from the root to *key*, or to where it would be: what ``eth_getProof`` answers.

        :func:`chainp2p.ledger.state.proofs.proven` reads it.
        """
        digits = key.hex()
        node, depth, found = self.node, 0, []
        while isinstance(node, Branch):
            if node.path:
                found.append(node.extension(depth))
                if not digits.startswith(node.path, depth):
                    return found
            found.append(node.encoded(depth))
            depth += len(node.path)
            node = node.children[int(digits[depth], 16)]
            depth += 1
        if node is not None:
            found.append(node.encoded(depth))
        return found

    def updated(self, changes: Iterable[tuple[bytes, bytes | None]]) -> "HashedTrie":
        """Return the trie with *changes* made, each key at most once; ``None`` removes a key."""
        ordered = sorted([(key.hex(), value) for key, value in changes], key=lambda change: change[0])
        return HashedTrie(update_node(self.node, ordered, 0)) if ordered else self

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) in key order."""
        stack: list[TrieNode | None] = [self.node]
        while stack:
            node = stack.pop()
            if isinstance(node, Branch):
                stack.extend(reversed(node.children))
            elif node is not None:
                yield bytes.fromhex(node.key), node.value
