"""How a transport proves who is at its other end; TLS 1.3 with mutual certificates is the one for real networks.

TLS specification: libp2p ``tls/tls.md``; the facts about OpenSSL are in the design ("TCP: TLS 1.3, mutual").
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import (
    IDelayedCall,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from chainp2p.errors import PeerFault, PeerGone, Penalty, Reason
from chainp2p.net.certificate import BadCertificate, HostKey, check_certificate, make_certificate
from chainp2p.peer.key import NodeKey

if TYPE_CHECKING:
    pass

__all__ = ["ALPN", "Security", "TlsSecurity"]

#: What both sides must agree on before a frame is exchanged.
ALPN = b"chainp2p/1"
#: A complete ClientHello must be here so soon (seconds): a socket that says nothing costs an attacker nothing.
HELLO_TIMEOUT = 3.0
#: Bytes of a connection that are read before others have their turn: one TLS record. With Twisted's 64 KiB whoever
#: sends much keeps all others waiting for two milliseconds.
READ = 16_384
#: The alert that OpenSSL sends where a certificate has no error and is refused nevertheless.
UNWELCOME = "alert internal error"


class Security(Protocol):
    """Wraps factories of protocols, so that their transports know the id of the other end.

    The wrapped protocol's ``handshakeCompleted()`` is called once its transport can carry bytes; a transport that fails
    before it gives ``connectionLost`` a failure that holds a :exc:`PeerFault`, where it knows the reason. A wrapped
    factory with a method ``welcome(peer_id)`` is asked as soon as the id is proven, and may answer a PeerFault.
    """

    def client(self, factory: IProtocolFactory) -> IProtocolFactory:
        """Return a factory for the side that dials."""
        ...

    def server(self, factory: IProtocolFactory) -> IProtocolFactory:
        """Return a factory for the side that listens."""
        ...

    def proven(self, transport: Any) -> bytes:
        """Return the peer id of the other end; raises PeerFault ``bad_certificate``."""
        ...


def _text(error: SSL.Error) -> str:
    queue = error.args[0] if error.args else None
    return ", ".join(str(entry[-1]) for entry in queue) if isinstance(queue, list) and queue else "connection cut"


class _TlsTransport(BufferingTLSTransport):
    """Twisted's TLS transport, with what is known of the other end's certificate."""

    factory: "_TlsFactory"
    host_key: HostKey | None = None
    fault: PeerFault | None = None
    _deadline: IDelayedCall | None = None

    def makeConnection(self, transport: Any) -> None:
        if not self.factory.is_client:
            self._deadline = self.factory.clock.callLater(HELLO_TIMEOUT, self._no_hello)
        transport.bufferSize = READ
        super().makeConnection(transport)  # type: ignore[no-untyped-call]

    def _no_hello(self) -> None:
        self._deadline = None
        self.fault = PeerFault(
            Reason.HANDSHAKE_TIMEOUT,
            f"no complete ClientHello within {HELLO_TIMEOUT:g} s",
            Penalty.USELESS,
            "client_hello_late",
        )
        self.abortConnection()  # type: ignore[no-untyped-call]

    def hello_seen(self) -> None:
        """The other side's ClientHello is complete."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _tlsShutdownFinished(self, reason: Any) -> None:
        # Its traceback holds the frames that hold it, and OpenSSL's connection: 40 KiB that only a search for cycles
        # would free. Of a crowd of callers that is much, and the search is rare.
        if reason is not None:
            reason.cleanFailure()
        super()._tlsShutdownFinished(reason)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any = None) -> None:
        self.hello_seen()
        error = self._reason.value if self._reason is not None else None
        if self.fault is None and isinstance(error, SSL.Error):
            self._ended(_text(error))
        if self.fault is not None:
            self._reason = Failure(self.fault)  # type: ignore[no-untyped-call]
        super().connectionLost(reason)

    def _ended(self, text: str) -> None:
        """OpenSSL says *text*: an alert is the other end's word, whenever it comes, anything else is its mistake."""
        bad = any(word in text.lower() for word in ("certificate", "unknown ca"))
        reason = Reason.BAD_CERTIFICATE if bad else Reason.MALFORMED_FRAME
        if UNWELCOME in text:
            gone = PeerGone(Reason.NOT_ALLOWED, f"the other side does not want our key (TLS: {text})")
            self._reason = Failure(gone)  # type: ignore[no-untyped-call]
        elif "alert" in text:
            self._reason = Failure(PeerGone(reason, f"TLS: {text}"))  # type: ignore[no-untyped-call]
        elif not self._handshakeDone:
            self.fault = PeerFault(reason, f"TLS: {text}", Penalty.USELESS)


