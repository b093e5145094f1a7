"""Merkle-Patricia roots of ordered lists (transactions, receipts): the trie RLP(index) -> value (yellow paper, 4.3.2).

What the trie looks like depends on the number of values alone, so it is worked out once for each number: which path
each leaf has, and which leaves and branches each branch holds. What remains is hashing.
"""

from collections.abc import Sequence
from functools import lru_cache
from os.path import commonprefix

from attrs import frozen

from chainp2p.ledger.state.trie import EMPTY_ROOT, path_item
from chainp2p.primitives import rlp
from chainp2p.primitives.keccak import keccak256

__all__ = ["leaf_reference", "ordered_paths", "ordered_root", "root_of_references"]

_EMPTY_ITEM = b"\x80"
#: Numbers whose shapes are kept: one takes 60 bytes a value.
_SHAPES = 64


@frozen
class _Branch:
    """A branch node, below an extension node where *path* is not empty; children are numbers of leaves, or branches."""

    path: bytes
    children: "tuple[int | _Branch | None, ...]"


@frozen
class _Shape:
    """The trie of so many values; *paths* are the path items of its leaves."""

    paths: tuple[bytes, ...]
    top: "int | _Branch"


@lru_cache(maxsize=_SHAPES)
def _shape(count: int) -> _Shape:
    keys = [rlp.encode(rlp.encode_uint(index)).hex() for index in range(count)]
    paths = [b""] * count

    def build(chosen: list[int], depth: int) -> "int | _Branch":
        """Return the node of *chosen*, in order of their keys, which agree on their first *depth* nibbles."""
        first = keys[chosen[0]]
        if len(chosen) == 1:
            paths[chosen[0]] = path_item(first[depth:], leaf=True)
            return chosen[0]
        fork = len(commonprefix((first, keys[chosen[-1]])))
        path = path_item(first[depth:fork], leaf=False) if fork > depth else b""
        below: list[list[int]] = [[] for _ in range(16)]
        for index in chosen:
            below[int(keys[index][fork], 16)].append(index)
        return _Branch(path, tuple(build(group, fork + 1) if group else None for group in below))

    top = build(sorted(range(count), key=keys.__getitem__), 0)
    return _Shape(tuple(paths), top)


def ordered_paths(count: int) -> tuple[bytes, ...]:
    """Return the path items of the leaves of *count* values, at least one."""
    return _shape(count).paths


def leaf_reference(path: bytes, value: bytes) -> bytes:
    """Return what a branch holds of the leaf of *value*."""
    return _reference(rlp.wrap_list(path + rlp.encode(value)))


def _reference(node: bytes) -> bytes:
    """Return what a parent holds of a node: itself when under 32 bytes, else the item of its hash."""
    return node if len(node) < 32 else b"\xa0" + keccak256(node)


def _encode(branch: _Branch, references: Sequence[bytes]) -> bytes:
    # No key ends here: no RLP is the beginning of another, so that the seventeenth child, the value, stays empty.
    parts = [
        _EMPTY_ITEM
        if child is None
        else references[child]
        if type(child) is int
        else _reference(_encode(child, references))  # type: ignore[arg-type]
        for child in branch.children
    ]
    node = rlp.wrap_list(b"".join(parts) + _EMPTY_ITEM)
    return rlp.wrap_list(branch.path + _reference(node)) if branch.path else node


def root_of_references(references: Sequence[bytes]) -> bytes:
    """Return the root of a list by the references of its leaves."""
    if not references:
        return EMPTY_ROOT
    top = _shape(len(references)).top
    if isinstance(top, _Branch):
        return keccak256(_encode(top, references))
    only = references[0]
    return only[1:] if len(only) == 33 else keccak256(only)


def ordered_root(values: Sequence[bytes]) -> bytes:
    """Return the root of *values*; none of them is empty."""
    if not values:
        return EMPTY_ROOT
    return root_of_references(list(map(leaf_reference, _shape(len(values)).paths, values)))
