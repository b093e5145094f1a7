"""A foreign chain that is nothing but a pool: items of opaque bytes, each with a signature that every node checks.

It is what an embedder writes who only wants items to travel: the public ``ITransactionPool`` beside a
:class:`~chainp2p.chain.stored.StoredChain` of one block. What is checked of an item is what gossipsub checks of a
message: that the key which it names has signed it.
"""

from hashlib import sha256
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from chainp2p.chain import rules
from chainp2p.chain.interfaces import (
    Admission,
    AdmissionResult,
    ITransactionPool,
    TransactionAdded,
    TransactionDropped,
    TransactionRefused,
)
from chainp2p.chain.stored import StoredChain
from chainp2p.primitives.secp256k1 import PrivateKey, sign, verify

__all__ = ["ItemChain", "sign_item"]

#: The newest items are kept.
KEPT = 5_000
#: Bytes of a compressed key, and of r || s, in front of what they sign.
KEY, SIGNATURE = 33, 64


def sign_item(private: bytes, payload: bytes) -> bytes:
    """Return the item: public key, signature, payload."""
    key = PrivateKey(private).public_key.format()
    return key + sign(private, sha256(payload).digest())[:SIGNATURE] + payload


@implementer(rules.IRules)
class _OneBlock:
    """Rules of a chain that never goes on."""

    def genesis(self) -> bytes:
        return rules.pack_block(b"items", ())

    def read_header(self, raw: bytes) -> rules.ReadHeader:
        if raw != b"items":
            raise ValueError("there is one block only")
        return rules.ReadHeader(sha256(raw).digest(), bytes(32), 0)

    def read_block(self, raw: bytes) -> rules.ReadBlock:
        header, transactions = rules.unpack_block(raw)
        if transactions:
            raise ValueError("there is one block only")
        return rules.ReadBlock(self.read_header(header), header, ())

    write_block = staticmethod(rules.pack_block)

    def check_header(self, header: rules.ReadHeader, parent: Any, ancestors: Any, now: float) -> rules.Summary:
        return rules.Summary(rank=bytes(32))

    def connect(self, block: rules.ReadBlock, state: rules.ByteMap) -> None:
        """Nothing is in it."""


@implementer(ITransactionPool)
class ItemChain(StoredChain):
    """See the module; the arguments are those of :class:`StoredChain` but the rules."""

    def __init__(self, **platform: Any) -> None:
        super().__init__(_OneBlock(), **platform)
        self._items: dict[bytes, bytes] = {}

    def admit(self, raw: bytes, local: bool) -> "Deferred[AdmissionResult]":
        hash = sha256(raw).digest()
        if hash in self._items:
            return succeed(AdmissionResult(Admission.KNOWN, hash))
        signed = KEY + SIGNATURE
        if not verify(raw[:KEY], raw[KEY:signed], sha256(raw[signed:]).digest()):
            self.events.publish(TransactionRefused(hash, "bad signature", local))
            return succeed(AdmissionResult(Admission.REJECTED, hash, "bad signature"))
        if len(self._items) >= KEPT:
            oldest = next(iter(self._items))
            del self._items[oldest]
            self.events.publish(TransactionDropped(oldest, "newer ones came"))
        self._items[hash] = raw
        self.events.publish(TransactionAdded(hash, len(raw), local))
        return succeed(AdmissionResult(Admission.ADMITTED, hash))

    def transaction(self, hash: bytes) -> bytes | None:
        return self._items.get(hash)

    def transaction_hashes(self) -> list[bytes]:
        return list(self._items)

    def transaction_hash(self, raw: bytes) -> bytes:
        return sha256(raw).digest()

    def precedence(self, hash: bytes) -> bytes:
        return hash
