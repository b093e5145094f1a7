"""EIP-1559: the base fee of the next block, and how far the gas limit may move. Fees in wei per gas."""

__all__ = [
    "GAS_LIMIT_MINIMUM",
    "base_fee_floor",
    "gas_limit_allowed",
    "next_base_fee",
    "next_gas_limit",
]

#: A full block doubles the target (EIP-1559).
ELASTICITY = 2
#: A block moves the base fee by at most an eighth (EIP-1559).
MAX_CHANGE_DENOMINATOR = 8
#: The smallest base fee, in wei: below 8 the eighth rounds to nothing, and a base fee of 0 breaks wallets.
BASE_FEE_MINIMUM = 7

#: A block's gas limit stays strictly within a 1024th of its parent's (yellow paper, 4.3.4).
GAS_LIMIT_BOUND_DIVISOR = 1024
#: The smallest gas limit (yellow paper, 4.3.4).
GAS_LIMIT_MINIMUM = 5000


def base_fee_floor(genesis_base_fee: int) -> int:
    """Return the base fee that no block goes below: the genesis's own, at least 7 wei."""
    return max(BASE_FEE_MINIMUM, genesis_base_fee)


def next_base_fee(base_fee: int, gas_used: int, gas_limit: int, floor: int) -> int:
    """Return the base fee of the block after one with these figures."""
    target = gas_limit // ELASTICITY
    if gas_used == target:
        return max(base_fee, floor)
    delta = base_fee * abs(gas_used - target) // target // MAX_CHANGE_DENOMINATOR
    if gas_used > target:
        return max(base_fee + max(delta, 1), floor)
    return max(base_fee - delta, floor)


def gas_limit_allowed(parent: int, limit: int) -> bool:
    """Tell whether a block may have gas limit *limit* after one with *parent*."""
    return abs(limit - parent) < parent // GAS_LIMIT_BOUND_DIVISOR and limit >= GAS_LIMIT_MINIMUM


def next_gas_limit(parent: int, wanted: int) -> int:
    """Return the gas limit nearest to *wanted* that may follow *parent*."""
    step = max(parent // GAS_LIMIT_BOUND_DIVISOR - 1, 0)
    return max(min(max(wanted, parent - step), parent + step), GAS_LIMIT_MINIMUM)
