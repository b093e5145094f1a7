"""Handlers of ``eth`` about accounts, calls, fees and sending."""

from json.encoder import encode_basestring_ascii
from typing import Any

from chainp2p.chain.interfaces import Admission
from chainp2p.ethapi.blocks import Blocks
from chainp2p.ethapi.feehistory import FeeHistory
from chainp2p.ethapi.fees import MAX_HISTORY, MAX_REWARD_HISTORY, TIP_BLOCKS, rewards_of, suggested_tip
from chainp2p.ethapi.params import BlockRef
from chainp2p.ledger.execution import BlockContext, CallError, Message
from chainp2p.ledger.formats.fees import base_fee_floor, next_base_fee
from chainp2p.ledger.state.accounts import State
from chainp2p.namespaces import INVALID_PARAMS, SERVER_ERROR, RpcError
from chainp2p.rpc.values import hex_bytes, text

__all__ = ["Calling"]

#: Storage slots of one proof (go-ethereum ``internal/ethapi/api.go``).
MAX_SLOTS = 1_024
#: Bytes of a storage slot.
SLOT = 32


def _slot(value: Any) -> bytes:
    """Read a storage slot, as many bytes as were written: hex digits with or without prefix and leading zeros."""
    written = text(value)
    digits = written[2:] if written[:2] in ("0x", "0X") else written
    digits = "0" * (len(digits) % 2) + digits
    if len(digits) > 2 * SLOT:
        raise RpcError(
            INVALID_PARAMS, f"storage key too long (want at most {SLOT} bytes): {encode_basestring_ascii(written)}"
        )
    if not digits.isascii() or (digits and not digits.isalnum()):
        raise RpcError(INVALID_PARAMS, f"invalid hex in storage key: {encode_basestring_ascii(written)}")
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise RpcError(INVALID_PARAMS, f"invalid hex in storage key: {encode_basestring_ascii(written)}") from None


def slot(value: Any) -> int:
    """Read the number of a storage slot."""
    return int.from_bytes(_slot(value))


def slots(value: Any) -> list[tuple[str, int]]:
    """Read a list of storage slots; each comes back as it was asked for, without leading zeros if it was short."""
    if not isinstance(value, list):
        raise ValueError("json: cannot unmarshal non-array into Go value of type []string")
    if len(value) > MAX_SLOTS:
        raise RpcError(INVALID_PARAMS, f"too many storage keys requested (max {MAX_SLOTS}, got {len(value)})")
    read = map(_slot, value)
    numbers = [(one, int.from_bytes(one)) for one in read]
    return [(hex_bytes(one) if len(one) == SLOT else hex(number), number) for one, number in numbers]


class Calling:
    """See the module."""

    def __init__(self, ledger: Any, blocks: Blocks) -> None:
        self._ledger = ledger
        self._blocks = blocks
        self._fees = FeeHistory(ledger)
        self._tip: tuple[bytes, int] = (b"", 0)

    def chain_id(self) -> str:
        return hex(self._ledger.chain_id)

    # -- accounts

    async def balance(self, address: bytes, ref: BlockRef) -> str:
        state = await self._blocks.accounts(ref)
        return hex(state.account(address).balance)

    async def transaction_count(self, address: bytes, ref: BlockRef) -> str:
        if ref == "pending":
            return hex(self._ledger.pool.pending_nonce(address))
        state = await self._blocks.accounts(ref)
        return hex(state.account(address).nonce)

    async def code(self, address: bytes, ref: BlockRef) -> str:
        state = await self._blocks.accounts(ref)
        return hex_bytes(self._ledger.execution.code(address, state))

    async def storage(self, address: bytes, slot: int, ref: BlockRef) -> str:
        state = await self._blocks.accounts(ref)
        return hex_bytes(self._ledger.execution.storage(address, slot, state))

    async def proof(self, address: bytes, slots: list[tuple[str, int]], ref: BlockRef) -> dict[str, Any]:
        """What the state root says of an account (EIP-1186); *slots*: (as asked, number)."""
        state = await self._blocks.accounts(ref)
        account, execution = state.account(address), self._ledger.execution
        return {
            "address": hex_bytes(address),
            "accountProof": [hex_bytes(node) for node in state.proof(address)],
            "balance": hex(account.balance),
            "codeHash": hex_bytes(account.code_hash),
            "nonce": hex(account.nonce),
            "storageHash": hex_bytes(account.storage_root),
            "storageProof": [
                {"key": asked, "value": hex(int.from_bytes(execution.storage(address, number, state))), "proof": []}
                for asked, number in slots
            ],
        }

    # -- calls

    async def _call_at(self, ref: BlockRef) -> tuple[State, BlockContext]:
        header, state = await self._blocks.state(ref)
        return state, BlockContext.of(header, self._ledger.chain_id)

    async def call(self, message: Message, ref: BlockRef, *overrides: Any) -> str:
        state, context = await self._call_at(ref)
        try:
            return hex_bytes(self._ledger.execution.call(message, state, context))
        except CallError as error:
            raise RpcError(SERVER_ERROR, str(error)) from None

    async def estimate_gas(self, message: Message, ref: BlockRef, *overrides: Any) -> str:
        state, context = await self._call_at(ref)
        try:
            return hex(self._ledger.execution.estimate(message, state, context))
        except CallError as error:
            raise RpcError(SERVER_ERROR, str(error)) from None

    # -- fees

    async def _suggested_tip(self) -> int:
        head = self._ledger.head
        if self._tip[0] != head.hash:
            points = await self._fees.until(head.hash, TIP_BLOCKS, True)
            self._tip = (head.hash, suggested_tip(points))
        return self._tip[1]

    async def gas_price(self) -> str:
        return hex(self._ledger.pool.base_fee + await self._suggested_tip())

    async def max_priority_fee(self) -> str:
        return hex(await self._suggested_tip())

    async def fee_history(self, count: int, newest: str | int, wanted: tuple[float, ...]) -> dict[str, Any]:
        if count < 1:
            return {"oldestBlock": "0x0", "gasUsedRatio": []}
        hash = await self._blocks.hash_of(newest)
        if hash is None:
            raise RpcError(
                SERVER_ERROR,
                f"request beyond head block: requested {newest}, head {self._ledger.head.height}",
            )
        count = min(count, MAX_REWARD_HISTORY if wanted else MAX_HISTORY)
        points = await self._fees.until(hash, count, bool(wanted))
        last, floor = points[-1], base_fee_floor(self._ledger.genesis.base_fee)
        following = next_base_fee(last.base_fee, last.gas_used, last.gas_limit, floor)
        history: dict[str, Any] = {
            "oldestBlock": hex(points[0].height),
            "baseFeePerGas": [hex(point.base_fee) for point in points] + [hex(following)],
            "gasUsedRatio": [point.ratio for point in points],
        }
        if wanted:
            history["reward"] = [rewards_of(point, wanted) for point in points]
        return history

    # -- sending

    async def send_raw(self, raw: bytes) -> str:
        result = await self._ledger.admit(raw, True)
        if result.outcome is Admission.ADMITTED:
            return hex_bytes(result.hash)
        known = result.outcome is Admission.KNOWN
        raise RpcError(SERVER_ERROR, "already known" if known else result.reason)