class _TlsFactory(TLSMemoryBIOFactory):
    protocol = _TlsTransport

    def __init__(self, creator: Any, is_client: bool, wrapped: IProtocolFactory, clock: IReactorTime) -> None:
        super().__init__(creator, is_client, wrapped, clock)
        self.is_client = is_client
        self.clock = clock
        self.welcome: Callable[[bytes], PeerFault | None] = getattr(wrapped, "welcome", lambda _: None)

    def buildProtocol(self, addr: Any) -> Any:
        """Return the protocol of a new connection, or None where the wrapped factory wants none."""
        wrapped = self.wrappedFactory.buildProtocol(addr)
        return None if wrapped is None else self.protocol(self, wrapped)


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class _Creator:
    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def clientConnectionForTLS(self, protocol: object) -> SSL.Connection:
        return SSL.Connection(self._context, None)

    serverConnectionForTLS = clientConnectionForTLS


class TlsSecurity:
    """TLS 1.3, both sides with exactly one self-signed certificate that the node key vouches for.

    :param now: answers Unix time in seconds; certificates are valid or not by it.
    :param serial: serial number of the certificate, unpredictable.
    :param clock: times the ClientHello and Twisted's TLS transport.
    """

    def __init__(self, key: NodeKey, now: Callable[[], float], serial: int, clock: IReactorTime) -> None:
        self._now = now
        self._clock = clock
        certificate, private = make_certificate(key, now(), serial)
        self._identity = (certificate, private)
        self._client = _Creator(self._context())
        self._server = _Creator(self._context())

    def _context(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.set_max_proto_version(SSL.TLS1_3_VERSION)
        # pyOpenSSL cannot ask for no tickets at all: what still leaves are two numbers of sessions that nobody keeps.
        context.set_options(SSL.OP_NO_TICKET)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        # A silent peer holds no record buffers: 33 KiB less.
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        certificate, private = self._identity
        context.use_certificate(certificate)
        context.use_privatekey(private)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verify)
        context.set_alpn_protos([ALPN])
        context.set_alpn_select_callback(self._select)
        return context

    def _select(self, connection: SSL.Connection, offered: list[bytes]) -> bytes:
        transport = cast(_TlsTransport, connection.get_app_data())
        transport.hello_seen()
        if ALPN not in offered:
            transport.fault = PeerFault(
                Reason.WRONG_VERSION, f"offers none of {ALPN.decode()} by ALPN", Penalty.INCOMPATIBLE
            )
            raise SSL.Error([("", "", "no common ALPN protocol")])
        return ALPN

    def _verify(self, connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, _: int) -> bool:
        """Judge the other end's certificate; OpenSSL asks for each error that it found, and at last without one.

        Who has a good certificate and is not welcome is refused at last: :data:`UNWELCOME` tells it from a bad one.
        """
        transport = cast(_TlsTransport, connection.get_app_data())
        if transport.fault is not None or depth > 0:
            return False
        if transport.host_key is None:
            try:
                transport.host_key = check_certificate(
                    crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate), self._now()
                )
            except BadCertificate as bad:
                transport.fault = PeerFault(Reason.BAD_CERTIFICATE, str(bad))
            except Exception as failure:
                # Whatever a stranger's bytes make the parser raise, they are the stranger's fault.
                transport.fault = PeerFault(Reason.BAD_CERTIFICATE, f"unreadable: {type(failure).__name__}")
        key = transport.host_key
        if not error and key is not None and key.peer_id is not None:
            transport.fault = transport.factory.welcome(key.peer_id)
        return transport.fault is None

    def client(self, factory: IProtocolFactory) -> IProtocolFactory:
        """Return a TLS client around *factory*'s protocols."""
        return cast(IProtocolFactory, _TlsFactory(self._client, True, factory, self._clock))

    def server(self, factory: IProtocolFactory) -> IProtocolFactory:
        """Return a TLS server around *factory*'s protocols."""
        return cast(IProtocolFactory, _TlsFactory(self._server, False, factory, self._clock))

    def proven(self, transport: Any) -> bytes:
        """Return the peer id that the certificate proves.

        :raise PeerFault: ``bad_certificate`` unless it came alone and names a secp256k1 key; ``wrong_version``
            without ALPN.
        """
        if transport.negotiatedProtocol != ALPN:
            raise PeerFault(Reason.WRONG_VERSION, f"{ALPN.decode()} was not agreed on by ALPN", Penalty.INCOMPATIBLE)
        # On the server OpenSSL's chain leaves the certificate itself out.
        chain = len(transport.getHandle().get_peer_cert_chain() or ())
        if chain != (1 if transport.factory.is_client else 0):
            raise PeerFault(Reason.BAD_CERTIFICATE, "exactly one certificate is expected")
        key = transport.host_key
        if key is None or key.peer_id is None:
            raise PeerFault(Reason.BAD_CERTIFICATE, "the host key is not a secp256k1 key")
        peer_id: bytes = key.peer_id
        return peer_id
