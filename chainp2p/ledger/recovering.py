"""Recovering many signers: pure work, for a process of its own (``Executor.process``).

A task is the transactions of a chunk, or headers, the answer the addresses whose keys signed them. So nothing is
decoded here whose parts would have to travel, and what is wrong with one is found by whoever takes it in.
"""

import struct
from collections.abc import Iterable, Iterator
from enum import Enum

from chainp2p.ledger.formats.header import Header, HeaderError
from chainp2p.ledger.formats.transaction import Transaction, TransactionError

__all__ = ["NOBODY", "Signed", "pack", "recover_packed", "unpack"]

#: Stands for the signer of what has none. (An address is the end of a hash of a key: nobody has one for this.)
NOBODY = bytes(20)

_LENGTH = struct.Struct(">I")


class Signed(Enum):
    """What is in a task: its first byte."""

    TRANSACTIONS = b"t"
    HEADERS = b"h"


def pack(what: Signed, raws: Iterable[bytes]) -> bytes:
    """The task to recover the signers of these: each behind its length (u32, big endian)."""
    return what.value + b"".join([part for raw in raws for part in (_LENGTH.pack(len(raw)), raw)])


def unpack(answer: bytes) -> list[bytes]:
    """The addresses in an answer, in the order of what was signed."""
    return [answer[at : at + len(NOBODY)] for at in range(0, len(answer), len(NOBODY))]


def _signer(what: Signed, raw: bytes) -> bytes:
    try:
        if what is Signed.HEADERS:
            return Header.decode(raw).sealer()
        return Transaction.decode(raw, b"").sender()  # nobody asks for its hash
    except (HeaderError, TransactionError):
        return NOBODY


def recover_packed(task: bytes) -> Iterator[bytes | None]:
    """Yield None after each, and at last all addresses."""
    what, found, at = Signed(task[:1]), [], 1
    while at < len(task):
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(task, at)[0]
        found.append(_signer(what, task[start:at]))
        yield None
    yield b"".join(found)
