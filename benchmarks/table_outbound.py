"""Counts whose peers the outbound links of a node go to, when a part of its book is an attacker's.

    python benchmarks/table_outbound.py --seeds 200

The book knows 200 honest addresses in 50 groups, half of them dead, each told by another peer, and the attacker's: all
alive, told by 3 sources. The node fills its 16 slots; each link lasts an hour in the mean, whoever has the
other end.
"""

import argparse
import sys
from collections.abc import Sequence
from random import Random

from chainp2p.errors import Reason
from chainp2p.peer.book import AddressBook
from chainp2p.peer.ends import LinkEnd
from chainp2p.peer.enr import Enr
from chainp2p.peer.outbound import BLOCK_SLOTS, FULL_SLOTS, Line, Outbound, Purpose
from chainp2p.settings import PUBLIC

HONEST, HONEST_GROUPS = 200, 50
#: Seconds that are played, and that a link lasts in the mean.
TIME, LIFETIME = 4 * 3600.0, 3600.0
#: Seconds between two rounds.
STEP = 5.0
_OWN = b"\xee" * 32


def _record(number: int, ip: str) -> Enr:
    """A record as it is after its signature has been checked."""
    peer_id = number.to_bytes(32, "big")
    pairs = {b"ip": bytes(map(int, ip.split("."))), b"tcp": (30303).to_bytes(2, "big")}
    return Enr(peer_id + b"\x01", 1, pairs, b"", peer_id)


def _end(purpose: Purpose, ready: bool) -> LinkEnd:
    return LinkEnd(0.0, None, ("", 0), Reason.CONNECTION_LOST, purpose.value, False, True, ready)


def play(seed: int, addresses: int, groups: int) -> tuple[float, int]:
    """Play one seed; answer the attacker's share of link time, and the largest number of its links at once."""
    chance = Random(seed)
    book = AddressBook(PUBLIC, chance, _OWN)
    for n in range(HONEST):
        ip = f"{20 + n % HONEST_GROUPS}.{n % 7 + 1}.{n}.1"
        book.learn(_record(n + 1, ip), f"90.{n}.0.1", 0.0)
    for n in range(addresses):
        ip = f"{100 + n % groups}.9.{n // groups % 250}.{n // groups // 250 + 1}"
        book.learn(_record(10_000 + n, ip), f"80.{n % 3}.0.1", 0.0)
    outbound = Outbound(book, PUBLIC, chance)
    outbound.start(0.0)
    lines: dict[bytes, tuple[Line, float]] = {}
    now, theirs, total, most = 0.0, 0.0, 0.0, 0
    while now < TIME:
        for peer_id, (line, until) in list(lines.items()):
            if until <= now:
                del lines[peer_id]
                book.ended(peer_id, _end(line.purpose, ready=True), now)
        seen = [line for line, _ in lines.values()]
        for dial in outbound.dials(now, seen, lines, 80 - len(lines)):
            peer_id = dial.address.peer_id
            number = int.from_bytes(peer_id, "big")
            if number % 2 and number <= HONEST:
                book.ended(peer_id, _end(dial.purpose, ready=False), now)
                continue
            book.met(peer_id)
            book.reached(peer_id, now)
            lasts = 0.0 if dial.purpose is Purpose.FEELER else chance.expovariate(1 / LIFETIME)
            lines[peer_id] = Line(peer_id, dial.purpose, dial.address.host, now), now + lasts
        held = [peer_id for peer_id, (line, _) in lines.items() if line.purpose is not Purpose.FEELER]
        bad = sum(int.from_bytes(peer_id, "big") >= 10_000 for peer_id in held)
        most = max(most, bad)
        theirs, total, now = theirs + bad, total + len(held), now + STEP
    return theirs / total, most


def _row(cells: Sequence[object]) -> str:
    return "".join(f"{cell!s:>16}" for cell in cells)


def main() -> int:
    """Play all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    options = parser.parse_args()
    print(f"{FULL_SLOTS} + {BLOCK_SLOTS} slots; shares are the attacker's part of the time of all links")
    print(_row(("addresses", "groups", "seeds", "mean share", "worst share", "most links")))
    worst_of_one = 0.0
    for groups in (1, 4, 64):
        played = [play(seed, 500, groups) for seed in range(options.first, options.first + options.seeds)]
        shares = [share for share, _ in played]
        if groups == 1:
            worst_of_one = max(shares)
        mean = sum(shares) / len(shares)
        most = max(links for _, links in played)
        print(_row((500, groups, len(played), f"{mean:.1%}", f"{max(shares):.1%}", most)), flush=True)
    return 1 if worst_of_one > 0.10 else 0


if __name__ == "__main__":
    sys.exit(main())
