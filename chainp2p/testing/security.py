"""Transport security without cryptography: both ends say who they are and are believed."""

from typing import Any, cast

from twisted.internet.interfaces import IHandshakeListener, IProtocolFactory
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from chainp2p.errors import PeerFault, Reason
from chainp2p.peer.key import NodeKey

__all__ = ["PlainSecurity"]

#: Bytes of a peer id.
_ID = 32


class _PlainTransport(ProtocolWrapper):
    """Sends the own id first and takes the other's from the first bytes."""

    factory: "_PlainFactory"

    def __init__(self, factory: Any, wrapped: Any) -> None:
        super().__init__(factory, wrapped)
        self._first: bytes | None = b""
        self.proven: bytes | None = None

    def makeConnection(self, transport: Any) -> None:
        transport.write(self.factory.peer_id)
        super().makeConnection(transport)  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:
        if self._first is None:
            self.wrappedProtocol.dataReceived(data)
            return
        self._first += data
        if len(self._first) < _ID:
            return
        self.proven, rest, self._first = self._first[:_ID], self._first[_ID:], None
        if IHandshakeListener.providedBy(self.wrappedProtocol):
            self.wrappedProtocol.handshakeCompleted()
        if rest:
            self.wrappedProtocol.dataReceived(rest)


class _PlainFactory(WrappingFactory):
    protocol = _PlainTransport
    noisy = False

    def __init__(self, wrapped: Any, peer_id: bytes) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]
        self.peer_id = peer_id

    def buildProtocol(self, addr: Any) -> Any:
        """Return the protocol of a new connection, or None where the wrapped factory wants none."""
        wrapped = self.wrappedFactory.buildProtocol(addr)
        return None if wrapped is None else self.protocol(self, wrapped)


class PlainSecurity:
    """Stands for TLS in simulations (``chainp2p.net.security.Security``): 32 bytes of peer id each way, then frames.

    :param claim: what the own id is said to be, for tests of impostors; None: what it is.
    """

    def __init__(self, key: NodeKey, claim: bytes | None = None) -> None:
        self._peer_id = claim if claim is not None else key.peer_id

    def client(self, factory: IProtocolFactory) -> IProtocolFactory:
        """See ``Security.client``."""
        return cast(IProtocolFactory, _PlainFactory(factory, self._peer_id))

    def server(self, factory: IProtocolFactory) -> IProtocolFactory:
        """See ``Security.server``."""
        return cast(IProtocolFactory, _PlainFactory(factory, self._peer_id))

    def proven(self, transport: Any) -> bytes:
        """See ``Security.proven``."""
        peer_id: bytes | None = transport.proven
        if peer_id is None:
            raise PeerFault(Reason.BAD_CERTIFICATE, "the other end has not said who it is")
        return peer_id
