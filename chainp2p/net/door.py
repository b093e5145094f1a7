"""The door for those who call us: who may begin a handshake, and who gets a slot when it is done."""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chainp2p.errors import PeerFault, Penalty, Reason
from chainp2p.net.conduct import ConductKeeper
from chainp2p.net.metrics import Metric
from chainp2p.net.protocol import PeerProtocol
from chainp2p.net.roster import Roster
from chainp2p.peer.book import AddressBook
from chainp2p.peer.causes import Cause, CauseKind
from chainp2p.peer.eviction import Candidate, Verdict
from chainp2p.peer.intake import IN_FLIGHT, Caller, Intake, Turned
from chainp2p.peer.link import Credit
from chainp2p.peer.liveness import DEAD_AFTER
from chainp2p.peer.netgroup import netgroup
from chainp2p.peer.slots import Seat, Slots
from chainp2p.wire.messages import Ping

if TYPE_CHECKING:
    import random

__all__ = ["Door"]

#: Addresses at which a peer was reached that are remembered: the book looks up public ones only.
MET_LIMIT = 4_096


class Door:
    """Carries out what :class:`~chainp2p.peer.intake.Intake` and :class:`~chainp2p.peer.slots.Slots` say.

    1. A connection is judged by its address before it costs anything.
    2. A key is judged when it is proven: who cannot get a slot hears it before the greeting.
    3. The slot is given when the peer has said its rank; only then somebody has to go for it.

    :param rank: answers the rank of our head.
    :param note: told who was refused, and why.
    :param is_listed: tells whether a key is on the operator's allow-list.
    """

    def __init__(
        self,
        reactor: Any,
        now: Callable[[], float],
        chance: "random.Random",
        book: AddressBook,
        roster: Roster,
        conduct: ConductKeeper,
        rank: Callable[[], bytes],
        note: Callable[[Cause], None],
        is_listed: Callable[[bytes], bool],
        *,
        max_peers: int,
        redial: float,
        loopback_exempt: bool,
    ) -> None:
        self._reactor = reactor
        self._now = now
        self._book = book
        self._roster = roster
        self._conduct = conduct
        self._rank = rank
        self._note = note
        self._is_listed = is_listed
        self._max_peers = max_peers
        self._intake = Intake(chance, redial, loopback_exempt)
        self._secret = chance.randbytes(32)
        self._turned: Counter[str] = Counter()
        self._next: Caller | None = None
        self._callers: dict[PeerProtocol, Caller] = {}
        self._seats: dict[PeerProtocol, tuple[bool, bool]] = {}
        self._pings: dict[PeerProtocol, float] = {}
        self._met_ips: dict[str, None] = {}

    # -- connections

    def room(self, ip: str) -> bool:
        """Judge a connection from *ip* that was just accepted; the link made of it is the next in :meth:`opened`."""
        at_ip = self._book.at_ip(ip)
        named = any(known.held for known in at_ip)
        known = ip in self._met_ips or any(one.tried or self._is_listed(one.peer_id) for one in at_ip)
        answer = self._intake.offer(ip, self._reactor.seconds(), known=known, named=named)
        if isinstance(answer, Turned):
            self._turned[answer.rule] += 1
            evidence: dict[str, str | int | float] = {"in_flight": len(self._intake), "direction": "inbound"}
            self._note(Cause(self._now(), CauseKind.REFUSED, answer.rule, None, (ip, 0), answer.text, evidence))
            return False
        if answer.instead is not None:
            self._replace(answer.instead)
        self._next = answer.caller
        return True

    def _replace(self, caller: Caller) -> None:
        for link, other in self._callers.items():
            if other is caller:
                text = f"too many handshakes at once, most of them from {caller.group}"
                self._turned["handshake_replaced"] += 1
                link.close(Reason.TOO_MANY_PEERS, text, "handshake_replaced")
                return

    def opened(self, link: PeerProtocol) -> None:
        """*link* is the connection that was judged last."""
        caller, self._next = self._next, None
        if caller is not None:
            self._callers[link] = caller
        self._roster.opened(link)

    def ended(self, link: PeerProtocol) -> dict[str, str | int | float]:
        """*link* has ended, whatever it was; return what the rules of the door went by."""
        facts: dict[str, str | int | float] = {}
        if link in self._callers or link in self._seats:
            facts = {"group": netgroup(link.address[0]), "in_flight": len(self._intake), "inbound": len(self._seats)}
        ping = self._pings.pop(link, None)
        if ping is not None:
            facts["ping_seconds"] = ping
        for what, at in link.credited.items():
            facts[f"last_{what.value}_seconds"] = self._reactor.seconds() - at
        self._settled(link)
        self._seats.pop(link, None)
        known = self._book.get(link.peer_id)
        if known is not None and known.reached_at is not None and known.address.host == link.address[0]:
            self._met_ips.pop(link.address[0], None)
            self._met_ips[link.address[0]] = None
            if len(self._met_ips) > MET_LIMIT:
                del self._met_ips[next(iter(self._met_ips))]
        return facts

    def metrics(self) -> list[Metric]:
        """Return the handshakes in flight, the slots taken, and how often each rule has sent somebody away."""
        return [
            ("chainp2p_handshakes_in_flight", {}, len(self._intake)),
            ("chainp2p_handshakes_in_flight_limit", {}, IN_FLIGHT),
            ("chainp2p_inbound_slots_taken", {}, len(self._seats)),
            *(("chainp2p_turned_away_total", {"rule": rule}, count) for rule, count in sorted(self._turned.items())),
        ]

    def _settled(self, link: PeerProtocol) -> None:
        caller = self._callers.pop(link, None)
        if caller is not None:
            self._intake.done(caller)

    # -- slots

    def check(self, link: PeerProtocol) -> None:
        """Raise PeerFault if there can be no slot for the key that *link* has just proven, whatever its rank is."""
        if link.outbound or self._book.is_held(link.peer_id) or self._is_here(link):
            return
        verdict = self._judge(link, behind=True)
        if verdict is not None and verdict.victim is None:
            raise self._full(verdict)

    def _full(self, verdict: Verdict) -> PeerFault:
        self._turned[verdict.rule] += 1
        return PeerFault(Reason.TOO_MANY_PEERS, verdict.text, Penalty.NONE, verdict.rule)

    def seat(self, link: PeerProtocol) -> None:
        """Give the peer a slot, at the cost of another one's if need be; raises PeerFault if it gets none."""
        self._settled(link)
        if link.outbound or self._book.is_held(link.peer_id):
            return
        behind = link.status.rank < self._rank()
        # a second link to the same peer takes over the slot of the first: one of them ends soon
        verdict = None if self._is_here(link) else self._judge(link, behind)
        if verdict is not None and verdict.victim is None:
            raise self._full(verdict)
        self._seats[link] = behind, self._is_fresh(link)
        if verdict is not None and verdict.victim is not None:
            self._turned[verdict.rule] += 1
            verdict.victim.key.close(Reason.TOO_MANY_PEERS, verdict.text, verdict.rule)
        self._time(link)

    def _is_here(self, link: PeerProtocol) -> bool:
        return self._roster.get(link.peer_id) is not None

    def _is_fresh(self, link: PeerProtocol) -> bool:
        known = self._book.get(link.peer_id)
        return known is None or known.reached_at is None

    def _judge(self, link: PeerProtocol, behind: bool) -> Verdict | None:
        outbound = sum(other.outbound for other in self._roster.live())
        slots = Slots.of(self._max_peers, outbound)
        seats = [Seat(self._candidate(other), *facts) for other, facts in self._seats.items()]
        newcomer = Seat(self._candidate(link), behind, self._is_fresh(link))
        return slots.judge(seats, newcomer, self._reactor.seconds(), self._secret)

    def _candidate(self, link: PeerProtocol) -> Candidate:
        return Candidate(
            link,
            netgroup(link.address[0]),
            link.opened_at,
            self._pings.get(link),
            link.credited.get(Credit.TRANSACTION),
            link.credited.get(Credit.BLOCK),
            self._conduct.score(link.peer_id),
            self._conduct.is_last_choice(link.address[0]),
        )

    def _time(self, link: PeerProtocol) -> None:
        """Measure how far away the peer is."""
        start = self._reactor.seconds()

        def answered(_: object) -> None:
            if link in self._seats:
                self._pings[link] = self._reactor.seconds() - start

        link.request(Ping(0), timeout=DEAD_AFTER).addCallbacks(answered, lambda _: None)
