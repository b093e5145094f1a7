"""A signer that is killed at each point between its turn and its block's leaving, and starts again in the same slot.

Each signature is noted before the signer's own code sees it, each block that leaves before anything else happens. The
clock stands still over a restart, as if that took no time, and the transactions are others: whatever is signed for the
slot then would be another block.
"""

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from struct import Struct
from typing import Any

from attrs import Factory, define

from chainp2p.ledger.formats.block import split
from chainp2p.ledger.formats.header import Header
from chainp2p.ledger.producing import slots as slots_module
from tests.integration.crash.damage import lose_power
from tests.integration.crash.death import Plan, Watch, kill_after, live
from tests.integration.crash.workloads import LATER, closed, opened, pay, people, result
from tests.ledger.network import ADDRESSES, Clock, genesis_of

__all__ = ["PLACES", "Signed", "kill_signer"]

#: Where a life may end by a signal of its own making; others end inside a transaction or a commit of either database.
PLACES = ("before it signs", "signed, not recorded", "recorded, not connected", "connected, not sent", "sent")
_NOTE = Struct(">Q32s")
#: Transactions of each block.
_PAYMENTS = 3


class _Notes:
    """A file to which a process that may die at once adds (slot, hash)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, slot: int, hash: bytes) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, _NOTE.pack(slot, hash))
        os.close(descriptor)

    def all(self) -> list[tuple[int, bytes]]:
        return list(_NOTE.iter_unpack(self._path.read_bytes())) if self._path.exists() else []


@define
class Signed:
    """What came of it.

    :ivar losses: of power, after kills.
    :ivar blocks: that left.
    :ivar twice: slots for which two different blocks were signed.
    :ivar sent_twice: slots of which two different blocks left.
    """

    kills: Counter[str] = Factory(Counter)
    losses: int = 0
    blocks: int = 0
    twice: int = 0
    sent_twice: int = 0
    failures: list[str] = Factory(list)


class _Life:
    """The child."""

    def __init__(self, folder: Path, notes: Path, period_ms: int, number: int, place: tuple[str, int] | None) -> None:
        self._folder = folder
        self._signed, self._sent = _Notes(notes / "signed"), _Notes(notes / "sent")
        self._genesis = genesis_of(1, period_ms)
        self._number = number
        self._place = place
        self._count = 0

    def _at(self, place: str) -> None:
        if self._place is not None and self._place[0] == place:
            self._count += 1
            if self._count == self._place[1]:
                kill_after(0)

    def run(self, watch: Watch, plan: Plan | None, blocks: int = 40) -> None:
        seal = slots_module.seal_header

        def noting(header: Header, key: bytes) -> Header:
            self._at("before it signs")
            sealed = seal(header, key)
            self._signed.add(sealed.nonce, sealed.hash)
            self._at("signed, not recorded")
            return sealed

        connect: Callable[..., Any] = slots_module.connect

        def connecting(*args: Any) -> Any:
            self._at("recorded, not connected")
            return connect(*args)

        slots_module.seal_header, slots_module.connect = noting, connecting  # type: ignore[assignment]
        clock = Clock(LATER + watch.noted)
        ledger = opened(self._genesis, self._folder, watch, plan, signer=0, clock=clock)
        to = people(20)
        for _ in range(blocks):
            for _ in range(_PAYMENTS):
                nonce = ledger.pool.pending_nonce(ADDRESSES[5])
                result(ledger.admit(pay(5, nonce, to[nonce % 20], 1 + self._number), True))
            # a slot is tried until it has brought a block; then the clock goes on
            raw = result(ledger.produce(clock.now))
            if raw is not None:
                self._at("connected, not sent")
                header = Header.decode(split(raw)[0])
                self._sent.add(header.nonce, header.hash)
                self._at("sent")
            watch.noted += 1
            clock.now = LATER + watch.noted
        closed(ledger)


def kill_signer(kills: int, chance: Random, scratch: Path, period_ms: int = 1000) -> Signed:
    """Kill a signer so many times; after some deaths the power goes, too.

    :param period_ms: of its network; 0: it seals on demand.
    """
    seen, watch = Signed(), Watch()
    folder, notes = scratch / "data", scratch / "notes"
    folder.mkdir(parents=True)
    notes.mkdir()
    number = 0
    while seen.kills.total() < kills:
        number += 1
        place, plan = None, None
        if chance.random() < 0.6:
            place = (chance.choice(PLACES), chance.randint(1, 12))
        else:
            plan = Plan.drawn(chance, 300, 60, 200)
        life = _Life(folder, notes, period_ms, number, place)
        try:
            death = live(watch, plan, life.run)
            if death.moment is None:
                continue
            where = place[0] if place is not None and plan is None else death.moment.value
            seen.kills[where] += 1
            if chance.random() < 0.5:
                _power_lost(folder, scratch, chance, on_demand=not period_ms)
                seen.losses += 1
            _opens(folder, period_ms, watch)
        except Exception as error:
            seen.failures.append(f"life {number}, {place or plan}: {error!r}")
            break
    sent, signed = _Notes(notes / "sent").all(), _Notes(notes / "signed").all()
    seen.blocks = len(sent)
    seen.twice, seen.sent_twice = _contradictions(signed), _contradictions(sent)
    return seen


def _contradictions(noted: list[tuple[int, bytes]]) -> int:
    """Slots with two different blocks."""
    blocks: dict[int, set[bytes]] = {}
    for slot, hash in noted:
        blocks.setdefault(slot, set()).add(hash)
    return sum(len(hashes) > 1 for hashes in blocks.values())


def _power_lost(folder: Path, scratch: Path, chance: Random, on_demand: bool) -> None:
    lost = scratch / "lost"
    shutil.rmtree(lost, ignore_errors=True)
    lost.mkdir()
    for name, full in (("chain.sqlite", on_demand), ("seal.sqlite", True)):
        if (folder / name).exists():
            lose_power(folder / name, lost, chance, full)
    shutil.rmtree(folder)
    lost.rename(folder)


def _opens(folder: Path, period_ms: int, watch: Watch) -> None:
    """Production opens what is left, without a word."""
    closed(opened(genesis_of(1, period_ms), folder, signer=0, clock=Clock(LATER + watch.noted)))
