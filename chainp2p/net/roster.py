"""The links of a node by peer: who is here, who joins and leaves, and which of two links stays."""

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from chainp2p.errors import Reason
from chainp2p.events import EventBus
from chainp2p.net.life import Phase
from chainp2p.net.protocol import PeerProtocol
from chainp2p.peer.duplicates import ASK_TIMEOUT, GRACE, LinkFacts, Replacements, Survivor, survivor
from chainp2p.peer.ends import LinkEnd
from chainp2p.peer.link import LinkUser, PeerJoined, PeerLeft
from chainp2p.wire.messages import Ping

__all__ = ["Roster"]


class Roster:
    """Ready links and those on their way.

    1. Users see every ready link, ``joined`` and ``left`` once each; the events on the bus are about peers and stay
       silent while one link replaces another.
    2. Two links to one peer are decided when the second is ready (its ``Ack`` came just before). Only the lower id
       closes, at once; the higher one uses the survivor and closes the other after a grace period, if the survivor
       still lives.
    3. Too many replacements from different addresses end the newest link with ``duplicate_key``.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, own_id: bytes, users: Sequence[LinkUser], events: EventBus, enr_seq: Callable[[], int]
    ) -> None:
        self._reactor = reactor
        self._own_id = own_id
        self._users = users
        self._events = events
        self._enr_seq = enr_seq
        #: All connections to the last byte, in order (a set would iterate differently in each process).
        self.open: dict[PeerProtocol, None] = {}
        self._joined: set[PeerProtocol] = set()  #: what the users know
        self._current: dict[bytes, PeerProtocol] = {}
        self._absent: dict[bytes, PeerLeft] = {}
        self._replacements = Replacements()
        self._grace: dict[PeerProtocol, IDelayedCall] = {}

    def __len__(self) -> int:
        return len(self._current)

    @property
    def current(self) -> list[PeerProtocol]:
        """The ready link of each peer, oldest first."""
        return list(self._current.values())

    def get(self, peer_id: bytes) -> PeerProtocol | None:
        """Return the ready link to a peer."""
        return self._current.get(peer_id)

    def live(self) -> list[PeerProtocol]:
        """Links that have not ended and know who is there, ready or greeting."""
        return [link for link in self.open if link.end is None and link.peer_id]

    def opened(self, link: PeerProtocol) -> None:
        """The connection of *link* stands."""
        self.open[link] = None

    def ids(self) -> set[bytes]:
        """Ids with a link that has not ended, or one that is on its way to them."""
        return {link.peer_id or link.expected or b"" for link in self.open if link.end is None}

    def ready(self, link: PeerProtocol) -> None:
        """*link* became ready."""
        other = self._current.get(link.peer_id)
        if other is None:
            self._current[link.peer_id] = link
        self._joined.add(link)
        for user in self._users:
            user.joined(link)
        if other is not None:
            self._decide(other, link)
        elif self._absent.pop(link.peer_id, None) is None:
            self._events.publish(PeerJoined(link.peer_id, link.address, link.outbound))

    def _facts(self, link: PeerProtocol) -> LinkFacts:
        return LinkFacts(self._own_id if link.outbound else link.peer_id, link.opened_at)

    def _decide(self, older: PeerProtocol, newer: PeerProtocol) -> None:
        match survivor(self._facts(older), self._facts(newer), self._reactor.seconds()):
            case Survivor.OLDER:
                self._retire(newer, older)
            case Survivor.NEWER:
                self._replace(older, newer)
            case Survivor.ASK:
                older.request(Ping(self._enr_seq()), timeout=ASK_TIMEOUT).addCallbacks(
                    lambda _: self._retire(newer, older), lambda _: self._replace(older, newer)
                )

    def _replace(self, older: PeerProtocol, newer: PeerProtocol) -> None:
        if newer.end is not None:
            return
        now = self._reactor.seconds()
        if self._replacements.replaced(newer.peer_id, newer.address[0], now):
            self._log.error(
                "key {peer} is used by two machines, the newer at {address}",
                peer=newer.peer_id.hex(),
                address=newer.address[0],
            )
            newer.close(Reason.DUPLICATE_KEY, "this key is in use at another address")
            return
        self._current[newer.peer_id] = newer
        self._retire(older, newer)

    def _retire(self, loser: PeerProtocol, keep: PeerProtocol) -> None:
        if loser.end is not None or keep.end is not None:
            return
        if self._own_id < loser.peer_id:
            loser.close(Reason.DUPLICATE, "another link to the same peer stays")
        elif loser not in self._grace:
            # a third link may retire it a second time
            self._grace[loser] = self._reactor.callLater(GRACE, self._after_grace, loser, keep)

    def _after_grace(self, loser: PeerProtocol, keep: PeerProtocol) -> None:
        del self._grace[loser]
        if keep.end is None:
            loser.close(Reason.DUPLICATE, "another link to the same peer stays")

    def ended(self, link: PeerProtocol, end: LinkEnd) -> None:
        """*link* has ended; its last byte may still be on its way."""
        peer_id = link.peer_id
        grace = self._grace.pop(link, None)
        if grace is not None:
            grace.cancel()
        if link in self._joined:
            self._joined.discard(link)
            for user in self._users:
                user.left(link, end.reason)
        spare = [other for other in self.live() if other.peer_id == peer_id]
        if self._current.get(peer_id) is link:
            del self._current[peer_id]
            left = PeerLeft(peer_id, link.address, end.reason, end.detail, end.by_us)
            ready = [other for other in spare if other.phase is Phase.READY]
            if ready:
                self._current[peer_id] = ready[-1]
            elif spare and end.reason is Reason.DUPLICATE:
                self._absent[peer_id] = left  # the link that replaces it is about to become ready
            else:
                self._events.publish(left)
        elif not spare and (absent := self._absent.pop(peer_id, None)) is not None:
            self._events.publish(absent)
