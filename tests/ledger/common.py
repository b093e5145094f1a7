"""What the ledger's tests share: keys, and transactions that need no thought."""

from chainp2p.ledger.formats.genesis import DEV_ADDRESSES, DEV_KEYS
from chainp2p.ledger.formats.transaction import Transaction, sign_transaction

CHAIN_ID = 31337
GWEI = 10**9


def raw_transfer(sender: int = 0, nonce: int = 0, **fields: object) -> bytes:
    """A transfer signed by dev account *sender*, to the next dev account unless told otherwise."""
    settings = {
        "chain_id": CHAIN_ID,
        "to": DEV_ADDRESSES[(sender + 1) % 10],
        "value": 1,
        "max_fee": 3 * GWEI,
        "max_priority_fee": GWEI,
        **fields,
    }
    return sign_transaction(DEV_KEYS[sender], nonce=nonce, **settings)


def transfer(sender: int = 0, nonce: int = 0, **fields: object) -> Transaction:
    return Transaction.decode(raw_transfer(sender, nonce, **fields))
