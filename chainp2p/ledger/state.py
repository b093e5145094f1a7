"""Accounts: Ethereum's account encoding, the state as a value, and the overlay a block writes into.

A :class:`State` never changes: ``state.updated(changes)`` answers the next one and shares what did not change, so that
the states of recent blocks may be kept side by side. What is written to disk is rows: ``Change`` holds, per account,
the hashed key and the encoded account before and after; the new values go to the table of accounts, the whole change
to the undo rows of the block. ``State.load(rows)`` is how a start gets it back.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, TypeAlias

from attrs import frozen

from chainp2p.ledger.trie import EMPTY_ROOT, HashedTrie
from chainp2p.primitives import rlp
from chainp2p.primitives.keccak import keccak256

__all__ = ["EMPTY_ACCOUNT", "EMPTY_CODE_HASH", "Account", "Accounts", "Change", "Overlay", "Recent", "State"]

#: keccak256 of no code at all.
EMPTY_CODE_HASH = bytes.fromhex("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470")


@frozen
class Account:
    """What the state holds of one address; the balance in wei."""

    nonce: int = 0
    balance: int = 0
    storage_root: bytes = EMPTY_ROOT
    code_hash: bytes = EMPTY_CODE_HASH

    @property
    def empty(self) -> bool:
        """Whether it is as if it never existed (EIP-161); such accounts are not in the trie."""
        return not self.nonce and not self.balance and self.code_hash == EMPTY_CODE_HASH

    def encode(self) -> bytes:
        """Return RLP([nonce, balance, storage root, code hash]); 70 to 110 bytes."""
        uint, item = rlp.encode_uint, rlp.encode
        body = b"%b%b\xa0%b\xa0%b" % (
            item(uint(self.nonce)),
            item(uint(self.balance)),
            self.storage_root,
            self.code_hash,
        )
        # 68 to 108 bytes: always the long form with one byte of length
        return b"\xf8%c%b" % (len(body), body)

    @classmethod
    def decode(cls, raw: bytes) -> "Account":
        """Decode what :meth:`encode` made; raises :exc:`RlpError` on anything else."""
        nonce, balance, storage_root, code_hash = rlp.decode_list(raw)
        if not isinstance(storage_root, bytes) or not isinstance(code_hash, bytes):
            raise rlp.RlpError("an account holds no lists")
        return cls(rlp.decode_uint(nonce, 8), rlp.decode_uint(balance), storage_root, code_hash)


EMPTY_ACCOUNT = Account()


@frozen
class Change:
    """One account before and after; ``None``: not in the state. *key* = keccak256(address)."""

    key: bytes
    old: bytes | None
    new: bytes | None


class Accounts(Protocol):
    """Anything that accounts can be read from."""

    def account(self, address: bytes) -> Account:
        """Return the account of a 20-byte address; an address nobody used has an empty one."""
        ...


class State:
    """All accounts after one block; immutable."""

    __slots__ = ("_trie",)

    def __init__(self, trie: HashedTrie | None = None) -> None:
        self._trie = HashedTrie() if trie is None else trie

    @classmethod
    def load(cls, rows: Iterable[tuple[bytes, bytes]]) -> "State":
        """Return the state of (hashed key, encoded account) *rows*."""
        return cls(HashedTrie.build(rows))

    @classmethod
    def of(cls, accounts: Mapping[bytes, Account]) -> "State":
        """Return the state that holds *accounts* by address; empty ones are left out."""
        return cls.load(
            (keccak256(address), account.encode()) for address, account in accounts.items() if not account.empty
        )

    @property
    def root(self) -> bytes:
        """The state root."""
        return self._trie.root

    def account(self, address: bytes) -> Account:
        """Return the account of *address* (about 3 us)."""
        raw = self._trie.get(keccak256(address))
        return EMPTY_ACCOUNT if raw is None else Account.decode(raw)

    def proof(self, address: bytes) -> list[bytes]:
        """Return the nodes of the trie from the root to *address*, or to where it would be."""
        return self._trie.proof(keccak256(address))

    def raw(self, key: bytes) -> bytes | None:
        """Return the encoded account of a hashed key, if it is in the state."""
        return self._trie.get(key)

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (hashed key, encoded account) in key order."""
        return self._trie.rows()

    def updated(self, changes: Iterable[Change]) -> "State":
        """Return the state after *changes*; the same object when there are none."""
        trie = self._trie.updated((change.key, change.new) for change in changes)
        return self if trie is self._trie else State(trie)

    def reverted(self, changes: Iterable[Change]) -> "State":
        """Return the state before *changes*: the inverse of :meth:`updated`."""
        trie = self._trie.updated((change.key, change.old) for change in changes)
        return self if trie is self._trie else State(trie)


#: By address: hashed key, encoded account (None: not in the state), and the account itself.
Recent: TypeAlias = dict[bytes, tuple[bytes, bytes | None, Account]]


class Overlay:
    """Accounts written on top of a state, not yet part of any: what a block does while it runs.

    :param recent: accounts as blocks since *base* left them; :meth:`changes` adds its own. Blocks that are connected
        one after the other share it, so that the state need not be made anew for each, nor accounts be read again.
    """

    __slots__ = ("_base", "_found", "_shared", "_written")

    def __init__(self, base: State, recent: Recent | None = None) -> None:
        self._base = base
        self._shared = recent is not None
        self._found: Recent = {} if recent is None else recent
        self._written: dict[bytes, Account] = {}

    def _before(self, address: bytes) -> tuple[bytes, bytes | None, Account]:
        found = self._found.get(address)
        if found is None:
            key = keccak256(address)
            raw = self._base.raw(key)
            found = self._found[address] = key, raw, EMPTY_ACCOUNT if raw is None else Account.decode(raw)
        return found

    def account(self, address: bytes) -> Account:
        """Return the account as written last, else the state's."""
        return self._written.get(address) or self._before(address)[2]

    def write(self, address: bytes, account: Account) -> None:
        """Replace the account of *address*."""
        self._written[address] = account

    def add_balance(self, address: bytes, amount: int) -> None:
        """Add *amount* (wei, may be negative) to a balance."""
        account = self.account(address)
        self._written[address] = Account(
            account.nonce, account.balance + amount, account.storage_root, account.code_hash
        )

    def changes(self) -> tuple[Change, ...]:
        """Return what differs from the state below, in key order."""
        found = []
        for address, account in self._written.items():
            key, old, _ = self._before(address)
            new = None if account.empty else account.encode()
            if new != old:
                found.append(Change(key, old, new))
                if self._shared:
                    self._found[address] = key, new, account
        found.sort(key=_key)
        return tuple(found)


def _key(change: Change) -> bytes:
    return change.key
