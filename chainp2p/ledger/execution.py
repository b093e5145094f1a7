"""What a transaction does to the state: a seam, with value transfers behind it now and contracts later.

Whatever implements :class:`Execution` is handed accounts to read and an overlay to write; blocks are run and filled
by the functions here, the same for every implementation.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from attrs import frozen

from chainp2p.ledger.formats.header import Header
from chainp2p.ledger.formats.receipt import Receipt, receipts_root
from chainp2p.ledger.formats.transaction import AccessList, Transaction, TransactionError
from chainp2p.ledger.formats.validation import check_transaction, intrinsic_gas
from chainp2p.ledger.state.accounts import Accounts, Change, State
from chainp2p.ledger.state.overlay import Overlay, Recent

__all__ = [
    "BlockContext",
    "BlockResult",
    "CallError",
    "Execution",
    "Message",
    "ValueTransfers",
    "fill_block",
    "mismatch",
    "run_block",
]


#: Bytes that a transaction may take in a block's RLP beyond its own: the string prefix of a typed one.
_ITEM_OVERHEAD = 4

#: With less gas left no transaction fits.
_SMALLEST_GAS = intrinsic_gas(b"")


@frozen
class BlockContext:
    """What a transaction may know of the block it is in.

    :param reward: wei that the block brings its miner, after its transactions.
    """

    chain_id: int
    number: int
    timestamp: int
    miner: bytes
    base_fee: int
    gas_limit: int
    reward: int = 0

    @classmethod
    def of(cls, header: Header, chain_id: int, reward: int = 0) -> "BlockContext":
        return cls(chain_id, header.number, header.timestamp, header.miner, header.base_fee, header.gas_limit, reward)


@frozen
class Message:
    """A call that is no transaction: nothing signed, nothing kept. ``gas_price`` 0: nobody pays."""

    sender: bytes = bytes(20)
    to: bytes | None = None
    value: int = 0
    data: bytes = b""
    access_list: AccessList = ()
    gas: int | None = None
    gas_price: int = 0
    chain_id: int | None = None  #: of the network that it is meant for


class CallError(Exception):
    """A call or an estimate fails; the text is go-ethereum's."""


class Execution(Protocol):
    """How transactions are carried out."""

    def apply(
        self, transaction: Transaction, sender: bytes, state: Overlay, context: BlockContext, gas_before: int
    ) -> Receipt:
        """Carry out one transaction of a block in which *gas_before* is used already.

        Raises :exc:`TransactionError`, with *state* as it was, when it may not be in this block at all.
        """
        ...

    def call(self, message: Message, state: Accounts, context: BlockContext) -> bytes:
        """Return what a call answers; raises :exc:`CallError`."""
        ...

    def estimate(self, message: Message, state: Accounts, context: BlockContext) -> int:
        """Return the gas limit that a transaction with this content needs; raises :exc:`CallError`."""
        ...

    def code(self, address: bytes, state: Accounts) -> bytes:
        """Return the code at an address."""
        ...

    def storage(self, address: bytes, slot: int, state: Accounts) -> bytes:
        """Return the 32 bytes at a storage slot."""
        ...


