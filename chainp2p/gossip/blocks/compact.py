"""Blocks in compact form: made of a block, and turned into one with what the pool has."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Protocol

from attrs import define, frozen

from chainp2p.wire.messages import (
    COMPACT_TRANSACTIONS,
    PREFILLED,
    PREFILLED_BYTES,
    SHORT_ID,
    CompactBlock,
    FoundCompactBlock,
)

__all__ = ["Draft", "Form", "Pool", "draft", "pack_indexes", "prefill", "read_indexes"]

#: A body up to this size goes whole: round trips for it would cost more than its bytes.
SMALL = 1_024

#: (id, raw) of each, as ``IChain.split`` has them.
Transactions = Sequence[tuple[bytes, bytes]]


class Pool(Protocol):
    """What is needed of ``ITransactionPool``."""

    def transaction(self, hash: bytes) -> bytes | None: ...

    def transaction_hashes(self) -> Iterable[bytes]: ...

    def transaction_hash(self, raw: bytes) -> bytes: ...


def _short(key: bytes, id: bytes) -> bytes:
    """The key is the block's hash, so that a collision found for one block is none for any other: nobody can have one
    ready, and there is no time to look for one while a block spreads."""
    return blake2b(id, key=key, digest_size=SHORT_ID).digest()


@frozen
class Form:
    """A block taken apart, from which compact forms for many peers are made.

    :ivar shorts: the short id of each transaction.
    """

    header: bytes
    transactions: Transactions
    shorts: list[bytes]

    @classmethod
    def of(cls, hash: bytes, header: bytes, transactions: Transactions) -> "Form":
        """Take block *hash*, as ``IChain.split`` gives it."""
        return cls(header, transactions, [_short(hash, id) for id, _ in transactions])

    @property
    def compact(self) -> bool:
        """Whether it can be sent in compact form: not with too many transactions."""
        return len(self.shorts) <= COMPACT_TRANSACTIONS

    def pushed(self, whole: Collection[int] = (), checked: bool = True) -> CompactBlock:
        """Return what is pushed, with the transactions at *whole* in it."""
        return CompactBlock(self.header, *self._parts(whole), int(checked))

    def found(self, whole: Collection[int] = ()) -> FoundCompactBlock:
        """Return what is answered."""
        return FoundCompactBlock(self.header, *self._parts(whole))

    def _parts(self, whole: Collection[int]) -> tuple[bytes, tuple[tuple[int, bytes], ...]]:
        rest = [short for at, short in enumerate(self.shorts) if at not in whole] if whole else self.shorts
        return b"".join(rest), tuple((at, self.transactions[at][1]) for at in sorted(whole))

    @property
    def size(self) -> int:
        """Bytes of its transactions."""
        return sum(len(raw) for _, raw in self.transactions)


def prefill(transactions: Transactions, *guesses: Collection[int]) -> set[int]:
    """Return the positions of what to send whole.

    1. All of a small body.
    2. Of each of *guesses* at what the receiver lacks, the surest first, all or nothing: if something remains to be
       asked for, the round trip is made anyway, and what was sent beside comes once from each who pushes.
    """
    if sum(len(raw) for _, raw in transactions) <= SMALL and len(transactions) <= PREFILLED:
        return set(range(len(transactions)))
    taken: set[int] = set()
    room = PREFILLED_BYTES
    for guess in guesses:
        more = set(guess) - taken
        size = sum(len(transactions[at][1]) for at in more)
        if size <= room and len(taken) + len(more) <= PREFILLED:
            taken |= more
            room -= size
    return taken


@define(eq=False)
class Draft:
    """A block in the making.

    :ivar slots: its transactions; None: missing.
    :ivar ids: and their ids.
    :ivar lacked: positions of what the pool did not have.
    """

    key: bytes
    header: bytes
    slots: list[bytes | None]
    ids: list[bytes]
    lacked: set[int]
    _shorts: dict[int, bytes]

    @property
    def form(self) -> Form:
        """The block taken apart, with nothing for what is missing."""
        transactions = tuple((id, raw or b"") for id, raw in zip(self.ids, self.slots, strict=True))
        shorts = [self._shorts.get(at) or _short(self.key, id) for at, id in enumerate(self.ids)]
        return Form(self.header, transactions, shorts)

    @property
    def missing(self) -> list[int]:
        """Positions of what is still to be asked for, ascending."""
        return [at for at, raw in enumerate(self.slots) if raw is None]

    def put(self, raws: Sequence[bytes], id_of: Callable[[bytes], bytes]) -> bool:
        """Take the answer for all that is missing; False if one is not what its short id says.

        Who sent both contradicts itself, for an honest node makes them of one block.
        """
        missing = self.missing
        if len(raws) != len(missing):
            raise ValueError(f"{len(raws)} transactions for {len(missing)} places")
        try:
            ids = [id_of(raw) for raw in raws]
        except ValueError:
            return False
        if any(_short(self.key, id) != self._shorts[at] for at, id in zip(missing, ids, strict=True)):
            return False
        for at, id, raw in zip(missing, ids, raws, strict=True):
            self.slots[at], self.ids[at] = raw, id
        return True


def draft(message: CompactBlock | FoundCompactBlock, hash: bytes, pool: Pool) -> Draft:
    """Begin block *hash* with what came whole and what *pool* has; ValueError: *message* is no compact form.

    1. Where two transactions of the block, or two of the pool, have one short id, none of them is taken: the sender
       is asked.
    2. The pool is looked through only until everything is found. A second match that would have come later is noticed
       by the header, which the body must match.
    """
    shorts = _positions(message)
    slots: list[bytes | None] = [None] * (len(shorts) + len(message.prefilled))
    ids = [b""] * len(slots)
    lacked = set(shorts)
    for at, raw in message.prefilled:
        slots[at], ids[at] = raw, pool.transaction_hash(raw)
        if pool.transaction(ids[at]) is None:
            lacked.add(at)
    wanted: dict[bytes, int] = {}
    twice: set[bytes] = set()
    for at, short in shorts.items():
        if short in wanted:
            twice.add(short)
        wanted[short] = at
    for short in twice:
        del wanted[short]
    found = _search(hash, wanted, pool)
    for short, id in found.items():
        at = wanted[short]
        slots[at], ids[at] = pool.transaction(id), id
        if slots[at] is not None:
            lacked.discard(at)
    return Draft(hash, message.header, slots, ids, lacked, shorts)


def _search(key: bytes, wanted: Collection[bytes], pool: Pool) -> dict[bytes, bytes]:
    """Return the id in the pool for each short id that has one and only one, as far as was looked."""
    found: dict[bytes, bytes] = {}
    clashed: set[bytes] = set()
    if wanted:
        for id in pool.transaction_hashes():
            short = _short(key, id)
            if short not in wanted or short in clashed:
                continue
            if short in found:
                del found[short]
                clashed.add(short)
                continue
            found[short] = id
            if len(found) == len(wanted):
                break
    return found


def _positions(message: CompactBlock | FoundCompactBlock) -> dict[int, bytes]:
    """Return the short id at each position that has one."""
    data = message.short_ids
    count, rest = divmod(len(data), SHORT_ID)
    total = count + len(message.prefilled)
    whole = [at for at, _ in message.prefilled]
    if rest or total > COMPACT_TRANSACTIONS:
        raise ValueError("short ids do not add up")
    if any(at >= total for at in whole) or any(one >= next for one, next in zip(whole, whole[1:], strict=False)):
        raise ValueError("positions of whole transactions do not ascend within the block")
    taken = set(whole)
    free = (at for at in range(total) if at not in taken)
    return {at: data[n * SHORT_ID : (n + 1) * SHORT_ID] for n, at in enumerate(free)}


def pack_indexes(positions: Iterable[int]) -> bytes:
    """Return the bit map of *positions*, as ``GetBlockTransactions`` has it."""
    bits = 0
    for at in positions:
        bits |= 1 << at
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def read_indexes(bits: bytes) -> Iterator[int]:
    """Return the positions in a bit map, ascending."""
    return (8 * n + bit for n, octet in enumerate(bits) for bit in range(8) if octet >> bit & 1)
