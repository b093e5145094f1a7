"""Mutual TLS 1.3 handshakes against a bare pyOpenSSL loop with the same certificates.

Ours are whole connections over loopback: TCP, Twisted's TLS, both certificates checked (libp2p extension, both
signatures), the id compared with the one that was dialled, and both ends closed. The first yardstick is two pyOpenSSL
connections over memory that exchange bytes until both have finished; its verify callback answers yes. The second also
makes, checks and closes what no node can do without: a TCP connection and the two certificates.
"""

import socket
import statistics
import time
from typing import Any, cast

from measure import Measured, show
from OpenSSL import SSL, crypto
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import react
from zope.interface import implementer

from chainp2p.net.certificate import check_certificate, make_certificate
from chainp2p.net.security import ALPN, TlsSecurity
from chainp2p.peer.key import NodeKey

#: Handshakes in one sample, and samples.
HANDSHAKES = 40
ROUNDS = 9
KEYS = NodeKey(b"\x01" * 32), NodeKey(b"\x02" * 32)


@implementer(IHandshakeListener)
class Greeter(Protocol):
    """Tells when the transport has proven who is there."""

    factory: "Greeters"

    def handshakeCompleted(self) -> None:
        assert self.factory.security.proven(self.transport) == self.factory.expected
        self.factory.completed.callback(self)

    def connectionLost(self, reason: object = None) -> None:
        self.factory.gone.callback(None)


class Greeters(Factory):
    protocol = Greeter
    noisy = False

    def __init__(self, security: TlsSecurity, expected: bytes) -> None:
        self.security = security
        self.expected = expected
        self.again()

    def again(self) -> None:
        self.completed: Deferred[Greeter] = Deferred()
        self.gone: Deferred[None] = Deferred()


def bare_context(key: NodeKey) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    certificate, private = make_certificate(key, time.time(), 1)  # noqa: TID251
    context.use_certificate(certificate)
    context.use_privatekey(private)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    context.set_alpn_protos([ALPN])
    context.set_alpn_select_callback(lambda connection, offered: ALPN)
    return context


def bare_handshake(contexts: tuple[SSL.Context, SSL.Context]) -> None:
    client, server = (SSL.Connection(context, None) for context in contexts)
    client.set_connect_state()
    server.set_accept_state()
    done = 0
    while done < 2:
        done = 0
        for end, other in ((client, server), (server, client)):
            try:
                end.do_handshake()
                done += 1
            except SSL.WantReadError:
                pass
            while True:
                try:
                    other.bio_write(end.bio_read(65_536))
                except SSL.WantReadError:
                    break


def socket_handshake(contexts: tuple[SSL.Context, SSL.Context], listener: socket.socket) -> None:
    raw = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    raw.setblocking(False)
    accepted.setblocking(False)
    client, server = SSL.Connection(contexts[0], raw), SSL.Connection(contexts[1], accepted)
    client.set_connect_state()
    server.set_accept_state()
    waiting = [client, server]
    while waiting:
        for end in tuple(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except SSL.WantReadError:
                pass
    for end in (client, server):
        certificate = end.get_peer_certificate()
        assert certificate is not None
        check_certificate(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate), time.time())  # noqa: TID251
        end.close()


async def measured(reactor: Any) -> None:
    now = time.time  # noqa: TID251
    securities = [TlsSecurity(key, now, 1, reactor) for key in KEYS]
    served, dialled = Greeters(securities[0], KEYS[1].peer_id), Greeters(securities[1], KEYS[0].peer_id)
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(securities[0].server(served))
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    client = securities[1].client(dialled)

    async def own() -> None:
        served.again()
        dialled.again()
        await endpoint.connect(client)
        await served.completed
        cast(Any, (await dialled.completed).transport).loseConnection()
        await dialled.gone
        await served.gone

    contexts = bare_context(KEYS[1]), bare_context(KEYS[0])
    listener = socket.create_server(("127.0.0.1", 0))
    ours: list[float] = []
    bare: list[float] = []
    whole: list[float] = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(HANDSHAKES):
            await own()
        middle = time.process_time()
        for _ in range(HANDSHAKES):
            bare_handshake(contexts)
        end = time.process_time()
        for _ in range(HANDSHAKES):
            socket_handshake(contexts, listener)
        last = time.process_time()
        whole.append((last - end) / HANDSHAKES * 1e6)
        ours.append((middle - start) / HANDSHAKES * 1e6)
        bare.append((end - middle) / HANDSHAKES * 1e6)
    listener.close()
    lines = [
        Measured(
            "mutual TLS handshake, both ends",
            statistics.median(ours),
            name,
            statistics.median(other),
            statistics.median(b / o for o, b in zip(ours, other, strict=True)),
            aim,
        )
        for name, other, aim in (("bare, in memory", bare, 0.6), ("bare, TCP and checks", whole, None))
    ]
    show(lines, ["twisted", "pyopenssl", "cryptography", "coincurve"])
    await port.stopListening()


if __name__ == "__main__":
    react(measured)
