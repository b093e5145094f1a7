"""Making a block on the head, on the lane of the core: what goes into it, and who vouches for it (``producing.py``)."""

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from chainp2p.chain.interfaces import Connected
from chainp2p.errors import Ours
from chainp2p.ledger.core import LedgerCore
from chainp2p.ledger.execution import BlockContext, BlockResult, fill_block
from chainp2p.ledger.formats.block import MAX_BLOCK_BYTES, assemble, transactions_root
from chainp2p.ledger.formats.fees import next_gas_limit
from chainp2p.ledger.formats.header import MAX_HEADER_BYTES, Header, make_header
from chainp2p.ledger.formats.transaction import Transaction
from chainp2p.ledger.news import News
from chainp2p.ledger.state.accounts import State

__all__ = ["Candidates", "Draft", "Made", "connect", "draft"]

#: RLP prefixes of block, list of transactions and ommers, in bytes.
_BLOCK_OVERHEAD = 16

#: (transaction, sender), the best first.
Candidates = Sequence[tuple[Transaction, bytes]]


@frozen
class Made:
    """A block of our own, connected already."""

    raw: bytes
    news: News


@frozen(eq=False)
class Draft:
    """A block on the head, complete but for what its header has to prove.

    :param fields: of the header, as :func:`make_header` takes them.
    """

    fields: dict[str, Any]
    transactions: list[bytes]
    result: BlockResult
    state: State


def draft(core: LedgerCore, candidates: Candidates, timestamp: int, miner: bytes) -> Draft:
    """Fill a block on the head."""
    head = core.chain.head
    height = head.info.height + 1
    gas_limit = next_gas_limit(head.data.gas_limit, core.genesis.header.gas_limit)
    base_fee = core.engine.base_fee_after(head.data)
    context = BlockContext(
        core.genesis.chain_id, height, timestamp, miner, base_fee, gas_limit, reward=core.engine.reward
    )
    room = MAX_BLOCK_BYTES - MAX_HEADER_BYTES - _BLOCK_OVERHEAD
    transactions, result = fill_block(core.execution, candidates, core.chain.state, context, room)
    state = core.chain.state.updated(result.changes)
    raws = [transaction.raw for transaction in transactions]
    fields = {
        "parent": head.info.hash,
        "miner": miner,
        "state_root": state.root,
        "transactions_root": transactions_root(raws),
        "receipts_root": result.receipts_root,
        "number": height,
        "gas_limit": gas_limit,
        "gas_used": result.gas_used,
        "timestamp": timestamp,
        "base_fee": base_fee,
    }
    return Draft(fields, raws, result, state)


def header_of(draft: Draft, **proof: Any) -> Header:
    """The header of a draft with the fields that prove it."""
    return make_header(**draft.fields, **proof)


def connect(core: LedgerCore, draft: Draft, header: Header, now: float) -> Made:
    """Connect a finished draft."""
    raw = assemble(header.raw, draft.transactions)
    verdict, news = core.submit_own(raw, header.hash, draft.result, draft.state, now)
    if not isinstance(verdict, Connected):
        raise Ours(f"our own block {header.number} was not connected: {verdict}")
    return Made(raw, news)
