"""Makes blocks on any parent, by any signer, with any flaw, without a ledger."""

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from chainp2p.ledger.consensus.poa import SlotEntry, Slots, seal_header
from chainp2p.ledger.execution import BlockContext, ValueTransfers, run_block
from chainp2p.ledger.formats.block import assemble, transactions_root
from chainp2p.ledger.formats.genesis import Genesis
from chainp2p.ledger.formats.header import Header, make_header
from chainp2p.ledger.formats.transaction import Transaction
from chainp2p.ledger.state.accounts import State
from tests.ledger.network import ADDRESSES, KEYS


@frozen(eq=False)
class Made:
    raw: bytes
    header: Header
    entry: SlotEntry
    state: State
    parent: "Made | None"

    @property
    def hash(self) -> bytes:
        return self.header.hash

    def chain(self) -> "list[Made]":
        """This block and those below it, genesis left out, oldest first."""
        found, step = [], self
        while step.parent is not None:
            found.append(step)
            step = step.parent
        return found[::-1]


class Forge:
    """Blocks of one network; signers are dev accounts."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self.slots = Slots(genesis)
        header = genesis.header
        self.root = Made(assemble(header.raw, ()), header, self.slots.first(), genesis.state, None)

    def grow(
        self,
        parent: Made,
        slot: int,
        base: int = 0,
        transactions: Sequence[bytes] = (),
        key: bytes | None = None,
        seal: bool = True,
        **flaws: Any,
    ) -> Made:
        """A block in *slot* by the signer in turn (or *key*); *flaws* replace header fields before it is sealed."""
        height = parent.header.number + 1
        signer = self.slots.in_turn(height, slot)
        fields: dict[str, Any] = {
            "parent": parent.hash,
            "miner": signer,
            "number": height,
            "gas_limit": parent.entry.gas_limit,
            "timestamp": self.slots.timestamp(slot) if not self.slots.on_demand else parent.header.timestamp,
            "mix_hash": base.to_bytes(32, "big"),
            "nonce": slot,
            "base_fee": self.slots.base_fee_after(parent.entry),
            "transactions_root": transactions_root(transactions),
            "extra": b"",
        }
        decoded = [Transaction.decode(raw) for raw in transactions]
        context = BlockContext(
            self.genesis.chain_id, height, fields["timestamp"], signer, fields["base_fee"], fields["gas_limit"]
        )
        state = parent.state
        if not {"state_root", "receipts_root"} & set(flaws):
            senders = [transaction.sender() for transaction in decoded]
            result = run_block(ValueTransfers(), decoded, senders, state, context)
            state = state.updated(result.changes)
            fields.update(state_root=state.root, receipts_root=result.receipts_root, gas_used=result.gas_used)
        else:
            fields.update(state_root=state.root)
        fields.update(flaws)
        header = make_header(**fields)
        if seal:
            header = seal_header(header, KEYS[ADDRESSES.index(signer)] if key is None else key)
        entry = self.slots.entry(header, parent.entry, height, signer)
        return Made(assemble(header.raw, list(transactions)), header, entry, state, parent)

    def line(self, parent: Made, slots: Sequence[int], **more: Any) -> list[Made]:
        """Blocks one upon the other."""
        made = []
        for slot in slots:
            parent = self.grow(parent, slot, **more)
            made.append(parent)
        return made
