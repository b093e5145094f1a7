"""Proof of work: whoever finds a header whose hash is low enough adds a block (design: "Consensus", pow).

Rules of a header, each with its reason:

- ``keccak256(header) <= floor((2^256-1) / difficulty)``, checked first, for it costs one hash and nothing else can be
  sent for free;
- the difficulty is that of ``asert.py``: anchor is block 1, which has the genesis's own difficulty, and what counts is
  how late the *parent* is. Block 0 is no anchor, since years may lie between a genesis file and the first miner;
- the timestamp is above the median of the last 11, so that no single miner can hold time back, and not more than 15 s
  ahead of the clock (*not yet*, no fault), so that none can push it far;
- the seal is empty and mixHash is zero: the work is in the 8-byte nonce alone, 2^64 tries a template;
- rank is the total difficulty, genesis's included, as a number of 32 bytes.

Nothing becomes final by itself. Times are compared in whole seconds; *now* is Unix time in seconds.
"""

from attrs import frozen

from chainp2p.ledger.consensus.asert import MAX_TARGET, difficulty_of, exponent, scaled, target_of
from chainp2p.ledger.consensus.engine import HeaderInvalid, check_line, fee_after
from chainp2p.ledger.consensus.finality import Mark
from chainp2p.ledger.formats.fees import base_fee_floor
from chainp2p.ledger.formats.genesis import Genesis, Pow
from chainp2p.ledger.formats.header import Header
from chainp2p.primitives import rlp

__all__ = ["EARLY_SECONDS", "MEDIAN_OF", "Work", "WorkEntry"]

#: A header's timestamp may be ahead of the clock by this many seconds: clocks differ.
EARLY_SECONDS = 15
#: A timestamp has to be above the median of so many before it (Bitcoin's rule).
MEDIAN_OF = 11

_NO_MIX = bytes(32)


@frozen(eq=False)
class WorkEntry:
    """What the tree keeps of a mined header: of constant size, and all that its children are checked against.

    :param slot: its height.
    :param times: timestamps of the last 11 headers, its own last.
    :param began: timestamp of block 1; 0 in the genesis block.
    :param total: difficulty of all blocks up to it.
    """

    slot: int
    producer: bytes
    times: tuple[int, ...]
    began: int
    total: int
    gas_limit: int
    gas_used: int
    base_fee: int
    finalized: Mark

    signer = b""
    base = 0
    pieces = 0

    @property
    def timestamp(self) -> int:
        return self.times[-1]

    @property
    def justified(self) -> Mark:
        return self.finalized

    @property
    def median(self) -> int:
        """The next timestamp has to be above this."""
        return sorted(self.times)[len(self.times) // 2]

    def __repr__(self) -> str:
        return f"<WorkEntry height {self.slot}>"


class Work:
    """The rules of one network."""

    finalizes = False
    on_demand = False

    def __init__(self, genesis: Genesis) -> None:
        pow = genesis.consensus
        assert isinstance(pow, Pow)
        self.period_ms = pow.period_ms
        self.half_life = pow.half_life
        self.reward = pow.reward
        self._header = genesis.header
        self._anchor = target_of(genesis.header.difficulty)
        self._floor = base_fee_floor(genesis.base_fee)

    def difficulty_after(self, parent: WorkEntry) -> int:
        """The difficulty of *parent*'s children."""
        if not parent.slot:
            return self._header.difficulty
        late = (parent.timestamp - parent.began) * 1000 - self.period_ms * (parent.slot - 1)
        return difficulty_of(scaled(self._anchor, exponent(late, self.half_life)))

    def base_fee_after(self, parent: WorkEntry) -> int:
        return fee_after(parent, self._floor)

    def not_before(self, header: Header) -> float:
        return header.timestamp - EARLY_SECONDS

    def is_early(self, header: Header, now: float) -> bool:
        return self.not_before(header) > now

    def rank(self, entry: WorkEntry, height: int) -> bytes:
        return entry.total.to_bytes(32, "big")

    def first(self) -> WorkEntry:
        header = self._header
        fees = header.gas_limit, header.gas_used, header.base_fee
        mark = Mark(0, header.hash)
        return WorkEntry(0, header.miner, (header.timestamp,), 0, header.difficulty, *fees, mark)

    def check(self, header: Header, parent: WorkEntry, height: int, sealer: bytes | None = None) -> WorkEntry:
        if int.from_bytes(header.hash, "big") > target_of(max(header.difficulty, 1)):
            raise HeaderInvalid(f"hash 0x{header.hash.hex()} does not meet difficulty {header.difficulty}")
        check_line(header, parent, height, self._floor)
        difficulty = self.difficulty_after(parent)
        if header.difficulty != difficulty:
            raise HeaderInvalid(f"difficulty {header.difficulty}, must be {difficulty}")
        if header.seal:
            raise HeaderInvalid("a seal, where work is the proof")
        if header.mix_hash != _NO_MIX:
            raise HeaderInvalid("the mix hash is not zero")
        if header.timestamp <= parent.median:
            raise HeaderInvalid(f"timestamp {header.timestamp} is not above the median {parent.median} of those before")
        return self.follow(header, b"", parent, height)

    # -- what is stored

    def pack(self, entry: WorkEntry, whole: bool) -> bytes:
        if not whole:
            return b""
        uint = rlp.encode_uint
        return rlp.encode([uint(entry.total), uint(entry.began), [uint(time) for time in entry.times]])

    def unpack(self, header: Header, rest: bytes) -> WorkEntry:
        total, began, times = rlp.decode_list(rest)
        assert isinstance(times, list)
        seconds = tuple(rlp.decode_uint(time, 8) for time in times)
        return self._entry(header, header.number, seconds, rlp.decode_uint(began, 8), rlp.decode_uint(total))

    def follow(self, header: Header, rest: bytes, parent: WorkEntry, height: int) -> WorkEntry:
        times = (*parent.times[1 - MEDIAN_OF :], header.timestamp)
        began = header.timestamp if height == 1 else parent.began
        return self._entry(header, height, times, began, min(parent.total + header.difficulty, MAX_TARGET))

    def _entry(self, header: Header, height: int, times: tuple[int, ...], began: int, total: int) -> WorkEntry:
        fees = header.gas_limit, header.gas_used, header.base_fee
        return WorkEntry(height, header.miner, times, began, total, *fees, Mark(0, self._header.hash))
