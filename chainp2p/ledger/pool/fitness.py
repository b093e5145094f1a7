"""Which transaction may replace another, and which may stay after a block: rules that need no pool."""

from chainp2p.ledger.formats.transaction import Transaction
from chainp2p.ledger.state.accounts import Account

__all__ = ["PRICE_BUMP", "outbids", "unfit"]

#: A replacement pays at least this much more, in percent (geth ``--txpool.pricebump``).
PRICE_BUMP = 10


def outbids(new: Transaction, old: Transaction) -> bool:
    """Whether *new* may take the place of *old*, of the same sender and nonce."""
    return (
        new.max_fee > old.max_fee
        and new.max_priority_fee > old.max_priority_fee
        and new.max_fee >= old.max_fee * (100 + PRICE_BUMP) // 100
        and new.max_priority_fee >= old.max_priority_fee * (100 + PRICE_BUMP) // 100
    )


def unfit(transaction: Transaction, account: Account, mined: set[bytes]) -> str:
    """Why a pooled transaction has to go after a block that left *account* so, in the pool's words; empty: it may stay.

    :param mined: ids of the transactions that the block includes.
    """
    if transaction.hash in mined:
        return "included"
    if transaction.nonce < account.nonce:
        return f"nonce too low: next nonce {account.nonce}, tx nonce {transaction.nonce}"
    cost = transaction.max_cost
    if account.balance < cost:
        return (
            f"insufficient funds for gas * price + value: balance {account.balance}, "
            f"tx cost {cost}, overshot {cost - account.balance}"
        )
    return ""
