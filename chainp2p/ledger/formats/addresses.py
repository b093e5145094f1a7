"""The account of a key, as Ethereum has it."""

from chainp2p.primitives.keccak import keccak256

__all__ = ["address_of"]


def address_of(public: bytes) -> bytes:
    """The 20-byte address of a public key, x || y."""
    return keccak256(public)[12:]
