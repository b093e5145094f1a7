"""Keys and proofs of Node Discovery v5.1 (devp2p ``discv5/discv5-theory.md``, "Sessions")."""

from hashlib import sha256
from typing import TypeAlias

from attrs import frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from chainp2p.primitives.secp256k1 import PublicKey, sign, verify

__all__ = ["SessionKeys", "decrypt", "derive_keys", "encrypt", "identity_proof", "proves_identity", "shared_secret"]

_KEY_SIZE = 16
_AGREEMENT = b"discovery v5 key agreement"
_PROOF = b"discovery v5 identity proof"


@frozen
class SessionKeys:
    """What the initiator (who answered the challenge) and the recipient encrypt with."""

    initiator: bytes
    recipient: bytes


def shared_secret(private: bytes, public: bytes) -> bytes:
    """Return the compressed product of a private key and a public one (33 bytes); ValueError if it is no key."""
    return PublicKey(public).multiply(private).format(compressed=True)


def derive_keys(secret: bytes, initiator_id: bytes, recipient_id: bytes, challenge: bytes) -> SessionKeys:
    """Return the keys of a session. *challenge*: the ``challenge-data`` of the WHOAREYOU that was answered."""
    info = _AGREEMENT + initiator_id + recipient_id
    material = HKDF(algorithm=SHA256(), length=2 * _KEY_SIZE, salt=challenge, info=info).derive(secret)
    return SessionKeys(material[:_KEY_SIZE], material[_KEY_SIZE:])


def _proof_digest(challenge: bytes, ephemeral: bytes, recipient_id: bytes) -> bytes:
    return sha256(_PROOF + challenge + ephemeral + recipient_id).digest()


def identity_proof(private: bytes, challenge: bytes, ephemeral: bytes, recipient_id: bytes) -> bytes:
    """Return the initiator's signature (r || s) over a challenge and its ephemeral key."""
    return sign(private, _proof_digest(challenge, ephemeral, recipient_id))[:64]


def proves_identity(public: bytes, signature: bytes, challenge: bytes, ephemeral: bytes, recipient_id: bytes) -> bool:
    """Tell whether *signature* is the proof of the node with the key *public* (x || y or SEC 1)."""
    return verify(public, signature, _proof_digest(challenge, ephemeral, recipient_id))


#: A key, or its cipher where it is used more than once: to make one takes ten times as long as to use it.
Key: TypeAlias = bytes | AESGCM


def encrypt(key: Key, nonce: bytes, plaintext: bytes, additional: bytes) -> bytes:
    """AES-128-GCM; the tag follows the ciphertext."""
    cipher = AESGCM(key) if isinstance(key, bytes) else key
    return cipher.encrypt(nonce, plaintext, additional)


def decrypt(key: Key, nonce: bytes, ciphertext: bytes, additional: bytes) -> bytes | None:
    """Return the plaintext, None if it is of another key or was changed."""
    cipher = AESGCM(key) if isinstance(key, bytes) else key
    try:
        return cipher.decrypt(nonce, ciphertext, additional)
    except InvalidTag:
        return None
