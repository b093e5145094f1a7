"""Whom to dial next and what for, and which link of ours to give up for a better one."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from math import inf
from typing import TYPE_CHECKING

from attrs import frozen

from chainp2p.peer.address import NodeAddress
from chainp2p.peer.book import AddressBook
from chainp2p.peer.known import address_group
from chainp2p.settings import Profile

if TYPE_CHECKING:
    import random

__all__ = ["Dial", "Line", "Outbound", "Purpose", "Review", "TipWatch"]

#: Links that we open to peers of the book: 16 as the interface design has it, of which 2 for blocks only (Bitcoin Core,
#: ``MAX_BLOCK_RELAY_ONLY_CONNECTIONS``): nobody can map them by following transactions.
FULL_SLOTS, BLOCK_SLOTS = 14, 2
#: Dials under way at once, of learnt peers and of held ones: a book of dead addresses costs few sockets, and a list of
#: dead static nodes does not keep the others waiting.
LEARNT_DIALS, HELD_DIALS = 8, 16
#: When nobody could be dialled it is tried again so much later, or at once when something changes (seconds).
LOOK_AGAIN = 1.0
#: Share by which the time between two feelers varies, so that nobody can foresee one.
FEELER_JITTER = 0.25
#: The tip is stale after the larger of so many seconds and so many mean spacings of the last heads.
STALE_MIN, STALE_SPACINGS = 60.0, 12
#: Spacings that the mean goes by, how many it needs, and how much longer than the mean the longest may be: blocks found
#: at random pass (of 16 spacings one is 6 times the mean in 4 of 100 cases), a chain that seals on demand does not.
SPACINGS, SPACINGS_MIN, REGULAR = 16, 8, 6
#: An extra link has so long to bring a new block before it is judged (seconds; Bitcoin Core, ``MINIMUM_CONNECT_TIME``).
EXTRA_TIME = 30.0
#: Extra links are opened at this distance (seconds; Bitcoin Core takes 5 minutes, for blocks ten times as far apart:
#: ``EXTRA_BLOCK_RELAY_ONLY_PEER_INTERVAL``).
EXTRA_INTERVAL = 60.0
#: So many links that brought a block last are never given up for an extra one (Bitcoin Core,
#: ``MAX_OUTBOUND_PEERS_TO_PROTECT_FROM_DISCONNECT``).
PROTECTED = 4


class Purpose(Enum):
    """What an outbound link is for."""

    HELD = "held"  #: the operator named the peer
    FULL = "full"  #: everything
    ANCHOR = "anchor"  #: blocks only, to a peer of before the restart
    BLOCKS = "block_only"
    FEELER = "feeler"  #: ends after the handshake: is somebody there?
    EXTRA = "extra"  #: one more while the tip is stale

    @property
    def block_only(self) -> bool:
        """Whether our ``Status`` asks for no transactions."""
        return self in (Purpose.ANCHOR, Purpose.BLOCKS, Purpose.FEELER)

    @property
    def lasting(self) -> bool:
        """Whether it takes one of the slots for peers of the book."""
        return self in (Purpose.FULL, Purpose.ANCHOR, Purpose.BLOCKS)


@frozen
class Dial:
    """One peer to dial."""

    address: NodeAddress
    purpose: Purpose


@frozen
class Line:
    """An outbound link, or a dial under way.

    :param host: where it leads: the IP of a connection, what was dialled before.
    :param since: when it was dialled or became a connection, seconds on the caller's clock.
    :param connected: the connection stands.
    :param block_at: when it was last the first to bring a new block.
    """

    peer_id: bytes
    purpose: Purpose
    host: str
    since: float
    connected: bool = True
    block_at: float | None = None


@frozen
class Review:
    """What becomes of an extra link: *keep* counts as a full one from now on, *drop* is ended by *rule*."""

    keep: bytes | None = None
    drop: bytes | None = None
    rule: str = ""
    text: str = ""


def _block_at(line: Line) -> float:
    return -inf if line.block_at is None else line.block_at


class TipWatch:
    """Notices that no new head came for much longer than before."""

    def __init__(self) -> None:
        self._heads: deque[float] = deque(maxlen=SPACINGS + 1)

    def moved(self, now: float) -> None:
        """There is a new head."""
        self._heads.append(now)

    def stale_at(self) -> float | None:
        """Return when the tip is stale if no head comes; None while heads have not come regularly."""
        heads = list(self._heads)
        spacings = [later - earlier for earlier, later in zip(heads, heads[1:], strict=False)]
        if len(spacings) < SPACINGS_MIN:
            return None
        mean = sum(spacings) / len(spacings)
        if max(spacings) > REGULAR * mean:
            return None
        return heads[-1] + max(STALE_MIN, STALE_SPACINGS * mean)

    def is_stale(self, now: float) -> bool:
        """Tell whether one more opinion is wanted."""
        at = self.stale_at()
        return at is not None and now >= at


class Outbound:
    """Chooses dials.

    1. Held peers always, whatever it costs in slots.
    2. Then the anchors, then :data:`FULL_SLOTS` links for everything and only then :data:`BLOCK_SLOTS` for blocks: a
       small network has links of the first kind only. Anchors are for blocks in a public network; in a private one,
       which may have shrunk to them since, they are for everything.
    3. No two of these lead to one netgroup; private ranges and loopback are exempt. Held links count: what an attacker
       has in a group is no more than one of ours, wherever that came from.
    4. Every ``feeler_interval`` one feeler: to a tried address whose slot is claimed, else to a new one.
    5. While the tip is stale, one extra link at a time. It has :data:`EXTRA_TIME` to bring a block before the worst of
       the others does; then that one goes, else the extra one.

    Cost: a constant for each dial, and one pass over the lines a round.
    """

    def __init__(self, book: AddressBook, profile: Profile, chance: "random.Random") -> None:
        self._book = book
        self._profile = profile
        self._random = chance
        self._tip = TipWatch()
        self._anchors: list[NodeAddress] = []
        self._feeler_at = self._extra_at = self._look_at = 0.0

    def start(self, now: float) -> None:
        """The book is loaded: dial from now on."""
        self._anchors = self._book.anchors()
        self._tip = TipWatch()
        self._extra_at = self._look_at = now
        self._plan_feeler(now)

    def _plan_feeler(self, now: float) -> None:
        jitter = self._random.uniform(1 - FEELER_JITTER, 1 + FEELER_JITTER)
        self._feeler_at = now + self._profile.feeler_interval * jitter

    def head_changed(self, now: float) -> float | None:
        """There is a new head; return when the tip is stale if no other comes."""
        self._tip.moved(now)
        return self._tip.stale_at()

    def changed(self) -> None:
        """Something is different from the last time that nobody could be dialled."""
        self._look_at = 0.0

    # -- whom to dial

    def dials(self, now: float, lines: Sequence[Line], busy: Iterable[bytes], spare: int) -> list[Dial]:
        """Return whom to dial now, and count them as dialled.

        :param busy: ids that are connected, being dialled or kept away.
        :param spare: how many links there may be more in all; held peers, a feeler and an extra link need none.
        """
        chosen = list(self._choose(now, lines, set(busy), spare))
        if not chosen:
            self._look_at = now + LOOK_AGAIN
        return chosen

    def _choose(self, now: float, lines: Sequence[Line], taken: set[bytes], spare: int) -> Iterator[Dial]:
        counts = Counter(line.purpose for line in lines)
        groups = {address_group(line.host) for line in lines if line.purpose is not Purpose.FEELER}

        def dial(address: NodeAddress, purpose: Purpose) -> Dial:
            counts[purpose] += 1
            taken.add(address.peer_id)
            if purpose is not Purpose.FEELER:
                groups.add(address_group(address.host))
            return Dial(address, purpose)

        held = HELD_DIALS - sum(line.purpose is Purpose.HELD and not line.connected for line in lines)
        for address in self._book.held_due(now):
            if held > 0 and address.peer_id not in taken:
                held -= 1
                yield dial(address, Purpose.HELD)
        free = min(spare, LEARNT_DIALS - sum(line.purpose is not Purpose.HELD and not line.connected for line in lines))
        while free > 0 and (purpose := self._wanted(counts)) is not None:
            found = self._anchor(taken) if purpose is Purpose.ANCHOR else self._pick(now, groups, taken)
            if found is not None:
                free -= 1
                whole = purpose is Purpose.ANCHOR and self._profile.name != "public"
                yield dial(found, Purpose.FULL if whole else purpose)
            elif purpose is not Purpose.ANCHOR:
                break
        if now >= self._feeler_at and not counts[Purpose.FEELER]:
            self._plan_feeler(now)
            claimed = (address for address in self._book.collisions(now) if address.peer_id not in taken)
            feeler = next(claimed, None) or self._book.pick(now, fresh=True, busy=taken)
            if feeler is not None:
                yield dial(feeler, Purpose.FEELER)
        if now >= self._extra_at and not counts[Purpose.EXTRA] and self._tip.is_stale(now):
            self._extra_at = now + EXTRA_INTERVAL
            extra = self._pick(now, groups, taken)
            if extra is not None:
                yield dial(extra, Purpose.EXTRA)

    def _wanted(self, counts: "Counter[Purpose]") -> Purpose | None:
        blocks = counts[Purpose.BLOCKS] + counts[Purpose.ANCHOR] < BLOCK_SLOTS
        if blocks and self._anchors:
            return Purpose.ANCHOR
        if counts[Purpose.FULL] < FULL_SLOTS:
            return Purpose.FULL
        return Purpose.BLOCKS if blocks else None

    def _anchor(self, taken: set[bytes]) -> NodeAddress | None:
        anchor = self._anchors.pop(0)
        return None if anchor.peer_id in taken else anchor

    def _pick(self, now: float, groups: set[str], taken: set[bytes]) -> NodeAddress | None:
        return self._book.pick(now, avoid_groups=groups, busy=taken)

    def next_at(self, now: float, lines: Sequence[Line], busy: Iterable[bytes], spare: int) -> float:
        """Return when :meth:`dials` or :meth:`review` may have something next."""
        wanted = self._wanted(Counter(line.purpose for line in lines)) is not None
        due = self._book.next_due(now, set(busy), 1 if wanted and spare > 0 else 0)
        feeler = any(line.purpose is Purpose.FEELER for line in lines)
        times = [max(self._feeler_at, now + LOOK_AGAIN) if feeler else self._feeler_at]
        if due is not None:
            times.append(max(due, self._look_at))
        extra = next((line for line in lines if line.purpose is Purpose.EXTRA), None)
        stale_at = self._tip.stale_at()
        if extra is not None:
            times.append(max(extra.since + EXTRA_TIME, now + LOOK_AGAIN))
        elif stale_at is not None:
            times.append(max(stale_at, self._extra_at))
        return min(times)

    # -- whom to give up

    def review(self, now: float, lines: Sequence[Line]) -> Review | None:
        """Judge an extra link that has had its time; None: there is none."""
        extra = next((line for line in lines if line.purpose is Purpose.EXTRA and line.connected), None)
        if extra is None or now - extra.since < EXTRA_TIME:
            return None
        others = sorted(
            (line for line in lines if line.purpose is Purpose.FULL and line.connected),
            key=lambda line: (_block_at(line), -line.since),
        )
        if len(others) < FULL_SLOTS:
            return Review(keep=extra.peer_id)
        worst = next(iter(others[: max(0, len(others) - PROTECTED)]), None)
        if worst is None or _block_at(worst) >= _block_at(extra):
            text = f"the tip is stale, and no new block came from here in {EXTRA_TIME:g} s"
            return Review(drop=extra.peer_id, rule="extra_no_better", text=text)
        text = "the tip was stale, and an extra link brought a new block before this one did"
        return Review(keep=extra.peer_id, drop=worst.peer_id, rule="outdone", text=text)
