"""Why a transaction of the pool is in no block yet, and what the pool's reasons are in a word."""

from chainp2p.chain.interfaces import TransactionStanding
from chainp2p.ledger.pool.pool import Pool
from chainp2p.ledger.pool.pooled import Pooled, Sender

__all__ = ["reason_code", "standing"]

#: Beginnings of reasons that say the same in other words, or too much; the first that fits.
_CODES = {
    "transaction underpriced: the pool is full": "evicted",
    "transaction underpriced: ": "fee_too_low",
    "max fee per gas less than block base fee": "fee_too_low",
    "transaction underpriced": "pool_full",
    "future transaction tries to replace pending": "pool_full",
    "replacement transaction underpriced": "replacement_underpriced",
    "insufficient funds": "insufficient_funds",
    "account limit exceeded": "account_limit",
    "only replay-protected": "not_replay_protected",
    "contract creation": "contract_creation",
    "too many with a gap": "too_many_gapped",
}


def reason_code(reason: str) -> str:
    """Return a word for a reason of the pool; others have one of their first words, up to a colon or figures."""
    for beginning, code in _CODES.items():
        if reason.startswith(beginning):
            return code
    words = "".join(char if char.isalpha() else " " for char in reason.partition(":")[0].lower()).split()
    return "_".join(words)


def standing(pool: Pool, hash: bytes) -> TransactionStanding | None:
    """Return what keeps a pooled transaction from being included; None: it is not in the pool."""
    entry, owner = pool.entry(hash), pool.owner(hash)
    if entry is None or owner is None:
        return None
    most = entry.transaction.max_fee
    figures = {"nonce": entry.nonce, "account_nonce": owner.account.nonce, "max_fee": most, "base_fee": pool.base_fee}
    if entry.nonce >= owner.end:
        text = f"its nonce is {entry.nonce}, and of its sender nothing with nonce {owner.end} is here"
        return TransactionStanding(False, "gapped_nonce", text, {**figures, "missing_nonce": owner.end})
    if most < pool.base_fee:
        text = f"it pays at most {most} wei per gas, and the base fee of the next block is {pool.base_fee}"
        return TransactionStanding(False, "fee_below_base", text, figures)
    before = _unpaid_before(pool, owner, entry)
    if before is not None:
        text = f"the one of its sender with nonce {before} comes before it, and pays less than the base fee"
        return TransactionStanding(False, "behind_earlier", text, {**figures, "earlier_nonce": before})
    ahead, gas = _ahead(pool, hash)
    figures |= {"ahead": ahead, "gas_ahead": gas, "gas_limit": pool.gas_limit}
    if gas + entry.transaction.gas > pool.gas_limit:
        text = f"{ahead} that pay the producer more fill the next block"
        return TransactionStanding(False, "outbid", text, figures)
    text = f"the next block can have it, after {ahead} that pay the producer more"
    return TransactionStanding(False, "waiting", text, figures)


def _unpaid_before(pool: Pool, owner: Sender, entry: Pooled) -> int | None:
    """The first nonce before that of *entry* whose transaction no block takes now."""
    nonces = range(owner.account.nonce, entry.nonce)
    return next((nonce for nonce in nonces if owner.entries[nonce].transaction.max_fee < pool.base_fee), None)


def _ahead(pool: Pool, hash: bytes) -> tuple[int, int]:
    """How many a block would take before it, and their gas."""
    count = gas = 0
    for transaction, _ in pool.best():
        if transaction.hash == hash:
            break
        count += 1
        gas += transaction.gas
    return count, gas
