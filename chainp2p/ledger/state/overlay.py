"""The accounts that a block changes while it runs, on top of a state and not yet part of any.

An account that is touched becomes a :class:`LiveAccount`, whose numbers are changed in place; it is encoded once a
block, whatever the block did to it. Blocks that are connected one after the other share their live accounts, so that
no state need be made between them, nor an account be read again.
"""

from typing import TypeAlias

from chainp2p.ledger.state.accounts import EMPTY_ACCOUNT, EMPTY_CODE_HASH, Account, Change, State, encode_account
from chainp2p.primitives.keccak import keccak256

__all__ = ["LiveAccount", "Overlay", "Recent"]


class LiveAccount:
    """One account whose nonce and balance (wei) are changed in place.

    :ivar key: keccak256 of its address.
    :ivar raw: encoded, as the block before left it; None: not in the state.
    :ivar touched: it may have been changed by the block that runs.
    """

    __slots__ = ("balance", "code_hash", "key", "nonce", "raw", "storage_root", "touched")

    def __init__(self, key: bytes, raw: bytes | None) -> None:
        account = EMPTY_ACCOUNT if raw is None else Account.decode(raw)
        self.key = key
        self.raw = raw
        self.nonce = account.nonce
        self.balance = account.balance
        self.storage_root = account.storage_root
        self.code_hash = account.code_hash
        self.touched = False

    def encode(self) -> bytes | None:
        """What the state is to hold: None for an account that is as if it never existed (EIP-161)."""
        if not self.nonce and not self.balance and self.code_hash == EMPTY_CODE_HASH:
            return None
        return encode_account(self.nonce, self.balance, self.storage_root, self.code_hash)


#: Live accounts by address.
Recent: TypeAlias = dict[bytes, LiveAccount]


class Overlay:
    """See the module.

    :param recent: the accounts as blocks since *base* left them; new ones are added.
    """

    __slots__ = ("_base", "_live", "_touched")

    def __init__(self, base: State, recent: Recent | None = None) -> None:
        self._base = base
        self._live: Recent = {} if recent is None else recent
        self._touched: list[LiveAccount] = []

    def _find(self, address: bytes) -> LiveAccount:
        live = self._live.get(address)
        if live is None:
            key = keccak256(address)
            live = self._live[address] = LiveAccount(key, self._base.raw(key))
        return live

    def account(self, address: bytes) -> Account:
        """Return the account as it is now."""
        live = self._find(address)
        return Account(live.nonce, live.balance, live.storage_root, live.code_hash)

    def live(self, address: bytes) -> LiveAccount:
        """Return the account of *address*, to be changed in place."""
        live = self._live.get(address) or self._find(address)
        if not live.touched:
            live.touched = True
            self._touched.append(live)
        return live

    def write(self, address: bytes, account: Account) -> None:
        """Replace the account of *address*."""
        live = self.live(address)
        live.nonce, live.balance = account.nonce, account.balance
        live.storage_root, live.code_hash = account.storage_root, account.code_hash

    def changes(self) -> tuple[Change, ...]:
        """End the block: return what differs from what was before it, in key order."""
        found = []
        for live in self._touched:
            live.touched = False
            old, new = live.raw, live.encode()
            if new != old:
                found.append(Change(live.key, old, new))
                live.raw = new
        self._touched = []
        found.sort()
        return tuple(found)
