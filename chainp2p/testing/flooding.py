"""An address book that an attacker floods, stored, read again by the next run, and asked whom to dial."""

import sqlite3
from functools import lru_cache
from random import Random

from attrs import frozen

from chainp2p.net.book_store import BOOK_SCHEMA, StoredBook, book_statements, read_book, secret_statement
from chainp2p.peer.book import AddressBook
from chainp2p.peer.enr import Enr
from chainp2p.peer.netgroup import netgroup
from chainp2p.settings import PUBLIC

__all__ = ["Flood", "FloodOutcome", "flood_book"]

#: What a node dials (interface design: 80 = 64 in + 16 out).
OUTBOUND = 16
#: The book's time (seconds); each record is told a moment after the one before.
_START, _STEP = 1_000_000.0, 0.01


@frozen
class Flood:
    """How large the book of the victim is and what the attacker sends.

    :param sources: groups that told the victim its new addresses; *attacker_sources*: those of the attacker.
    :param repeats: whether the attacker tells the honest addresses too.
    """

    tried: int = 500
    new: int = 2_000
    sources: int = 50
    attacker: int = 100_000
    attacker_sources: int = 3
    repeats: bool = False


@frozen
class FloodOutcome:
    """What the victim dials after its restart.

    :param picks: how many peers it picked, at most one of each netgroup; *bad*: how many were the attacker's.
    :param kept_new: honest addresses among the new after the restart; *kept_tried*, *attacker_new*: likewise.
    """

    seed: int
    picks: int
    bad: int
    kept_tried: int
    kept_new: int
    attacker_new: int


def _record(number: int, host: str, honest: bool) -> Enr:
    """A record as :meth:`Enr.decode` would return it; nobody here looks at the signature."""
    packed = bytes(map(int, host.split(".")))
    peer_id = (b"H" if honest else b"A") + number.to_bytes(31, "big")
    return Enr(peer_id, 1, {b"ip": packed, b"tcp": b"\x76\x5f"}, b"", peer_id)


class _Hosts:
    """Public addresses at random, none twice."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._given: set[tuple[int, int, int, int]] = set()

    def next(self) -> str:
        while True:
            parts = self._chance.choice(_FIRST), *(self._chance.randrange(1, 255) for _ in range(3))
            host = (parts[0], parts[1], parts[2], parts[3])
            if host not in self._given:
                self._given.add(host)
                return ".".join(map(str, host))


#: First bytes of which no range is private or reserved.
_FIRST = [*range(11, 100), *range(128, 169), *range(170, 172), *range(173, 192), *range(204, 223)]


@lru_cache(maxsize=1)
def _enemies(count: int) -> list[Enr]:
    """What the attacker tells, the same in each seed: it cannot know what the victim's secret makes of it."""
    hosts = _Hosts(Random("flood"))
    return [_record(number, hosts.next(), honest=False) for number in range(count)]


def flood_book(seed: int, flood: Flood) -> FloodOutcome:
    """Play one seed."""
    chance = Random(f"flood/{seed}")
    hosts = _Hosts(chance)
    book = AddressBook(PUBLIC, chance, b"\xff" * 32)
    sources = [hosts.next() for _ in range(flood.sources)]
    honest = [_record(n, hosts.next(), honest=True) for n in range(flood.tried + flood.new)]
    now = _START
    for number, record in enumerate(honest):
        now += _STEP
        book.learn(record, chance.choice(sources), now)
        if number < flood.tried:
            book.reached(record.peer_id, now)
            known = book.get(record.peer_id)
            if known is not None:
                known.here = False
    enemies = [hosts.next() for _ in range(flood.attacker_sources)]
    if flood.repeats:
        for enemy in enemies:
            for record in honest:
                book.learn(record, enemy, now)
    for number, record in enumerate(_enemies(flood.attacker)):
        now += _STEP
        book.learn(record, enemies[number % len(enemies)], now)
    book, now = _restarted(book, chance, now), now + 60.0
    kept = list(book)
    groups: set[str] = set()
    bad = 0
    while len(groups) < OUTBOUND and (address := book.pick(now, avoid_groups=groups)) is not None:
        groups.add(netgroup(address.host))
        bad += address.peer_id.startswith(b"A")
    good = [known for known in kept if known.peer_id.startswith(b"H")]
    return FloodOutcome(
        seed,
        picks=len(groups),
        bad=bad,
        kept_tried=sum(known.tried for known in good),
        kept_new=sum(not known.tried for known in good),
        attacker_new=len(kept) - len(good),
    )


def _restarted(book: AddressBook, chance: Random, now: float) -> AddressBook:
    """The book that the next run reads from the disk."""
    database = sqlite3.connect(":memory:")
    database.executescript(BOOK_SCHEMA)
    with database:
        for sql, values in [secret_statement(book.secret), *book_statements(book.changes(1_000_000), 0.0)]:
            database.execute(sql, values)
    stored: StoredBook = read_book(database)
    database.close()
    again = AddressBook(PUBLIC, chance, b"\xff" * 32)
    again.restore(stored.secret or b"", stored.known, stored.anchors)
    return again
