"""Builds a protocol for each connection, on either side."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import NoRouteError
from twisted.internet.protocol import Factory

from chainp2p.errors import PeerFault
from chainp2p.net.endpoints import client_endpoint
from chainp2p.net.host import LinkHost
from chainp2p.net.life import Phase
from chainp2p.net.protocol import PeerProtocol
from chainp2p.peer.outbound import Purpose

if TYPE_CHECKING:
    from twisted.python.failure import Failure

__all__ = ["PeerFactory"]


class PeerFactory(Factory):
    """Makes the links of one listener, or the one link of one dial.

    :param expected: whom we mean to dial; None for a listener.
    :param purpose: what the dial is for.
    :param opened: told of each link as soon as its connection stands.
    :param room: whether one more connection may be taken; without room it is closed before it costs anything.
    """

    noisy = False

    def __init__(
        self,
        host: LinkHost,
        expected: bytes | None = None,
        opened: Callable[[PeerProtocol], None] | None = None,
        purpose: Purpose | None = None,
        room: Callable[[str], bool] | None = None,
    ) -> None:
        self._room = room
        self._host = host
        self._opened = opened
        self._expected = expected
        self._purpose = purpose
        self._dialled: PeerProtocol | None = None

    def welcome(self, peer_id: bytes) -> PeerFault | None:
        """Return why a key gets no link at all, as soon as it is proven."""
        return self._host.welcome(peer_id)

    def _make(self) -> PeerProtocol:
        link = PeerProtocol(self._host, self._expected, self._expected is not None, self._purpose)
        link.factory = self
        return link

    def dial(
        self, host: str, port: int, other: Callable[[], tuple[str, int] | None] = lambda: None
    ) -> "tuple[PeerProtocol, Deferred[Any]]":
        """Make the link and connect it; fires when the connection stands, and closing the link gives it up.

        :param other: answers where to try next if there is no route to *host*.
        """
        link = self._dialled = self._make()
        attempt = self._connect(host, port).addErrback(self._try_other, other)
        link.dial((host, port), attempt)
        return link, attempt

    def _connect(self, host: str, port: int) -> "Deferred[Any]":
        connection: Deferred[Any] = client_endpoint(self._host.reactor, host, port).connect(
            self._host.security.client(self)
        )
        return connection

    def _try_other(self, failure: "Failure", other: Callable[[], tuple[str, int] | None]) -> Any:
        where = other() if isinstance(failure.value, NoRouteError) else None
        return failure if where is None else self._connect(*where)

    def buildProtocol(self, addr: Any) -> PeerProtocol | None:
        """Return the protocol of a new connection, None without room."""
        if self._room is not None and not self._room(getattr(addr, "host", "")):
            return None
        link = self._dialled
        if link is None or link.phase is not Phase.DIALING:
            link = self._make()
        if self._opened is not None:
            self._opened(link)
        return link