class ValueTransfers:
    """The execution of a chain without contracts: data is paid for and means nothing; no transaction can fail."""

    def apply(
        self, transaction: Transaction, sender: bytes, state: Overlay, context: BlockContext, gas_before: int
    ) -> Receipt:
        gas = check_transaction(transaction, context.chain_id)
        source, base_fee, max_fee, value = state.live(sender), context.base_fee, transaction.max_fee, transaction.value
        if transaction.nonce != source.nonce:
            word = "low" if transaction.nonce < source.nonce else "high"
            raise TransactionError(
                f"nonce too {word}: address 0x{sender.hex()}, tx: {transaction.nonce} state: {source.nonce}"
            )
        if max_fee < base_fee:
            raise TransactionError(
                f"max fee per gas less than block base fee: address 0x{sender.hex()}, "
                f"maxFeePerGas: {max_fee}, baseFee: {base_fee}"
            )
        if source.balance < transaction.gas * max_fee + value:
            raise TransactionError(
                f"insufficient funds for gas * price + value: address 0x{sender.hex()} "
                f"have {source.balance} want {transaction.max_cost}"
            )
        if gas_before + transaction.gas > context.gas_limit:
            raise TransactionError("gas limit reached")
        tip = min(transaction.max_priority_fee, max_fee - base_fee)
        source.nonce += 1
        source.balance -= value + gas * (base_fee + tip)
        assert transaction.to is not None
        if value:
            state.live(transaction.to).balance += value
        if tip:
            # The base fee itself is burned (EIP-1559).
            state.live(context.miner).balance += gas * tip
        return Receipt(1, gas_before + gas, gas, base_fee + tip, sender, transaction.hash, transaction.type)

    def call(self, message: Message, state: Accounts, context: BlockContext) -> bytes:
        self._check(message, context)
        sender, price, base_fee = f"address 0x{message.sender.hex()}", message.gas_price, context.base_fee
        needed = intrinsic_gas(message.data, message.access_list)
        gas = context.gas_limit if message.gas is None else min(message.gas, context.gas_limit)
        balance = state.account(message.sender).balance
        cost = (needed if message.gas is None else gas) * price + message.value
        if 0 < price < base_fee:
            fault = f"max fee per gas less than block base fee: {sender}, maxFeePerGas: {price}, baseFee: {base_fee}"
        elif balance < cost:
            fault = f"insufficient funds for gas * price + value: {sender} have {balance} want {cost}"
        elif gas < needed:
            fault = f"intrinsic gas too low: have {gas}, want {needed}"
        else:
            return b""
        raise CallError(f"err: {fault} (supplied gas {gas})")

    def _check(self, message: Message, context: BlockContext) -> None:
        if message.chain_id not in (None, context.chain_id):
            raise CallError(f"chainId does not match node's (have={message.chain_id}, want={context.chain_id})")
        if message.to is None:
            raise CallError("contract creation is not supported: this chain transfers value only")

    def estimate(self, message: Message, state: Accounts, context: BlockContext) -> int:
        self._check(message, context)
        needed = intrinsic_gas(message.data, message.access_list)
        balance = state.account(message.sender).balance
        if message.value > balance or (message.gas_price and message.value == balance):
            raise CallError("insufficient funds for transfer")
        allowance = context.gas_limit
        if message.gas is not None and message.gas >= _SMALLEST_GAS:  # less is no limit, for go-ethereum neither
            allowance = min(message.gas, allowance)
        if 0 < message.gas_price < context.base_fee:
            raise CallError(
                f"max fee per gas less than block base fee: address 0x{message.sender.hex()}, "
                f"maxFeePerGas: {message.gas_price}, baseFee: {context.base_fee}"
            )
        if message.gas_price:
            allowance = min(allowance, (balance - message.value) // message.gas_price)
        if needed > allowance:
            raise CallError(f"gas required exceeds allowance ({allowance})")
        return needed

    def code(self, address: bytes, state: Accounts) -> bytes:
        return b""

    def storage(self, address: bytes, slot: int, state: Accounts) -> bytes:
        return bytes(32)


@frozen
class BlockResult:
    """What the transactions of a block did."""

    receipts: tuple[Receipt, ...]
    changes: tuple[Change, ...]
    gas_used: int

    @property
    def receipts_root(self) -> bytes:
        return receipts_root(self.receipts)


def run_block(
    execution: Execution,
    transactions: Sequence[Transaction],
    senders: Sequence[bytes],
    state: State,
    context: BlockContext,
    recent: Recent | None = None,
) -> BlockResult:
    """Run a block's transactions; raises :exc:`TransactionError` naming the first that may not be there.

    :param recent: see :class:`Overlay`.
    """
    overlay = Overlay(state, recent)
    receipts: list[Receipt] = []
    gas_used = 0
    for index, (transaction, sender) in enumerate(zip(transactions, senders, strict=True)):
        try:
            receipt = execution.apply(transaction, sender, overlay, context, gas_used)
        except TransactionError as error:
            raise TransactionError(f"transaction {index} (0x{transaction.hash.hex()}): {error}") from None
        gas_used = receipt.cumulative_gas
        receipts.append(receipt)
    _reward(overlay, context)
    return BlockResult(tuple(receipts), overlay.changes(), gas_used)


def _reward(overlay: Overlay, context: BlockContext) -> None:
    if context.reward:
        overlay.live(context.miner).balance += context.reward


def mismatch(header: Header, result: BlockResult, state_root: bytes | None) -> str | None:
    """Return which of a header's claims the result contradicts, if any; ``None`` as *state_root*: not looked at."""
    if header.gas_used != result.gas_used:
        return f"gas used is {result.gas_used}, the header says {header.gas_used}"
    if header.receipts_root != result.receipts_root:
        return f"receipts root is 0x{result.receipts_root.hex()}, the header says 0x{header.receipts_root.hex()}"
    if state_root is not None and header.state_root != state_root:
        return f"state root is 0x{state_root.hex()}, the header says 0x{header.state_root.hex()}"
    return None


def fill_block(
    execution: Execution,
    candidates: Iterable[tuple[Transaction, bytes]],
    state: State,
    context: BlockContext,
    max_bytes: int,
) -> tuple[tuple[Transaction, ...], BlockResult]:
    """Take transactions for a new block from *candidates*, (transaction, sender) with the best first.

    One that does not fit or may not be there now is left out, and so is everything later of its sender.

    :param max_bytes: of all transactions together.
    """
    overlay = Overlay(state)
    chosen: list[Transaction] = []
    receipts: list[Receipt] = []
    skipped: set[bytes] = set()
    gas_used = size = 0
    for transaction, sender in candidates:
        if sender in skipped:
            continue
        try:
            if size + len(transaction.raw) + _ITEM_OVERHEAD > max_bytes:
                raise TransactionError("block size limit reached")
            receipt = execution.apply(transaction, sender, overlay, context, gas_used)
        except TransactionError:
            skipped.add(sender)
            continue
        gas_used = receipt.cumulative_gas
        size += len(transaction.raw) + _ITEM_OVERHEAD
        chosen.append(transaction)
        receipts.append(receipt)
        if context.gas_limit - gas_used < _SMALLEST_GAS:
            break
    _reward(overlay, context)
    return tuple(chosen), BlockResult(tuple(receipts), overlay.changes(), gas_used)
