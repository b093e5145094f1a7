"""Accounts: Ethereum's account encoding, and the state as a value.

A :class:`State` never changes: ``state.updated(changes)`` answers the next one and shares what did not change, so that
the states of recent blocks may be kept side by side. What is written to disk is rows: ``Change`` holds, per account,
the hashed key and the encoded account before and after; the new values go to the table of accounts, the whole change
to the undo rows of the block. ``State.load(rows)`` is how a start gets it back.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from attrs import frozen

from chainp2p.ledger.state.trie import EMPTY_ROOT, HashedTrie
from chainp2p.primitives import rlp
from chainp2p.primitives.keccak import keccak256

__all__ = ["EMPTY_ACCOUNT", "EMPTY_CODE_HASH", "Account", "Accounts", "Change", "State", "encode_account"]

#: keccak256 of no code at all.
EMPTY_CODE_HASH = bytes.fromhex("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470")


#: An account with a balance of usual size.
_USUAL = re.compile(
    rb"\xf8.%b%b\xa0(.{32})\xa0(.{32})" % (rlp.uint_pattern(8), rlp.uint_pattern(12)), re.DOTALL
).fullmatch


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
        return encode_account(self.nonce, self.balance, self.storage_root, self.code_hash)

    @classmethod
    def decode(cls, raw: bytes) -> "Account":
        """Decode what :meth:`encode` made; raises :exc:`RlpError` on anything else."""
        match = _USUAL(raw)
        if match is not None and raw[1] == len(raw) - 2:
            first, second, storage_root, code_hash = match.groups()
            return cls(rlp.uint_of(first), rlp.uint_of(second), storage_root, code_hash)
        nonce, balance, storage_root, code_hash = rlp.decode_list(raw)
        if not isinstance(storage_root, bytes) or not isinstance(code_hash, bytes):
            raise rlp.RlpError("an account holds no lists")
        return cls(rlp.decode_uint(nonce, 8), rlp.decode_uint(balance), storage_root, code_hash)


def encode_account(nonce: int, balance: int, storage_root: bytes, code_hash: bytes) -> bytes:
    """See :meth:`Account.encode`."""
    body = b"%b%b\xa0%b\xa0%b" % (rlp.uint_item(nonce), rlp.uint_item(balance), storage_root, code_hash)
    # 68 to 108 bytes: always the long form with one byte of length
    return b"\xf8%c%b" % (len(body), body)


EMPTY_ACCOUNT = Account()


class Change(NamedTuple):
    """One account before and after; ``None``: not in the state. *key* = keccak256(address).

    A tuple, since blocks make many.
    """

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
    def trie(self) -> HashedTrie:
        """The accounts by their hashed keys."""
        return self._trie

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
