"""Mines blocks on any parent, at any time, with any flaw, without a ledger."""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from attrs import frozen

from chainp2p.ledger.consensus.asert import target_of
from chainp2p.ledger.consensus.pow import Work, WorkEntry
from chainp2p.ledger.execution import BlockContext, ValueTransfers, run_block
from chainp2p.ledger.formats.block import assemble, transactions_root
from chainp2p.ledger.formats.genesis import Genesis
from chainp2p.ledger.formats.header import Header, make_header
from chainp2p.ledger.formats.transaction import Transaction
from chainp2p.ledger.state.accounts import State
from tests.ledger.network import ADDRESSES, ETHER, TIME


def work_genesis(
    difficulty: int = 4, period_ms: int = 10_000, half_life: int = 3600, reward: int = 0, timestamp: int = TIME
) -> Genesis:
    """Proof of work; each dev account has 1,000 ether."""
    return Genesis.parse(
        {
            "config": {"chainId": 7, "pow": {"periodMs": period_ms, "halfLife": half_life, "reward": hex(reward)}},
            "difficulty": hex(difficulty),
            "timestamp": hex(timestamp),
            "alloc": {"0x" + address.hex(): {"balance": hex(1000 * ETHER)} for address in ADDRESSES},
        }
    )


@frozen(eq=False)
class Mined:
    raw: bytes
    header: Header
    entry: WorkEntry
    state: State

    @property
    def hash(self) -> bytes:
        return self.header.hash


class Quarry:
    """Blocks of one network; *miner* counts the dev accounts."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self.work = Work(genesis)
        header = genesis.header
        self.root = Mined(assemble(header.raw, ()), header, self.work.first(), genesis.state)

    def grow(
        self,
        parent: Mined,
        seconds: int = 10,
        miner: int = 0,
        transactions: Sequence[bytes] = (),
        valid: bool = True,
        **flaws: Any,
    ) -> Mined:
        """A block *seconds* after its parent; *flaws* replace header fields before it is mined, if it is *valid*."""
        height = parent.header.number + 1
        fields: dict[str, Any] = {
            "parent": parent.hash,
            "miner": ADDRESSES[miner],
            "number": height,
            "difficulty": self.work.difficulty_after(parent.entry),
            "gas_limit": parent.entry.gas_limit,
            "timestamp": parent.header.timestamp + seconds,
            "base_fee": self.work.base_fee_after(parent.entry),
            "transactions_root": transactions_root(transactions),
        }
        decoded = [Transaction.decode(raw) for raw in transactions]
        context = BlockContext(
            self.genesis.chain_id,
            height,
            fields["timestamp"],
            fields["miner"],
            fields["base_fee"],
            fields["gas_limit"],
            self.work.reward,
        )
        senders = [transaction.sender() for transaction in decoded]
        result = run_block(ValueTransfers(), decoded, senders, parent.state, context)
        state = parent.state.updated(result.changes)
        fields.update(state_root=state.root, receipts_root=result.receipts_root, gas_used=result.gas_used)
        fields.update(flaws)
        header = _mine(make_header(**fields), valid)
        entry = self.work.follow(header, b"", parent.entry, height)
        return Mined(assemble(header.raw, list(transactions)), header, entry, state)

    def line(self, parent: Mined, length: int, seconds: int = 10, miner: int = 0, **more: Any) -> list[Mined]:
        """Blocks one upon the other."""
        made = []
        for _ in range(length):
            parent = self.grow(parent, seconds, miner, **more)
            made.append(parent)
        return made

    def cheap(self, length: int, seconds: int) -> Iterator[Header]:
        """Empty headers in a row on genesis, so far apart that their difficulty falls."""
        parent, entry = self.root.header, self.root.entry
        for number in range(1, length + 1):
            made = make_header(
                parent=parent.hash,
                number=number,
                difficulty=self.work.difficulty_after(entry),
                gas_limit=entry.gas_limit,
                timestamp=parent.timestamp + seconds,
                base_fee=self.work.base_fee_after(entry),
                state_root=self.genesis.header.state_root,
            )
            parent = _mine(made)
            entry = self.work.follow(parent, b"", entry, number)
            yield parent


def _mine(header: Header, valid: bool = True) -> Header:
    target = target_of(max(header.difficulty, 1))
    tries = (header.with_nonce(nonce) for nonce in count())
    return next(made for made in tries if (int.from_bytes(made.hash, "big") <= target) is valid)
