"""Dials the peers of the address book when they are due."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from chainp2p.net.endpoints import client_endpoint
from chainp2p.net.factory import PeerFactory
from chainp2p.net.host import LinkHost
from chainp2p.net.protocol import PeerProtocol
from chainp2p.peer.address import NodeAddress
from chainp2p.peer.book import AddressBook

if TYPE_CHECKING:
    from twisted.python.failure import Failure

__all__ = ["Dialer"]

#: Rounds of dials follow each other at this distance at least (seconds).
ROUND_MIN = 0.05


class Dialer:
    """One timer for the whole book.

    :param busy: ids that have a link already.
    :param room: how many peers that are not held may be dialled more.
    :param failed: told of an attempt that made no connection, with its reason as text.
    :param opened: told of each link as soon as its connection stands.
    """

    def __init__(
        self,
        host: LinkHost,
        book: AddressBook,
        busy: Callable[[], set[bytes]],
        room: Callable[[], int],
        failed: Callable[[NodeAddress, str], None],
        opened: Callable[[PeerProtocol], None],
    ) -> None:
        self._host = host
        self._book = book
        self._busy = busy
        self._room = room
        self._failed = failed
        self._opened = opened
        self._attempts: dict[bytes, Deferred[Any]] = {}
        self._timer: IDelayedCall | None = None
        self._running = False

    @property
    def attempts(self) -> int:
        """Connections that do not stand yet."""
        return len(self._attempts)

    def start(self) -> None:
        """Dial from now on."""
        self._running = True
        self.plan()

    def stop(self) -> None:
        """Dial no more and give up what is under way."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for attempt in list(self._attempts.values()):
            attempt.cancel()

    def plan(self) -> None:
        """Something has changed: look when the next dial is due."""
        if not self._running:
            return
        reactor = self._host.reactor
        now = reactor.seconds()
        due = self._book.next_due(now, self._all_busy(), self._room() - self.attempts)
        if due is None:
            return
        when = max(due, now + ROUND_MIN)
        if self._timer is None:
            self._timer = reactor.callLater(when - now, self._round)
        elif self._timer.getTime() > when:
            self._timer.reset(when - now)

    def _all_busy(self) -> set[bytes]:
        return self._busy() | self._attempts.keys()

    def _round(self) -> None:
        self._timer = None
        now = self._host.reactor.seconds()
        for address in self._book.due(now, self._all_busy(), self._room() - self.attempts):
            self._dial(address)
        self.plan()

    def _dial(self, address: NodeAddress) -> None:
        factory = PeerFactory(self._host, address.peer_id, self._opened)
        endpoint = client_endpoint(self._host.reactor, address.host, address.port)
        attempt = self._attempts[address.peer_id] = endpoint.connect(self._host.security.client(factory))
        attempt.addCallbacks(self._connected, self._not_connected, (address,), errbackArgs=(address,))

    def _connected(self, _: Any, address: NodeAddress) -> None:
        self._attempts.pop(address.peer_id, None)
        self.plan()

    def _not_connected(self, failure: "Failure", address: NodeAddress) -> None:
        self._attempts.pop(address.peer_id, None)
        if self._running:
            self._failed(address, failure.getErrorMessage())
            self.plan()
