"""Keccak-256 as Ethereum uses it (the padding before FIPS 202 changed it)."""

from sha3 import keccak_256 as _keccak_256

__all__ = ["keccak256"]


def keccak256(data: bytes) -> bytes:
    """Return the 32-byte Keccak-256 digest of *data*."""
    return _keccak_256(data).digest()  # type: ignore[no-any-return]
