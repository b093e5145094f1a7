"""Somebody who holds some signers' keys and seals whatever the header rules let pass."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from attrs import define, field

from chainp2p.ledger.consensus.poa import Slots, seal_header
from chainp2p.ledger.formats.fees import base_fee_floor, next_base_fee
from chainp2p.ledger.formats.genesis import Genesis
from chainp2p.ledger.formats.header import Header, make_header

__all__ = ["Adversary"]

#: How often it seals twice on one side; on an older block instead of a head; in a slot of its own that is over; and how
#: often it keeps a block back, for at most so many slots.
TWINS, OLDER, LATE, KEPT_BACK, KEPT_SLOTS = 0.3, 0.15, 0.2, 0.15, 12
#: How often it denies all that it sealed before, which makes most votes; otherwise it admits a part by chance.
DENIES = 0.7


@define(eq=False)
class Adversary:
    """Seals empty blocks in the slots of *keys*, on every side of each partition and more than once.

    :param keys: private keys by their place in the list of *n* signers.
    :param headers: all headers that anybody made, by hash; it adds its own.
    :ivar highest: the last slot in which it sealed.
    """

    genesis: Genesis
    keys: Mapping[int, bytes]
    n: int
    headers: dict[bytes, Header]
    chance: Random
    highest: int = 0
    _slots: Slots = field(init=False)
    _floor: int = field(init=False)
    _count: int = 0
    _kept: list[tuple[int, int, bytes]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self._slots = Slots(self.genesis)
        self._floor = base_fee_floor(self.genesis.base_fee)

    def act(self, slot: int, sides: Sequence[Sequence[bytes]]) -> list[tuple[int, bytes]]:
        """Do harm in *slot*, whoever's it is; return (side, block) for what it sends.

        :param sides: the heads of the nodes on each side of the partition.
        """
        chance, sent = self.chance, [(side, hash) for when, side, hash in self._kept if when <= slot]
        self._kept = [one for one in self._kept if one[0] > slot]
        if slot % self.n in self.keys:
            for side, heads in enumerate(sides):
                for _ in range(2 if chance.random() < TWINS else 1):
                    sent += self._send(slot, side, self.seal(slot, self._parent(slot, heads), self._base(slot)))
        own = [past for past in range(1, slot) if past % self.n in self.keys]
        if own and chance.random() < LATE:
            past, side = chance.choice(own[-4 * self.n :]), chance.randrange(len(sides))
            sent += self._send(slot, side, self.seal(past, self._older(past), self._base(past)))
        return sent

    def seal(self, slot: int, parent: bytes, base: int, key: bytes | None = None, **flaws: Any) -> bytes:
        """Seal a block upon *parent*; it differs from all others.

        :param key: another one than that of the signer in turn.
        :param flaws: fields of the header that are as nobody expects.
        """
        below = self.headers[parent]
        self._count += 1
        self.highest = max(self.highest, slot)
        fields: dict[str, Any] = {
            "parent": parent,
            "state_root": below.state_root,
            "number": below.number + 1,
            "gas_limit": below.gas_limit,
            "timestamp": self._slots.timestamp(slot),
            "extra": self._count.to_bytes(4, "big"),
            "mix_hash": base.to_bytes(32, "big"),
            "nonce": slot,
            "base_fee": next_base_fee(below.base_fee, below.gas_used, below.gas_limit, self._floor),
        }
        header = make_header(**{**fields, **flaws})
        sealed = seal_header(header, self.keys[slot % self.n] if key is None else key)
        self.headers[sealed.hash] = sealed
        return sealed.hash

    def _send(self, slot: int, side: int, hash: bytes) -> list[tuple[int, bytes]]:
        if self.chance.random() < KEPT_BACK:
            self._kept.append((slot + self.chance.randint(1, KEPT_SLOTS), side, hash))
            return []
        return [(side, hash)]

    def _parent(self, slot: int, heads: Sequence[bytes]) -> bytes:
        fit = [head for head in heads if self.headers[head].nonce < slot]
        return self._older(slot) if not fit or self.chance.random() < OLDER else self.chance.choice(fit)

    def _older(self, slot: int) -> bytes:
        """Some block below *slot*, rather a late one."""
        fit = [hash for hash, header in self.headers.items() if header.nonce < slot]
        return self.chance.choice(fit[-3 * self.n :])

    def _base(self, slot: int) -> int:
        return 0 if self.chance.random() < DENIES else self.chance.randrange(slot)
