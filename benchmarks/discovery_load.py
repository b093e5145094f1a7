"""The load of ``bench_discovery.py``: one script against any node of Node Discovery v5.1.

Requests are encrypted before the clock runs, and answers are counted, not read, once one of them has been read in
full. What of a handshake does not depend on its challenge is made before, too.
"""

import random
import select
import socket
import threading
from ipaddress import IPv4Address
from itertools import islice

from chainp2p.discovery.keys import SessionKeys, decrypt, derive_keys, encrypt, identity_proof, shared_secret
from chainp2p.discovery.messages import FindNode, Message, Nodes, Ping, Pong, decode_message, encode_message
from chainp2p.discovery.packets import (
    PACKET_MAX,
    Challenge,
    Handshake,
    Ordinary,
    additional_data,
    encode_packet,
    open_packet,
)
from chainp2p.discovery.table import log_distance
from chainp2p.peer.enr import Enr, make_enr
from chainp2p.peer.key import NodeKey

__all__ = ["BATCH", "DISTANCE", "NEIGHBOURS", "Neighbours", "Peer", "answered", "handshakes", "junk", "swallowed"]

#: Nodes in the bucket that FINDNODE asks for: a full one, and the one that half of all nodes fall into.
NEIGHBOURS, DISTANCE = 16, 256
#: Junk packets before each PING that shows that they have been read: what fits into the smallest receive buffer.
BATCH = 16
#: Seconds without an answer after which what is in flight counts as lost: 32 handshakes of theirs take half of one.
PATIENCE = 2.0
_SIZE = 1 << 22


class Peer:
    """A node of the load with a socket of its own.

    :param number: of its address, for a node keeps few sessions with one: 127.1.0.0 and so on.
    :param endpoint: whether its record says where it is, so that it may get a place in a table.
    """

    def __init__(
        self, server: Enr, chance: random.Random, key: NodeKey, number: int = 0, *, endpoint: bool = False
    ) -> None:
        address = server.udp_endpoint
        assert address is not None
        self.server, self.key, self._random = server, key, chance
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SIZE)
        ip = bytes((127, 1, *number.to_bytes(2, "big")))
        self.socket.bind((str(IPv4Address(ip)), 0))
        self.socket.connect(address)
        port = self.socket.getsockname()[1]
        self.enr = make_enr(key, 1, {b"ip": ip, b"udp": port.to_bytes(2, "big")} if endpoint else {})
        self.ephemeral = NodeKey.generate(chance.randbytes)
        self._secret = shared_secret(self.ephemeral.private, b"\x04" + server.public)
        self.keys: SessionKeys | None = None

    def _ordinary(self, nonce: bytes) -> bytes:
        return additional_data(Ordinary(nonce, self.key.peer_id), self._random.randbytes(16))

    def knock(self) -> bytes:
        """A packet that the server cannot read."""
        return encode_packet(
            self.server.peer_id, self._ordinary(self._random.randbytes(12)), self._random.randbytes(24)
        )

    def handshake(self, data: bytes, message: Message) -> bytes:
        """The answer to a challenge."""
        packet = open_packet(self.key.peer_id, data)
        assert isinstance(packet.head, Challenge), packet.head
        own, other, challenge = self.key, self.server.peer_id, packet.additional
        self.keys = derive_keys(self._secret, own.peer_id, other, challenge)
        public = self.ephemeral.compressed
        proof = identity_proof(own.private, challenge, public, other)
        nonce = self._random.randbytes(12)
        head = Handshake(nonce, own.peer_id, proof, public, self.enr.raw)
        additional = additional_data(head, self._random.randbytes(16))
        return encode_packet(
            other, additional, encrypt(self.keys.initiator, nonce, encode_message(message), additional)
        )

    def sealed(self, message: Message) -> bytes:
        """A message under the keys of the session."""
        assert self.keys is not None
        nonce = self._random.randbytes(12)
        additional = self._ordinary(nonce)
        ciphertext = encrypt(self.keys.initiator, nonce, encode_message(message), additional)
        return encode_packet(self.server.peer_id, additional, ciphertext)

    def opened(self, data: bytes) -> Message | None:
        """What the server says; None if that is no message of the session."""
        packet = open_packet(self.key.peer_id, data)
        if self.keys is None or not isinstance(packet.head, Ordinary):
            return None
        plain = decrypt(self.keys.recipient, packet.head.nonce, packet.ciphertext, packet.additional)
        return decode_message(plain) if plain is not None else None

    def begin(self) -> None:
        """Shake hands with the server."""
        self.socket.settimeout(10.0)
        self.socket.send(self.knock())
        self.socket.send(self.handshake(self.socket.recv(PACKET_MAX), Ping(b"\1", 1)))
        while not isinstance(self.take(), Pong):
            pass

    def take(self) -> Message | None:
        """Read one message, and answer it if it is a request."""
        message = self.opened(self.socket.recv(PACKET_MAX))
        if isinstance(message, Ping):
            self.socket.send(self.sealed(Pong(message.id, 1, "127.0.0.1", 9)))
        elif isinstance(message, FindNode):
            self.socket.send(self.sealed(Nodes(message.id, 1, ())))
        return message

    def read_pong(self) -> bool:
        """Whether the server answers PING."""
        self.socket.settimeout(10.0)
        self.socket.send(self.pings(1)[0])
        return isinstance(self.opened(self.socket.recv(PACKET_MAX)), Pong)

    def read_nodes(self) -> tuple[int, int]:
        """How many packets answer FINDNODE, and how many records are in them."""
        self.socket.settimeout(10.0)
        self.socket.send(self.questions(1)[0])
        first = self.opened(self.socket.recv(PACKET_MAX))
        assert isinstance(first, Nodes), first
        parts = [first, *(self.opened(self.socket.recv(PACKET_MAX)) for _ in range(first.total - 1))]
        return first.total, sum(len(part.records) for part in parts if isinstance(part, Nodes))

    def pings(self, count: int) -> list[bytes]:
        return [self.sealed(Ping(self._random.randbytes(8), 1)) for _ in range(count)]

    def questions(self, count: int) -> list[bytes]:
        return [self.sealed(FindNode(self._random.randbytes(8), (DISTANCE,))) for _ in range(count)]


