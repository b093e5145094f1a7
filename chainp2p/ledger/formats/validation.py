"""Rules for transactions that need neither state nor block: what holds on this chain for good."""

from chainp2p.ledger.formats.transaction import AccessList, Transaction, TransactionError

__all__ = ["check_transaction", "intrinsic_gas"]

#: Gas of any transaction, of a zero and of another byte of data (EIP-2028), of an address and of a storage key in
#: an access list (EIP-2930).
TRANSACTION_GAS = 21_000
ZERO_BYTE_GAS = 4
DATA_BYTE_GAS = 16
ACCESS_ADDRESS_GAS = 2_400
ACCESS_KEY_GAS = 1_900

#: The highest nonce an account can reach is one more (EIP-2681).
NONCE_LIMIT = (1 << 64) - 1


def intrinsic_gas(data: bytes, access_list: AccessList = ()) -> int:
    """Return the gas that a transaction costs before it does anything; all it costs where there is no code."""
    gas = TRANSACTION_GAS
    if data:
        zeros = data.count(0)
        gas += zeros * ZERO_BYTE_GAS + (len(data) - zeros) * DATA_BYTE_GAS
    for _, keys in access_list:
        gas += ACCESS_ADDRESS_GAS + len(keys) * ACCESS_KEY_GAS
    return gas


def check_transaction(transaction: Transaction, chain_id: int) -> int:
    """Check what no state can change and return the intrinsic gas; raises :exc:`TransactionError`, texts as geth's.

    None of it is *malformed*: the bytes are a good transaction, if not one for this chain.
    """
    if transaction.chain_id is None:
        raise TransactionError("only replay-protected (EIP-155) transactions allowed over RPC")
    if transaction.chain_id != chain_id:
        raise TransactionError(
            f"invalid sender: invalid chain id for signer: have {transaction.chain_id} want {chain_id}"
        )
    if transaction.to is None:
        raise TransactionError("contract creation is not supported: this chain transfers value only")
    if transaction.max_fee < transaction.max_priority_fee:
        raise TransactionError(
            "max priority fee per gas higher than max fee per gas: "
            f"maxPriorityFeePerGas: {transaction.max_priority_fee}, maxFeePerGas: {transaction.max_fee}"
        )
    if transaction.nonce >= NONCE_LIMIT:
        raise TransactionError("nonce has max value")
    needed = intrinsic_gas(transaction.data, transaction.access_list)
    if transaction.gas < needed:
        raise TransactionError(f"intrinsic gas too low: gas {transaction.gas}, minimum needed {needed}")
    return needed
