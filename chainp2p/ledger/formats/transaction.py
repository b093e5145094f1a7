"""Signed transactions in Ethereum's three formats: legacy with EIP-155, EIP-2930 and EIP-1559.

The received bytes are kept and hashed as they are; the decoder is strict, so that one transaction has one encoding.
Execution-independent rules only: what depends on chain, state or block is checked in ``validation.py``.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from chainp2p.ledger.formats.addresses import address_of
from chainp2p.primitives import rlp
from chainp2p.primitives.keccak import keccak256
from chainp2p.primitives.rlp import RlpError
from chainp2p.primitives.secp256k1 import SignatureError, in_range, recover, sign

__all__ = [
    "ACCESS_LIST",
    "DYNAMIC_FEE",
    "LEGACY",
    "MAX_TRANSACTION_BYTES",
    "AccessList",
    "Transaction",
    "TransactionError",
    "recover_senders",
    "sign_transaction",
    "transaction_hash",
]

LEGACY, ACCESS_LIST, DYNAMIC_FEE = 0, 1, 2

#: Bytes of one transaction (go-ethereum ``core/txpool/legacypool``: four slots of 32 KiB).
MAX_TRANSACTION_BYTES = 128 * 1024

#: Fields before the signature, and in all, by type.
_UNSIGNED = {LEGACY: 6, ACCESS_LIST: 8, DYNAMIC_FEE: 9}

AccessList: TypeAlias = tuple[tuple[bytes, tuple[bytes, ...]], ...]


class TransactionError(ValueError):
    """A transaction that cannot be accepted; the text is go-ethereum's where it has one.

    :param malformed: nobody honest could have sent it (broken bytes, bad signature): the sender's fault.
    """

    def __init__(self, text: str, malformed: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.malformed = malformed


def transaction_hash(raw: bytes) -> bytes:
    """Return the id of a raw transaction, without checking it."""
    return keccak256(raw)


class Transaction(NamedTuple):
    """A decoded transaction; ``max_fee`` and ``max_priority_fee`` are both the gas price for types 0 and 1 (wei).

    It is a tuple because it is made by the million: a frozen attrs class takes three times as long.
    """

    raw: bytes
    hash: bytes
    type: int
    chain_id: int | None  #: None: not replay-protected (refused by every pool and block, but it has a hash)
    nonce: int
    max_priority_fee: int
    max_fee: int
    gas: int
    to: bytes | None  #: None: creates a contract
    value: int
    data: bytes
    access_list: AccessList
    signature: bytes  #: r || s || parity (65 bytes)

    @classmethod
    def decode(cls, raw: bytes, hash: bytes | None = None) -> "Transaction":
        """Decode strictly; raises :exc:`TransactionError`.

        :param hash: its id, where that is known.
        """
        return _usual(raw, hash) or _decode(raw, hash)

    @property
    def parity(self) -> int:
        """Of the point that the signature was made with."""
        return self.signature[64]

    @property
    def r(self) -> int:
        """The first half of the signature."""
        return int.from_bytes(self.signature[:32], "big")

    @property
    def s(self) -> int:
        """The second half of the signature."""
        return int.from_bytes(self.signature[32:64], "big")

    @property
    def signing_hash(self) -> bytes:
        """What the signature signs (EIP-155, EIP-2930, EIP-1559)."""
        return _signing_hash(self.raw, self.type, self.chain_id, self.signature)

    def sender(self) -> bytes:
        """Recover the 20-byte address of the signer (about 30 us; callers keep it); raises :exc:`TransactionError`."""
        try:
            return address_of(recover(self.signature, self.signing_hash))
        except SignatureError as error:
            raise TransactionError(f"invalid sender: {error}", malformed=True) from None

    @property
    def max_cost(self) -> int:
        """The most it can take from its sender (wei): what its balance must cover."""
        return self.gas * self.max_fee + self.value

    def effective_tip(self, base_fee: int) -> int:
        """What the miner gets per gas at *base_fee* (wei); negative when the fee cap is below it."""
        return min(self.max_priority_fee, self.max_fee - base_fee)

    def effective_gas_price(self, base_fee: int) -> int:
        """What the sender pays per gas at *base_fee* (wei)."""
        return min(self.max_priority_fee + base_fee, self.max_fee)


#: One of type 2 with a receiver and without access list, its numbers of usual size and r and s of all 32 bytes: nearly
#: all that are sent. One match is six times as fast as the decoder for everything.
_USUAL = re.compile(
    rb"\x02(?:\xf8(.)|\xf9(..))%b%b%b%b%b\x94(.{20})%b(.+)\xc0([\x80\x01])\xa0([\x01-\xff].{31})\xa0([\x01-\xff].{31})"
    % tuple(rlp.uint_pattern(size) for size in (8, 8, 12, 12, 8, 12)),
    re.DOTALL,
).fullmatch


def _usual(raw: bytes, hash: bytes | None) -> Transaction | None:
    """Decode one that is of the usual form; None: it is of another, or no transaction."""
    match = _USUAL(raw)
    if match is None:
        return None
    short, long, chain_id, nonce, tip, fee, gas, to, value, item, parity, r, s = match.groups()
    size = len(raw) - (3 if long is None else 4)
    if size != int.from_bytes(long or short, "big") or (long and size < 256) or not in_range(r, s):
        return None
    try:
        data = b"" if item == b"\x80" else rlp.decode(item)
    except RlpError:
        return None
    if not isinstance(data, bytes) or len(raw) > MAX_TRANSACTION_BYTES:
        return None
    uint = rlp.uint_of
    return Transaction(
        raw,
        keccak256(raw) if hash is None else hash,
        DYNAMIC_FEE,
        uint(chain_id),
        uint(nonce),
        uint(tip),
        uint(fee),
        uint(gas),
        to,
        uint(value),
        data,
        (),
        r + s + (b"\1" if parity == b"\1" else b"\0"),
    )


def _decode(raw: bytes, hash: bytes | None) -> Transaction:
    if len(raw) > MAX_TRANSACTION_BYTES:
        raise TransactionError(
            f"oversized data: transaction size {len(raw)}, limit {MAX_TRANSACTION_BYTES}", malformed=True
        )
    kind = _kind(raw)
    try:
        fields = rlp.decode_list(raw if kind == LEGACY else raw[1:])
        return _build(raw, hash, kind, fields)
    except RlpError as error:
        raise TransactionError(f"rlp: {error}", malformed=True) from None


def _kind(raw: bytes) -> int:
    first = raw[0] if raw else -1
    if first >= 0xC0:
        return LEGACY
    if first in (ACCESS_LIST, DYNAMIC_FEE):
        return first
    if not 0 <= first < 0x80:
        raise TransactionError("typed transaction too short" if first < 0 else "rlp: expected List", malformed=True)
    raise TransactionError("transaction type not supported", malformed=True)


def _build(raw: bytes, hash: bytes | None, kind: int, fields: Sequence[rlp.Item]) -> Transaction:
    expected = _UNSIGNED[kind] + 3
    if len(fields) != expected:
        raise RlpError(f"transaction of {len(fields)} fields, {expected} are expected")
    access_list: AccessList = ()
    if kind == LEGACY:
        nonce, tip, gas, to, value, data, v_field, r_field, s_field = fields
        max_fee = tip
        chain_id, parity = _legacy_v(rlp.decode_uint(v_field, 9))
    else:
        if kind == DYNAMIC_FEE:
            chain, nonce, tip, max_fee, gas, to, value, data, access, v_field, r_field, s_field = fields
        else:
            chain, nonce, tip, gas, to, value, data, access, v_field, r_field, s_field = fields
            max_fee = tip
        chain_id = rlp.decode_uint(chain, 8)
        access_list = _access_list(access)
        parity = rlp.decode_uint(v_field, 8)
    r, s = (rlp.decode_uint(part).to_bytes(32, "big") for part in (r_field, s_field))
    if parity > 1 or not in_range(r, s):
        raise TransactionError("invalid sender: invalid transaction v, r, s values", malformed=True)
    if not isinstance(data, bytes) or not isinstance(to, bytes):
        raise RlpError("bytes are expected, not a list")
    if len(to) not in (0, 20):
        raise RlpError(f"address of {len(to)} bytes")
    return Transaction(
        raw=raw,
        hash=keccak256(raw) if hash is None else hash,
        type=kind,
        chain_id=chain_id,
        nonce=rlp.decode_uint(nonce, 8),
        max_priority_fee=rlp.decode_uint(tip),
        max_fee=rlp.decode_uint(max_fee),
        gas=rlp.decode_uint(gas, 8),
        to=to or None,
        value=rlp.decode_uint(value),
        data=data,
        access_list=access_list,
        signature=r + s + bytes((parity,)),
    )


def _legacy_v(v: int) -> tuple[int | None, int]:
    """Split a legacy ``v`` into (chain id, parity); EIP-155: v = 35 + 2 * chain id + parity."""
    if v >= 35:
        return (v - 35) >> 1, (v - 35) & 1
    return None, v - 27 if v in (27, 28) else 2


def _access_list(item: rlp.Item) -> AccessList:
    if isinstance(item, bytes):
        raise RlpError("the access list is not a list")
    entries = []
    for entry in item:
        if isinstance(entry, bytes) or len(entry) != 2:
            raise RlpError("an access list entry is not [address, storage keys]")
        address, keys = entry
        if not isinstance(address, bytes) or len(address) != 20 or isinstance(keys, bytes):
            raise RlpError("an access list entry is not [address, storage keys]")
        if not all(isinstance(key, bytes) and len(key) == 32 for key in keys):
            raise RlpError("a storage key is not of 32 bytes")
        entries.append((address, tuple(key for key in keys if isinstance(key, bytes))))
    return tuple(entries)


def _signing_hash(raw: bytes, kind: int, chain_id: int | None, signature: bytes) -> bytes:
    """Hash the unsigned form: the raw fields as they are, for strictness makes them the canonical ones.

    The signature's fields are last, and their values tell how long they are.
    """
    start = 0 if kind == LEGACY else 1
    first = raw[start]
    body = start + (1 if first < 0xF8 else first - 0xF6)
    # both have 32 bytes and a prefix, as a rule
    end = len(raw) - (
        66 if signature[0] and signature[32] else _item_bytes(signature[:32]) + _item_bytes(signature[32:64])
    )
    if kind == LEGACY:
        parity = signature[64]
        v = 27 + parity if chain_id is None else 35 + 2 * chain_id + parity
        unsigned = raw[body : end - len(rlp.encode(rlp.encode_uint(v)))]
        if chain_id is not None:
            unsigned += rlp.encode(rlp.encode_uint(chain_id)) + b"\x80\x80"
        return keccak256(rlp.wrap_list(unsigned))
    return keccak256(raw[:1] + rlp.wrap_list(raw[body : end - 1]))


def _item_bytes(number: bytes) -> int:
    """How long the item of a *number* with leading zeros is; not 0."""
    digits = number.lstrip(b"\0")
    return 1 if digits[1:] == b"" and digits[0] < 0x80 else 1 + len(digits)


def recover_senders(transactions: Sequence[Transaction]) -> "list[bytes | TransactionError]":
    """Recover the senders of a chunk of transactions: the job for a thread (libsecp256k1 releases the GIL)."""
    senders: list[bytes | TransactionError] = []
    for transaction in transactions:
        try:
            senders.append(transaction.sender())
        except TransactionError as error:
            senders.append(error)
    return senders


def sign_transaction(
    private: bytes,
    *,
    chain_id: int | None,
    nonce: int,
    to: bytes | None,
    value: int = 0,
    gas: int = 21_000,
    max_fee: int,
    max_priority_fee: int | None = None,
    data: bytes = b"",
    access_list: AccessList = (),
    type: int = DYNAMIC_FEE,
) -> bytes:
    """Return the raw transaction signed with a 32-byte key; ``max_fee`` is the gas price for types 0 and 1 (wei).

    :param max_priority_fee: type 2 only; ``None``: all of ``max_fee``.
    """
    uint = rlp.encode_uint
    tip = max_fee if max_priority_fee is None else max_priority_fee
    fields: list[rlp.Item] = [uint(nonce), uint(max_fee), uint(gas), to or b"", uint(value), data]
    if type == LEGACY:
        unsigned = fields if chain_id is None else [*fields, uint(chain_id), b"", b""]
        signature = sign(private, keccak256(rlp.encode(unsigned)))
        v = signature[64] + (27 if chain_id is None else 35 + 2 * chain_id)
        return rlp.encode([*fields, uint(v), *_points(signature)])
    if chain_id is None:
        raise ValueError("typed transactions need a chain id")
    if type == DYNAMIC_FEE:
        fields.insert(1, uint(tip))
    fields = [uint(chain_id), *fields, [[address, list(keys)] for address, keys in access_list]]
    signature = sign(private, keccak256(bytes((type,)) + rlp.encode(fields)))
    return bytes((type,)) + rlp.encode([*fields, uint(signature[64]), *_points(signature)])


def _points(signature: bytes) -> tuple[bytes, bytes]:
    return signature[:32].lstrip(b"\0"), signature[32:64].lstrip(b"\0")
