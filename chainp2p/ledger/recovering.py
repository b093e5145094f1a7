"""Recovering many senders: pure work, for a process of its own (``Executor.process``).

A task is the transactions of a chunk, the answer their senders one after the other. So nothing is decoded here whose
parts would have to travel, and what is wrong with a transaction is found by whoever connects its block.
"""

import struct
from collections.abc import Iterable, Iterator

from chainp2p.ledger.formats.transaction import Transaction, TransactionError

__all__ = ["NOBODY", "pack", "recover_packed", "unpack"]

#: Stands for the sender of what has none. (An address is the end of a hash of a key: nobody has one for this.)
NOBODY = bytes(20)

_LENGTH = struct.Struct(">I")


def pack(raws: Iterable[bytes]) -> bytes:
    """The task to recover the senders of these transactions: each behind its length (u32, big endian)."""
    return b"".join([part for raw in raws for part in (_LENGTH.pack(len(raw)), raw)])


def unpack(answer: bytes) -> list[bytes]:
    """The senders in an answer, in the order of the transactions."""
    return [answer[at : at + len(NOBODY)] for at in range(0, len(answer), len(NOBODY))]


def recover_packed(task: bytes) -> Iterator[bytes | None]:
    """Yield None after each transaction, and at last all senders."""
    senders, at = [], 0
    while at < len(task):
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(task, at)[0]
        try:
            senders.append(Transaction.decode(task[start:at], b"").sender())  # nobody asks for its hash
        except TransactionError:
            senders.append(NOBODY)
        yield None
    yield b"".join(senders)
