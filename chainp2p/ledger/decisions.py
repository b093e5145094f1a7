"""What an operator decides against the rules of the chain, or beside them (``IReorgs``).

Each function answers why it cannot be, or an empty text; :meth:`LedgerCore.decide` opens the transaction and then
follows the best branch. Nothing is ever undone at or below the finalized block, nor where the accounts before it are
not known any more.
"""

from chainp2p.chain.tree import Node
from chainp2p.ledger.consensus.engine import Entry
from chainp2p.ledger.core import LedgerCore

__all__ = ["accept_reorg", "invalidate", "reconsider", "set_finalized"]

_UNKNOWN = "the block is not known, or too far below the head"


def set_finalized(core: LedgerCore, hash: bytes) -> str:
    """Put finality at block *hash*."""
    branches, chain, tree = core.branches, core.chain, core.branches.tree
    node = tree.get(hash)
    if node is None:
        return "the block is not known, or too far below the finalized one"
    if node.bad:
        return "the block, or an ancestor of it, failed"
    if tree.descends(chain.head, node):
        if node.info.height < branches.final.info.height:
            return "it is below the finalized block"
        branches.choose(node)
        return ""
    try:
        left, _ = tree.route(chain.head, node)
    except LookupError:
        return "its branch parts from ours too far below the finalized block"
    if not left:
        return "it is not connected yet"
    given_up = left[-1]
    if not chain.undoable(given_up.info.height):
        return f"its branch parts from ours at block {given_up.info.height - 1}, too deep to be undone"
    branches.choose(node, given_up=given_up)
    branches.condemn(given_up)
    if core.record is not None:
        core.record.fold_all()
    return ""


def accept_reorg(core: LedgerCore, hash: bytes) -> str:
    """Let the refused branch that block *hash* is on be followed, once."""
    branches, chain, tree = core.branches, core.chain, core.branches.tree
    node = tree.get(hash)
    if node is None:
        return _UNKNOWN
    if node.bad:
        return "the block, or an ancestor of it, failed"
    if node.live or tree.descends(chain.head, node):
        return "it is not refused"
    if branches.mark is not branches.final:
        return "another block was chosen by hand, and its branch is awaited"
    fork = tree.fork(chain.head, node)
    if fork is None:
        return "its branch parts from ours too far below the head"
    if fork.info.height < branches.final.info.height:
        return f"its branch parts from ours at block {fork.info.height}, below the finalized block"
    if not chain.undoable(fork.info.height + 1):
        return f"its branch parts from ours at block {fork.info.height}, too deep to be undone"
    branches.allow(node)
    return ""


def invalidate(core: LedgerCore, hash: bytes) -> str:
    """Treat block *hash* and what descends from it as if it had failed."""
    branches, chain, tree = core.branches, core.chain, core.branches.tree
    node: Node[Entry] | None = tree.get(hash)
    if node is None:
        return _UNKNOWN
    if node.bad:
        return "the block, or an ancestor of it, failed already"
    if tree.descends(chain.head, node):
        if node.info.height <= branches.final.info.height:
            return "it is final"
        if not chain.undoable(node.info.height):
            return "it is too deep to be undone"
        branches.withdraw(node)
    branches.condemn(node)
    return ""


def reconsider(core: LedgerCore, hash: bytes) -> str:
    """Give block *hash*, if it failed, its ancestors and its descendants another try."""
    node = core.branches.tree.get(hash)
    if node is None:
        return _UNKNOWN
    if not node.bad:
        return "neither the block nor an ancestor of it failed"
    core.branches.absolve(node)
    return ""
