"""The blocks of the toy chain as bytes."""

from collections.abc import Sequence
from hashlib import sha256
from struct import Struct, error

from attrs import frozen

__all__ = ["GENESIS", "HEADER", "ToyHeader", "join_body", "split_body"]

HEADER = Struct("<32sQQQ32s8s")


@frozen
class ToyHeader:
    """A header: *weight* adds to the rank and must not be 0; *time* is Unix time in milliseconds."""

    parent: bytes
    height: int
    weight: int
    time: int
    body: bytes
    salt: bytes

    @property
    def raw(self) -> bytes:
        return HEADER.pack(self.parent, self.height, self.weight, self.time, self.body, self.salt)

    @classmethod
    def decode(cls, raw: bytes) -> "ToyHeader":
        """Read the header at the start of *raw*; ValueError if it is too short."""
        try:
            return cls(*HEADER.unpack_from(raw))
        except error as problem:
            raise ValueError(str(problem)) from None


def join_body(transactions: Sequence[bytes]) -> bytes:
    return b"".join(len(raw).to_bytes(4, "little") + raw for raw in transactions)


def split_body(body: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(body):
        end = at + 4 + int.from_bytes(body[at : at + 4], "little")
        if end > len(body):
            raise ValueError("body ends within a transaction")
        found.append(body[at + 4 : end])
        at = end
    return found


#: The header and body of the first block.
GENESIS = ToyHeader(bytes(32), 0, 1, 0, sha256(b"").digest(), bytes(8)).raw
