"""Dials whom :class:`~chainp2p.peer.outbound.Outbound` chooses, when it says so."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chainp2p.errors import Reason
from chainp2p.net.alarm import Alarm
from chainp2p.net.factory import PeerFactory
from chainp2p.net.host import LinkHost
from chainp2p.net.otherway import OtherWay
from chainp2p.net.protocol import PeerProtocol
from chainp2p.peer.book import AddressBook
from chainp2p.peer.known import address_group
from chainp2p.peer.link import Credit
from chainp2p.peer.outbound import Dial, Line, Outbound, Purpose

if TYPE_CHECKING:
    from twisted.python.failure import Failure

__all__ = ["Dialer"]

#: Rounds of dials follow each other at this distance at least (seconds).
ROUND_MIN = 0.05


@frozen
class _Attempt:
    dial: Dial
    since: float
    link: PeerProtocol
    connection: "Deferred[Any]"


class Dialer:
    """One timer for all dials.

    :param busy: ids that have a link already, or are kept away.
    :param links: connections that have not ended.
    :param spare: how many links there may be more in all.
    :param failed: told of a dial that made no connection, why, and how long it took (seconds).
    :param opened: told of each link as soon as its connection stands.
    """

    _log = Logger()

    def __init__(
        self,
        host: LinkHost,
        book: AddressBook,
        outbound: Outbound,
        busy: Callable[[], set[bytes]],
        links: Callable[[], Iterable[PeerProtocol]],
        spare: Callable[[], int],
        failed: Callable[[Dial, Exception, float], None],
        opened: Callable[[PeerProtocol], None],
    ) -> None:
        self._host = host
        self._book = book
        self._outbound = outbound
        self._busy = busy
        self._links = links
        self._spare = spare
        self._failed = failed
        self._opened = opened
        self._attempts: dict[bytes, _Attempt] = {}
        self._other_way = OtherWay(book)
        self._alarm = Alarm(host.reactor, self._round)
        self._running = False

    @property
    def attempts(self) -> list[Dial]:
        """Dials whose connection does not stand yet."""
        return [attempt.dial for attempt in self._attempts.values()]

    @property
    def links(self) -> list[PeerProtocol]:
        """Links whose connection does not stand yet."""
        return [attempt.link for attempt in self._attempts.values()]

    def candidates(self, limit: int) -> int:
        """How many fresh peers could be dialled at once beside what there is, no two of one netgroup, up to *limit*."""
        groups = {address_group(line.host) for line in self._lines() if line.purpose is not Purpose.FEELER}
        now = self._host.reactor.seconds()
        return self._book.candidates(now, avoid_groups=groups, busy=self._all_busy(), limit=limit)

    def start(self) -> None:
        """Dial from now on."""
        self._running = True
        self._alarm = Alarm(self._host.reactor, self._round)
        self._outbound.start(self._host.reactor.seconds())
        self.plan()

    def stop(self) -> None:
        """Dial no more and give up what is under way."""
        self._running = False
        self._alarm.stop()
        for attempt in list(self._attempts.values()):
            attempt.connection.cancel()

    def plan(self) -> None:
        """Something has changed: look soon whom to dial, once for all that changes until then."""
        self._outbound.changed()
        if self._running:
            self._alarm.by(self._host.reactor.seconds() + ROUND_MIN)

    def head_changed(self) -> None:
        """There is a new head."""
        stale_at = self._outbound.head_changed(self._host.reactor.seconds())
        if self._running and stale_at is not None:
            self._alarm.by(stale_at)

    def _all_busy(self) -> set[bytes]:
        return self._busy() | self._attempts.keys()

    def _room(self) -> int:
        return self._spare() - len(self._attempts)

    def _purpose(self, peer_id: bytes, purpose: Purpose | None) -> Purpose:
        return Purpose.HELD if purpose is None or self._book.is_held(peer_id) else purpose

    def _lines(self) -> list[Line]:
        lines = [
            Line(peer_id, self._purpose(peer_id, one.dial.purpose), one.dial.address.host, one.since, connected=False)
            for peer_id, one in self._attempts.items()
        ]
        for link in self._links():
            if link.outbound and link.end is None:
                peer_id = link.peer_id or link.expected or b""
                purpose = self._purpose(peer_id, link.purpose)
                lines.append(
                    Line(peer_id, purpose, link.address[0], link.opened_at, block_at=link.credited.get(Credit.BLOCK))
                )
        return lines

    def _round(self) -> None:
        now = self._host.reactor.seconds()
        self._review(now)
        for dial in self._outbound.dials(now, self._lines(), self._all_busy(), self._room()):
            self._dial(dial, now)
        due = self._outbound.next_at(now, self._lines(), self._all_busy(), self._room())
        self._alarm.by(max(due, now + ROUND_MIN))

    def _review(self, now: float) -> None:
        review = self._outbound.review(now, self._lines())
        if review is None:
            return
        for link in list(self._links()):
            if not link.outbound or link.end is not None:
                continue
            if link.peer_id == review.keep:
                link.purpose = Purpose.FULL
            elif link.peer_id == review.drop:
                link.close(Reason.TOO_MANY_PEERS, review.text, review.rule)

    def _dial(self, dial: Dial, now: float) -> None:
        address = dial.address
        if dial.purpose is Purpose.EXTRA:
            self._log.warn("no new head for long: dialling {peer} as well", peer=address.peer_id.hex()[:8])
        factory = PeerFactory(self._host, address.peer_id, self._opened, dial.purpose)
        link, connection = factory.dial(address.host, address.port, lambda: self._other_way.find(address, now))
        self._attempts[address.peer_id] = _Attempt(dial, now, link, connection)
        connection.addCallbacks(self._connected, self._not_connected, (dial,), errbackArgs=(dial,))

    def _connected(self, _: Any, dial: Dial) -> None:
        self._attempts.pop(dial.address.peer_id, None)
        self.plan()

    def _not_connected(self, failure: "Failure", dial: Dial) -> None:
        attempt = self._attempts.pop(dial.address.peer_id, None)
        if not self._running or attempt is None or attempt.link.end is not None:
            return  # given up, and whoever did that has said why
        if isinstance(failure.value, Exception):
            self._failed(dial, failure.value, self._host.reactor.seconds() - attempt.since)
            self.plan()
