"""Keys that two nodes share, by node and endpoint."""

from collections import OrderedDict

from attrs import define

from chainp2p.discovery.keys import SessionKeys, decrypt
from chainp2p.discovery.packets import Packet
from chainp2p.peer.enr import Enr
from chainp2p.peer.netgroup import source_address

__all__ = ["Peer", "Session", "Sessions"]

#: Sessions that are kept; the one used longest ago goes first (wire design). Each takes some 600 bytes.
SESSIONS_MAX = 1_024
#: Sessions of one address (IPv6: one /64): ids cost nothing, so one machine must not push all others out.
SESSIONS_OF_ONE = 64
#: Keys of the other end that are read: the newest, and those before it, for datagrams overtake each other. Two are
#: enough when both ends shake hands at once, three when one of them does so again.
READS_MAX = 3
#: Messages under one key: their number is the first half of a nonce (specification, "Session Cache").
MESSAGES_MAX = 1 << 32

#: Node id, IP address and port: a session holds for one endpoint only, so that a stolen id gets no answers elsewhere.
Peer = tuple[bytes, str, int]


@define
class Session:
    """What we write and read with.

    :param reads: what the other end may write with, the newest key first.
    :param enr: the other end's newest record.
    :param knocks: nonces of packets that were challenged and led to these keys: a late copy leads to no others.
    :param sent: messages under *write*; the first was that of the handshake.
    """

    write: bytes
    reads: tuple[bytes, ...]
    enr: Enr
    knocks: tuple[bytes, ...] = ()
    sent: int = 1

    def open(self, packet: Packet) -> tuple[bytes, bytes] | None:
        """Return the message of a packet and the key that it is under, None if that is none of these."""
        for key in self.reads:
            plain = decrypt(key, packet.head.nonce, packet.ciphertext, packet.additional)
            if plain is not None:
                return plain, key
        return None

    def nonce(self, chance: bytes) -> bytes:
        """Return the nonce of the next message, which no other under this key has. *chance*: 8 random bytes."""
        self.sent += 1
        return (self.sent - 1).to_bytes(4, "big") + chance


class Sessions:
    """The newest :data:`SESSIONS_MAX`, by use, at most :data:`SESSIONS_OF_ONE` of one address."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[Peer, Session] = OrderedDict()
        self._of: dict[str, OrderedDict[Peer, None]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, peer: Peer) -> Session | None:
        """Return a session, which counts as used."""
        session = self._sessions.get(peer)
        if session is not None:
            self._sessions.move_to_end(peer)
            self._of[source_address(peer[1])].move_to_end(peer)
        return session

    def writable(self, peer: Peer) -> Session | None:
        """Return a session for one more message; one whose messages have all been sent is forgotten."""
        session = self.get(peer)
        if session is not None and session.sent >= MESSAGES_MAX:
            self._forget(peer)
            return None
        return session

    def _forget(self, peer: Peer) -> None:
        del self._sessions[peer]
        address = source_address(peer[1])
        here = self._of[address]
        del here[peer]
        if not here:
            del self._of[address]

    def agreed(self, peer: Peer, keys: SessionKeys, initiator: bool, enr: Enr, knock: bytes = b"") -> Session:
        """New keys are agreed on.

        :param initiator: whether we answered the challenge.
        :param knock: nonce of the packet that we have challenged.
        """
        before = self._sessions.get(peer)
        write, read = (keys.initiator, keys.recipient) if initiator else (keys.recipient, keys.initiator)
        reads = (read, *before.reads)[:READS_MAX] if before is not None else (read,)
        if before is not None and before.enr.seq > enr.seq:
            enr = before.enr
        knocks = (knock, *before.knocks)[:READS_MAX] if before is not None else (knock,)
        session = self._sessions[peer] = Session(write, reads, enr, knocks)
        self._sessions.move_to_end(peer)
        here = self._of.setdefault(source_address(peer[1]), OrderedDict())
        here[peer] = None
        here.move_to_end(peer)
        if len(here) > SESSIONS_OF_ONE:
            self._forget(next(iter(here)))
        if len(self._sessions) > SESSIONS_MAX:
            self._forget(next(iter(self._sessions)))
        return session
