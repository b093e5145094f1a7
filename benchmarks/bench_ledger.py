"""The ledger's formats against the packages that serve as oracles in its tests.

Sender recovery from raw transactions against eth-account (aim of the design: 3x), state roots against the trie
package (aim: 1,000 of 100,000 accounts in 60 ms), and RLP against the rlp package.
"""

from collections.abc import Callable, Sequence

import rlp as rlp_package
from eth_account import Account as Wallet
from measure import Aim, compare, show
from trie import HexaryTrie

from chainp2p.ledger.execution import BlockContext, ValueTransfers, run_block
from chainp2p.ledger.formats.genesis import DEV_ADDRESSES, DEV_GENESIS, DEV_KEYS
from chainp2p.ledger.formats.transaction import Transaction, sign_transaction
from chainp2p.ledger.state.accounts import Account
from chainp2p.ledger.state.ordered import ordered_root
from chainp2p.ledger.state.trie import HashedTrie
from chainp2p.primitives import rlp
from chainp2p.primitives.keccak import keccak256

ACCOUNTS = 100_000
UPDATES = 1_000
TRANSACTIONS = 200


def transfers() -> list[bytes]:
    return [
        sign_transaction(
            DEV_KEYS[index % 10],
            chain_id=DEV_GENESIS.chain_id,
            nonce=index // 10,
            to=DEV_ADDRESSES[(index + 1) % 10],
            value=index,
            max_fee=3 * 10**9,
            max_priority_fee=10**9,
        )
        for index in range(TRANSACTIONS)
    ]


def each(function: Callable[[bytes], object], raws: Sequence[bytes]) -> Callable[[], object]:
    def run() -> None:
        for raw in raws:
            function(raw)

    return run


def rows() -> list[tuple[bytes, bytes]]:
    return [(keccak256(index.to_bytes(20, "big")), Account(index, 10**18).encode()) for index in range(ACCOUNTS)]


def state_root(accounts: Sequence[tuple[bytes, bytes]]) -> Callable[[], object]:
    trie = HashedTrie.build(accounts)
    assert trie.root
    changed = Account(7, 7).encode()
    changes = [(key, changed) for key, _ in accounts[:: ACCOUNTS // UPDATES]]
    return lambda: trie.updated(changes).root


def package_state_root(accounts: Sequence[tuple[bytes, bytes]]) -> Callable[[], object]:
    trie = HexaryTrie({})
    with trie.squash_changes() as batch:
        for key, value in accounts:
            batch[key] = value
    changed = Account(7, 7).encode()

    def run() -> bytes:
        fork = HexaryTrie(trie.db, trie.root_hash)
        with fork.squash_changes() as batch:
            for key, _ in accounts[:: ACCOUNTS // UPDATES]:
                batch[key] = changed
        return fork.root_hash

    return run


def package_ordered_root(values: Sequence[bytes]) -> Callable[[], object]:
    def run() -> bytes:
        trie = HexaryTrie({})
        with trie.squash_changes() as batch:
            for index, value in enumerate(values):
                batch[rlp_package.encode(index)] = value
        return trie.root_hash

    return run


def one_block(raws: Sequence[bytes]) -> Callable[[], object]:
    transactions = [Transaction.decode(raw) for raw in raws]
    senders = [transaction.sender() for transaction in transactions]
    state = DEV_GENESIS.state
    context = BlockContext(DEV_GENESIS.chain_id, 1, 1, DEV_ADDRESSES[0], DEV_GENESIS.base_fee, 30_000_000)

    def run() -> tuple[bytes, bytes]:
        result = run_block(ValueTransfers(), transactions, senders, state, context)
        return state.updated(result.changes).root, result.receipts_root

    return run


def main() -> None:
    raws = transfers()
    header = DEV_GENESIS.header.raw
    accounts = rows()
    own_root, other_root = state_root(accounts), package_state_root(accounts)
    assert own_root() == other_root()
    lines = [
        *compare(
            "sender from a raw transaction",
            each(lambda raw: Transaction.decode(raw).sender(), raws),
            [Aim("eth-account", each(Wallet.recover_transaction, raws), 3)],
            operations=len(raws),
            rounds=7,
        ),
        *compare(
            f"root of {TRANSACTIONS} transactions",
            lambda: ordered_root(raws),
            [Aim("trie package", package_ordered_root(raws), None)],
            rounds=7,
        ),
        *compare(
            f"state root, {UPDATES} of {ACCOUNTS} accounts",
            own_root,
            [Aim("trie package", other_root, None)],
            rounds=5,
        ),
        *compare(
            "header, RLP decoded",
            lambda: rlp.decode(header),
            [Aim("rlp package", lambda: rlp_package.decode(header), None)],
        ),
        *compare(
            f"run {TRANSACTIONS} transfers, roots included",
            one_block(raws),
            [Aim("their senders alone", each(lambda raw: Transaction.decode(raw).sender(), raws), None)],
            operations=len(raws),
            rounds=7,
        ),
    ]
    show(lines, ("eth-account", "trie", "rlp", "coincurve"))


if __name__ == "__main__":
    main()