class Neighbours:
    """Fills the bucket at :data:`DISTANCE` of the server with nodes that answer it, in a thread that mostly waits."""

    def __init__(self, server: Enr, chance: random.Random) -> None:
        self._peers: dict[int, Peer] = {}
        self._poll = select.epoll()
        threading.Thread(target=self._serve, daemon=True).start()
        while len(self._peers) < NEIGHBOURS:
            key = NodeKey.generate(chance.randbytes)
            if log_distance(key.peer_id, server.peer_id) == DISTANCE:
                peer = Peer(server, chance, key, endpoint=True)
                peer.begin()
                self._peers[peer.socket.fileno()] = peer
                self._poll.register(peer.socket, select.EPOLLIN)

    def _serve(self) -> None:
        while True:
            for number, _ in self._poll.poll():
                self._peers[number].take()


def answered(peer: Peer, requests: list[bytes], packets: int, in_flight: int) -> int:
    """Send the requests, so many in flight; return how many were answered, by *packets* packets each."""
    peer.socket.settimeout(PATIENCE)
    send, receive, buffer = peer.socket.send, peer.socket.recv_into, bytearray(PACKET_MAX)
    left = iter(requests)
    done = 0
    while True:
        window = list(islice(left, in_flight))
        for request in window:
            send(request)
        pending, got = len(window), 0
        try:
            while pending:
                receive(buffer)
                got += 1
                if got == packets:
                    got = 0
                    done += 1
                    if (more := next(left, None)) is None:
                        pending -= 1
                    else:
                        send(more)
        except TimeoutError:
            continue  # what was in flight is lost
        return done


def handshakes(peers: list[Peer], in_flight: int) -> int:
    """Let each of *peers* shake hands; return how many got the answer to the message that came along."""
    waiting = iter(peers)
    by_number: dict[int, tuple[Peer, bool]] = {}
    poll = select.epoll()

    def begin() -> None:
        peer = next(waiting, None)
        if peer is not None:
            by_number[peer.socket.fileno()] = peer, False
            poll.register(peer.socket, select.EPOLLIN)
            peer.socket.send(peer.knock())

    for _ in range(in_flight):
        begin()
    done = 0
    while by_number:
        ready = poll.poll(PATIENCE)
        if not ready:
            lost = list(by_number)
            for number in lost:
                poll.unregister(number)
                del by_number[number]
                begin()
        for number, _ in ready:
            peer, shaken = by_number[number]
            data = peer.socket.recv(PACKET_MAX)
            if shaken:
                done += isinstance(peer.opened(data), Pong)
                poll.unregister(number)
                del by_number[number]
                begin()
            else:
                peer.socket.send(peer.handshake(data, Ping(b"\1", 1)))
                by_number[number] = peer, True
    poll.close()
    return done


def junk(chance: random.Random, count: int) -> list[bytes]:
    """Bytes that are no packets."""
    return [chance.randbytes(chance.randint(63, 300)) for _ in range(count)]


def swallowed(peer: Peer, junk: list[bytes], pings: list[bytes]) -> int:
    """Send junk in batches with a PING behind each; return how many batches were gone through."""
    own = peer.socket
    own.settimeout(PATIENCE)
    done = 0
    for index, ping in enumerate(pings):
        for data in junk[index * BATCH : (index + 1) * BATCH]:
            own.send(data)
        own.send(ping)
        try:
            own.recv(PACKET_MAX)
            done += 1
        except TimeoutError:
            continue
    return done
