"""What a call to the ledger's core did, as values for the other side of the door."""

from attrs import frozen

from chainp2p.chain.interfaces import FailedBlock, FinalityConflict, HeaderInfo, RefusedBranch
from chainp2p.ledger.connected import Moved
from chainp2p.ledger.consensus.equivocation import Evidence
from chainp2p.ledger.state.accounts import State

__all__ = ["News"]


@frozen
class News:
    """What a call did, as values for the other side of the door.

    :param highest_slot: of any own seal.
    """

    head: HeaderInfo
    head_slot: int
    best_header: HeaderInfo
    finalized: HeaderInfo
    safe: HeaderInfo
    state: State
    next_base_fee: int
    gas_limit: int
    conflict: FinalityConflict | None
    new_conflict: FinalityConflict | None
    refused: tuple[RefusedBranch, ...]
    added: tuple[HeaderInfo, ...]
    moved: Moved | None
    failed: tuple[FailedBlock, ...]
    evidence: tuple[Evidence, ...]
    highest_slot: int
