"""secp256k1 keys and signatures by libsecp256k1 (``coincurve``): always low-s, RFC 6979, the GIL released."""

from coincurve import PrivateKey, PublicKey
from coincurve.ecdsa import cdata_to_der, deserialize_compact

__all__ = ["ORDER", "PrivateKey", "PublicKey", "SignatureError", "public_key", "recover", "sign", "verify"]

#: Order of the group (SEC 2, section 2.4.1).
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class SignatureError(ValueError):
    """The signature is malformed, not low-s, or gives no key."""


def public_key(private: bytes) -> bytes:
    """Return x || y (64 bytes) of the public key of a 32-byte private key."""
    return PrivateKey(private).public_key.format(compressed=False)[1:]


def sign(private: bytes, digest: bytes) -> bytes:
    """Return r || s || parity (65 bytes) over a 32-byte digest."""
    return PrivateKey(private).sign_recoverable(digest, hasher=None)


def _check_low_s(signature: bytes) -> None:
    if len(signature) < 64:
        raise SignatureError(f"signature of {len(signature)} bytes")
    r = int.from_bytes(signature[:32], "big")
    s = int.from_bytes(signature[32:64], "big")
    if not (0 < r < ORDER and 0 < s <= ORDER // 2):
        raise SignatureError("r or s out of range, or s not low")


def recover(signature: bytes, digest: bytes) -> bytes:
    """Return x || y of the key that made the 65-byte *signature*; raises :exc:`SignatureError`."""
    _check_low_s(signature)
    if len(signature) != 65 or signature[64] > 1:
        raise SignatureError("recoverable signature must be 65 bytes with parity 0 or 1")
    try:
        return PublicKey.from_signature_and_message(signature, digest, hasher=None).format(compressed=False)[1:]
    except Exception as error:
        raise SignatureError("no key recovers from this signature") from error


def verify(public: bytes, signature: bytes, digest: bytes) -> bool:
    """Tell whether the 64-byte r || s is *public*'s (any SEC 1 form, or x || y) over *digest*; high s is refused."""
    try:
        _check_low_s(signature)
        key = PublicKey(b"\x04" + public if len(public) == 64 else public)
        return key.verify(cdata_to_der(deserialize_compact(signature[:64])), digest, hasher=None)
    except ValueError:
        return False
