"""Reads proofs of a Merkle-Patricia trie (EIP-1186): what a root says of one key, by the nodes on the way to it."""

from collections.abc import Sequence

from chainp2p.ledger.state.trie import EMPTY_ROOT
from chainp2p.primitives import rlp
from chainp2p.primitives.keccak import keccak256

__all__ = ["ProofError", "node_path", "proven"]


class ProofError(ValueError):
    """The nodes do not prove anything about the key; the text says where they fail."""


def proven(root: bytes, key: bytes, nodes: Sequence[bytes]) -> bytes | None:
    """Return the value of *key* in the trie with this *root*, None if the trie has no such key.

    Nodes of under 32 bytes, which a parent would hold itself, do not occur in a trie of accounts and are refused.

    :param nodes: RLP of the nodes from the root down, none missing and none too many.
    :raises ProofError: they are not that.
    """
    if root == EMPTY_ROOT:
        if nodes:
            raise ProofError("the trie is empty, and there are nodes")
        return None
    digits, depth, wanted = key.hex(), 0, root
    for index, node in enumerate(nodes):
        if keccak256(node) != wanted:
            raise ProofError(f"node {index} is not the one that its parent names")
        try:
            items = rlp.decode_list(node)
        except rlp.RlpError as error:
            raise ProofError(f"node {index}: {error}") from None
        last = index == len(nodes) - 1
        if len(items) == 17:
            child = items[int(digits[depth], 16)] if depth < len(digits) else None
            depth += 1
        else:
            path, leaf = node_path(items, index)
            if not digits.startswith(path, depth) or (leaf and depth + len(path) != len(digits)):
                return _end(None, last, index)
            depth += len(path)
            child = items[1]
            if leaf:
                return _end(child if isinstance(child, bytes) else None, last, index)
        if child == b"":
            return _end(None, last, index)
        if not isinstance(child, bytes) or len(child) != 32:
            raise ProofError(f"node {index} names no child")
        wanted = child
    raise ProofError("the proof ends above the key")


def _end(value: bytes | None, last: bool, index: int) -> bytes | None:
    if not last:
        raise ProofError(f"there are nodes below node {index}, where the proof ends")
    return value


def node_path(items: Sequence[rlp.Item], index: int) -> tuple[str, bool]:
    """The nibbles of a leaf or an extension (hex-prefix, yellow paper, appendix C), and whether it is a leaf."""
    if len(items) != 2 or not isinstance(items[0], bytes) or not items[0]:
        raise ProofError(f"node {index} has {len(items)} items, it is no node of a trie")
    digits = items[0].hex()
    flag = int(digits[0], 16)
    if flag > 3 or (flag % 2 == 0 and digits[1] != "0"):
        raise ProofError(f"node {index} has a path that is not one")
    return digits[1:] if flag % 2 else digits[2:], flag >= 2
