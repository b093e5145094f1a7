"""libp2p's forms of a public key: the key protobuf, and the peer id in base58."""

from hashlib import sha256

__all__ = ["base58", "key_protobuf", "libp2p_id", "peer_id_of_protobuf"]

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
#: Keys whose protobuf is at most this long are written whole in the id (libp2p "Peer Ids and Keys").
_INLINE_LIMIT = 42


def base58(data: bytes) -> str:
    """Return Bitcoin's base58 of *data*."""
    number = int.from_bytes(data, "big")
    digits = ""
    while number:
        number, rest = divmod(number, 58)
        digits = _ALPHABET[rest] + digits
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + digits


def key_protobuf(compressed: bytes) -> bytes:
    """Return the canonical protobuf of a compressed secp256k1 key (37 bytes)."""
    return b"\x08\x02\x12\x21" + compressed


def peer_id_of_protobuf(protobuf: bytes) -> str:
    """Return the base58 peer id of a key protobuf of any type."""
    if len(protobuf) <= _INLINE_LIMIT:
        return base58(bytes((0, len(protobuf))) + protobuf)
    return base58(b"\x12\x20" + sha256(protobuf).digest())


def libp2p_id(compressed: bytes) -> str:
    """Return the peer id of a compressed secp256k1 key."""
    return peer_id_of_protobuf(key_protobuf(compressed))
