"""Proof of authority: signers take slots in turn (design: "Consensus", poa). Header rules that need no state.

``slot = floor(ms since genesis / periodMs)`` and its signer is ``list(height)[slot mod n]``; an absent signer leaves a
gap. With ``periodMs`` 0 (on demand) there is one signer and a slot is just the parent's + 1. All times are compared in
milliseconds; *now* is Unix time in seconds.
"""

from struct import Struct

from attrs import frozen

from chainp2p.ledger.consensus.engine import UNSEEN, HeaderInvalid, check_line, fee_after
from chainp2p.ledger.consensus.finality import (
    Mark,
    Tally,
    Vote,
    count_vote,
    decode_tally,
    encode_tally,
    first_tally,
    span_count,
)
from chainp2p.ledger.formats.fees import base_fee_floor
from chainp2p.ledger.formats.genesis import Genesis, Poa
from chainp2p.ledger.formats.header import Header, HeaderError
from chainp2p.primitives import rlp
from chainp2p.primitives.secp256k1 import sign

__all__ = ["SlotEntry", "Slots", "rank_of", "seal_header"]

#: A header may be early by a quarter of a period and by no more than this, in milliseconds: clocks differ.
EARLY_MS_MAX = 250
#: On demand a header's timestamp may be ahead of the clock by this many seconds.
EARLY_SECONDS_ON_DEMAND = 15
#: On demand, at most one block in this time, in seconds.
ON_DEMAND_INTERVAL = 0.05
#: Slack for sums of floating-point seconds, in milliseconds, so that a timer set for a slot's start finds it begun.
ROUNDING_MS = 0.01
#: How long a signer without ready peers waits after a start, in seconds, where 2n periods are less.
WARM_UP_SECONDS = 10.0

_SLOT_MAX = 2**64 - 1

_RANK = Struct(">QQQQ").pack


@frozen(eq=False)
class SlotEntry:
    """What the tree keeps of a sealed header: what its children are checked against, and the count of votes."""

    slot: int
    base: int
    signer: bytes
    timestamp: int
    gas_limit: int
    gas_used: int
    base_fee: int
    tally: Tally

    @property
    def producer(self) -> bytes:
        return self.signer

    @property
    def justified(self) -> Mark:
        return self.tally.justified

    @property
    def finalized(self) -> Mark:
        return self.tally.finalized

    @property
    def pieces(self) -> int:
        """Spans of votes: a signer leaves a gap when it comes back from another branch."""
        return span_count(self.tally)

    def __repr__(self) -> str:
        return f"<SlotEntry slot {self.slot}>"


def rank_of(entry: SlotEntry, height: int) -> bytes:
    """Rank: slot of J, total difficulty (1 a block, the genesis's own 1 included), earlier slot."""
    return _RANK(0, entry.tally.justified.slot, height + 1, _SLOT_MAX - entry.slot)


def seal_header(header: Header, key: bytes) -> Header:
    """Return *header* with the seal of the 32-byte private *key*."""
    return header.sealed(sign(key, header.seal_hash))


