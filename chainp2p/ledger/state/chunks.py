"""Pieces of the state as they travel, each of which proves itself against the state root (design: "State sync").

A chunk is asked for by (root, prefix): all accounts whose hashed keys begin with some nibbles. It holds

1. the nodes on the way from the root to the prefix, as ``eth_getProof`` has them, and
2. either all accounts below in key order, which rebuilt are the subtree that the last node names;
   or, where that would be more than the limit, nothing: then the last node is the one at the prefix itself, and its
   children are asked for; or nothing because there is nothing: then the nodes show that;
   or what changed since another root, if the asker named one and that is less: it has the accounts of that root.

Encoding: RLP([[node, ...], kind, keys, lengths, values]) with 32 bytes a key and one byte a length. The values of
accounts without code are without the 66 bytes in which they all agree: 45 bytes an account instead of 140.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from operator import ge
from typing import TypeAlias

from attrs import frozen

from chainp2p.ledger.state.accounts import EMPTY_CODE_HASH
from chainp2p.ledger.state.proofs import ProofError, node_path
from chainp2p.ledger.state.subtree import Subtree, subtree_of
from chainp2p.ledger.state.trie import EMPTY_ROOT, Branch, HashedTrie, Leaf, TrieNode
from chainp2p.primitives import rlp
from chainp2p.primitives.keccak import keccak256

__all__ = ["CHUNK_BYTES", "ChunkError", "Split", "make_chunk", "read_chunk"]

#: Accounts of more bytes than this do not travel in one chunk. The wire would take 1 MiB; a quarter of that comes in
#: half a minute over 10 KB/s, and leaves more parts to share out among peers.
CHUNK_BYTES = 256 * 1024

_NOTHING, _ALL, _CHANGES = b"", b"\x01", b"\x02"
#: How the encoding of an account without code and storage ends, and begins by the length of the rest.
_TAIL = b"\xa0" + EMPTY_ROOT + b"\xa0" + EMPTY_CODE_HASH
_CUT = len(_TAIL)
_HEADS = tuple(bytes((0xF8, size + _CUT)) for size in range(_CUT))

#: (key in hexadecimal, value); None as a value: there is no such account any more.
Row: TypeAlias = "tuple[str, bytes | None]"


class ChunkError(ValueError):
    """The chunk does not prove what was asked for; the text says why."""


@frozen
class Split:
    """There is too much below the prefix: ask for these instead.

    :param at: the digits down to the branch node; longer than the prefix where all keys below agree on more.
    :param children: (prefix, reference) of what is below it, in order.
    """

    at: str
    children: tuple[tuple[str, bytes], ...]


# -- making


def make_chunk(trie: HashedTrie, prefix: str, base: HashedTrie | None = None, limit: int = CHUNK_BYTES) -> bytes:
    """Return the chunk of *prefix*; with the changes since *base* only, where there are few."""
    nodes: list[bytes] = []
    found = _walk(trie.node, prefix, nodes)
    if found is None:
        return _pack(nodes, _NOTHING, ())
    node, depth = found
    changes: list[Row] | None = None
    if base is not None and depth == len(prefix):
        changes = _within(subtree_of(base, prefix).changes_to(Subtree(prefix, node)), limit)
    if changes is not None and _size(changes) < limit // 4:
        return _pack(nodes, _CHANGES, changes)
    rows = _within(((key.hex(), value) for key, value in HashedTrie(node).rows()), limit)
    if rows is not None and (changes is None or _size(rows) <= _size(changes)):
        return _pack(nodes, _ALL, rows)
    if changes is not None:
        return _pack(nodes, _CHANGES, changes)
    assert isinstance(node, Branch)  # one account is below the limit
    if node.path:
        nodes.append(node.extension(depth))
    nodes.append(node.encoded(depth))
    return _pack(nodes, _NOTHING, ())


def _walk(node: TrieNode | None, prefix: str, nodes: list[bytes]) -> tuple[TrieNode, int] | None:
    """Find the node that has all keys of *prefix* below it, and its depth; *nodes* gets those above it.

    None: there are no such keys; *nodes* gets what shows that.
    """
    depth, end = 0, len(prefix)
    while node is not None and depth < end:
        if isinstance(node, Leaf):
            if node.key.startswith(prefix):
                return node, depth
            nodes.append(node.encoded(depth))
            return None
        path, stop = node.path, depth + len(node.path)
        if path:
            if stop >= end and path.startswith(prefix[depth:]):
                return node, depth
            nodes.append(node.extension(depth))
            if prefix[depth:stop] != path:
                return None
        nodes.append(node.encoded(depth))
        node = node.children[int(prefix[stop], 16)]
        depth = stop + 1
    return None if node is None else (node, depth)


def _slim(value: bytes | None) -> bytes:
    if value is None:
        return b""
    return value[2:-_CUT] if value.endswith(_TAIL) and len(value) < 2 * _CUT else value


def _within(rows: "Iterable[Row]", limit: int) -> list[Row] | None:
    """The rows with slim values; None if they are more than *limit* bytes."""
    found: list[Row] = []
    append, size = found.append, 0
    for key, value in rows:
        slim = _slim(value)
        size += 33 + len(slim)
        if size > limit:
            return None
        append((key, slim))
    return found


def _size(rows: Sequence[Row]) -> int:
    return sum(33 + len(value or b"") for _, value in rows)


def _pack(nodes: Sequence[bytes], kind: bytes, rows: Sequence[Row]) -> bytes:
    values = [value or b"" for _, value in rows]
    keys = bytes.fromhex("".join([key for key, _ in rows]))
    return rlp.encode([list(nodes), kind, keys, bytes(map(len, values)), b"".join(values)])


# -- reading


def read_chunk(root: bytes, prefix: str, raw: bytes, have: Subtree | None = None) -> Subtree | Split:
    """Return what a chunk proves to lie below *prefix* in the state of *root*; raises :exc:`ChunkError`.

    Costs about what hashing its accounts costs. What is not that of this root and prefix is refused, whatever it is.

    :param have: the accounts below *prefix* at the base that was named.
    """
    nodes, kind, rows = _unpack(raw)
    place = _descend(root, prefix, nodes)
    if isinstance(place, Split) or place is None:
        if kind != _NOTHING or rows:
            raise ChunkError("accounts beside a proof that needs none")
        return Subtree(prefix, None) if place is None else place
    reference, depth = place
    if rows and not (rows[0][0].startswith(prefix) and rows[-1][0].startswith(prefix)):
        raise ChunkError("accounts outside of the prefix")
    if kind == _CHANGES:
        if have is None or depth != len(prefix):
            raise ChunkError("changes that nobody asked for")
        subtree = have.updated(rows)
    else:
        whole = [(key, value) for key, value in rows if value is not None]
        if kind != _ALL or not whole or len(whole) < len(rows):
            raise ChunkError("no accounts where there are some")
        subtree = Subtree.build(prefix[:depth], whole)
    if subtree.reference != reference:
        raise ChunkError("the accounts are not those that the proof names")
    return subtree if depth == len(prefix) else subtree.at(prefix)


def _unpack(raw: bytes) -> tuple[Sequence[rlp.Item], bytes, list[Row]]:
    try:
        nodes, kind, keys, lengths, values = rlp.decode_list(raw)
    except ValueError as error:  # RlpError, or another number of items
        raise ChunkError(f"no chunk: {error}") from None
    blobs = kind, keys, lengths, values
    if isinstance(nodes, bytes) or not all(isinstance(blob, bytes) for blob in blobs):
        raise ChunkError("no chunk: a list where bytes should be")
    return nodes, kind, _rows(keys, lengths, values)  # type: ignore[arg-type,return-value]


def _rows(keys: bytes, lengths: bytes, values: bytes) -> list[Row]:
    if len(keys) != 32 * len(lengths) or sum(lengths) != len(values):
        raise ChunkError("no chunk: keys and values are not as many, or as long, as it says")
    digits = keys.hex()
    names = [digits[at : at + 64] for at in range(0, len(digits), 64)]
    if any(map(ge, names, names[1:])):
        raise ChunkError("accounts out of order")
    rows: list[Row] = []
    append = rows.append
    for name, (start, stop) in zip(names, pairwise(accumulate(lengths, initial=0)), strict=True):
        value = values[start:stop]
        size = stop - start
        append((name, _HEADS[size] + value + _TAIL if 0 < size < _CUT else value or None))
    return rows


def _descend(root: bytes, prefix: str, nodes: Sequence[rlp.Item]) -> tuple[bytes, int] | Split | None:
    """Follow *nodes* from *root* towards *prefix*: where they end in a reference, it and its depth."""
    at, wanted = "", b"" if root == EMPTY_ROOT else root
    for index, node in enumerate(nodes):
        if not wanted:
            raise ChunkError(f"there is nothing below node {index}")
        if not isinstance(node, bytes) or keccak256(node) != wanted:
            raise ChunkError(f"node {index} is not the one that its parent names")
        try:
            items = rlp.decode_list(node)
            if len(items) == 17:
                if len(at) >= len(prefix):
                    return _split(at, items, index == len(nodes) - 1)
                child = items[int(prefix[len(at)], 16)]
                at += prefix[len(at)]
            else:
                path, leaf = node_path(items, index)
                at += path
                if leaf and at.startswith(prefix):
                    raise ChunkError(f"node {index} is an account, not a way to some")
                child = items[1] if at.startswith(prefix) or prefix.startswith(at) else b""
        except (rlp.RlpError, ProofError) as error:
            raise ChunkError(f"node {index}: {error}") from None
        wanted = _hash(child, index)
    if not wanted:
        return None
    if len(at) > len(prefix):
        raise ChunkError("the proof ends above the node that it leads to")
    return wanted, len(at)


def _hash(child: rlp.Item, index: int) -> bytes:
    if not isinstance(child, bytes) or len(child) not in (0, 32):
        raise ChunkError(f"node {index} names no child")
    return child


def _split(at: str, items: Sequence[rlp.Item], last: bool) -> Split:
    if not last:
        raise ChunkError("there are nodes below the one at the prefix")
    references = [(f"{at}{index:x}", _hash(child, index)) for index, child in enumerate(items[:16])]
    return Split(at, tuple(pair for pair in references if pair[1]))
