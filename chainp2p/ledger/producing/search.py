"""The search for a nonce: pure work in slices, for a process of its own (``Executor.process``)."""

from collections.abc import Iterator
from itertools import count

from attrs import frozen

from chainp2p.primitives import rlp
from chainp2p.primitives.keccak import keccak256

__all__ = ["Task", "search"]

#: Hashes between two chances to stop: some 20 us.
SLICE = 16

_NONCES = 2**64


@frozen
class Task:
    """Find a nonce that makes ``keccak256(before + nonce + after)`` at most *target*, from *start* upwards."""

    before: bytes
    after: bytes
    target: int
    start: int

    def encode(self) -> bytes:
        uint = rlp.encode_uint
        return rlp.encode([self.before, self.after, uint(self.target), uint(self.start)])

    @classmethod
    def decode(cls, data: bytes) -> "Task":
        before, after, target, start = rlp.decode_list(data)
        assert isinstance(before, bytes) and isinstance(after, bytes)
        return cls(before, after, rlp.decode_uint(target), rlp.decode_uint(start))


def search(data: bytes) -> Iterator[bytes | None]:
    """Yield None after each slice of hashes, and at last the 8 bytes of a nonce that will do."""
    task = Task.decode(data)
    target = task.target.to_bytes(32, "big")
    for first in count(task.start, SLICE):
        for nonce in range(first, first + SLICE):
            guess = (nonce % _NONCES).to_bytes(8, "big")
            if keccak256(task.before + guess + task.after) <= target:
                yield guess
                return
        yield None
