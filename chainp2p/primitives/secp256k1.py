"""secp256k1 keys and signatures by libsecp256k1 (``coincurve``): always low-s, RFC 6979, the GIL released."""

from coincurve import PrivateKey, PublicKey
from coincurve._libsecp256k1 import ffi, lib  # type: ignore[import-not-found]
from coincurve.context import GLOBAL_CONTEXT
from coincurve.flags import EC_UNCOMPRESSED

__all__ = ["ORDER", "PrivateKey", "PublicKey", "SignatureError", "in_range", "public_key", "recover", "sign", "verify"]

#: Order of the group (SEC 2, section 2.4.1).
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

#: As 32 bytes, whose order is that of the numbers: nothing, and the largest r and s that are allowed.
_ZERO, _R_MAX, _S_MAX = bytes(32), (ORDER - 1).to_bytes(32, "big"), (ORDER // 2).to_bytes(32, "big")


class SignatureError(ValueError):
    """The signature is malformed, not low-s, or gives no key."""


def public_key(private: bytes) -> bytes:
    """Return x || y (64 bytes) of the public key of a 32-byte private key."""
    return PrivateKey(private).public_key.format(compressed=False)[1:]


def sign(private: bytes, digest: bytes) -> bytes:
    """Return r || s || parity (65 bytes) over a 32-byte digest."""
    return PrivateKey(private).sign_recoverable(digest, hasher=None)


def in_range(r: bytes, s: bytes) -> bool:
    """Tell whether 0 < r < order and 0 < s <= order / 2, of 32 bytes each."""
    return _ZERO < r <= _R_MAX and _ZERO < s <= _S_MAX


def _check_low_s(signature: bytes) -> None:
    if len(signature) < 64:
        raise SignatureError(f"signature of {len(signature)} bytes")
    if not in_range(signature[:32], signature[32:64]):
        raise SignatureError("r or s out of range, or s not low")


def recover(signature: bytes, digest: bytes) -> bytes:
    """Return x || y of the key that made the 65-byte *signature*; raises :exc:`SignatureError`.

    The library is called as coincurve's own classes call it, without these: the calls let other threads run, the
    objects do not.
    """
    _check_low_s(signature)
    if len(signature) != 65 or signature[64] > 1:
        raise SignatureError("recoverable signature must be 65 bytes with parity 0 or 1")
    if len(digest) != 32:
        raise SignatureError(f"digest of {len(digest)} bytes")
    new, context = ffi.new, GLOBAL_CONTEXT.ctx
    parsed, key = new("secp256k1_ecdsa_recoverable_signature *"), new("secp256k1_pubkey *")
    if not (
        lib.secp256k1_ecdsa_recoverable_signature_parse_compact(context, parsed, signature, signature[64])
        and lib.secp256k1_ecdsa_recover(context, key, parsed, digest)
    ):
        raise SignatureError("no key recovers from this signature")
    point = new("unsigned char[65]")
    lib.secp256k1_ec_pubkey_serialize(context, point, new("size_t *", 65), key, EC_UNCOMPRESSED)
    return ffi.buffer(point)[1:]  # type: ignore[no-any-return]


def verify(public: bytes, signature: bytes, digest: bytes) -> bool:
    """Tell whether the 64-byte r || s is *public*'s (any SEC 1 form, or x || y) over *digest*; high s is refused."""
    if len(signature) < 64 or len(digest) != 32 or not in_range(signature[:32], signature[32:64]):
        return False
    point = b"\x04" + public if len(public) == 64 else public
    new, context = ffi.new, GLOBAL_CONTEXT.ctx
    key, parsed = new("secp256k1_pubkey *"), new("secp256k1_ecdsa_signature *")
    return bool(
        lib.secp256k1_ec_pubkey_parse(context, key, point, len(point))
        and lib.secp256k1_ecdsa_signature_parse_compact(context, parsed, signature[:64])
        and lib.secp256k1_ecdsa_verify(context, parsed, digest, key)
    )
