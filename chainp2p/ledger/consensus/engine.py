"""What the ledger asks of consensus: one interface, two engines (``poa.py``, ``pow.py``), the genesis file chooses.

An engine is pure: it checks a header against its parent and says what the tree has to remember of it, an *entry*. All
that the rest of the ledger knows of consensus is in :class:`Entry` and :class:`Engine`.
"""

from typing import Protocol, TypeVar

from chainp2p.ledger.consensus.finality import Mark
from chainp2p.ledger.formats.fees import gas_limit_allowed, next_base_fee
from chainp2p.ledger.formats.header import Header

__all__ = ["UNSEEN", "Engine", "Entry", "HeaderInvalid", "check_line", "fee_after"]

#: Stands for the address behind a seal that is not looked at.
UNSEEN = b""


class HeaderInvalid(ValueError):
    """The header breaks a rule; the text says which."""


class Entry(Protocol):
    """What the tree keeps of a header: what its children are checked against."""

    @property
    def slot(self) -> int:
        """A number that grows along every chain: the slot (poa) or the height (pow)."""
        ...

    @property
    def signer(self) -> bytes:
        """The address whose key sealed it; empty where nobody seals."""
        ...

    @property
    def base(self) -> int:
        """See ``finality.py``; 0 where nobody seals."""
        ...

    @property
    def producer(self) -> bytes:
        """The address to name when the block fails."""
        ...

    @property
    def timestamp(self) -> int: ...

    @property
    def gas_limit(self) -> int: ...

    @property
    def gas_used(self) -> int: ...

    @property
    def base_fee(self) -> int: ...

    @property
    def justified(self) -> Mark:
        """The highest block that the votes on this header's chain justify: genesis where nobody votes."""
        ...

    @property
    def finalized(self) -> Mark:
        """Likewise, that they finalize."""
        ...

    @property
    def pieces(self) -> int:
        """In how many pieces its memory is that an attacker could multiply."""
        ...


E = TypeVar("E")


class Engine(Protocol[E]):
    """The rules of one network's headers.

    :ivar period_ms: how long blocks are meant to be apart; 0: there is no such time.
    :ivar on_demand: whether blocks are made when there is something to include, not by a clock.
    :ivar finalizes: whether headers make blocks final; otherwise only an operator does.
    :ivar reward: wei that a block brings its miner.
    """

    period_ms: int
    finalizes: bool
    reward: int

    @property
    def on_demand(self) -> bool: ...

    def first(self) -> E:
        """The entry of the genesis block."""
        ...

    def check(self, header: Header, parent: E, height: int, sealer: bytes | None = None) -> E:
        """Check a header against its parent at *height* - 1; raises :exc:`HeaderInvalid`.

        Whether it is early is asked apart, since that is no fault.

        :param sealer: the address whose key sealed it; None: that is recovered, which is by far the most of what it
            costs; :data:`UNSEEN`: it is taken on trust.
        """
        ...

    def not_before(self, header: Header) -> float:
        """The earliest *now* at which *header* is acceptable."""
        ...

    def is_early(self, header: Header, now: float) -> bool:
        """Whether *header* comes from the future."""
        ...

    def rank(self, entry: E, height: int) -> bytes:
        """32 bytes compared as a number: the higher one wins."""
        ...

    def base_fee_after(self, parent: E) -> int:
        """The base fee of *parent*'s children."""
        ...

    def pack(self, entry: E, whole: bool) -> bytes:
        """What is stored beside a header, from which :meth:`unpack` makes its entry without its parent's, if *whole*,
        and :meth:`follow` otherwise."""
        ...

    def unpack(self, header: Header, rest: bytes) -> E:
        """The entry of a stored header that was packed whole."""
        ...

    def follow(self, header: Header, rest: bytes, parent: E, height: int) -> E:
        """The entry of any stored header, from its parent's."""
        ...


def check_line(header: Header, parent: Entry, height: int, floor: int) -> None:
    """Check number, gas and base fee, which follow from the parent's alone; raises :exc:`HeaderInvalid`."""
    if header.number != height:
        raise HeaderInvalid(f"number {header.number} does not follow the parent's {height - 1}")
    if header.gas_used > header.gas_limit:
        raise HeaderInvalid(f"gas used {header.gas_used} exceeds the gas limit {header.gas_limit}")
    if not gas_limit_allowed(parent.gas_limit, header.gas_limit):
        raise HeaderInvalid(f"gas limit {header.gas_limit} is too far from the parent's {parent.gas_limit}")
    fee = fee_after(parent, floor)
    if header.base_fee != fee:
        raise HeaderInvalid(f"base fee {header.base_fee}, must be {fee}")


def fee_after(parent: Entry, floor: int) -> int:
    """The base fee of a block after *parent*, never below *floor*."""
    return next_base_fee(parent.base_fee, parent.gas_used, parent.gas_limit, floor)
