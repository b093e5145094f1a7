"""What a chain knows of a header: from the tree in memory as far as that reaches, below it from the database."""

from typing import TypeVar

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.chain.store import ChainStore
from chainp2p.chain.tree import HeaderTree

__all__ = ["header_at", "locate"]

D = TypeVar("D")


def locate(tree: HeaderTree[D], store: ChainStore, hash: bytes) -> HeaderInfo | None:
    """See ``IChain.locate``."""
    node = tree.get(hash)
    return store.info(hash) if node is None else node.info


def header_at(tree: HeaderTree[D], store: ChainStore, height: int) -> HeaderInfo | None:
    """See ``IChain.header_at``: the best branch by headers; below the tree that is the connected chain."""
    node = tree.at(height)
    if node is not None:
        return node.info
    hash = store.hash_at(height) if height < tree.floor else None
    return None if hash is None else store.info(hash)
