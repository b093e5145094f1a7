"""Writes blocks, headers, transactions and receipts as Ethereum's clients expect them. Pure.

Members and their presence follow go-ethereum (``internal/ethapi/api.go``), because client libraries validate them:
quantities are minimal hex, ``contractAddress`` is null, receipts carry nothing of our own. Added: ``seal`` in blocks
and headers, without which nobody could check the hash.
"""

from collections.abc import Sequence
from typing import Any

from chainp2p.ledger.formats.block import Block, assemble
from chainp2p.ledger.formats.header import EMPTY_BLOOM, EMPTY_OMMERS_HASH, Header
from chainp2p.ledger.formats.receipt import Receipt
from chainp2p.ledger.formats.transaction import DYNAMIC_FEE, LEGACY, Transaction
from chainp2p.primitives.keccak import keccak256
from chainp2p.rpc.values import hex_bytes

__all__ = [
    "block_object",
    "checksummed",
    "header_object",
    "pending_header_object",
    "pending_object",
    "receipt_object",
    "transaction_object",
]

_BLOOM = hex_bytes(EMPTY_BLOOM)
_OMMERS = hex_bytes(EMPTY_OMMERS_HASH)


def checksummed(address: bytes) -> str:
    """Write an address with its checksum in the case of letters (EIP-55)."""
    digits = address.hex()
    check = keccak256(digits.encode("ascii")).hex()
    return "0x" + "".join(d.upper() if c >= "8" else d for d, c in zip(digits, check, strict=False))


def header_object(header: Header) -> dict[str, Any]:
    """Write a header."""
    return {
        "baseFeePerGas": hex(header.base_fee),
        "difficulty": hex(header.difficulty),
        "extraData": hex_bytes(header.extra),
        "gasLimit": hex(header.gas_limit),
        "gasUsed": hex(header.gas_used),
        "hash": hex_bytes(header.hash),
        "logsBloom": _BLOOM,
        "miner": hex_bytes(header.miner),
        "mixHash": hex_bytes(header.mix_hash),
        "nonce": "0x" + header.nonce.to_bytes(8, "big").hex(),
        "number": hex(header.number),
        "parentHash": hex_bytes(header.parent),
        "receiptsRoot": hex_bytes(header.receipts_root),
        "seal": hex_bytes(header.seal),
        "sha3Uncles": _OMMERS,
        "stateRoot": hex_bytes(header.state_root),
        "timestamp": hex(header.timestamp),
        "transactionsRoot": hex_bytes(header.transactions_root),
    }


def block_object(block: Block, senders: Sequence[bytes] | None) -> dict[str, Any]:
    """Write a block; *senders* of its transactions to write those in full, None for their hashes."""
    header = block.header
    transactions: list[Any]
    if senders is None:
        transactions = [hex_bytes(transaction.hash) for transaction in block.transactions]
    else:
        transactions = [
            transaction_object(transaction, sender, header, index)
            for index, (transaction, sender) in enumerate(zip(block.transactions, senders, strict=True))
        ]
    return {**header_object(header), "size": hex(block.size), "transactions": transactions, "uncles": []}


def pending_header_object(header: Header) -> dict[str, Any]:
    """Write the header of the block that could come next; what only a seal decides is null, as geth writes it."""
    return {**header_object(header), **dict.fromkeys(("hash", "nonce", "miner"))}


def pending_object(header: Header, transactions: Sequence[tuple[Transaction, bytes]], full: bool) -> dict[str, Any]:
    """Write the block that could come next."""
    written = [
        transaction_object(transaction, sender) if full else hex_bytes(transaction.hash)
        for transaction, sender in transactions
    ]
    size = len(assemble(header.raw, [transaction.raw for transaction, _ in transactions]))
    return {**pending_header_object(header), "size": hex(size), "transactions": written, "uncles": []}


def transaction_object(
    transaction: Transaction, sender: bytes, header: Header | None = None, index: int | None = None
) -> dict[str, Any]:
    """Write a transaction; without a *header* it is pending."""
    price = transaction.max_fee if header is None else transaction.effective_gas_price(header.base_fee)
    written: dict[str, Any] = {
        "blockHash": None if header is None else hex_bytes(header.hash),
        "blockNumber": None if header is None else hex(header.number),
        "blockTimestamp": None if header is None else hex(header.timestamp),
        "from": hex_bytes(sender),
        "gas": hex(transaction.gas),
        "gasPrice": hex(price),
        "hash": hex_bytes(transaction.hash),
        "input": hex_bytes(transaction.data),
        "nonce": hex(transaction.nonce),
        "to": None if transaction.to is None else hex_bytes(transaction.to),
        "transactionIndex": None if index is None else hex(index),
        "value": hex(transaction.value),
        "type": hex(transaction.type),
        "r": hex(transaction.r),
        "s": hex(transaction.s),
    }
    if transaction.chain_id is not None:
        written["chainId"] = hex(transaction.chain_id)
    if transaction.type == LEGACY:
        base = 27 if transaction.chain_id is None else 35 + 2 * transaction.chain_id
        return {**written, "v": hex(base + transaction.parity)}
    parity = hex(transaction.parity)
    written |= {"v": parity, "yParity": parity, "accessList": _access_list(transaction)}
    if transaction.type == DYNAMIC_FEE:
        written["maxFeePerGas"] = hex(transaction.max_fee)
        written["maxPriorityFeePerGas"] = hex(transaction.max_priority_fee)
    return written


def _access_list(transaction: Transaction) -> list[dict[str, Any]]:
    return [
        {"address": hex_bytes(address), "storageKeys": [hex_bytes(key) for key in keys]}
        for address, keys in transaction.access_list
    ]


def receipt_object(block: Block, index: int, receipt: Receipt) -> dict[str, Any]:
    """Write the receipt of a block's transaction *index*."""
    to = block.transactions[index].to
    return {
        "blockHash": hex_bytes(block.hash),
        "blockNumber": hex(block.header.number),
        "contractAddress": None,
        "cumulativeGasUsed": hex(receipt.cumulative_gas),
        "effectiveGasPrice": hex(receipt.effective_gas_price),
        "from": hex_bytes(receipt.sender),
        "gasUsed": hex(receipt.gas_used),
        "logs": [],
        "logsBloom": _BLOOM,
        "status": hex(receipt.status),
        "to": None if to is None else hex_bytes(to),
        "transactionHash": hex_bytes(receipt.transaction_hash),
        "transactionIndex": hex(index),
        "type": hex(receipt.type),
    }
