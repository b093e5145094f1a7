"""What an operator sets for the ledger."""

from attrs import frozen

__all__ = ["Policy"]


@frozen
class Policy:
    """See the module.

    :param verify_all: look at every state root, below what headers finalize too.
    :param assume_valid: hash of a block up to which roots are taken on trust like those below what headers finalize.
    :param max_reorg_depth: a branch for which more blocks would be undone is refused until an operator allows it.
    """

    verify_all: bool = False
    assume_valid: bytes | None = None
    max_reorg_depth: int | None = None
