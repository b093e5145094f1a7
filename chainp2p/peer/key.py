"""The node key: one secp256k1 key is the identity on UDP and TCP."""

import os
from collections.abc import Callable
from pathlib import Path

from attrs import field, frozen

from chainp2p.errors import SettingsError
from chainp2p.peer.libp2p import libp2p_id
from chainp2p.primitives.keccak import keccak256
from chainp2p.primitives.secp256k1 import ORDER, PublicKey, public_key, sign

__all__ = ["NodeKey", "read_key", "write_private"]


def write_private(path: Path, data: bytes) -> None:
    """Write a secret file (mode 0600) atomically; an existing one is replaced."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    os.replace(temporary, path)


def read_key(path: Path) -> bytes:
    """Return the 32-byte private key of a file that holds 64 hex digits; SettingsError names what is wrong."""
    try:
        text = path.read_text("ascii").strip().removeprefix("0x")
        private = bytes.fromhex(text)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise SettingsError(f"{path}: not a key: 64 hex digits are expected") from None
    if len(private) != 32 or not 0 < int.from_bytes(private, "big") < ORDER:
        raise SettingsError(f"{path}: not a secp256k1 private key (64 hex digits, 0 < key < group order)")
    return private


@frozen
class NodeKey:
    """A private key and what follows from it. *public* is x || y; *peer_id* is its keccak-256."""

    private: bytes = field(repr=False)
    public: bytes = field(init=False, repr=False)
    peer_id: bytes = field(init=False)

    @public.default
    def _public(self) -> bytes:
        return public_key(self.private)

    @peer_id.default
    def _peer_id(self) -> bytes:
        return keccak256(self.public)

    @property
    def compressed(self) -> bytes:
        """The public key as 33 bytes (SEC 1)."""
        return PublicKey(b"\x04" + self.public).format(compressed=True)

    @property
    def libp2p_id(self) -> str:
        """The same identity as libp2p writes it, ``16Uiu2HA...``."""
        return libp2p_id(self.compressed)

    def sign(self, digest: bytes) -> bytes:
        """Return r || s || parity (65 bytes) over a 32-byte digest."""
        return sign(self.private, digest)

    @classmethod
    def generate(cls, entropy: Callable[[int], bytes]) -> "NodeKey":
        """Make a key from *entropy* (``os.urandom`` in production)."""
        while True:
            private = entropy(32)
            if 0 < int.from_bytes(private, "big") < ORDER:
                return cls(private)

    @classmethod
    def load_or_create(cls, path: Path, entropy: Callable[[int], bytes]) -> "NodeKey":
        """Read the key of *path*, or make one and store it there with mode 0600."""
        if path.exists():
            return cls(read_key(path))
        key = cls.generate(entropy)
        write_private(path, key.private.hex().encode() + b"\n")
        return key
