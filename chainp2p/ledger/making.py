"""Making a block: when it is this signer's turn, on which head, with which base (design: "poa", "Sealing safety")."""

from collections.abc import Sequence
from contextlib import suppress

from attrs import frozen

from chainp2p.chain.interfaces import Connected
from chainp2p.errors import Ours, StorageError
from chainp2p.ledger.block import MAX_BLOCK_BYTES, assemble, transactions_root
from chainp2p.ledger.core import LedgerCore
from chainp2p.ledger.execution import BlockContext, fill_block
from chainp2p.ledger.fees import next_gas_limit
from chainp2p.ledger.header import MAX_HEADER_BYTES, make_header
from chainp2p.ledger.news import News
from chainp2p.ledger.poa import seal_header
from chainp2p.ledger.transaction import Transaction

__all__ = ["BlockMaker", "Made"]

#: RLP prefixes of block, list of transactions and ommers, in bytes.
_BLOCK_OVERHEAD = 16


@frozen
class Made:
    """A block of our own, connected already."""

    raw: bytes
    news: News


class BlockMaker:
    """Seals blocks with one key, on the lane of the core.

    :param key: private key, 32 bytes.
    """

    def __init__(self, core: LedgerCore, key: bytes) -> None:
        self._core = core
        self._key = key

    def make(self, now: float, candidates: Sequence[tuple[Transaction, bytes]]) -> "Made | str":
        """Seal a block on the head if that is allowed; the text says why not, if not.

        :param candidates: (transaction, sender), the best first.
        """
        core = self._core
        slots, record, head = core.slots, core.record, core.chain.head
        assert record is not None
        if core.branches.conflict is not None:
            return "finality conflict"
        height = head.info.height + 1
        if slots.on_demand:
            slot = head.data.slot + 1
            timestamp = max(head.data.timestamp, int(now))
        else:
            slot = slots.slot_at(now)
            timestamp = slots.timestamp(slot)
        base = record.base(lambda hash: core.is_ancestor(hash, head))
        if not record.may_seal(slot, head.data.slot, base):
            return f"slot {slot} is not above what was sealed before, or not above the head"
        if slots.in_turn(height, slot) != record.signer:
            return f"slot {slot} is not our turn"
        gas_limit = next_gas_limit(head.data.gas_limit, core.genesis.header.gas_limit)
        base_fee = slots.base_fee_after(head.data)
        context = BlockContext(core.genesis.chain_id, height, timestamp, record.signer, base_fee, gas_limit)
        room = MAX_BLOCK_BYTES - MAX_HEADER_BYTES - _BLOCK_OVERHEAD
        transactions, result = fill_block(core.execution, candidates, core.chain.state, context, room)
        if slots.on_demand and not transactions:
            return "nothing to include"
        state = core.chain.state.updated(result.changes)
        raws = [transaction.raw for transaction in transactions]
        record.reserve(head.data.slot if slots.on_demand else slot)
        header = seal_header(
            make_header(
                parent=head.info.hash,
                miner=record.signer,
                state_root=state.root,
                transactions_root=transactions_root(raws),
                receipts_root=result.receipts_root,
                number=height,
                gas_limit=gas_limit,
                gas_used=result.gas_used,
                timestamp=timestamp,
                mix_hash=base.to_bytes(32, "big"),
                nonce=slot,
                base_fee=base_fee,
            ),
            self._key,
        )
        if not slots.on_demand:
            record.store(slot, header.hash, base)
        raw = assemble(header.raw, raws)
        verdict, news = core.submit_own(raw, header.hash, result, state, now)
        if not isinstance(verdict, Connected):
            raise Ours(f"our own block {height} was not connected: {verdict}")
        if slots.on_demand:
            with suppress(StorageError):  # it is stored with the chain, and here before the next one is signed
                record.reserve(slot)
        return Made(raw, news)