class Slots:
    """The slot rules of one network."""

    finalizes = True
    reward = 0

    def __init__(self, genesis: Genesis) -> None:
        assert isinstance(genesis.consensus, Poa)
        self.period_ms = genesis.consensus.period_ms
        self.genesis_time = genesis.header.timestamp
        self._genesis = genesis
        self._floor = base_fee_floor(genesis.base_fee)

    @property
    def on_demand(self) -> bool:
        """Whether blocks are sealed when there is something to include, not by the clock."""
        return self.period_ms == 0

    def signers(self, height: int) -> tuple[bytes, ...]:
        """The signer list in force at *height*."""
        return self._genesis.signers_at(height)

    def in_turn(self, height: int, slot: int) -> bytes:
        """Address of the signer whose turn *slot* is in a block at *height*."""
        return _in_turn(self.signers(height), slot)

    def slot_at(self, now: float) -> int:
        """The slot that runs at *now*; below 1 before the first; 0 on demand."""
        if self.on_demand:
            return 0
        return int((now - self.genesis_time) * 1000 + ROUNDING_MS) // self.period_ms

    def start_of(self, slot: int) -> float:
        """When *slot* starts, in Unix seconds."""
        return self.genesis_time + slot * self.period_ms / 1000

    def timestamp(self, slot: int) -> int:
        """The one timestamp that a block of *slot* may carry."""
        return self.genesis_time + slot * self.period_ms // 1000

    def base_fee_after(self, parent: SlotEntry) -> int:
        """The base fee of *parent*'s children."""
        return fee_after(parent, self._floor)

    def rank(self, entry: SlotEntry, height: int) -> bytes:
        """See :func:`rank_of`."""
        return rank_of(entry, height)

    def not_before(self, header: Header) -> float:
        """The earliest *now* at which *header* is acceptable."""
        if self.on_demand:
            return header.timestamp - EARLY_SECONDS_ON_DEMAND
        return self.start_of(header.nonce) - min(self.period_ms / 4, EARLY_MS_MAX) / 1000

    def is_early(self, header: Header, now: float) -> bool:
        """Whether *header* comes from the future."""
        return (self.not_before(header) - now) * 1000 > ROUNDING_MS

    def first(self) -> SlotEntry:
        """The entry of the genesis block."""
        header = self._genesis.header
        tally = first_tally(header.hash, self.signers(0))
        return SlotEntry(0, 0, b"", header.timestamp, header.gas_limit, header.gas_used, header.base_fee, tally)

    def check(self, header: Header, parent: SlotEntry, height: int, sealer: bytes | None = None) -> SlotEntry:
        """Check a header against its parent at *height* - 1 and count its vote; raises :exc:`HeaderInvalid`.

        Whether it is early is asked apart, since that is no fault.
        """
        slot = header.nonce
        base = int.from_bytes(header.mix_hash, "big")
        check_line(header, parent, height, self._floor)
        if header.difficulty != 1:
            raise HeaderInvalid(f"difficulty {header.difficulty}, must be 1")
        if slot <= parent.slot:
            raise HeaderInvalid(f"slot {slot} is not above the parent's {parent.slot}")
        if base >= slot:
            raise HeaderInvalid(f"base {base} is not below slot {slot}")
        if self.on_demand:
            if slot != parent.slot + 1:
                raise HeaderInvalid(f"slot {slot} does not follow the parent's {parent.slot}")
            if header.timestamp < parent.timestamp:
                raise HeaderInvalid(f"timestamp {header.timestamp} is before the parent's {parent.timestamp}")
        elif header.timestamp != self.timestamp(slot):
            raise HeaderInvalid(f"timestamp {header.timestamp} is not that of slot {slot} ({self.timestamp(slot)})")
        signers = self.signers(height)
        signer = _in_turn(signers, slot)
        if sealer is None:
            try:
                sealer = header.sealer()
            except HeaderError as error:
                raise HeaderInvalid(str(error)) from None
        if sealer not in (signer, UNSEEN):
            raise HeaderInvalid(f"sealed by 0x{sealer.hex()}, but slot {slot} is the turn of 0x{signer.hex()}")
        return _counted(header, parent, base, signer, signers)

    def entry(self, header: Header, parent: SlotEntry, height: int, signer: bytes) -> SlotEntry:
        """The entry of a header that is known to be good."""
        return _counted(header, parent, int.from_bytes(header.mix_hash, "big"), signer, self.signers(height))

    # -- what is stored: the signer, and the count of votes where a restart may begin with it

    def pack(self, entry: SlotEntry, whole: bool) -> bytes:
        return rlp.encode([entry.signer, encode_tally(entry.tally) if whole else b""])

    def unpack(self, header: Header, rest: bytes) -> SlotEntry:
        signer, tally = rlp.decode_list(rest)
        assert isinstance(signer, bytes) and isinstance(tally, bytes)
        base = int.from_bytes(header.mix_hash, "big") if header.number else 0
        return _entry(header, base, signer, decode_tally(tally))

    def follow(self, header: Header, rest: bytes, parent: SlotEntry, height: int) -> SlotEntry:
        signer = rlp.decode_list(rest)[0]
        assert isinstance(signer, bytes)
        return self.entry(header, parent, height, signer)


def _in_turn(signers: tuple[bytes, ...], slot: int) -> bytes:
    return signers[slot % len(signers)]


def _counted(header: Header, parent: SlotEntry, base: int, signer: bytes, signers: tuple[bytes, ...]) -> SlotEntry:
    vote = Vote(header.nonce, header.hash, signer, base, signers)
    return _entry(header, base, signer, count_vote(parent.tally, vote))


def _entry(header: Header, base: int, signer: bytes, tally: Tally) -> SlotEntry:
    fees = header.gas_limit, header.gas_used, header.base_fee
    return SlotEntry(header.nonce, base, signer, header.timestamp, *fees, tally)
