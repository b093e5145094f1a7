"""A header between its checks and the tree."""

from attrs import frozen

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.chain.tree import Node
from chainp2p.ledger.consensus.engine import Entry
from chainp2p.ledger.formats.header import Header

__all__ = ["Candidate"]


@frozen(eq=False)
class Candidate:
    """A header that passed its checks.

    :param node: set once it is in the tree; a header far below the finalized block never is.
    :param live: it descends from the finalized block.
    """

    info: HeaderInfo
    data: Entry
    header: Header
    node: Node[Entry] | None
    live: bool
    parent: "Candidate | Node[Entry] | None"
