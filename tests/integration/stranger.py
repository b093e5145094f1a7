"""A peer that keeps no rules: raw TLS and raw frames over a blocking socket, by Python's own ``ssl``."""

import datetime
import socket
import ssl
import struct
import tempfile
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from chainp2p.net.certificate import make_certificate
from chainp2p.peer.enr import make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from chainp2p.wire import Ack, Disconnect, Hello, Kind, Message, Status, decode, encode

__all__ = ["Stranger"]

#: Seconds that it waits for a node: longer than any deadline of the handshake.
PATIENCE = 15.0


class Stranger:
    """One connection to the node at *port* of loopback.

    :param genesis: hash of the network it says it belongs to.
    :param source: address that it calls from.
    """

    def __init__(self, port: int, genesis: bytes, key: NodeKey, tls: bool = True, source: str = "127.0.0.1") -> None:
        self.key = key
        self.genesis = genesis
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", port), PATIENCE, (source, 0))
        self._next_id = 1
        if tls:
            self.socket = _context(key).wrap_socket(self.socket)

    def close(self) -> None:
        self.socket.close()

    def send_frame(
        self, body: bytes, kind: int = 0, flags: int = 0, length: int | None = None, id: int | None = None
    ) -> None:
        """Send a frame; its length field may lie."""
        head = struct.pack("<IIBB", 6 + len(body) if length is None else length, id or self._next_id, kind, flags)
        self._next_id += 1
        self.socket.sendall(head + body)

    def send(self, message: Message, kind: Kind = Kind.NOTIFICATION) -> None:
        self.send_frame(encode(message), kind.value)

    def read_frame(self) -> tuple[int, bytes] | None:
        """The kind and the body of the next frame, or None at the end of the connection."""
        head = self._read(10)
        if head is None:
            return None
        length, _, kind, _ = struct.unpack("<IIBB", head)
        body = self._read(length - 6)
        return None if body is None else (kind, body)

    def _read(self, size: int) -> bytes | None:
        data = b""
        while len(data) < size:
            try:
                more = self.socket.recv(size - len(data))
            except (ssl.SSLError, ConnectionError):
                return None
            if not more:
                return None
            data += more
        return data

    def wait_for(self, kind: type) -> Any:
        """The next message of a class; AssertionError if the connection ends before."""
        while True:
            frame = self.read_frame()
            assert frame is not None, f"the connection ended before {kind.__name__}"
            message = decode(frame[1])
            if isinstance(message, kind):
                return message

    def ending(self) -> int | None:
        """Read on to the end; the reason of the node's ``Disconnect``, if it sent one."""
        reason = None
        while (frame := self.read_frame()) is not None:
            message = decode(frame[1])
            if isinstance(message, Disconnect):
                reason = message.reason
        return reason

    def greet(
        self, version: int = 1, genesis: bytes | None = None, settings: tuple[tuple[int, bytes], ...] = ()
    ) -> None:
        """Say everything that makes a link ready."""
        self.send(Hello(version, self.genesis if genesis is None else genesis, 0))
        self.send(Ack(self.key.peer_id))
        record = make_enr(self.key, 1, node_pairs(self.genesis, 1))
        self.send(
            Status(
                agent="stranger/1",
                features=0,
                flags=0,
                port=0,
                head=self.genesis,
                height=0,
                rank=bytes(32),
                enr=record.raw,
                settings=settings,
                observed=(b"\x7f\0\0\1", 1),
                extra=(),
            )
        )


def _context(key: NodeKey) -> ssl.SSLContext:
    certificate, private = make_certificate(key, datetime.datetime.now(datetime.UTC).timestamp(), 1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["chainp2p/1"])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "certificate.pem"
        file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context.load_cert_chain(file)
    return context
